"""The commands for texts: data, analyze, tokenizer, prepare."""
import json
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import Positional, arg

from lmcore import data


def option(metavar: str, **more: str) -> object:
    """How an option without a value of its own is shown: no word of a default."""
    return arg(metavar=metavar, help_behavior_hint="", **more)


Int, Str = Annotated[int | None, option("INT")], Annotated[str | None, option("STR")]
TextName = Annotated[Positional[str], arg(metavar="TEXT")]
TokenizerName = Annotated[str | None, option("char|word|bpe|sentencepiece|FILE")]


@dataclass(frozen=True, kw_only=True)
class Data:
    """List the course's texts, fetch them, or verify those that are on this machine."""

    EXAMPLES: ClassVar = ("lmcore data", "lmcore data fetch shakespeare sonetos", "lmcore data verify")

    action: Positional[Literal["list", "fetch", "verify"]] = "list"     # what to do
    names: Positional[tuple[str, ...]] = ()     # of sets; if none is named, all

    def __call__(self) -> None:
        wrong = []
        for name in self.names or data.names():
            about = data.described(name)
            text = data.fetch(name) if self.action == "fetch" else f"{data.state(name):<9} {about}"
            wrong += [name] * text.startswith(("not to be had", "damaged"))
            print(f"{name:<18} {text}")
        if wrong and self.action != "list":
            raise RuntimeError(f"{len(wrong)} of these cannot be used: {', '.join(wrong)}")


@dataclass(frozen=True, kw_only=True)
class Text:
    """A text and how it is cleaned."""

    text: TextName              # a file, a folder of .txt and .md files, or a set that `lmcore data` lists
    fold: bool = False          # make capitals small

    def read(self, done: Counter | None = None) -> Iterator[str]:
        """Its documents, cleaned; few or very long ones in pieces, so that some can be held out."""
        return data.divisible(data.documents(self.text, self.fold, done))


@dataclass(frozen=True, kw_only=True)
class Analyze(Text):
    """Look at a text: documents, lengths, distinct tokens, repeats; and what they suggest, with reasons."""

    EXAMPLES: ClassVar = ("lmcore analyze book.txt", "lmcore analyze shakespeare --json")

    json: bool = False          # for programs

    def __call__(self) -> None:
        found = data.analyze(data.documents(self.text, self.fold, done := Counter()))
        if self.json:
            print(json.dumps(asdict(found) | {"cleaned": done}, ensure_ascii=False))
        else:
            print(f"{'cleaning':<11} {data.said(done)}\n{found}")


@dataclass(frozen=True, kw_only=True)
class Vocabulary(Text):
    """How a text becomes tokens."""

    tokenizer: TokenizerName = None     # a kind, or a file; if not given, what `lmcore analyze` suggests
    vocab_size: Int = None              # V, tokens to learn (bpe, sentencepiece)
    min_count: Int = None               # rarer words are unknown (word)

    def learned(self) -> tuple[data.Tokenizer, str]:
        """The tokenizer, and why this one."""
        return data.tokenizer_for(self.read, self.tokenizer, self.vocab_size, self.min_count)


@dataclass(frozen=True, kw_only=True)
class Tokenizer(Vocabulary):
    """Learn a vocabulary from a text, and keep it in a file."""

    EXAMPLES: ClassVar = ("lmcore tokenizer book.txt",
                          "lmcore tokenizer book.txt --tokenizer bpe --vocab-size 2000 --out bpe.json")

    out: str = "tokenizer.json"         # where it is kept

    def __call__(self) -> None:
        tok, why = self.learned()
        tok.save(self.out)
        size = count = 0
        for doc in self.read():
            size, count = size + len(doc.encode()), count + len(tok.encode(doc))
        print(f"tokenizer  {type(tok).__name__}, {tok.vocab_size:,} tokens: {why}")
        print(f"kept in    {self.out}; a token is {size / count:.2f} bytes on average")
        print("|".join(tok.decode([i]) for i in tok.encode(next(self.read()))[:20]))


@dataclass(frozen=True, kw_only=True)
class Prepare(Vocabulary):
    """Clean a text, cut it into train, val and test by the hash of each document, and write it as tokens.

    The text may be larger than memory. `lmcore train FOLDER` reads what is written here.
    """

    EXAMPLES: ClassVar = ("lmcore prepare book.txt --out prepared",
                          "lmcore prepare folder/ --tokenizer bpe.json --out prepared")

    out: str = "prepared"               # a folder

    def __call__(self) -> None:
        tok, why = self.learned()
        written(self, tok, why, self.out)


def written(text: Text, tok: data.Tokenizer, why: str, folder: str | Path) -> None:
    """Write the token files of a text, and say so."""
    done = Counter()
    parts = data.prepare_parts(text.read(done), tok, folder)
    sizes = ", ".join(f"{about['documents']:,} documents for {part}" for part, about in parts.items())
    print(f"text       {text.text}: {sizes}; {data.said(done)}")
    print(f"tokenizer  {type(tok).__name__}, {tok.vocab_size:,} tokens: {why}")
    print(f"tokens     {sum(about['tokens'] for about in parts.values()):,}, in {folder}", flush=True)
