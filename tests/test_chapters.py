"""Every chapter keeps to form, size and stored outputs; and each check finds the fault planted for it."""
import re
import statistics
from collections.abc import Iterator

import chapter as ch
import course
import nbformat
import pytest
from glossary import LOOKING_AHEAD
from nbformat.v4 import new_markdown_cell, new_output

FREE = (*LOOKING_AHEAD, "21")                       # no budget: the start, the manual, the history
BUDGET = {                                          # lowest and highest
    "cells": (40, 140), "words": (1200, 3500), "code lines": (1, 400), "median lines of a code cell": (1, 7),
    "nine tenths of code cells up to": (1, 22), "longest code cell": (1, 40), "code cells in a row": (1, 3),
    "H1": (1, 1), "H2": (5, 14), "deeper than H3": (0, 0), "percent of code cells with output": (60, 100),
    "longest output": (0, 15), "figures": (3, 8), "largest figure KB": (0, 60), "file KB": (1, 400),
    "words per code line": (4, 12), "widest code": (1, 76), "claims": (5, 999)}
LARGER = {("10", "code lines"): 600}
TAGS = {ch.PICTURE, ch.IGNORE, ch.CHECK, "needs-data", "draft", "setup", "raises-exception", "hide-input",
        "hide-output", "remove-input", "remove-cell"}
CLOSING = ["What we know now", "What didn't help", "Exercises", "Your own text", "Sources"]
MISSED = ("≠ book", "✗ ", "Skipped:")
MACHINE = re.compile(r"(?<![\w.])/(?:home|root|tmp|work|Users|mnt|content)/")


def lines(cell) -> list[str]:
    return [line for line in cell.source.splitlines() if line.strip()]


def prose(chapter: ch.Chapter) -> str:
    return "\n\n".join(c.source for c in chapter.nb.cells if c.cell_type == "markdown")


def headings(chapter: ch.Chapter, level: int) -> list[str]:
    text = re.sub(r"^```.*?^```", "", prose(chapter), flags=re.M | re.S)
    return re.findall(rf"^#{{{level}}} +(?:[\d.]+ +)?(.+)$", text, re.M)


def measured(chapter: ch.Chapter) -> dict[str, float]:
    code = ch.code_cells(chapter.nb)
    sizes = [len(lines(c)) for c in code]
    kinds = "".join(c.cell_type[0] for c in chapter.nb.cells)
    words = len(re.findall(r"\w+", prose(chapter)))
    images = [len(v) * 3 / 4000 for c in code for out in c.outputs for k, v in out.get("data", {}).items()
              if k.startswith("image/")]
    shown = [sum(len(t.splitlines()) for t in ch.texts(c)) for c in code]
    wide = [len(line) for c in code if "setup" not in ch.tags(c) for line in lines(c)]
    return {
        "cells": len(kinds), "words": words, "code lines": sum(sizes),
        "median lines of a code cell": statistics.median(sizes),
        "nine tenths of code cells up to": sorted(sizes)[int(0.9 * (len(sizes) - 1))],
        "longest code cell": max(sizes), "code cells in a row": max(map(len, re.findall("c+", kinds))),
        "H1": len(headings(chapter, 1)), "H2": len(headings(chapter, 2)),
        "deeper than H3": len(headings(chapter, 4)),
        "percent of code cells with output": 100 * sum(bool(c.outputs) for c in code) / len(code),
        "longest output": max(shown), "figures": len(images), "largest figure KB": max(images, default=0),
        "file KB": len(nbformat.writes(chapter.nb)) / 1000, "words per code line": words / sum(sizes),
        "widest code": max(wide), "claims": len(ch.claims(chapter.nb))}


def outside_budget(chapter: ch.Chapter) -> Iterator[str]:
    for what, value in measured(chapter).items() if chapter.number not in FREE else ():
        low, high = BUDGET[what]
        high = LARGER.get((chapter.number, what), high)
        if not low <= value <= high:
            yield f"{what}: {value:g}, and {low} to {high} is the budget"


def over_time(chapter: ch.Chapter) -> Iterator[str]:
    allowed = {c.slug: c.minutes for c in course.CHAPTERS}
    took = chapter.nb.metadata.get("lmcore", {}).get("minutes")
    if chapter.stem not in allowed:
        yield "book/chapters.toml has no such chapter"
    elif took is None or took > allowed[chapter.stem]:
        yield f"recorded {took} minutes of {allowed[chapter.stem]}"


