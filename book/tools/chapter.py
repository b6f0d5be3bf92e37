"""What a chapter's notebook says: its inputs, its prose, its claims, and which outputs vary between runs."""
import hashlib
import json
import re
import tomllib
from dataclasses import dataclass
from pathlib import Path

import jupytext
from jupytext.config import load_jupytext_config
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = ROOT / "chapters"
KEPT = ("tags", "mystnb", "lmcore")         # the cell metadata that chapters use; all else is dropped

PICTURE, IGNORE, CHECK = "picture", "nbval-ignore-output", "nbval-check-output"
PROGRESS = re.compile(r"\\r|tqdm|clear_output|display_id|update_display")
TIMING = re.compile(r"\d\s?(?:ns|[µμ]s|us|ms|secs?|seconds?|min|minutes?|hours?)\b"
                    r"|\d\s?s(?=[,;.)\]]|\s*$|\s+[^\d\s])|/(?:s|sec|second)\b|\d+%\||\b\d?\d:\d\d\b", re.M)
CLAIM = re.compile(r"^(?P<name>.*?) (?P<value>[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?)(?P<unit>[^\d]*)"
                   r" · book (?P<book>[-+]?[\d.,]+(?:e[-+]?\d+)?) ± (?P<tol>\S+)(?P<verdict>.*)$", re.M)
DATA = re.compile(r"\b(?:load|splits|path|available)\(\s*[\"']([^\"']+)[\"']")
ASIDE = re.compile(r"^(?:> ?|[-*] |\d+\. )*\*\*(?:Question|Next)\b")     # looks ahead: terms may come early

SETUP = '''# Does nothing where the course's package is installed
import importlib.util
import os
if importlib.util.find_spec("lmcore") is None:
    source = os.environ.get("LMCORE_SOURCE", "git+{repository}@{ref}")
    %pip install -q "lmcore @ {{source}}"
    importlib.invalidate_caches()
import lmcore as lm'''


@dataclass(frozen=True)
class Chapter:
    stem: str               # 01_bigrams
    nb: NotebookNode

    @property
    def number(self) -> str:
        return self.stem[:2]


def paths(numbers: list[str] = ()) -> list[Path]:
    """The chapters' notebooks in order, written or still only a text; only those numbered if any is given."""
    found = [*CHAPTERS.glob("[0-9][0-9]_*.ipynb"), *CHAPTERS.glob("text/[0-9][0-9]_*.md")]
    stems = sorted({p.stem for p in found})
    if missing := set(numbers) - {stem[:2] for stem in stems}:
        raise SystemExit(f"no chapter numbered {', '.join(sorted(missing))} in chapters/ or chapters/text/")
    return [CHAPTERS / f"{stem}.ipynb" for stem in stems if not numbers or stem[:2] in numbers]


def twin_of(path: Path) -> Path:
    return path.parent / "text" / f"{path.stem}.md"


def twin_text(nb: NotebookNode) -> str:
    """The text twin of a notebook, the very text that JupyterLab writes when it saves."""
    return jupytext.writes(nb, fmt="md:myst", config=load_jupytext_config(str(CHAPTERS / "any.ipynb")))


def repository() -> tuple[str, str]:
    """The address and the ref that links and set-up cells are stamped with (`make badges`)."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    return project["project"]["urls"]["Repository"], project["tool"]["course"]["ref"]


def setup_cell() -> str:
    """The one cell that makes a notebook work alone, on Colab for instance."""
    address, ref = repository()
    return SETUP.format(repository=address, ref=ref)


def inputs(nb: NotebookNode) -> list:
    """All that an author writes, cell by cell: type, source, metadata. Outputs, counts and ids left out."""
    return [(c.cell_type, c.source.rstrip(), {k: c.metadata[k] for k in KEPT if c.metadata.get(k)})
            for c in nb.cells]


def digest(thing: object) -> str:
    """A short hash; the repository's name and ref, which a fork stamps anew, do not enter it."""
    address, ref = map(re.escape, repository())
    name = address.removeprefix("https://github\\.com/")
    text = json.dumps(thing, sort_keys=True, ensure_ascii=False)
    text = re.sub(rf"github(\.com)?/{name}((@|/(blob|tree|raw)/){ref})?(?![\w.-])", "REPOSITORY", text)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    return [c for c in nb.cells if c.cell_type == "code" and c.source.strip()]


def code_hash(nb: NotebookNode) -> str:
    return digest([c.source.rstrip() for c in code_cells(nb)])


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def texts(cell: NotebookNode) -> list[str]:
    """Every text among a code cell's outputs, in order."""
    found = []
    for out in cell.get("outputs", []):
        data = out.get("data", {})
        found += [out.get("text", "")] + [str(v) for k, v in data.items() if k.startswith("text/")]
    return [t for t in found if t]


def pictures(cell: NotebookNode) -> int:
    return sum(k.startswith("image/") for out in cell.get("outputs", []) for k in out.get("data", {}))


def claims(nb: NotebookNode) -> list[re.Match]:
    """The lines that `lm.expect` printed, taken apart: name, value, unit, book, tol, verdict."""
    return [m for c in code_cells(nb) for t in texts(c) for m in CLAIM.finditer(t)]


def volatile_tags(cell: NotebookNode) -> set[str]:
    """The tags of a code cell whose outputs vary between runs; nbval-check-output says that they do not."""
    if CHECK in tags(cell):
        return set()
    lines = "\n".join(line for t in texts(cell) for line in t.splitlines() if " · book " not in line)
    moving = bool(lines) and (PROGRESS.search(cell.source) or TIMING.search(lines))
    return ({PICTURE} if pictures(cell) else set()) | ({IGNORE} if moving else set())


def missing_data(cells: list[NotebookNode]) -> list[str]:
    """For each code cell the data that it needs and cannot have, "" if none.

    A cell tagged needs-data names its data in a call such as `lm.data.load("shakespeare")`; one that names
    none needs what the one before it needs.
    """
    import lmcore.data

    needed, missing = [], []
    for cell in cells:
        if "needs-data" in tags(cell):
            needed = sorted(set(DATA.findall(cell.source))) or needed
            missing.append(", ".join(name for name in needed if not lmcore.data.available(name)))
        else:
            missing.append("")
    return missing


def paragraphs(markdown: str) -> list[str]:
    """The prose of a markdown cell: paragraphs, items, table rows; no headings, blocks of code, formulas."""
    text = re.sub(r"^(`{3,}|~{3,}).*?^\1\s*$|<(svg|style|script)\b.*?</\2>|<!--.*?-->|\$\$.*?\$\$", "",
                  markdown, flags=re.M | re.S)
    text = re.sub(r"^ *(?:#+ .*|:{3,}.*|[-*_]{3,} *)$", "\n", text, flags=re.M)
    text = re.sub(r"</?\w[^>]*>", " ", text)
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*+] |\d+[.)] |\|))", text)
    return [" ".join(block.split()) for block in blocks if block.strip()]


def plain(paragraph: str) -> str:
    """A paragraph's words alone: no code, formula, link or mark of emphasis."""
    code, formula, link = r"(`+)[^`].*?\1", r"(?<![\\$])\$[^$]+\$", r"!?\[[^\]]*\]\([^)]*\)|<?https?://\S+"
    return re.sub(rf"{code}|{formula}|{link}|\*+", " ", paragraph)
