"""Make clean documents of any text file: encoding, line ends, broken characters; what was done is counted.

    text, done = lm.data.clean("caf\\u00c3\\u00a9\\r\\n")       # 'café\\n', {"line ends": 1, "repairs": 1}
    docs = list(lm.data.documents("book.txt"))           # cleaned; read line by line, so of any size

Repairs are ftfy's (text that was decoded wrongly, control characters, one form for each accent); what is a
matter of taste, such as curly quotation marks, stays as it is.
"""
import re
from collections import Counter
from collections.abc import Iterable, Iterator
from itertools import chain, islice
from pathlib import Path

import ftfy

from lmcore.data import read

REPAIRS = ftfy.TextFixerConfig(explain=False, uncurl_quotes=False, fix_latin_ligatures=False,
                               fix_character_width=False, fix_line_breaks=False)
SAID = {"byte-order marks": "byte-order marks taken away", "windows-1252": "files read as Windows-1252",
        "line ends": "line ends made \\n", "unreadable": "unreadable places, now �",
        "repairs": "lines repaired"}
SOUND = re.compile(r"[\t -%'-~]*")      # ASCII that needs no look: no control character, no &
LOOK = 1 << 20          # bytes at a file's start by which its encoding is told
FEW, LONG = 50, 100_000     # documents fewer than this, or longer in characters, are cut to pieces
ENDINGS = (".txt", ".md")


def clean(text: str, fold: bool = False) -> tuple[str, Counter]:
    """The text with one kind of line end, no byte-order mark, repaired; and how often what was done.

    A � stands where something could not be read. With `fold`, capitals become small letters, so "The" and
    "the" are one word.
    """
    done = Counter()
    if text.startswith("\ufeff"):
        text, done["byte-order marks"] = text.lstrip("\ufeff"), 1
    done["unreadable"] = text.count("\ufffd")
    done["line ends"] = text.count("\r")
    lines = re.sub("\r\n?", "\n", text).split("\n")
    fixed = [line if SOUND.fullmatch(line) else ftfy.fix_text(line, REPAIRS) for line in lines]
    done["repairs"] = sum(new != old for new, old in zip(fixed, lines))
    text = "\n".join(fixed)
    return text.casefold() if fold else text, +done


def said(done: Counter) -> str:
    """What `clean` did, in words: "3 line ends made \\n, 2 lines repaired"; or "nothing to repair"."""
    return ", ".join(f"{n:,} {SAID[what]}" for what, n in done.items()) or "nothing to repair"


def text_files(path: Path, known: list[str]) -> list[Path]:
    """The file itself, or the texts in a folder and below it, in order.

    Raises: FileNotFoundError if there is none.
    """
    if path.is_dir():
        if found := sorted(file for file in path.rglob("*") if file.suffix in ENDINGS):
            return found
        raise FileNotFoundError(f"no text in {path}: its texts end in {' or '.join(ENDINGS)}")
    if not path.is_file():
        raise read.unknown(path, known)
    return [path]


def of_file(file: Path, done: Counter) -> Iterator[str]:
    """The blocks of a file between its blank lines, or, if there is only one, its lines; one at a time.

    Raises: ValueError if it is no text, or empty.
    """
    kind, block, any_text = encoding(file), [], False
    by_blocks = has_blocks(file, kind)
    done.update(["windows-1252"] * (kind == "cp1252"))
    with open(file, encoding=kind, errors="replace", newline="") as lines:
        for line in lines:
            any_text |= not blank(line)
            if by_blocks and not blank(line):
                block.append(line)
            elif not blank(line):
                yield line
            elif block:
                yield "".join(block)
                block = []
    if block:
        yield "".join(block)
    if not any_text:
        raise read.empty(file)


def has_blocks(file: Path, kind: str) -> bool:
    """Whether a blank line stands between two that are not."""
    seen = 0                                            # 1: text, 2: text and a blank line
    with open(file, encoding=kind, errors="replace", newline="") as lines:
        for line in lines:
            if seen == 2 and not blank(line):
                return True
            seen = 2 if seen and blank(line) else seen or int(not blank(line))
    return False


def blank(line: str) -> bool:
    return not line.strip("\ufeff \t\r\n")


def encoding(file: Path) -> str:
    """UTF-16 if the file says so; Windows-1252 if nothing beyond ASCII in its start is UTF-8; else UTF-8.

    Raises: ValueError if the file holds zero bytes, as no text does.
    """
    with open(file, "rb") as opened:
        start = opened.read(LOOK)
    if start[:2] in (b"\xff\xfe", b"\xfe\xff"):
        return "utf-16"
    if b"\0" in start:
        raise ValueError(f"{file} is no text: it holds zero bytes; save it as plain text in UTF-8")
    beyond = not start.isascii() and start.decode(errors="ignore").isascii()
    return "cp1252" if beyond else "utf-8"


def pieces(docs: Iterable[str], length: int = 1_000) -> Iterator[str]:
    """Documents cut into pieces of at most this many characters, where a sentence or a word ends."""
    cut = re.compile(rf"(?s).{{1,{length}}}(?:(?<=[.!?…\n])\s+|$)|.{{1,{length}}}(?:\s+|$)|.{{1,{length}}}")
    for doc in docs:
        yield from (piece for found in cut.findall(doc) if (piece := found.strip()))


def divisible(docs: Iterable[str]) -> Iterator[str]:
    """The documents in a form of which some can be held out: cut to pieces if they are few or very long."""
    docs = iter(docs)
    first = list(islice(docs, FEW))
    return pieces(first) if len(first) < FEW else pieces(chain(first, docs), LONG)
