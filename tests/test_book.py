"""The book's sources: one table of chapters, the pages made of it, nothing from elsewhere."""
import json
import re
from pathlib import Path

import assemble
import course
import nbformat
import pytest
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from pybtex.database import parse_file
from sphinxcontrib import katex

import lmcore

ROOT = Path(__file__).resolve().parents[1]
BOOK = ROOT / "book"
NOTEBOOKS = sorted((ROOT / "chapters").glob("[0-9][0-9]_*.ipynb"))
TABLE = {"symbols": ["•", "a", "<"], "counts": [[0, 2, 1], [2, 0, 0], [0, 0, 1]]}


def headings(nb: nbformat.NotebookNode) -> list[str]:
    text = "\n".join(c.source for c in nb.cells if c.cell_type == "markdown")
    return re.findall(r"^# .+", text, re.M)


def sample() -> nbformat.NotebookNode:
    """A chapter of three cells that stores its table of pairs."""
    data = {"text/plain": "the table", course.PAIRS: TABLE}
    nb = new_notebook(cells=[new_markdown_cell("# 7. A title\n\nWords."), new_code_cell("1 + 1"),
                             new_code_cell("display(t)", outputs=[new_output("display_data", data)])])
    nb.metadata["lmcore"] = {"minutes": 0.4}
    return nb


def test_chapters_are_numbered_from_zero_and_build_on_earlier_ones():
    assert [c.number for c in course.CHAPTERS] == list(range(len(course.CHAPTERS)))
    assert not [c.slug for c in course.CHAPTERS for n in c.needs if not 0 <= n < c.number]


def test_every_notebook_is_in_the_table_under_its_own_title():
    slugs = {c.slug: c for c in course.CHAPTERS}
    for path in NOTEBOOKS:
        assert path.stem in slugs, f"{path.name} is not in book/chapters.toml"
        wanted = f"# {slugs[path.stem].number}. {slugs[path.stem].title}"
        assert headings(nbformat.read(path, 4))[:1] == [wanted], "chapter and book/chapters.toml differ"


@pytest.mark.parametrize("kind", ["six", "twelve"])
def test_a_syllabus_teaches_nothing_before_what_it_builds_on(kind: str):
    week = {c.number: getattr(c, kind) for c in course.CHAPTERS if getattr(c, kind)}
    assert set(week.values()) == set(range(1, {"six": 6, "twelve": 12}[kind] + 1))
    early = [(c.number, n) for c in course.CHAPTERS if c.number in week for n in c.needs
             if week.get(n, 99) > week[c.number]]
    assert not early, f"chapter, and what it needs but comes later or never: {early}"


def test_the_syllabus_shows_every_hour():
    totals = [float(h) for h in re.findall(r"\| ([\d.]+) h \|", course.syllabus("twelve"))]
    assert sum(totals) == sum(c.hours for c in course.CHAPTERS if c.twelve)


def test_maps_in_other_files_are_todays():
    for path in [ROOT / "README.md", *sorted((ROOT / "chapters").glob("text/*.md")), *NOTEBOOKS]:
        text = path.read_text(encoding="utf-8")
        if path.suffix == ".ipynb":
            text = "\n".join(c.source for c in nbformat.read(path, 4).cells)
        for mark in course.MARKED.finditer(text):
            assert mark[2].strip() == course.map_table(), f"{path.name}: run `make sync`"


def test_the_map_links_what_is_written_and_only_that():
    linked = set(re.findall(r'href="(\w+)\.html"', course.map_html()))
    assert linked == {p.stem for p in NOTEBOOKS}
    assert course.map_html().count("<li ") == len(course.CHAPTERS)
    assert course.map_html().count(">planned<") == len(course.CHAPTERS) - len(linked)


def test_the_drawing_has_a_box_for_each_chapter_and_a_line_for_each_need():
    svg = course.graph_svg()
    assert svg.count("<rect") == len(course.CHAPTERS)
    assert svg.count("<path") == sum(len(c.needs) for c in course.CHAPTERS)
    assert "4 needs 2 and 3" in svg


def test_the_letters_of_the_notation_page_are_those_of_the_package():
    legend = lmcore.__doc__[lmcore.__doc__.index("Letters:"):]
    page = (BOOK / "notation.md").read_text(encoding="utf-8")
    assert re.findall(r"^\| `([A-Z])` \|", page, re.M) == re.findall(r"\b([A-Z]) [a-z]", legend)


def test_papers_that_chapters_link_stand_in_the_bibliography():
    listed = {e.fields.get("url") for e in parse_file(BOOK / "references.bib").entries.values()}
    paper = r"https?://(?:doi\.org|arxiv\.org|aclanthology\.org|\w+\.jmlr\.org)/[^\s)\]]+"
    for path in NOTEBOOKS:
        text = "\n".join(c.source for c in nbformat.read(path, 4).cells)
        missing = sorted(set(re.findall(paper, text)) - listed)
        assert not missing, f"{path.name} links papers that book/references.bib lacks: {missing}"


