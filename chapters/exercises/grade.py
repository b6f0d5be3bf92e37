"""Editions of the exercises, and grading, with nbgrader underneath.

    make student    [SEED=7] [CH=01]                       build/exercises/student/NN_name.ipynb
    make instructor [SEED=7] [CH=01]                       build/exercises/instructor/NN_name.ipynb
    make grade SUBMISSIONS=folder [SEED=7] [CH=01]         build/grades/NN_name/grades.csv, pages/, nbgrader/

A submission is folder/STUDENT.ipynb or folder/STUDENT/any.ipynb. Submissions are code: book/grading.md says
what that means.
"""
import argparse
import csv
import os
import re
import shutil
import sys
import warnings
from pathlib import Path

import nbformat
from editions import HERE, exercises, instructor, planted, solved, source_of
from nbformat import NotebookNode
from nbformat.v4 import new_notebook
from nbgrader.api import Gradebook
from nbgrader.apps.api import NbGraderAPI
from nbgrader.converters import GenerateAssignment
from nbgrader.preprocessors import ClearSolutions, LimitOutput, SaveAutoGrades
from pages import Row, page, said
from sandbox import Sandbox, walls
from traitlets.config import Config

warnings.filterwarnings("ignore", module="nbgrader")        # its SQLAlchemy is an older one's
# nbgrader calls alembic, which is beside this Python
os.environ["PATH"] = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
BUILD = HERE.parents[1] / "build"


class CutSolutions(ClearSolutions):
    """nbgrader's step, which cuts solutions, but a cell to be mended keeps its planted bug."""

    def _replace_solution_region(self, cell: NotebookNode, language: str) -> bool:
        if "### BUG: " not in cell.source:
            return super()._replace_solution_region(cell, language)
        cell.source = planted(cell.source)
        return True


def course(root: Path, seconds: int = 30) -> NbGraderAPI:
    """An nbgrader course in a folder of its own, with our two steps in place of nbgrader's."""
    steps = GenerateAssignment.preprocessors.default()
    c = Config()
    c.CourseDirectory.root = str(root)
    c.GenerateAssignment.preprocessors = [CutSolutions if s is ClearSolutions else s for s in steps]
    c.ClearSolutions.code_stub = {"python": 'raise NotImplementedError("your answer goes here")'}
    c.Autograde.autograde_preprocessors = [Sandbox, LimitOutput, SaveAutoGrades]
    c.Sandbox.timeout, c.Sandbox.total, c.Sandbox.hidden = seconds, 20 * seconds, root
    return NbGraderAPI(config=c)


def released(api: NbGraderAPI, chapter: str, seed: int) -> NotebookNode:
    """The student edition; the course then holds what grading puts back."""
    root = Path(api.coursedir.root)
    source = root / "source" / chapter / f"{chapter}.ipynb"
    source.parent.mkdir(parents=True, exist_ok=True)
    nbformat.write(solved(chapter, seed), source)
    done = api.generate_assignment(chapter)
    if not done["success"]:
        raise RuntimeError(f"nbgrader could not make the student edition of {chapter}:\n{done['log']}")
    return nbformat.read(root / "release" / chapter / source.name, as_version=4)


def student(chapter: str, seed: int, folder: Path) -> NotebookNode:
    """Made in a folder that is thrown away."""
    try:
        return released(course(folder / "nbgrader"), chapter, seed)
    finally:
        shutil.rmtree(folder / "nbgrader", ignore_errors=True)


def found(folder: Path) -> dict[str, Path]:
    """Each student's notebook, by the name of the file or of the folder that it is in.

    Raises: SystemExit if there is none, or two of one student.
    """
    notebooks: dict[str, Path] = {}
    for path in sorted([*folder.glob("*.ipynb"), *folder.glob("*/*.ipynb")]):
        name = path.stem if path.parent == folder else path.parent.name
        if name in notebooks:
            raise SystemExit(f"two notebooks of {name}: {notebooks[name]} and {path}; keep one")
        notebooks[name] = path
    if not notebooks:
        raise SystemExit(f"no notebooks in {folder}: wanted STUDENT.ipynb or STUDENT/any.ipynb there")
    return notebooks


def grade_id(cell: NotebookNode) -> str:
    return cell.metadata.get("nbgrader", {}).get("grade_id", "")


def restored(submission: NotebookNode, release: NotebookNode) -> NotebookNode:
    """The submission with everything that is not the student's as it was, at its place.

    Editors lose metadata and people delete cells: an answer is known by its id, else by its first line.
    """
    first = lambda cell: cell.source.split("\n", 1)[0]
    exercise = lambda cell: grade_id(cell).split("-")[1]
    ours = {grade_id(cell): cell for cell in release.cells if grade_id(cell)}
    label = {first(cell): cell for i, cell in ours.items() if i.startswith("answer")}
    locked = [cell for i, cell in ours.items() if not i.startswith("answer")]
    cells = [cell for cell in locked if exercise(cell) == "0"]
    theirs = [(cell, ours.get(grade_id(cell)) or label.get(first(cell))) for cell in submission.cells]
    last = {grade_id(known): place for place, (_, known) in enumerate(theirs) if known}
    for place, (cell, known) in enumerate(theirs):
        if known in locked:
            continue
        cell.metadata = known.metadata if known and last[grade_id(known)] == place else {}
        cells.append(cell)
        if cell.metadata:
            cells += [check for check in locked if exercise(check) == exercise(known)]
    cells += [check for check in locked if check not in cells]
    for place, cell in enumerate(cells):
        cell.id = f"cell-{place}"
    return new_notebook(cells=cells, metadata=release.metadata)


