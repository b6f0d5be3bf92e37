"""Make the editions of a chapter's exercises from their one source, NN_name.md.

The tag of a cell says whose it is:
    given    everybody's, restored before grading (the chapter's set-up cell is put before the first of them)
    variant  draws texts and numbers by `seed`; everybody gets what it drew, the names in capitals
    answer   the student's: what stands between ### BEGIN SOLUTION and ### END SOLUTION is cut. A cell to be
             mended has lines `### BUG n: code` there: the student gets bug n, where n is the variant's `bug`
    check    shown to students, one point          hidden  held back until grading, one point
    wrong    a typical wrong answer; its first line, `# hint: …`, begins the hint it must get
    remark   text for instructors
`<<NAME>>` stands for what the variant cell drew. An exercise begins with a heading `## n. Title`.
"""
import pprint
import re
from contextlib import redirect_stdout
from pathlib import Path

import jupytext
import torch
from nbformat import NotebookNode
from nbformat.v4 import new_markdown_cell

import lmcore

HERE = Path(__file__).parent
EVERYBODY = ("given", "variant", "answer", "check", "hidden")
LABELS = {"answer": "your answer", "check": "a check", "hidden": "hidden tests, run when it is graded"}
HEADING = re.compile(r"^## (\d+)\. (.+)$", re.M)
REGION = re.compile(r"^ *### BEGIN SOLUTION\n(.*?)^ *### END SOLUTION\n?", re.M | re.S)
BUG = re.compile(r"^( *)### BUG (\d+): ?(.*)\n", re.M)


def source_of(chapter: str) -> Path:
    """The source of a chapter's exercises, by its number ("01") or its name ("01_bigrams").

    Raises: SystemExit if there is none.
    """
    found = [p for p in sorted(HERE.glob("[0-9][0-9]_*.md")) if p.stem == chapter or p.stem[:2] == chapter]
    if not found:
        raise SystemExit(f"no exercises for chapter {chapter!r} in {HERE}")
    return found[0]


def kind(cell: NotebookNode) -> str:
    """The one tag of a cell, "text" for text that everybody gets.

    Raises: ValueError if a code cell has another tag, or none.
    """
    tag = " ".join(cell.metadata.get("tags", []))
    if cell.cell_type == "markdown":
        return "remark" if tag == "remark" else "text"
    if tag not in (*EVERYBODY, "wrong"):
        raise ValueError(f"tag {tag!r} is not one of {', '.join(EVERYBODY)}, wrong: {cell.source[:60]!r}")
    return tag


def exercises(nb: NotebookNode) -> dict[int, str]:
    """Number and title of each exercise of a notebook, in order."""
    texts = (cell.source for cell in nb.cells if cell.cell_type == "markdown")
    return {int(n): title for text in texts for n, title in HEADING.findall(text)}


def numbered(nb: NotebookNode) -> list[tuple[int, str, NotebookNode]]:
    """Each cell with its kind and the number of its exercise, 0 before the first."""
    number, rows = 0, []
    for cell in nb.cells:
        heads = HEADING.findall(cell.source) if cell.cell_type == "markdown" else []
        number = int(heads[-1][0]) if heads else number
        rows.append((number, kind(cell), cell))
    return rows


def full(chapter: str, seed: int) -> NotebookNode:
    """Everything in the source, with the names and numbers of this seed."""
    path = source_of(chapter)
    nb = jupytext.read(path)
    drawn = draw(nb, seed)
    setup = next(c for c in jupytext.read(HERE.parent / "text" / path.name).cells
                 if "setup" in c.metadata.get("tags", []))
    setup.metadata.tags = ["given"]
    nb.cells.insert(1, setup)
    for i, (number, what, cell) in enumerate(numbered(nb)):
        cell.id = f"cell-{i}"
        if what == "answer":
            cell.source = with_bug(cell.source, drawn.get("bug", 0))
        if what in LABELS:
            cell.source = f"# Exercise {number}: {LABELS[what]}\n{cell.source}"
        cell.source = re.sub(r"<<(\w+)>>", lambda m: written(drawn[m[1]]), cell.source)
    nb.metadata = {"kernelspec": nb.metadata.kernelspec, "lmcore": {"exercises": path.stem, "seed": seed}}
    return nb


