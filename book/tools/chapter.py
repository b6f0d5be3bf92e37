"""What a chapter's notebook says: its inputs, its prose, its claims, and which outputs differ from run to run."""
import hashlib
import json
import re
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
    return hashlib.sha256(json.dumps(thing, sort_keys=True).encode()).hexdigest()[:16]


def code_hash(nb: NotebookNode) -> str:
    return digest([c.source.rstrip() for c in code_cells(nb)])


def texts(cell: NotebookNode) -> list[str]:
    """Every text of a code cell's outputs that a reader sees, in order."""
    found = []
    for out in cell.get("outputs", []):
        data = out.get("data", {})
        found += [out.get("text", "")] + [str(v) for k, v in data.items() if k.startswith("text/")]
    return [t for t in found if t]


def has_picture(cell: NotebookNode) -> bool:
    return any(k.startswith("image/") for out in cell.get("outputs", []) for k in out.get("data", {}))


def volatile_tags(cell: NotebookNode) -> set[str]:
    """The tags that a code cell needs because its outputs differ from run to run: the rule, not a hand, sets them."""
    if CHECK in tags(cell):
        return set()
    lines = "\n".join(line for text in texts(cell) for line in text.splitlines() if " · book " not in line)
    moving = bool(lines) and (PROGRESS.search(cell.source) or TIMING.search(lines))
    return ({PICTURE} if has_picture(cell) else set()) | ({IGNORE} if moving else set())


def claims(nb: NotebookNode) -> list[re.Match]:
    """The lines that `lm.expect` printed, taken apart: name, value, unit, book, tol, verdict."""
    return [m for c in code_cells(nb) for t in texts(c) for m in CLAIM.finditer(t)]
