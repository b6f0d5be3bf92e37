"""A tokenizer of any kind: by its name, trained on more text than memory holds, or from its file."""
import json
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from typing import Literal

from lmcore.bpe import BPETokenizer
from lmcore.tokenizers import CharTokenizer, SentencePieceTokenizer, WordTokenizer

Tokenizer = CharTokenizer | WordTokenizer | BPETokenizer | SentencePieceTokenizer
Kind = Literal["char", "word", "bpe", "sentencepiece"]
KINDS = {"char": CharTokenizer, "word": WordTokenizer, "bpe": BPETokenizer,
         "sentencepiece": SentencePieceTokenizer}
SAMPLE = 20_000_000     # characters from which a vocabulary is learned


def train_tokenizer(kind: Kind, docs: Iterable[str], vocab_size: int = 1_000,
                    min_count: int | None = None) -> Tokenizer:
    """A tokenizer of a kind, of documents that need not fit in memory.

    `vocab_size` is for the learned kinds, which learn from the first 20 million characters; `min_count` is
    for words: rarer ones are unknown.

    Raises: ValueError if there is no such kind, or the texts are too few for the vocabulary.
    """
    if kind not in KINDS:
        raise ValueError(f"no tokenizer {kind!r}; there are {', '.join(KINDS)}")
    if kind == "char":
        return CharTokenizer.train(["".join(set().union(*map(set, some))) for some in batched(docs)])
    if kind == "word":
        return WordTokenizer.train(docs, min_count=min_count)
    return KINDS[kind].train(list(first(docs, SAMPLE)), vocab_size=vocab_size)


def batched(docs: Iterable[str], n: int = 1_000) -> Iterator[list[str]]:
    docs = iter(docs)
    while some := list(islice(docs, n)):
        yield some


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
