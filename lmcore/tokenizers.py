"""Turn text into integers and back. Every tokenizer, here and in bpe.py, has the same members:
`train(texts)`, `encode(text)`, `decode(ids)`, `save(path)`, `load(path)`, `vocab_size` and `end`.

Id 0, `end`, is no text: it marks the border between documents, the end of one and the start of the next.
"""
import json
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Self

BORDER = "•"                            # how id 0 is shown
END, SKIP = 0, -100     # the token at the border of documents; a target that `cross_entropy` leaves out
UNKNOWN, PADDING = " <unk>", "<pad>"    # no text gives these as one piece


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
        write_json(path, type(self).__name__, symbols=self.symbols)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        return cls(read_symbols(path, cls.__name__)["symbols"])


def split_words(text: str) -> list[str]:
    """Cut a text into words and punctuation.

    A space stays with the word after it, so that joining the pieces gives the text back, whatever it was.
    """
    return re.findall(r" ?\w+(?:['’]\w+)*| ?[^\w\s]+|\s", text)


class WordTokenizer(CharTokenizer):
    """One id per word or run of punctuation that occurs in the training texts, as `split_words` cuts them.

    With `lower` capitals become small letters, without `punctuation` only words are kept; what is lost does
    not come back. With `min_count` rarer pieces are left out, and two ids come before the words: `unk` stands
    for every piece that is not known, and `pad` fills the rows of a batch. `end` is BOS and EOS at once.

    Raises: ValueError if there is no `unk` and a text to encode holds a word that those texts did not.
    """

    bos = eos = CharTokenizer.end

    def __init__(self, symbols: list[str], lower: bool = False, punctuation: bool = True):
        super().__init__(symbols)
        self.lower, self.punctuation = lower, punctuation
        self.unk, self.pad = self.ids.pop(UNKNOWN, None), self.ids.pop(PADDING, None)

    @classmethod
    def train(cls, texts: Iterable[str], lower: bool = False, punctuation: bool = True,
              min_count: int | None = None) -> Self:
        split, counts = cls([BORDER], lower, punctuation).split, Counter()
        for text in texts:
            counts.update(split(text))
        words = sorted(word for word, n in counts.items() if n >= (min_count or 1))
        specials = [BORDER] if min_count is None else [BORDER, UNKNOWN, PADDING]
        return cls(specials + words, lower, punctuation)

    def split(self, text: str) -> list[str]:
        pieces = split_words(text.lower() if self.lower else text)
        return pieces if self.punctuation else [piece for piece in pieces if re.search(r"\w", piece)]

    def encode(self, text: str) -> list[int]:
        if self.unk is None:
            return super().encode(text)
        return [self.ids.get(piece, self.unk) for piece in self.split(text)]

    def decode(self, ids: Iterable[int]) -> str:
        return super().decode(i for i in ids if i != self.pad)

    def save(self, path: str | Path) -> None:
        write_json(path, type(self).__name__, lower=self.lower, punctuation=self.punctuation,
                   symbols=self.symbols)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        saved = read_symbols(path, cls.__name__)
        return cls(saved["symbols"], bool(saved.get("lower")), bool(saved.get("punctuation", True)))


class SentencePieceTokenizer:
    """The library SentencePiece under the names of the course; what no piece covers is spelled in bytes.

    Its own normalisation is off unless `normalise` names one, such as "nmt_nfkc": with it, a text does not
    come back as it was. Without, only "▁" does not: it comes back as the space that it stands for.

    Raises: ValueError if a tokenizer cannot be trained so, in the library's words.
    Source: Kudo and Richardson 2018, https://arxiv.org/abs/1808.06226
    """

    end = 0

    def __init__(self, model: bytes):
        from sentencepiece import SentencePieceProcessor

        self.model = model
        self.processor = SentencePieceProcessor(model_proto=model)
        self.symbols = [BORDER, *(self.processor.id_to_piece(i) for i in range(1, self.vocab_size))]

    @classmethod
    def train(cls, texts: Iterable[str], vocab_size: int, kind: str = "unigram",
              normalise: str | None = None) -> Self:
        """`kind` is "unigram" or "bpe"."""
        import io

        from sentencepiece import SentencePieceTrainer

        lossless = {"normalization_rule_name": "identity", "add_dummy_prefix": False,
                    "remove_extra_whitespaces": False}
        written = io.BytesIO()
        try:
            SentencePieceTrainer.train(
                sentence_iterator=iter(texts), model_writer=written, vocab_size=vocab_size, model_type=kind,
                byte_fallback=True, bos_id=0, unk_id=1, eos_id=-1, pad_id=-1, bos_piece=SP_END,
                max_sentence_length=1 << 24, num_threads=1, minloglevel=2,
                **(lossless if normalise is None else {"normalization_rule_name": normalise}))
        except (RuntimeError, OSError, ValueError) as error:
            raise ValueError(f"SentencePiece: {str(error).splitlines()[-1]}") from None
        return cls(written.getvalue())

    @property
    def vocab_size(self) -> int:
        return self.processor.vocab_size()

    def encode(self, text: str) -> list[int]:
        return self.processor.encode(text.encode("utf-8", "replace"))

    def decode(self, ids: Iterable[int]) -> str:
        return self.processor.decode([i for i in ids if i != self.end])

    def save(self, path: str | Path) -> None:
        Path(path).write_bytes(self.model)

    @classmethod
    def load(cls, path: str | Path) -> Self:
        try:
            tok = cls(Path(path).read_bytes())
        except RuntimeError:
            raise damaged(path) from None
        if tok.processor.id_to_piece(0) != SP_END:
            raise ValueError(f"{path} holds a SentencePiece model without {SP_END} as id 0; train one here")
        return tok


SP_END = "<end>"    # SentencePiece's name of id 0


def write_json(path: str | Path, kind: str, **content: object) -> None:
    text = json.dumps({"lmcore": kind, "version": 1} | content, ensure_ascii=False, indent=0)
    Path(path).write_text(text + "\n", encoding="utf-8", errors="surrogatepass")


def read_json(path: str | Path, kind: str) -> dict:
    """What `write_json` wrote.

    Raises: ValueError, one line, if the file is damaged or holds another kind or version.
    """
    try:
        saved = json.loads(Path(path).read_text(encoding="utf-8", errors="surrogatepass"))
        found, version = saved["lmcore"], saved["version"]
    except (ValueError, KeyError, TypeError):
        raise damaged(path) from None
    if (found, version) != (kind, 1):
        raise ValueError(f"{path} holds a {found}, version {version}; wanted a {kind}, version 1")
    return saved


def read_symbols(path: str | Path, kind: str) -> dict:
    """What `write_json` wrote, its symbols looked through."""
    saved = read_json(path, kind)
    symbols = saved.get("symbols")
    texts = isinstance(symbols, list) and all(isinstance(symbol, str) for symbol in symbols)
    if not texts or symbols[:1] != [BORDER] or len(set(symbols[1:])) < len(symbols) - 1:
        raise damaged(path)
    return saved


def damaged(path: str | Path) -> ValueError:
    return ValueError(f"{path} is damaged, or is not a tokenizer: train one and save it again")
