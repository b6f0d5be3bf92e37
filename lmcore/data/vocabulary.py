"""A tokenizer of any kind: by its name, trained on more text than memory holds, or from its file."""
import json
from collections.abc import Callable, Iterable, Iterator
from itertools import chain
from pathlib import Path

from lmcore.bpe import BPETokenizer
from lmcore.data.analysis import analyze
from lmcore.tokenizers import CharTokenizer, SentencePieceTokenizer, WordTokenizer

Tokenizer = CharTokenizer | WordTokenizer | BPETokenizer | SentencePieceTokenizer
KINDS = {"char": CharTokenizer, "word": WordTokenizer, "bpe": BPETokenizer,
         "sentencepiece": SentencePieceTokenizer}
SAMPLE = 20_000_000     # characters from which a vocabulary is learned


def tokenizer_for(read: Callable[[], Iterable[str]], kind: str | None = None, vocab_size: int | None = None,
                  min_count: int | None = None) -> tuple[Tokenizer, str]:
    """A tokenizer for the documents that `read` gives, and in words why this one.

    `kind` may be a tokenizer's file, too. What is not given is what `analyze` suggests.

    Raises: ValueError if choices do not go together; FileNotFoundError if there is no such kind or file.
    """
    if kind is not None and kind not in KINDS:
        if not Path(kind).is_file():
            raise FileNotFoundError(f"no tokenizer {kind!r}: give {', '.join(KINDS)}, or a file that "
                                    "`lmcore tokenizer` wrote")
        return load_tokenizer(kind), f"from {kind}"
    kind = kind or ("word" if min_count else "bpe" if vocab_size else None)
    if vocab_size and kind in ("char", "word"):
        raise ValueError(f"a {kind} tokenizer takes all that occur: leave vocab_size out")
    if min_count and kind != "word":
        raise ValueError(f"min_count is for words, not for {kind}")
    reason = "as asked"
    if kind is None or (kind in ("bpe", "sentencepiece") and not vocab_size):
        found = analyze(read())
        vocab_size = found.vocab_size.value if found.kind.value == "bpe" else 512
        kind, reason = (kind, reason) if kind else found.kind
    return train_tokenizer(kind, read(), vocab_size, min_count), reason


def train_tokenizer(kind: str, docs: Iterable[str], vocab_size: int = 1_000,
                    min_count: int | None = None) -> Tokenizer:
    """A tokenizer of a kind, of documents that need not fit in memory.

    `vocab_size` is for the learned kinds, which learn from the first 20 million characters; `min_count` is
    for words: rarer ones are unknown.

    Raises: ValueError if there is no such kind, or the texts are too few for the vocabulary.
    """
    if kind not in KINDS:
        raise ValueError(f"no tokenizer {kind!r}; there are {', '.join(KINDS)}")
    if kind == "char":
        return CharTokenizer.train(set(chain.from_iterable(docs)))
    if kind == "word":
        return WordTokenizer.train(docs, min_count=min_count)
    return KINDS[kind].train(list(first(docs, SAMPLE)), vocab_size=vocab_size)


def first(docs: Iterable[str], characters: int) -> Iterator[str]:
    """The first documents, up to so many characters."""
    for doc in docs:
        if characters <= 0:
            return
        yield doc[:characters]
        characters -= len(doc)


def load_tokenizer(file: str | Path) -> Tokenizer:
    """The tokenizer in a file, of whichever kind it is.

    Raises: FileNotFoundError if there is none; ValueError if the file is damaged or none of ours.
    """
    file = Path(file)
    if not file.is_file():
        raise FileNotFoundError(f"no tokenizer {str(file)!r}; train one with: lmcore tokenizer TEXT")
    try:
        name = json.loads(file.read_bytes())["lmcore"]
    except (ValueError, KeyError, TypeError):
        return SentencePieceTokenizer.load(file)
    return next((kind for kind in KINDS.values() if kind.__name__ == name), CharTokenizer).load(file)
