"""The chapters of the course, read from book/chapters.toml, and every table, map and drawing made of them.

    python book/tools/course.py      refresh what other files show of them: the map between <!-- map --> and
                                     <!-- /map --> in README and chapters, the picture book/_static/pairs.svg
"""
import math
import re
import tomllib
from dataclasses import dataclass
from functools import cached_property
from html import escape
from itertools import groupby
from pathlib import Path

import nbformat

ROOT = Path(__file__).resolve().parents[2]
TABLE = tomllib.loads((ROOT / "book/chapters.toml").read_text(encoding="utf-8"))
PLAYLIST = TABLE["playlist"]
MARKED = re.compile(r"(<!-- map -->\n)(.*?)(<!-- /map -->)", re.S)
PAIRS = "application/vnd.lmcore.pairs+json"     # {"symbols": [...], "counts": [[...]]}, the border first
WIDTH = 440             # of the drawing of what depends on what


@dataclass(frozen=True, kw_only=True)
class Chapter:
    number: int
    name: str
    title: str
    part: str
    question: str
    objectives: list[str]
    hours: float            # of a person's time
    minutes: float          # budget, of one thread of a two-core machine
    needs: list[int]        # numbers of the chapters it builds on
    videos: list[str]       # titles in the playlist
    six: int | None = None  # week in the six-week syllabus
    twelve: int | None = None

    @property
    def slug(self) -> str:
        return f"{self.number:02d}_{self.name}"

    @property
    def available(self) -> bool:
        return (ROOT / "chapters" / f"{self.slug}.ipynb").exists()

    @cached_property
    def took(self) -> int:
        """Minutes of the recorded run, rounded up; 0 if there is none."""
        if not self.available:
            return 0
        nb = nbformat.read(ROOT / "chapters" / f"{self.slug}.ipynb", 4)
        return math.ceil(nb.metadata.get("lmcore", {}).get("minutes", 0))


CHAPTERS = [Chapter(**row) for row in TABLE["chapter"]]


def hours(value: float) -> str:
    return f"{value:g} h"


