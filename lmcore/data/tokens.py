"""Text as numbers on disk: a flat file of token ids, read by memory map, so that no text is too large.

A token file holds the ids of document after document, each followed by the border, two bytes an id (four if
the vocabulary needs them), lowest byte first. Beside `x.bin`, `x.json` says how many, and their sha256.
"""
import hashlib
import json
import os
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path

import numpy as np

from lmcore.data.read import part_of
from lmcore.data.vocabulary import Tokenizer, load_tokenizer


class TokenFile:
    """A token file that is being written; what is cut short leaves no file of that name."""

    def __init__(self, file: str | Path, tok: Tokenizer):
        self.file, self.tok = Path(file), tok
        self.dtype = np.dtype("<u2" if tok.vocab_size <= 1 << 16 else "<u4")
        self.docs = self.tokens = self.bytes = 0
        self.sum = hashlib.sha256()
        self.part = self.file.with_suffix(".part")
        self.out = open(self.part, "wb")

    def add(self, doc: str) -> None:
        """Write a document and its border."""
        ids = np.array([*self.tok.encode(doc), self.tok.end], self.dtype).tobytes()
        self.out.write(ids)
        self.sum.update(ids)
        self.docs += 1
        self.tokens += len(ids) // self.dtype.itemsize
        self.bytes += len(doc.encode(errors="surrogatepass")) + 1

    def __enter__(self) -> "TokenFile":
        return self

    def __exit__(self, failed: type | None, *_: object) -> None:
        self.out.close()
        if failed:
            self.part.unlink()
            return
        os.replace(self.part, self.file)
        text = json.dumps(self.about(), indent=1, ensure_ascii=False)
        self.file.with_suffix(".json").write_text(text + "\n", encoding="utf-8")

    def about(self) -> dict:
        """What stands beside the file."""
        return {"tokenizer": type(self.tok).__name__, "vocab_size": self.tok.vocab_size,
                "symbols_sha256": fingerprint(self.tok), "dtype": self.dtype.name, "documents": self.docs,
                "tokens": self.tokens, "bytes": self.bytes, "sha256": self.sum.hexdigest()}


def fingerprint(tok: Tokenizer) -> str:
    """A number that two tokenizers share only if their ids mean the same."""
    return hashlib.sha256("\0".join(tok.symbols).encode(errors="surrogatepass")).hexdigest()


def prepare(docs: Iterable[str], tok: Tokenizer, file: str | Path) -> dict:
    """Write documents into a token file, one at a time; what stands in the .json beside it is returned."""
    with TokenFile(file, tok) as out:
        for doc in docs:
            out.add(doc)
    return out.about()


def prepare_parts(docs: Iterable[str], tok: Tokenizer, folder: str | Path) -> dict[str, dict]:
    """Write tokenizer.json, train.bin, val.bin and test.bin: repeats dropped, cut by the hash of content.

    Of each document 8 bytes are remembered, so that the texts may be larger than memory.

    Raises: ValueError if a part would be empty.
    """
    folder, seen = Path(folder), set()
    folder.mkdir(parents=True, exist_ok=True)
    with ExitStack() as files:
        outs = {part: files.enter_context(TokenFile(folder / f"{part}.bin", tok))
                for part in ("train", "val", "test")}
        for doc in docs:
            digest = hashlib.blake2b(doc.encode(errors="surrogatepass"), digest_size=8).digest()
            if digest not in seen:
                seen.add(digest)
                outs[part_of(doc)].add(doc)
        if empty := [part for part, out in outs.items() if not out.docs]:
            raise ValueError(f"no document falls into {empty[0]}: {len(seen)} different ones are too few, "
                             "fifty or more will do")
    tok.save(folder / "tokenizer.json")
    return {part: out.about() for part, out in outs.items()}


def tokens(file: str | Path, tok: Tokenizer | None = None, verify: bool = False) -> np.ndarray:
    """The ids of a token file, mapped into memory and not read until they are looked at.

    Raises: FileNotFoundError if it is not there; ValueError if it was cut short, was written with another
            tokenizer, or, with `verify`, has another sha256 than when it was written.
    """
    file = Path(file)
    if not file.is_file() or not file.with_suffix(".json").is_file():
        raise FileNotFoundError(f"no token file {file} with its .json; write one with: lmcore prepare TEXT")
    about = json.loads(file.with_suffix(".json").read_text(encoding="utf-8"))
    dtype = np.dtype(about["dtype"]).newbyteorder("<")
    found, written = file.stat().st_size, about["tokens"] * dtype.itemsize
    if found != written:
        raise ValueError(f"{file} has {found:,} bytes, {written:,} were written: prepare it again")
    if tok is not None and about["symbols_sha256"] != fingerprint(tok):
        raise ValueError(f"{file} was written with another tokenizer, a {about['tokenizer']} of "
                         f"{about['vocab_size']:,} tokens: load the tokenizer.json beside it")
    ids = np.memmap(file, dtype, mode="r")
    if verify and hashlib.sha256(ids).hexdigest() != about["sha256"]:
        raise ValueError(f"{file} has changed since it was written: prepare it again")
    return ids


def prepared(folder: str | Path) -> tuple[dict[str, Path], Tokenizer]:
    """The token files of a folder that `prepare_parts` wrote, by part, and their tokenizer.

    Raises: FileNotFoundError or ValueError if they are not whole.
    """
    tok = load_tokenizer(Path(folder) / "tokenizer.json")
    parts = {part: Path(folder) / f"{part}.bin" for part in ("train", "val", "test")}
    for file in parts.values():
        tokens(file, tok)
    return parts, tok


def decoded(file: str | Path, tok: Tokenizer) -> Iterator[str]:
    """The documents of a token file as text."""
    ids = tokens(file, tok)
    start = 0
    for border in np.flatnonzero(ids == tok.end):
        yield tok.decode(ids[start:border].tolist())
        start = border + 1
