"""Gather the sources of the book in book/_build/src: the pages of book/, the chapters, what is made of them.

A page may hold {{ name }} for each name in `made`. A chapter gets a line under its title (Colab, download,
run time) and, where it stored its table of pairs, a figure to be touched. Notebooks are read, never run.
"""
import json
import re
import shutil
from pathlib import Path

import badges
import chapter as ch
import course
import glossary
import nbformat
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
BOOK, CHAPTERS, BUILD = ROOT / "book", ROOT / "chapters", ROOT / "book/_build"


def chapter(path: Path) -> NotebookNode:
    """A chapter as the book shows it."""
    nb = nbformat.read(path, 4)
    title, rest = (nb.cells[0].source + "\n").split("\n", 1)
    minutes = nb.metadata.get("lmcore", {}).get("minutes")
    nb.cells[0].source = f"{title}\n\n{bar(path.stem, minutes)}\n\n{rest}"
    for cell in nb.cells:
        for out in cell.get("outputs", []):
            if course.PAIRS in out.get("data", {}):
                out["data"] = {"text/html": touchable(out["data"][course.PAIRS])}
                cell.metadata["tags"] = [*cell.metadata.get("tags", []), "remove-input"]
    return nb


def bar(slug: str, minutes: float | None) -> str:
    """The line under a chapter's title. The time is that of the run which stored the outputs."""
    repo, ref = badges.stamped()
    colab = f"https://colab.research.google.com/github/{repo}/blob/{ref}/chapters/{slug}.ipynb"
    time = f"<span>ran in {minutes:g} min on one CPU thread</span>" if minutes else ""
    return (f'<p class="chapter-bar"><a href="{colab}">Open in Colab</a>'
            f'<a href="notebooks/{slug}.ipynb" download>Download</a>{time}</p>')


def touchable(table: dict) -> str:
    data = json.dumps(table, ensure_ascii=False, separators=(",", ":")).replace("<", "\\u003c")
    return (f'<div class="touchable"><script type="application/json">{data}</script>'
            "<noscript><p>With scripts on, the table can be touched here.</p></noscript></div>")


def exercises(notebooks: list[Path]) -> str:
    """The practice exercises of each chapter, by title."""
    lines = []
    for path in notebooks:
        text = "\n".join(c.source for c in nbformat.read(path, 4).cells if c.cell_type == "markdown")
        titles = re.findall(r"^:::+\{exercise\} *(.+)$", text, re.M)
        title = re.search(r"^# (.+)$", text, re.M)
        if titles:
            lines.append(f"[{title[1]}]({path.name}#exercises)\n: " + " · ".join(titles) + "\n")
    return "\n".join(lines) or "The first chapter's are on their way."


def terms(notebooks: list[Path]) -> str:
    """The glossary: each term, the sentence that defines it, and where that stands."""
    found = glossary.terms(ch.Chapter(p.stem, nbformat.read(p, 4)) for p in notebooks)
    place = lambda t: f"[chapter {t.chapter[:2]}]({t.chapter}.ipynb)"
    return "\n".join(f"{t.name}\n: {t.sentence} {place(t)}\n" for t in found)


def made(notebooks: list[Path]) -> dict[str, str]:
    """What pages can ask for by {{ name }}."""
    return {
        "chapters": "\n".join(p.stem for p in notebooks),
        "map": course.map_html(), "graph": course.graph_svg(), "leaves": course.leaves(),
        "objectives": course.objectives(), "videos": course.videos(),
        "six": course.syllabus("six"), "twelve": course.syllabus("twelve"),
        "exercises": exercises(notebooks), "glossary": terms(notebooks),
        "repository": badges.stamped()[0], "ref": badges.stamped()[1], "playlist": course.PLAYLIST,
    }


def fill(text: str, values: dict[str, str]) -> str:
    """Raises: KeyError if a page asks for a name that nobody makes."""
    return re.sub(r"\{\{ (\w+) \}\}", lambda m: values[m[1]], text)


def sources() -> dict[str, str]:
    """Every file of the book's source, by name."""
    notebooks = sorted(CHAPTERS.glob("[0-9][0-9]_*.ipynb"))
    values = made(notebooks)
    pages = {p.name: fill(p.read_text(encoding="utf-8"), values) for p in sorted(BOOK.glob("*.md"))}
    return pages | {p.name: nbformat.writes(chapter(p)) for p in notebooks}


def place(folder: Path, files: dict[str, str]) -> None:
    """Make folder hold these files and no others; what has not changed stays, so that Sphinx can skip it."""
    folder.mkdir(parents=True, exist_ok=True)
    for old in folder.iterdir():
        if old.name not in files:
            old.unlink()
    for name, text in files.items():
        if not (folder / name).exists() or (folder / name).read_text(encoding="utf-8") != text:
            (folder / name).write_text(text, encoding="utf-8")


def main() -> None:
    files = sources()
    if (BUILD / "src").exists() and {p.name for p in (BUILD / "src").iterdir()} != set(files):
        shutil.rmtree(BUILD / "html", ignore_errors=True)          # a page has come or gone
    place(BUILD / "src", files)
    originals = {p.name: p.read_text(encoding="utf-8") for p in CHAPTERS.glob("[0-9][0-9]_*.ipynb")}
    place(BUILD / "extra/notebooks", originals)


if __name__ == "__main__":
    main()