def grade_one(api: NbGraderAPI, chapter: str, name: str, path: Path, release: NotebookNode) -> str:
    """Grade one submission; what went wrong, if anything did."""
    try:
        submission = nbformat.read(path, as_version=4)
        nb = restored(submission, release)
    except Exception as problem:
        return f"not a notebook that can be read: {problem!s:.100}"
    copy = Path(api.coursedir.root) / "submitted" / name / chapter / f"{chapter}.ipynb"
    copy.parent.mkdir(parents=True)
    nbformat.write(nb, copy)
    done = api.autograde(chapter, name)
    said = (done.get("error") or done.get("log") or "no reason given").strip().splitlines()
    return "" if done["success"] else f"could not be graded: {said[-1]}"


def rows(api: NbGraderAPI, chapter: str, name: str, release: NotebookNode) -> list[Row]:
    """What became of each exercise of one submission, by nbgrader's gradebook and the notebook it ran."""
    path = Path(api.coursedir.root) / "autograded" / name / chapter / f"{chapter}.ipynb"
    nb = nbformat.read(path, as_version=4) if path.exists() else release
    cells = {grade_id(cell): cell for cell in nb.cells}
    with Gradebook(api.coursedir.db_url) as book:
        grades = book.find_submission_notebook(chapter, chapter, name).grades if path.exists() else []
        points = {g.name: g.score for g in grades}
    table = []
    for n, title in exercises(release).items():
        ids = [i for i in (f"check-{n}", f"hidden-{n}") if i in cells]
        answer = cells[f"answer-{n}"].source if path.exists() and f"answer-{n}" in cells else ""
        table.append(Row(f"{n}. {title}", sum(points.get(i, 0) for i in ids), float(len(ids)),
                      [said(cells[i]) if path.exists() else "not graded" for i in ids], answer))
    return table


def grade(chapter: str, seed: int, submissions: Path, folder: Path, seconds: int = 30) -> Path:
    """Grade a folder of submissions; the path of the CSV."""
    notebooks = found(submissions)
    root, pages = folder.resolve() / "nbgrader", folder / "pages"
    for made in (root, pages):
        shutil.rmtree(made, ignore_errors=True)
    pages.mkdir(parents=True)
    api = course(root, seconds)
    release = released(api, chapter, seed)
    title = re.search("^# (.+)", "\n".join(cell.source for cell in release.cells), re.M)[1]
    lines = [["student", "points", "of", *map(str, exercises(release)), "note"]]
    for name, path in notebooks.items():
        note = grade_one(api, chapter, name, path, release)
        table = rows(api, chapter, name, release)
        (pages / f"{name}.html").write_text(page(name, title, table, note), encoding="utf-8")
        points, most = [row.points for row in table], sum(row.of for row in table)
        lines.append([name, *(f"{p:g}" for p in [sum(points), most, *points]), note])
        print(f"{name:20} {sum(points):g} of {most:g}  {note}".rstrip(), flush=True)
    with open(folder / "grades.csv", "w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(lines)
    return folder / "grades.csv"


def make_editions(what: str, chapters: list[str], seed: int) -> None:
    folder = BUILD / "exercises" / what
    folder.mkdir(parents=True, exist_ok=True)
    for chapter in chapters:
        nb = student(chapter, seed, folder) if what == "student" else instructor(chapter, seed)
        nbformat.write(nb, folder / f"{chapter}.ipynb")
        print(os.path.relpath(folder / f"{chapter}.ipynb"))


def main() -> None:
    as_written = argparse.RawDescriptionHelpFormatter
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=as_written)
    parser.add_argument("what", choices=["student", "instructor", "grade"])
    parser.add_argument("submissions", nargs="?", type=Path, help="the folder to grade")
    parser.add_argument("--chapter", help="its number or name; default: all, for grading 01")
    parser.add_argument("--seed", type=int, default=1, help="the edition: its names, numbers, bug")
    parser.add_argument("--seconds", type=int, default=30, help="time limit of one cell")
    args = parser.parse_args()
    if args.what != "grade":
        sources = [source_of(args.chapter)] if args.chapter else sorted(HERE.glob("[0-9][0-9]_*.md"))
        return make_editions(args.what, [path.stem for path in sources], args.seed)
    if args.submissions is None or not args.submissions.is_dir():
        sys.exit(f"no folder {args.submissions or ''}: say `make grade SUBMISSIONS=folder`")
    if not walls(BUILD.parent):
        print("Submissions run with all your rights: bubblewrap does not work here (see book/grading.md).")
    chapter = source_of(args.chapter or "01").stem
    table = grade(chapter, args.seed, args.submissions, BUILD / "grades" / chapter, args.seconds)
    print(os.path.relpath(table))


if __name__ == "__main__":
    main()