def draw(nb: NotebookNode, seed: int) -> dict[str, object]:
    """Run the variant cells, the line `seed = …` changed, and put what each drew in its place."""
    space: dict[str, object] = {"lm": lmcore}
    for _, what, cell in numbered(nb):
        if what == "given":
            with redirect_stdout(None):
                exec(cell.source, space)
        if what == "variant":
            before = dict(space)
            exec(re.sub(r"^seed = .*", f"seed = {seed}", cell.source), space)
            new = {k: v for k, v in space.items() if k.isupper() and before.get(k) is not v}
            cell.source = f"# Edition {seed}\n" + literals(new)
    return space


def literals(drawn: dict[str, object]) -> str:
    """Assignments of the names in capitals: these a student sees, the others stay in the source."""
    return "\n".join(f"{name} = {literal(plain(value), len(name) + 3)}" for name, value in drawn.items())


def literal(value: object, indent: int) -> str:
    if isinstance(value, dict):
        return "{\n" + "".join(f"    {k!r}:\n        {literal(v, 8)},\n" for k, v in value.items()) + "}"
    return pprint.pformat(value, width=76 - indent, compact=True).replace("\n", "\n" + " " * indent)


def plain(value: object) -> object:
    """Without tensors and endless decimals: what can be written down."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items()}
    if isinstance(value, torch.Tensor):
        return plain(value.tolist())
    if isinstance(value, list | tuple):
        return [plain(v) for v in value]
    return round(value, 6) if isinstance(value, float) else value


def written(value: object) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def with_bug(source: str, bug: int) -> str:
    """Keep of the planted bugs only this one; where it is not, the right lines are no solution but given."""
    if not BUG.search(source):
        return source
    pick = lambda m: f"{m[1]}### BUG: {m[3]}\n" if int(m[2]) == bug else ""
    keep = lambda m: m[0] if "### BUG: " in m[0] else m[1]
    return REGION.sub(keep, BUG.sub(pick, source))


def planted(source: str) -> str:
    """The cell as a student gets it who is to find the bug."""
    line = re.compile(r"^( *)### BUG: (.*\n)", re.M)
    return REGION.sub(lambda m: "".join(map("".join, line.findall(m[1]))), source)


def solved(chapter: str, seed: int) -> NotebookNode:
    """The edition that scores all points: nbgrader's source, in nbgrader's own metadata and markers."""
    nb = full(chapter, seed)
    nb.cells = [cell for cell in nb.cells if kind(cell) not in ("wrong", "remark")]
    for i, (number, what, cell) in enumerate(numbered(nb)):
        cell.metadata.pop("tags", None)
        if what == "text":
            continue
        if what == "hidden":
            label, body = cell.source.split("\n", 1)
            cell.source = f"{label}\n### BEGIN HIDDEN TESTS\n{body}\n### END HIDDEN TESTS"
        points = {"points": 1} if what in ("check", "hidden") else {}
        place = "" if what in LABELS else f"-{i}"       # given and variant cells may be several
        cell.metadata["nbgrader"] = {
            "schema_version": 3, "task": False, "grade": bool(points), "solution": what == "answer", **points,
            "locked": what != "answer", "grade_id": f"{what}-{number}{place}"}
    return nb


def instructor(chapter: str, seed: int) -> NotebookNode:
    """Solutions, hidden tests, remarks, and the typical wrong answers with the hints they get."""
    nb = full(chapter, seed)
    for i, cell in enumerate(nb.cells):
        if kind(cell) == "wrong":
            hint, code = cell.source.removeprefix("# hint: ").split("\n", 1)
            text = f"A wrong answer, whose hint begins “{hint}”:\n\n```python\n{code}\n```"
            nb.cells[i] = new_markdown_cell(text, id=cell.id)
    return nb