def not_run(chapter: ch.Chapter) -> Iterator[str]:
    counts = [c.execution_count for c in ch.code_cells(chapter.nb)]
    if counts != list(range(1, len(counts) + 1)):
        yield f"counts {counts}: run it from top to bottom, `make run CH={chapter.number}`"
    if chapter.nb.metadata.get("lmcore", {}).get("code") != ch.code_hash(chapter.nb):
        yield f"the code is not the code that was run: `make run CH={chapter.number}`"


def bad_outputs(chapter: ch.Chapter) -> Iterator[str]:
    for cell in ch.code_cells(chapter.nb):
        said = "\n".join(ch.texts(cell))
        yield from (f"stored output has {sign!r}: {said[:60]}" for sign in MISSED if sign in said)
        if found := MACHINE.search(said):
            yield f"stored output names a place of one machine: {said[found.start():][:60]}"
        if found := re.search(r"\b0x[0-9a-f]{6,}", said):
            yield f"stored output shows an address in memory, which every run changes: {found[0]}"
        for out in cell.outputs:
            if out.output_type == "error" and "raises-exception" not in ch.tags(cell):
                yield f"stored error {out.ename}"
            if any("widget" in kind for kind in out.get("data", {})):
                yield "a widget needs another host: use plain text"
            if re.search(r"(?:src|href)=[\"']https?:", out.get("data", {}).get("text/html", "")):
                yield "HTML output loads from another host"


def bad_tags(chapter: ch.Chapter) -> Iterator[str]:
    for cell in chapter.nb.cells:
        yield from (f"unknown tag {tag!r}" for tag in set(ch.tags(cell)) - TAGS)
        if "NBVAL_" in cell.source:
            yield "say it by a tag, not by an NBVAL comment"
        if cell.cell_type == "code" and (untagged := ch.volatile_tags(cell) - set(ch.tags(cell))):
            yield f"output varies between runs, tag {untagged} is missing: {cell.source[:40]!r}"


def bad_opening(chapter: ch.Chapter) -> Iterator[str]:
    code, first, second = ch.code_cells(chapter.nb), *(c.source for c in chapter.nb.cells[:2])
    setup = next((c for c in code if c.source == ch.setup_cell() and "setup" in ch.tags(c)), None)
    if setup is None or code[0] is not setup:
        yield "the first code cell is the set-up cell of book/tools/chapter.py, tagged setup"
    if chapter.number in LOOKING_AHEAD:
        return
    if not (first.startswith("# ") and "\n**Question.**" in first):
        yield "cell 1 has the title and a bold **Question.**"
    if not re.search(r"^\|.*need.*\|.*build.*\|(.*\n)+\|.*\bhours?\b", first, re.M | re.I):
        yield "cell 1 has a table: what you need, what you will build, hours"
    if "model so far" not in second.lower():
        yield "cell 2 is the diagram *The model so far*"
    if chapter.nb.cells[2] is not setup or not re.search("^(import|from) ", chapter.nb.cells[3].source, re.M):
        yield "cell 3 is the set-up, cell 4 the other imports"


def bad_closing(chapter: ch.Chapter) -> Iterator[str]:
    if chapter.number in LOOKING_AHEAD:
        return
    text = prose(chapter)
    if headings(chapter, 2)[-len(CLOSING):] != CLOSING:
        yield f"the last sections are {', '.join(CLOSING)}"
    if not re.search(r"^TEXT = ", "\n".join(c.source for c in ch.code_cells(chapter.nb)), re.M):
        yield "one line, TEXT = ..., points the chapter at the reader's own text"
    exercises, solutions = text.count(":::{exercise}"), text.count("<summary>Solution")
    if not 4 <= exercises <= 8 or solutions < exercises - 1:
        yield f"{exercises} exercises, {solutions} folded solutions: 4 to 8, and only the last may stay open"
    last = text.rpartition("\n## ")[2]
    if "](http" not in last or not re.search(r"^\*\*Next.*\?", last, re.M):
        yield "Sources has links, and a line **Next.** with the next chapter's question"


CHECKS = [outside_budget, over_time, not_run, bad_outputs, bad_tags, bad_opening, bad_closing]


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_a_chapter_keeps_the_rules(chapter: ch.Chapter, check):
    found = list(check(chapter))
    assert not found, "\n".join(found)


def said(chapter: ch.Chapter, at: int, words: str, **tags) -> None:
    chapter.nb.cells[at].update(outputs=[new_output("stream", text=words)], **tags)