def table(head: list[str], rows: list[list[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def map_table() -> str:
    """The map for chapter 00 and the README: every chapter, its question, its times and what it needs."""
    return table(["", "chapter", "the question", "hours", "runs in", "builds on", ""],
                 [[f"{c.number:02d}", c.title, c.question, f"{c.hours:g}".replace("0.5", "½"),
                   f"{c.took} min" if c.took else "", ", ".join(f"{n:02d}" for n in c.needs) or "–",
                   "available" if c.available else "planned"] for c in CHAPTERS])


def map_html() -> str:
    """The map of the front page: parts, and in each the chapters with their questions."""
    out = []
    for part, chapters in groupby(CHAPTERS, key=lambda c: c.part):
        items = "\n".join(map(map_item, chapters))
        out.append(f'<h3>{escape(part)}</h3>\n<ol class="map" role="list">\n{items}\n</ol>')
    return "\n".join(out)


def map_item(c: Chapter) -> str:
    title = f'<a href="{c.slug}.html">{escape(c.title)}</a>' if c.available else escape(c.title)
    state = hours(c.hours) if c.available else "planned"
    kind = "available" if c.available else "planned"
    return (f'<li class="{kind}"><span class="no">{c.number:02d}</span>'
            f'<span class="what"><b>{title}</b> <i>{escape(c.question)}</i></span>'
            f'<span class="state">{state}</span></li>')


def objectives() -> str:
    """The instructor's table: what a student can do after each chapter, and what it takes."""
    needs = lambda c: " · builds on " + ", ".join(f"{n:02d}" for n in c.needs) if c.needs else ""
    takes = lambda c: f"{hours(c.hours)} · {c.minutes:g} min of computer{needs(c)}"
    return table(["", "after it a student can"],
                 [[f"**{c.number:02d}**", f"**{label(c)}** {'; '.join(c.objectives)}.<br>"
                   f'<span class="meta">{takes(c)}</span>'] for c in CHAPTERS])


def label(c: Chapter) -> str:
    return f"[{c.title}]({c.slug}.ipynb):" if c.available else f"{c.title} (planned):"


def videos() -> str:
    """Which lecture goes with which chapters, in the order of the chapters."""
    titles = dict.fromkeys(t for c in CHAPTERS for t in c.videos)
    chapters = lambda t: ", ".join(f"{c.number:02d} {c.title.lower()}" for c in CHAPTERS if t in c.videos)
    return table(["lecture", "goes with"], [[t, chapters(t)] for t in titles])


def syllabus(kind: str) -> str:
    """A week a row: its chapters and their hours together. kind is "six" or "twelve"."""
    placed = sorted((c for c in CHAPTERS if getattr(c, kind)), key=lambda c: (getattr(c, kind), c.number))
    rows = []
    for week, group in groupby(placed, key=lambda c: getattr(c, kind)):
        group = list(group)
        names = " · ".join(f"{c.number:02d} {c.title}" + ("" if c.available else "*") for c in group)
        rows.append([str(week), names, hours(sum(c.hours for c in group))])
    return table(["week", "chapters", "hours of work"], rows)


def leaves() -> str:
    """The chapters after the first that no other needs, in words."""
    needed = {n for c in CHAPTERS for n in c.needs}
    free = [f"{c.number:02d}" for c in CHAPTERS[1:] if c.number not in needed]
    return ", ".join(free[:-1]) + " and " + free[-1]


def graph_svg() -> str:
    """What depends on what, drawn: one row a depth, each chapter below all that it needs."""
    depth: dict[int, int] = {}
    for c in CHAPTERS:
        depth[c.number] = 1 + max((depth[n] for n in c.needs), default=-1)
    rows = [[c for c in CHAPTERS if depth[c.number] == d] for d in range(max(depth.values()) + 1)]
    at = {c.number: ((i + 0.5) * WIDTH / len(row), 18 + 50 * d) for d, row in enumerate(rows)
          for i, c in enumerate(row)}
    drawn = [edge(at[n], at[c.number]) for c in CHAPTERS for n in c.needs]
    drawn += [box(c, *at[c.number]) for c in CHAPTERS]
    words = "; ".join(f"{c.number} needs {' and '.join(map(str, c.needs))}" for c in CHAPTERS if c.needs)
    return (f'<svg class="graph" viewBox="0 0 {WIDTH} {50 * len(rows) - 14}" role="img" '
            f'aria-label="What depends on what. {words}.">\n' + "\n".join(drawn) + "\n</svg>")


def box(c: Chapter, x: float, y: float) -> str:
    name = c.name.replace("nineteen", "19").replace("_", " ")
    return (f'<g class="{"available" if c.available else "planned"}">'
            f'<rect x="{x - 52:g}" y="{y - 13:g}" width="104" height="26" rx="4"/>'
            f'<text x="{x:g}" y="{y + 4:g}">{c.number:02d} · {name}</text></g>')


def edge(a: tuple[float, float], b: tuple[float, float]) -> str:
    top, bottom = a[1] + 13, b[1] - 13
    middle = (top + bottom) / 2
    return f'<path d="M{a[0]:g} {top:g}C{a[0]:g} {middle:g} {b[0]:g} {middle:g} {b[0]:g} {bottom:g}"/>'


def stored_pairs() -> dict | None:
    """The table of pairs that the first chapter which has one stored among its outputs."""
    data = (out.get("data", {}) for path in sorted((ROOT / "chapters").glob("[0-9]*.ipynb"))
            for cell in nbformat.read(path, 4).cells for out in cell.get("outputs", []))
    return next((d[PAIRS] for d in data if PAIRS in d), None)


def pairs_svg(table: dict) -> str:
    """The picture of the front page: a row for each symbol, a square the stronger the likelier it follows."""
    symbols, side = table["symbols"], len(table["symbols"]) + 1.5
    squares = [f'<rect x="{j}" y="{i}" width=".92" height=".92" opacity="{(n / sum(row)) ** 0.5:.2f}"/>'
               for i, row in enumerate(table["counts"]) for j, n in enumerate(row) if n > 0.001 * sum(row)]
    letters = [f'<text x="{x:g}" y="{y:g}">{escape(s)}</text>' for i, s in enumerate(symbols)
               for x, y in [(i + 0.46, -0.4), (-0.6, i + 0.7)]]
    style = 'fill="#767676" font-family="sans-serif" font-size=".72" text-anchor="middle"'
    box = f'viewBox="-1.4 -1.4 {side} {side}"'
    return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {box} fill="#2b87c9">', *squares,
                      f"<g {style}>", *letters, "</g>", "</svg>", ""])


def main() -> None:
    files = {ROOT / "book/_static/pairs.svg": pairs_svg(table)} if (table := stored_pairs()) else {}
    for path in [ROOT / "README.md", *sorted((ROOT / "chapters/text").glob("*.md"))]:
        text = path.read_text(encoding="utf-8")
        files[path] = MARKED.sub(lambda m: f"{m[1]}\n{map_table()}\n\n{m[3]}", text)
    for path, text in files.items():
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
            print(f"course: refreshed {path.relative_to(ROOT)}")


if __name__ == "__main__":
    main()
