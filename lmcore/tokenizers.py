"""Turn text into integers and back. Every tokenizer here has the same members:
`train(texts)`, `encode(text)`, `decode(ids)`, `save(path)`, `load(path)`, `vocab_size` and `end`.

Id 0, `end`, is no text: it marks the border between documents, the end of one and the start of the next.
"""
import json
import re
from collections.abc import Iterable
from pathlib import Path
from typing import Self

BORDER = "•"  # how id 0 is shown


class CharTokenizer:
    """One id per character that occurs in the training texts, in alphabetical order.

    Raises: ValueError if a text to encode holds a character that those texts did not.
    """

    end = 0
    split = staticmethod(list)

    def __init__(self, symbols: list[str]):
        self.symbols = symbols
        self.ids = {symbol: i for i, symbol in enumerate(symbols) if i != self.end}

    @classmethod
    def train(cls, texts: Iterable[str]) -> Self:
        return cls([BORDER, *sorted(set().union(*map(cls.split, texts)))])

    @property
    def vocab_size(self) -> int:
        return len(self.symbols)

    def encode(self, text: str) -> list[int]:
        try:
            return [self.ids[piece] for piece in self.split(text)]
        except KeyError as unknown:
            raise ValueError(f"{unknown} is not among the {self.vocab_size - 1} symbols of this tokenizer; "
                             "replace it (capitals differ from small letters) or train it on "
                             "texts that have it") from None

    def decode(self, ids: Iterable[int]) -> str:
        return "".join(self.symbols[i] for i in ids if i != self.end)

    def save(self, path: str | Path) -> None:
        _save(path, type(self).__name__, self.symbols)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        return cls(_load(path, cls.__name__))


def split_words(text: str) -> list[str]:
    """Cut a text into words and punctuation.

    A space stays with the word after it, so that joining the pieces gives the text back, whatever it was.
    """
    return re.findall(r" ?\w+(?:['’]\w+)*| ?[^\w\s]+|\s", text)


class WordTokenizer(CharTokenizer):
    """One id per word or run of punctuation that occurs in the training texts, as `split_words` cuts them.

    Raises: ValueError if a text to encode holds a word that those texts did not.
    """

    split = staticmethod(split_words)


def _save(path: str | Path, kind: str, symbols: list[str]) -> None:
    text = json.dumps({"lmcore": kind, "version": 1, "symbols": symbols}, ensure_ascii=False, indent=0)
    Path(path).write_text(text + "\n", encoding="utf-8", errors="surrogatepass")


def _load(path: str | Path, kind: str) -> list[str]:
    damaged = ValueError(f"{path} is damaged, or is not a tokenizer: train one and save it again")
    try:
        saved = json.loads(Path(path).read_text(encoding="utf-8", errors="surrogatepass"))
        found, version = saved["lmcore"], saved["version"]
    except (ValueError, KeyError, TypeError):
        raise damaged from None
    if (found, version) != (kind, 1):
        raise ValueError(f"{path} holds a {found}, version {version}; wanted a {kind}, version 1")
    symbols = saved.get("symbols")
    texts = isinstance(symbols, list) and all(isinstance(symbol, str) for symbol in symbols)
    if not texts or symbols[:1] != [BORDER] or len(set(symbols[1:])) < len(symbols) - 1:
        raise damaged
    return symbols
