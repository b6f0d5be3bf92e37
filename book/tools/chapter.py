"""What a chapter's notebook says: its inputs, its prose, its claims, and which outputs differ from run to run."""
import hashlib
import json
import re
import tomllib
from pathlib import Path

import jupytext
from jupytext.config import load_jupytext_config
from nbformat import NotebookNode

ROOT = Path(__file__).resolve().parents[2]
CHAPTERS = ROOT / "chapters"
TWINS = CHAPTERS / "text"
KEPT = ("tags", "mystnb", "lmcore")         # the cell metadata that chapters use; all else is dropped

PICTURE, IGNORE, CHECK = "picture", "nbval-ignore-output", "nbval-check-output"
PROGRESS = re.compile(r"\\r|tqdm|clear_output|display_id|update_display")
TIMING = re.compile(r"\d\s?(?:ns|[µμ]s|us|ms|secs?|seconds?|min|minutes?|hours?)\b"
                    r"|\d\s?s(?=[,;.)\]]|\s*$|\s+[^\d\s])|/(?:s|sec|second)\b|\d+%\|", re.M)
CLAIM = re.compile(r"^(?P<name>.*?) (?P<value>[-+]?\d[\d,]*\.?\d*(?:e[-+]?\d+)?)(?P<unit>[^\d]*)"
                   r" · book (?P<book>[-+]?[\d.,]+(?:e[-+]?\d+)?) ± (?P<tol>\S+)(?P<verdict>.*)$", re.M)


def paths(numbers: list[str] = ()) -> list[Path]:
    """The chapters' notebooks, written or still only a twin, in order; only those numbered if any is given."""
    stems = {p.stem for p in [*CHAPTERS.glob("[0-9][0-9]_*.ipynb"), *TWINS.glob("[0-9][0-9]_*.md")]}
    missing = [n for n in numbers if not any(s.startswith(f"{n}_") for s in stems)]
    if missing:
        raise SystemExit(f"no chapter numbered {', '.join(missing)} in chapters/ or chapters/text/")
    return [CHAPTERS / f"{s}.ipynb" for s in sorted(stems) if not numbers or s[:2] in numbers]


def twin_of(path: Path) -> Path:
    return path.parent / "text" / f"{path.stem}.md"


def twin_text(nb: NotebookNode) -> str:
    """The text twin of a notebook, the very text that JupyterLab writes when it saves."""
    return jupytext.writes(nb, fmt="md:myst", config=load_jupytext_config(str(CHAPTERS / "any.ipynb")))


def code_cells(nb: NotebookNode) -> list[NotebookNode]:
    return [c for c in nb.cells if c.cell_type == "code" and c.source.strip()]


def tags(cell: NotebookNode) -> list[str]:
    return cell.metadata.get("tags", [])


def inputs(nb: NotebookNode) -> list:
    """All that an author writes, cell by cell: type, source, metadata. Outputs, counts and ids left out."""
    return [(c.cell_type, c.source.rstrip(), {k: c.metadata[k] for k in KEPT if c.metadata.get(k)})
            for c in nb.cells]


def digest(thing: object) -> str:
    text = _unstamped(json.dumps(thing, sort_keys=True, ensure_ascii=False))
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def _unstamped(text: str) -> str:
    """The text without the repository's name and ref, which `make badges` may change without a new run."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))
    repo = re.escape(project["project"]["urls"]["Repository"].removeprefix("https://github.com/"))
    ref = re.escape(project["tool"]["course"]["ref"])
    return re.sub(rf"github(\.com)?/{repo}((@|/(blob|tree|raw)/){ref})?(?![\w.-])", "REPOSITORY", text)


def code_hash(nb: NotebookNode) -> str:
    return digest([c.source.rstrip() for c in code_cells(nb)])


def texts(cell: NotebookNode) -> list[str]:
    """Every text of a code cell's outputs that a reader sees, in order."""
    found = []
    for out in cell.get("outputs", []):
        data = out.get("data", {})
        found += [out.get("text", "")] + [str(v) for k, v in data.items() if k.startswith("text/")]
    return [t for t in found if t]


def pictures(cell: NotebookNode) -> int:
    return sum(k.startswith("image/") for out in cell.get("outputs", []) for k in out.get("data", {}))


def volatile_tags(cell: NotebookNode) -> set[str]:
    """The tags that a code cell needs because its outputs differ from run to run: the rule, not a hand, sets them."""
    if CHECK in tags(cell):
        return set()
    lines = "\n".join(line for text in texts(cell) for line in text.splitlines() if " · book " not in line)
    moving = bool(lines) and (PROGRESS.search(cell.source) or TIMING.search(lines))
    return ({PICTURE} if pictures(cell) else set()) | ({IGNORE} if moving else set())


ASIDE = re.compile(r"^(?:> ?|[-*] |\d+\. )*\*\*(?:Question|Next)\b")     # a look ahead: terms may come early there


def paragraphs(markdown: str) -> list[str]:
    """The prose of a markdown cell: paragraphs, items, table rows. No headings, blocks of code or of formulas."""
    text = re.sub(r"^(`{3,}|~{3,}).*?^\1\s*$|<(svg|style|script)\b.*?</\2>|<!--.*?-->|\$\$.*?\$\$", "", markdown,
                  flags=re.M | re.S)
    text = re.sub(r"^ *(?:#+ .*|:{3,}.*|[-*_]{3,} *)$", "\n", text, flags=re.M)
    text = re.sub(r"</?\w[^>]*>", " ", text)
    blocks = re.split(r"\n\s*\n|\n(?=\s*(?:[-*+] |\d+[.)] |\|))", text)
    return [" ".join(block.split()) for block in blocks if block.strip()]


def plain(paragraph: str) -> str:
    """A paragraph's words alone: no code, formula, link or mark of emphasis."""
    return re.sub(r"(`+)[^`].*?\1|(?<![\\$])\$[^$]+\$|!?\[[^\]]*\]\([^)]*\)|<?https?://\S+|\*+", " ", paragraph)


def claims(nb: NotebookNode) -> list[re.Match]:
    """The lines that `lm.expect` printed, taken apart: name, value, unit, book, tol, verdict."""
    return [m for c in code_cells(nb) for t in texts(c) for m in CLAIM.finditer(t)]


DATA = re.compile(r"\b(?:load|splits|path|available)\(\s*[\"']([^\"']+)[\"']")


def missing_data(cells: list[NotebookNode]) -> list[str]:
    """For each code cell the data it needs and cannot have, "" if none.

    A cell tagged needs-data names its data in a call such as `lm.data.load("shakespeare")`; one that names none
    needs what the one before it needs.
    """
    import lmcore.data

    needed, missing = [], []
    for cell in cells:
        if "needs-data" not in tags(cell):
            missing.append("")
            continue
        needed = DATA.findall(cell.source) or needed
        missing.append(", ".join(name for name in needed if not lmcore.data.available(name)))
    return missing
