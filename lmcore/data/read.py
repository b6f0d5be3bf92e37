"""From files to documents: lines, blocks, articles, tables; and the reader's own text, with plain errors."""
import csv
import hashlib
import json
import re
from pathlib import Path

from lmcore.data.files import near

SHARES = (80, 10, 10)                                   # percent for train, val, test


def lines(text: str) -> list[str]:
    return [line for line in text.split("\n") if line.strip()]


def blocks(text: str) -> list[str]:
    """Pieces between blank lines."""
    return [block.strip() for block in re.split(r"\n[ \t]*\n", text) if block.strip()]


def articles(text: str) -> list[str]:
    """Pieces two blank lines apart; one blank line separates the paragraphs or stanzas of a piece."""
    return [article.strip() for article in text.split("\n\n\n") if article.strip()]


def wikitext(text: str) -> list[str]:
    """Articles of WikiText: each begins with ` = Title = ` and a blank line, which formulas lack."""
    pieces = re.split(r"^(?= = [^=\n]+ = \n \n)", text, flags=re.M)
    return [piece.strip() for piece in pieces if piece.strip()]


def table(file: Path) -> list[dict]:
    """The rows of a .json, .jsonl or .tsv file as dictionaries."""
    text = file.read_bytes().decode()
    if file.suffix == ".jsonl":
        return [json.loads(line) for line in lines(text)]
    if file.suffix == ".tsv":
        return list(csv.DictReader(lines(text), delimiter="\t", quoting=csv.QUOTE_NONE))
    rows = json.loads(text)
    if isinstance(rows, dict):                          # the SQuAD form: articles, each with its paragraphs
        return [paragraph for article in rows["data"] for paragraph in article["paragraphs"]]
    return rows


def own_text(file: Path, known: list[str]) -> list[str]:
    """A reader's file as documents: one a line, or, if it has blank lines, the blocks between them.

    Raises: FileNotFoundError, IsADirectoryError, or ValueError if the file is empty or not UTF-8.
    """
    if file.is_dir():
        raise IsADirectoryError(f"{file} is a folder; give one text file, such as {file / 'my.txt'}")
    if not file.is_file():
        raise unknown(file, known)
    text = decode(file).replace("\r\n", "\n").replace("\r", "\n").strip()
    if not text:
        raise empty(file)
    found = blocks(text)
    return found if len(found) > 1 else [line.strip() for line in lines(text)]


def unknown(file: Path, known: list[str]) -> FileNotFoundError:
    """That there is neither such a file nor a data set of that name; names like it are offered."""
    beside = [other.name for other in file.parent.iterdir()] if file.parent.is_dir() else []
    return FileNotFoundError(f"no data set and no file {str(file)!r}{near(file.name, known + beside)}")


def empty(file: Path) -> ValueError:
    return ValueError(f"{file} is empty; put one document on each line, or blank lines between documents")


def decode(file: Path) -> str:
    """The text of a UTF-8 file, without the mark some editors put before it.

    Raises: ValueError that names the first bad byte, its line, and the likely encoding.
    """
    content = file.read_bytes()
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content[:error.start].count(b"\n") + 1
        likely = "UTF-16" if content[:2] in (b"\xff\xfe", b"\xfe\xff") else "WINDOWS-1252"
        raise ValueError(f"{file} is not UTF-8: byte {error.start}, in line {line}, is "
                         f"0x{content[error.start]:02x}; save it as UTF-8 in your editor, or, if it is "
                         f"{likely}, run: iconv -f {likely} -t UTF-8 {file.name} > utf8.txt") from None


def part_of(doc: str, shares: tuple[int, ...] = SHARES) -> str:
    """The part a document belongs to: a function of its content alone, so no shuffle can change it.

    The first 8 bytes of its sha256 are a number that falls anywhere with equal chance.

    Units:  shares in percent, of train, val and (if three) test.
    """
    number = int.from_bytes(hashlib.sha256(doc.encode()).digest()[:8]) * 100 // 2**64   # 0 ... 99
    if number < shares[0]:
        return "train"
    return "val" if number < shares[0] + shares[1] else "test"
