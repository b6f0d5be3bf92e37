"""The terms that the chapters define: bold where defined, and the sentence is the definition.

A cell that defines a term may list phrases in which its word stands before in a plain sense, in its
metadata: {"lmcore": {"plain": ["at the head of"]}}.
"""
import re
from collections.abc import Iterable
from dataclasses import dataclass

import chapter as ch
from nbformat import NotebookNode

TERM = re.compile(r"\*\*([^\W\d_](?:[\w'’-]| (?! ))*[\w)])\*\*")   # bold that ends in a stop is no term
LOOKING_AHEAD = ("00", "20")                                        # chapters that may name what comes


@dataclass(frozen=True)
class Term:
    name: str
    sentence: str                   # markdown; it defines the term
    chapter: str                    # stem of the notebook
    plain: tuple[str, ...] = ()     # phrases with the word in its everyday sense


def terms(chapters: Iterable[ch.Chapter]) -> list[Term]:
    """All terms of the chapters, in the order of the alphabet, as the glossary page lists them."""
    found = [t for chapter in chapters if chapter.number not in LOOKING_AHEAD for t in defined_in(chapter)]
    return sorted(found, key=lambda t: t.name.lower())


def defined_in(chapter: ch.Chapter) -> list[Term]:
    """The terms that one chapter defines, in order."""
    found = []
    for cell in prose_cells(chapter):
        senses = tuple(dict(cell.metadata.get("lmcore") or {}).get("plain", ()))
        found += [Term(m[1], sentence, chapter.stem, senses)
                  for paragraph in ch.paragraphs(cell.source) if not paragraph.startswith("|")
                  for sentence in sentences(paragraph) for m in TERM.finditer(sentence)]
    return found


def uses(term: Term, chapter: ch.Chapter) -> list[str]:
    """The sentences of a chapter's prose that use a term, but `**Question` and `**Next`, which look ahead."""
    if chapter.number in LOOKING_AHEAD:
        return []
    word = re.compile(r"\b" + re.escape(term.name).replace(r"\ ", r"[\s-]") + r"(?:s|es)?\b", re.I)
    senses = re.compile("|".join(map(re.escape, term.plain)) or r"(?!)", re.I)
    return [sentence for cell in prose_cells(chapter)
            for paragraph in ch.paragraphs(cell.source) if not ch.ASIDE.match(paragraph)
            for sentence in sentences(ch.plain(paragraph)) if word.search(senses.sub(" ", sentence))]


def prose_cells(chapter: ch.Chapter) -> list[NotebookNode]:
    return [cell for cell in chapter.nb.cells if cell.cell_type == "markdown"]


def sentences(paragraph: str) -> list[str]:
    """The sentences of a paragraph, without the mark of a list item."""
    paragraph = re.sub(r"^(?:[-*+]|\d+[.)]) ", "", paragraph)
    return re.split(r"(?<=[.?!])(?<!e\.g\.)(?<!i\.e\.) +(?=[A-Z*“\"(])", paragraph)
