"""Every number in the prose is measured on the page or has a source; no term comes before its definition."""
import math
import re
from collections.abc import Iterator
from itertools import chain

import chapter as ch
import glossary
import nbformat
import pytest

DECIMAL = re.compile(r"(?<![\w.])-?\d[\d,]*\.\d+(?![\w]|\.\d)")
SOURCE = re.compile(r"\]\((?:https?:|[^)]*data/)|<https?:")
WRITTEN = [ch.Chapter(p.stem, nbformat.read(p, 4)) for p in ch.paths() if p.exists()]


def unproved(chapter: ch.Chapter) -> Iterator[str]:
    """Decimals of the prose that no `expect` line of the chapter shows, in paragraphs without a source."""
    books = [float(m["book"].replace(",", "")) for m in ch.claims(chapter.nb)]
    for cell in glossary.prose_cells(chapter):
        for paragraph in ch.paragraphs(cell.source):
            for number in DECIMAL.findall(ch.plain(paragraph)) if not SOURCE.search(paragraph) else ():
                if not any(rounds_to(book, number) for book in books):
                    yield f"{number} in {paragraph[:60]!r}"


def rounds_to(book: float, number: str) -> bool:
    """Whether a number, as written, is the book's to as many places as it has."""
    places = len(number.partition(".")[2])
    return math.isclose(book, float(number.replace(",", "")), rel_tol=0, abs_tol=0.5000001 * 10**-places)


def too_early(chapter: ch.Chapter, term: glossary.Term) -> list[str]:
    return [f"{term.name!r}, defined in {term.chapter}, is used in {chapter.stem}: {s[:60]!r}"
            for s in glossary.uses(term, chapter)]


def defined_twice(terms: list[glossary.Term]) -> list[str]:
    names = [t.name.lower() for t in terms]
    return sorted({name for name in names if names.count(name) > 1})


def test_every_decimal_in_the_prose_is_a_claim_or_has_a_source(chapter: ch.Chapter):
    found = list(unproved(chapter))
    assert not found, "\n".join(found)


def test_no_term_is_used_before_the_chapter_that_defines_it():
    faults = [too_early(c, t) for t in glossary.terms(WRITTEN) for c in WRITTEN if c.stem < t.chapter]
    assert list(chain(*faults)) == []


def test_every_term_is_bold_once():
    assert defined_twice(glossary.terms(WRITTEN)) == []


@pytest.mark.parametrize("sentence, caught", [
    ("The pair scores 2.46 nats.", True),                           # an edited number
    ("The pair scores 2.4 nats.", True),                            # 2.454 is 2.5 to one place
    ("- The pair scores -2.45 nats.", True),
    ("| pair | 3.14 |", True),
    ("The pair scores 2.45 nats, or 2.5, or 2.4540.", False),
    ("In `x = 3.14`, $3.14$ and [a book of 3.14](https://example.org).", False),
    ("Others found 3.14 ([Shannon](https://example.org)).", False),
    ("Others found 3.14 ([what the pair scores](#scores)).", True),
    ("## 3.14 A heading\n\n```python\n3.14\n```\n$$3.14$$", False),
    ("Version 2.13.0 has 27 symbols and 32,033 names.", False),
])
def test_a_number_without_proof_is_found(sample: ch.Chapter, sentence: str, caught: bool):
    assert not list(unproved(sample))
    sample.nb.cells[10].source = sentence
    assert bool(list(unproved(sample))) == caught


@pytest.mark.parametrize("sentence, caught", [
    ("A learning rate is small.", True),
    ("Two *learning-rates* are small.", True),
    ("Two Learning\nRates are small.", True),
    ("- an item with learning rates", True),
    ("A rate of learning; `learning rate`; $learning rate$; [learning rate](https://example.org).", False),
    ("**Question.** What is a learning rate?", False),
    ("**Next.** How to choose a learning rate?", False),
    ("At the school's learning rate, pupils learn.", False),         # listed as a plain sense
])
def test_a_term_used_too_early_is_found(sample: ch.Chapter, sentence: str, caught: bool):
    later = ch.Chapter("02_backprop", nbformat.v4.new_notebook(cells=[nbformat.v4.new_markdown_cell(
        "A step is scaled by the **learning rate**, a small number.",
        metadata={"lmcore": {"plain": ["the school's learning rate"]}})]))
    [term] = glossary.terms([later])
    assert term.sentence == "A step is scaled by the **learning rate**, a small number."
    sample.nb.cells[10].source = sentence
    assert bool(too_early(sample, term)) == caught


def test_what_is_bold_for_another_reason_is_no_term(sample: ch.Chapter):
    sample.nb.cells[10].source = "**Question.** Why?\n\n**Write it.** Then **run, read:** it\n\n| **a** |"
    assert "a" not in {t.name for t in glossary.terms([sample])}
    assert len(glossary.terms([sample])) == 6                       # term a ... term f of the sample


def test_a_term_defined_twice_is_found(sample: ch.Chapter):
    terms = glossary.terms([sample])
    assert not defined_twice(terms)
    assert defined_twice([*terms, terms[0]])
