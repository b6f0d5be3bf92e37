"""The terms that the chapters define: bold where defined, and the sentence is the definition.

A term's chapter may list phrases in which its word is used in a plain sense before, in the metadata of the cell
that defines it: {"lmcore": {"plain": ["at the head of"]}}.
"""
import re
from collections.abc import Iterable
from dataclasses import dataclass

from nbformat import NotebookNode

import chapter as ch

TERM = re.compile(r"\*\*([^\W\d_](?:[\w'’-]| (?! ))*[\w)])\*\*")        # no full stop or colon: those are run-in heads
LOOKING_AHEAD = ("00", "20")                                    # chapters that may name what comes


@dataclass(frozen=True)
class Term:
    name: str
    sentence: str                   # markdown; it defines the term
    chapter: str                    # stem of the notebook
    plain: tuple[str, ...] = ()     # phrases with the word in its everyday sense


def defined_in(stem: str, nb: NotebookNode) -> list[Term]:
    """The terms that one chapter defines, in order."""
    found = []
    for cell in nb.cells:
        if cell.cell_type == "markdown":
            senses = tuple(dict(cell.metadata.get("lmcore") or {}).get("plain", ()))
            found += [Term(" ".join(m[1].split()), sentence, stem, senses)
                      for paragraph in ch.paragraphs(cell.source) if not paragraph.startswith("|")
                      for sentence in sentences(paragraph) for m in TERM.finditer(sentence)]
    return found


def sentences(paragraph: str) -> list[str]:
    paragraph = re.sub(r"^(?:[-*+]|\d+[.)]) ", "", paragraph)
    return re.split(r"(?<=[.?!:])(?<!e\.g\.)(?<!i\.e\.) +(?=[A-Z*“\"(])", paragraph)


def terms(chapters: Iterable[tuple[str, NotebookNode]]) -> list[Term]:
    """All terms of the chapters (stem, notebook), in the order of the alphabet, as the glossary page lists them."""
    found = [t for stem, nb in chapters if stem[:2] not in LOOKING_AHEAD for t in defined_in(stem, nb)]
    return sorted(found, key=lambda t: t.name.lower())


def uses(term: Term, stem: str, nb: NotebookNode) -> list[str]:
    """The sentences of a chapter's prose that use a term; what looks ahead (`**Question`, `**Next`) is left out."""
    if stem[:2] in LOOKING_AHEAD:
        return []
    word = re.compile(r"\b" + re.escape(term.name).replace(r"\ ", r"[\s-]") + r"(?:s|es)?\b", re.I)
    senses = re.compile("|".join(map(re.escape, term.plain)) or r"(?!)", re.I)
    return [sentence for cell in nb.cells if cell.cell_type == "markdown"
            for paragraph in ch.paragraphs(cell.source) if not ch.ASIDE.match(paragraph)
            for sentence in sentences(ch.plain(paragraph)) if word.search(senses.sub(" ", sentence))]