def replaced(chapter: ch.Chapter, at: int, old: str, new: str) -> None:
    assert old in chapter.nb.cells[at].source
    chapter.nb.cells[at].source = chapter.nb.cells[at].source.replace(old, new)


FAULTS = {
    "a line too wide": (outside_budget, lambda c: replaced(c, 5, "n0", "n" * 77)),
    "a long output": (outside_budget, lambda c: said(c, 5, "1\n" * 16)),
    "a long cell": (outside_budget, lambda c: replaced(c, 5, "print", "x = 1\n" * 40 + "print")),
    "a deep heading": (outside_budget, lambda c: replaced(c, 4, "## ", "#### ")),
    "four code cells in a row": (outside_budget, lambda c: [c.nb.cells.pop(i) for i in (8, 6, 4)]),
    "few words": (outside_budget, lambda c: [cell.update(source="Words.") for cell in c.nb.cells[12:40:2]]),
    "no claims": (outside_budget, lambda c: [said(c, i, "2.4541 nats") for i in (9, 15, 21, 27)]),
    "too slow": (over_time, lambda c: c.nb.metadata.lmcore.update(minutes=9.5)),
    "no record": (over_time, lambda c: c.nb.metadata.pop("lmcore")),
    "stale output": (not_run, lambda c: replaced(c, 5, "n += 1", "n += 2")),
    "a cell run twice": (not_run, lambda c: c.nb.cells[5].update(execution_count=40)),
    "a cell not run": (not_run, lambda c: c.nb.cells[5].update(execution_count=None)),
    "a claim that missed": (bad_outputs, lambda c: said(c, 5, "loss 3.1 · book 2.1 ± 0.1 ≠ book")),
    "data was missing": (bad_outputs, lambda c: said(c, 5, "Skipped: x.txt is not on this machine.")),
    "a path of one machine": (bad_outputs, lambda c: said(c, 5, "saved /home" + "/me/model.pt")),
    "an address in memory": (bad_outputs, lambda c: said(c, 5, "<Table at 0x7f00aa12bc>")),
    "a stored error": (bad_outputs, lambda c: c.nb.cells[5].update(
        outputs=[new_output("error", ename="NameError", evalue="", traceback=[])])),
    "a widget": (bad_outputs, lambda c: c.nb.cells[5].update(
        outputs=[new_output("display_data", data={"application/vnd.jupyter.widget-view+json": {}})])),
    "untagged timing": (bad_tags, lambda c: said(c, 5, "trained in 3.2 s")),
    "untagged time of day": (bad_tags, lambda c: said(c, 5, "began at 12:31")),
    "untagged speed": (bad_tags, lambda c: said(c, 5, "12,000 tokens/s")),
    "untagged progress": (bad_tags, lambda c: replaced(c, 5, "print(", 'print("\\r", ')),
    "an untagged picture": (bad_tags, lambda c: c.nb.cells[7].metadata.pop("tags")),
    "an unknown tag": (bad_tags, lambda c: c.nb.cells[5].metadata.update(tags=["nbval-skip"])),
    "another set-up cell": (bad_opening, lambda c: replaced(c, 2, "-q ", "")),
    "torch before lmcore": (bad_opening, lambda c: c.nb.cells.insert(2, c.nb.cells.pop(3))),
    "no question": (bad_opening, lambda c: replaced(c, 0, "**Question.**", "Question.")),
    "no diagram": (bad_opening, lambda c: c.nb.cells[1].update(source="Pairs.")),
    "no hours": (bad_opening, lambda c: replaced(c, 0, "2 hours", "2")),
    "imports come late": (bad_opening, lambda c: c.nb.cells.insert(3, new_markdown_cell("Words."))),
    "sections out of order": (bad_closing, lambda c: replaced(c, -2, "TEXT", "FILE")),
    "no section on failure": (bad_closing, lambda c: replaced(c, -4, "What didn't help", "What helped")),
    "a solution missing": (bad_closing, lambda c: replaced(c, -4, "Solution", "Answer")),
    "no next question": (bad_closing, lambda c: replaced(c, -1, "**Next.**", "")),
}


@pytest.mark.parametrize("check, fault", FAULTS.values(), ids=FAULTS)
def test_a_planted_fault_is_found(sample: ch.Chapter, check, fault):
    assert list(check(sample)) == []
    fault(sample)
    assert list(check(sample))
