"""Documents to learn from: `load` gives them, `splits` cuts them into train, validation and test.

    docs  = lm.data.load("names")           # list of strings, one a document; also load("my.txt")
    parts = lm.data.splits("names")         # {"train": [...], "val": [...], "test": [...]}

Some sets are not in the course but fetched when first asked for. A notebook asks first, so that whoever
is offline goes on without the section (cells tagged `needs-data`; the printed line begins "Skipped:"):

    if lm.data.available("names-2019"):
        parts = lm.data.splits("names-2019", how="lecture")
    else:
        print(lm.data.missing("names-2019"))

What there is, whose it is and under which licence: data/README.md and data/registry.toml.
"""
import random
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path

from lmcore.data import cleaning, generated, read
from lmcore.data.analysis import Analysis, analyze
from lmcore.data.cleaning import clean, divisible, said
from lmcore.data.files import Unavailable, find, path, registry, ways
from lmcore.data.read import SHARES, part_of
from lmcore.data.shelf import described, entry_of, fetch, files_of, names, state
from lmcore.data.tokens import Tokenizer, decoded, prepare, prepare_parts, prepared, tokens
from lmcore.data.vocabulary import load_tokenizer, tokenizer_for, train_tokenizer
from lmcore.data.windows import batches, windows

__all__ = ["Analysis", "Tokenizer", "Unavailable", "analyze", "available", "batches", "clean", "decoded",
           "described", "divisible", "documents", "fetch", "load", "load_tokenizer", "log2p", "missing",
           "names", "part_of", "path", "prepare", "prepare_parts", "prepared", "records", "said", "splits",
           "state", "tokenizer_for", "tokens", "train_tokenizer", "windows"]


def load(name: str | Path) -> list[str]:
    """All documents of a registered set or of a text file, in order, repeats included.

    A reader's own file, in UTF-8, holds one document a line; if it has blank lines, the documents are
    the blocks between them.

    Raises: Unavailable if the set cannot be had here; OSError or ValueError if a file cannot be read.
    """
    if name in generated.SETS:
        return [text for part in generated.parts(name).values() for text, _ in part]
    if name not in registry()["sets"]:
        return read.own_text(Path(name), [*registry()["sets"], *generated.SETS])
    return [doc for file in files_of(name) for doc in _documents(name, file)]


def documents(source: str | Path | Iterable[str], fold: bool = False,
              done: Counter | None = None) -> Iterator[str]:
    """The same one at a time, cleaned: of a file of any size, of a folder's .txt and .md files, of a list.

    A registered set comes as it is. `done` grows by what `clean` did.

    Raises: FileNotFoundError if there is no such file; ValueError if it is no text, or holds none.
    """
    done = Counter() if done is None else done
    if isinstance(source, (str, Path)):
        known = names()
        if source in known:
            yield from (doc.casefold() if fold else doc for doc in load(source))
            return
        source = (doc for file in cleaning.text_files(Path(source), known)
                  for doc in cleaning.of_file(file, done))
    for raw in source:
        text, found = clean(raw, fold)
        done.update(found)
        if text := text.strip():
            yield text


def splits(source: str | Path | list[str], how: str = "hash") -> dict[str, list[str]]:
    """Cut a set, a file or a list of documents into train, val and test.

    how="hash":    repeats are dropped, then each document goes where `part_of` says; sets that come
                   cut from their makers keep that cut.
    how="lecture": the cut of the lectures, for comparison only: shuffle with seed 42, repeats included,
                   80/10/10 by count; for shakespeare the first 90 % of the characters and the rest.

    Raises: ValueError if a part would be empty.
    """
    if how not in ("hash", "lecture"):
        raise ValueError(f'how is "hash" or "lecture", got {how!r}')
    about = {} if isinstance(source, list) else registry()["sets"].get(source, {})
    if how == "lecture":
        parts = _lecture(source, about)
    else:
        parts = _by_makers(source, about) or _by_hash(source, about)
    for part, docs in parts.items():
        if not docs:
            found = sum(map(len, parts.values()))
            raise ValueError(f"no document falls into {part}: {found} different ones are too few, fifty or "
                             "more will do (in a file with blank lines, each block is one)")
    return parts


def log2p(name: str) -> dict[str, list[float]]:
    """Of a generated set, the exact log-probability of each document, in the order of `splits`.

    Units:  bits, all below zero.
    """
    if name not in generated.SETS:
        raise ValueError(f"only {', '.join(generated.SETS)} have known probabilities, got {name!r}")
    return {part: [bits for _, bits in pairs] for part, pairs in generated.parts(name).items()}


def records(name: str) -> list[dict]:
    """The rows of a set that is a table (instructions, gsm8k, blimp, ...), each with its named fields."""
    if "text" not in entry_of(name):
        tables = [key for key, entry in registry()["sets"].items() if "text" in entry]
        raise ValueError(f"{name!r} is not a table; these are: {', '.join(tables)}")
    return [row for file in files_of(name) for row in read.table(path(file))]


def available(name: str | Path) -> bool:
    """Whether a set can be had here; it is fetched if need be, so that `load` then finds it."""
    if name not in registry()["sets"]:
        return (generated.grammar_file(name) if name in generated.SETS else Path(name)).is_file()
    try:
        return all(path(file) for file in files_of(name))
    except Unavailable:
        return False


def missing(name: str) -> str:
    """One line for a reader who has to go on without a set: what is missing and how to get it."""
    return next((f"Skipped: {ways(file)}" for file in files_of(name) if find(file) is None), "")


def _documents(name: str, file: str) -> list[str]:
    about, place = entry_of(name), path(file)
    if "text" in about:
        return [about["text"].format_map(row) for row in read.table(place)]
    return getattr(read, about["read"])(place.read_bytes().decode())


def _by_makers(source: str | Path | list[str], about: dict) -> dict[str, list[str]]:
    if not isinstance(source, list) and source in generated.SETS:
        return {part: [text for text, _ in pairs] for part, pairs in generated.parts(source).items()}
    if isinstance(about.get("files"), dict):
        return _without_repeats({part: _documents(source, file) for part, file in about["files"].items()})
    return {}


def _by_hash(source: str | Path | list[str], about: dict) -> dict[str, list[str]]:
    shares = about.get("shares", SHARES)
    parts = {part: [] for part, _ in zip(("train", "val", "test"), shares)}
    for doc in dict.fromkeys(source if isinstance(source, list) else load(source)):     # repeats dropped
        parts[part_of(doc, shares)].append(doc)
    return parts


def _lecture(source: str | Path | list[str], about: dict) -> dict[str, list[str]]:
    if about.get("lecture") == "cut":
        text = "".join(path(file).read_bytes().decode() for file in about["files"])
        at = int(0.9 * len(text))
        return {"train": [text[:at]], "val": [text[at:]]}
    docs = list(source) if isinstance(source, list) else load(source)
    random.Random(42).shuffle(docs)
    first, second = int(0.8 * len(docs)), int(0.9 * len(docs))
    return {"train": docs[:first], "val": docs[first:second], "test": docs[second:]}


def _without_repeats(parts: dict[str, list[str]]) -> dict[str, list[str]]:
    """Each document once; one that two parts hold stays in the later, so that the test stays whole."""
    seen, kept = set(), {}
    for part in reversed(parts):
        kept[part] = [doc for doc in dict.fromkeys(parts[part]) if doc not in seen]
        seen.update(kept[part])
    return {part: kept[part] for part in parts}