def test_every_reference_has_an_author_a_year_and_one_link():
    entries = parse_file(BOOK / "references.bib").entries
    for key, entry in entries.items():
        assert entry.persons.get("author") and entry.fields.get("year") and entry.fields.get("url"), key
    links = [e.fields["url"] for e in entries.values()]
    assert len(set(links)) == len(links)


def test_the_style_of_formulas_is_of_the_version_that_sets_them():
    sheet = (BOOK / "_static/katex/katex.min.css").read_text(encoding="utf-8")
    assert f'content:"{katex.katex_version}"' in sheet


STYLES = sorted(p.relative_to(BOOK) for p in (BOOK / "_static").rglob("*.css"))


@pytest.mark.parametrize("path", STYLES, ids=str)
def test_what_a_style_sheet_asks_for_lies_beside_it(path: Path):
    sheet = (BOOK / path).read_text(encoding="utf-8")
    for url in re.findall(r"url\(([^)]+)\)", sheet):
        assert ((BOOK / path).parent / url.strip("\"'")).is_file(), url
    assert "@import" not in sheet


def test_fonts_and_formulas_carry_their_licences():
    assert "SIL Open Font License" in (BOOK / "_static/fonts/LICENSE").read_text(encoding="utf-8")
    assert "MIT" in (BOOK / "_static/katex/LICENSE").read_text(encoding="utf-8")


def test_a_stored_table_becomes_the_figure_that_can_be_touched(tmp_path: Path):
    nbformat.write(sample(), tmp_path / "07_sample.ipynb")
    nb = assemble.chapter(tmp_path / "07_sample.ipynb")
    html = nb.cells[2].outputs[0]["data"]["text/html"]
    assert json.loads(re.search(r"<script[^>]*>(.*?)</script>", html)[1]) == TABLE
    assert nb.cells[2].metadata["tags"] == ["remove-input"]
    assert nb.cells[1].metadata.get("tags") is None
    assert course.PAIRS not in nbformat.writes(nb)


def test_a_chapter_says_how_long_it_ran_and_where_else_it_opens(tmp_path: Path):
    nbformat.write(sample(), tmp_path / "07_sample.ipynb")
    title, _, bar, *rest = assemble.chapter(tmp_path / "07_sample.ipynb").cells[0].source.split("\n")
    assert (title, "".join(rest)) == ("# 7. A title", "Words.")
    assert "ran in 0.4 min" in bar and "colab.research.google.com/github/" in bar
    assert 'href="notebooks/07_sample.ipynb"' in bar


def test_the_front_picture_is_strongest_where_a_pair_is_likeliest():
    squares = {(int(y), int(x)): float(o) for x, y, o in
               re.findall(r'<rect x="(\d)" y="(\d)" .*? opacity="([\d.]+)"', course.pairs_svg(TABLE))}
    assert squares == {(0, 1): 0.82, (0, 2): 0.58, (1, 0): 1.0, (2, 2): 1.0}


def test_the_front_picture_shows_the_counts_of_the_chapter():
    if table := course.stored_pairs():
        picture = (BOOK / "_static/pairs.svg").read_text(encoding="utf-8")
        assert picture == course.pairs_svg(table), "run `make sync`"


def test_a_page_that_asks_for_what_nobody_makes_is_refused():
    assert assemble.fill("{{ a }} {b}", {"a": "1"}) == "1 {b}"
    with pytest.raises(KeyError, match="nothing"):
        assemble.fill("{{ nothing }}", {})


def test_every_page_is_in_the_table_of_contents():
    index = assemble.sources()["index.md"]
    entries = re.findall(r"^(\w+)$", "\n".join(re.findall(r"```\{toctree\}(.*?)```", index, re.S)), re.M)
    assert sorted(entries) == sorted(Path(name).stem for name in assemble.sources() if name != "index.md")


def test_placing_files_removes_old_ones_and_leaves_the_unchanged(tmp_path: Path):
    assemble.place(tmp_path / "src", {"a": "1", "b": "2"})
    before = (tmp_path / "src/b").stat().st_mtime_ns
    assemble.place(tmp_path / "src", {"b": "2", "c": "3"})
    assert sorted(p.name for p in (tmp_path / "src").iterdir()) == ["b", "c"]
    assert (tmp_path / "src/b").stat().st_mtime_ns == before


@pytest.mark.parametrize("page", sorted(p.name for p in BOOK.glob("*.md")))
def test_a_page_loads_nothing_from_another_host(page: str):
    text = (BOOK / page).read_text(encoding="utf-8")
    assert not re.search(r"""(?:src|srcset)=["']?(?:https?:)?//|!\[[^\]]*\]\(https?:|<link|@import""", text)
