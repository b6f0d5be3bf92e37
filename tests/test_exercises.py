"""Exercises: editions, hints, and grading with nbgrader from end to end."""
import copy
import csv
import json
import re
import socket
import sys
from contextlib import nullcontext
from pathlib import Path
from types import SimpleNamespace

import nbformat
import pytest
import torch
from IPython.core.inputtransformer2 import TransformerManager
from nbformat.v4 import new_code_cell, new_notebook

from lmcore.hints import Hint, check_answer

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "chapters" / "exercises"))
import editions  # noqa: E402
import grade  # noqa: E402
from sandbox import Sandbox, walls  # noqa: E402

CHAPTERS = [path.stem for path in sorted(editions.HERE.glob("[0-9][0-9]_*.md"))]
every_chapter = pytest.mark.parametrize("chapter", CHAPTERS)
SEED = 2
pytestmark = pytest.mark.filterwarnings("ignore:Object of type")     # nbgrader's SQLAlchemy is an older one's


def run(source: str, space: dict) -> None:
    exec(TransformerManager().transform_cell(source), space)


def parts(chapter: str, seed: int = SEED) -> dict[int, dict[str, list[str]]]:
    """The code of each exercise by kind; 0 holds what comes before the first."""
    found: dict[int, dict[str, list[str]]] = {}
    for number, what, cell in editions.numbered(editions.full(chapter, seed)):
        found.setdefault(number, {}).setdefault(what, []).append(cell.source)
    return found


def given(code: dict[str, list[str]], space: dict) -> None:
    for source in code.get("given", []) + code.get("variant", []):
        run(source, space)


def opened(chapter: str, seed: int = SEED) -> tuple[dict, dict]:
    found, space = parts(chapter, seed), {}
    for _, what, cell in editions.numbered(editions.full(chapter, seed)):
        if what in ("given", "variant"):
            run(cell.source, space)
    return found, space


@every_chapter
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_solutions_pass_all_checks_whatever_the_seed(chapter, seed):
    found, space = opened(chapter, seed)
    for code in found.values():
        given(code, space)
        for source in code.get("answer", []) + code.get("check", []) + code.get("hidden", []):
            run(source, space)


@every_chapter
def test_typical_wrong_answers_get_the_hint_that_stands_beside_them(chapter):
    found, space = opened(chapter)
    for number in editions.exercises(editions.full(chapter, SEED)):
        code = found[number]
        assert len(code["wrong"]) >= 3
        given(code, space)
        for source in code["wrong"]:
            run(source, space)
            with pytest.raises(Hint, match=re.escape(re.search("# hint: (.*)", source)[1])):
                for check in code["check"] + code["hidden"]:
                    run(check, space)


@every_chapter
def test_hidden_tests_stand_alone_and_fail_a_wrong_answer(chapter):
    found, space = opened(chapter)
    for number in editions.exercises(editions.full(chapter, SEED)):
        given(found[number], space)
        for source in found[number]["wrong"]:
            wrong = dict(space)
            run(source, wrong)
            with pytest.raises(Hint):
                run(found[number]["hidden"][0], wrong)


@every_chapter
def test_each_exercise_has_one_answer_one_check_and_one_hidden_test(chapter):
    found = parts(chapter)
    for number in editions.exercises(editions.full(chapter, SEED)):
        assert [len(found[number][what]) for what in ("answer", "check", "hidden")] == [1, 1, 1]


@every_chapter
def test_a_planted_bug_is_one_line_away_from_the_solution(chapter):
    mended = [cell.source for cell in editions.solved(chapter, SEED).cells if "### BUG: " in cell.source]
    assert mended
    for source in mended:
        bugged = editions.planted(source).splitlines()
        right = editions.REGION.sub(lambda m: editions.planted(""), source).splitlines()
        assert len(bugged) == len(right) + 1 and "###" not in "\n".join(bugged)


@every_chapter
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_a_planted_bug_runs_and_the_checks_find_it(chapter, seed):
    found, space = opened(chapter, seed)
    for code in found.values():
        given(code, space)
        for source in code.get("answer", []):
            run(editions.planted(source) if "### BUG: " in source else source, space)
            with pytest.raises(Hint) if "### BUG: " in source else nullcontext():
                for check in code["check"]:
                    run(check, space)


@every_chapter
def test_no_name_of_the_variant_is_left_open(chapter):
    assert "<<" not in "\n".join(cell.source for cell in editions.full(chapter, SEED).cells)


@every_chapter
def test_a_seed_always_makes_the_same_edition_and_another_seed_another(chapter):
    first, again, other = (nbformat.writes(editions.solved(chapter, seed)) for seed in (7, 7, 8))
    assert first == again
    assert first.replace('"seed": 7', "") != other.replace('"seed": 8', "")


@every_chapter
def test_the_instructor_edition_holds_solutions_hidden_tests_remarks_and_wrong_answers(chapter):
    text = "\n".join(cell.source for cell in editions.instructor(chapter, SEED).cells)
    for phrase in ("### BEGIN SOLUTION", "hidden tests", "For instructors", "A wrong answer"):
        assert text.count(phrase) >= 3


def test_an_unknown_tag_is_named():
    with pytest.raises(ValueError, match="tag 'chek'"):
        editions.kind(new_code_cell("x", metadata={"tags": ["chek"]}))


RIGHT = torch.tensor([[0.1, 0.2, 0.7], [0.3, 0.4, 0.3], [0.5, 0.25, 0.25]])


@pytest.mark.parametrize("answer, right, hint", [
    (RIGHT.T, RIGHT, "axis"), (-RIGHT, RIGHT, "sign"), (RIGHT / torch.tensor(2.0).log(), RIGHT, "unit"),
    (RIGHT.roll(1, -1), RIGHT, "off by one"), (RIGHT + 1, RIGHT, "off by one"),
    (RIGHT[:2], RIGHT, r"shape: yours is \(2, 3\), wanted is \(3, 3\)"), (RIGHT.log(), RIGHT, "logarithm"),
    (RIGHT * torch.nan, RIGHT, "not finite"), (RIGHT * 12, RIGHT, "12 times"), (None, RIGHT, "return"),
    ("abc", "abd", "'abc'"), (False, True, "False"), (RIGHT.sqrt(), RIGHT, "9 of 9"), (7, 5.0, "7 is wrong"),
])
def test_shared_mistakes_are_recognised(answer, right, hint):
    with pytest.raises(Hint, match=hint):
        check_answer("it", answer, right)


def test_a_hint_of_the_exercise_comes_before_a_shared_one(capsys):
    with pytest.raises(Hint, match="it: mind the order"):
        check_answer("it", -RIGHT, RIGHT, {"another": RIGHT + 2, "mind the order": -RIGHT})
    check_answer("it", RIGHT.tolist(), RIGHT, {"never": RIGHT})
    assert capsys.readouterr().out == "it ✓\n"


def answered(release, answers: dict[str, str]):
    """A student edition with these answers, by grade id, in it."""
    nb = copy.deepcopy(release)
    for cell in nb.cells:
        if (name := grade.grade_id(cell)) in answers:
            cell.source = cell.source.split("\n")[0] + "\n" + answers[name]
    return nb


LOOP = "def before(counts, add):\n    while True:\n        pass"
DELETE = """import os, shutil
from pathlib import Path
for place in [Path.cwd(), Path.home(), Path.cwd().parent, os.environ["TMPDIR"]]:
    shutil.rmtree(place, ignore_errors=True)
"""


@pytest.fixture(scope="module")
def course(tmp_path_factory) -> SimpleNamespace:
    """Chapter 01 through nbgrader, once: the student edition, and five submissions graded."""
    tmp, chapter = tmp_path_factory.mktemp("course"), "01_bigrams"
    release = grade.student(chapter, SEED, tmp)
    solved = editions.solved(chapter, SEED)
    right = {grade.grade_id(cell): cell.source.split("\n", 1)[1] for cell in solved.cells
             if grade.grade_id(cell).startswith("answer")}
    wrong = {f"answer-{n}": code["wrong"][0] for n, code in parts(chapter).items() if n}
    folder = tmp / "submissions"
    (folder / "lost").mkdir(parents=True)
    bad = {**right, "answer-1": DELETE + right["answer-1"], "answer-2": LOOP}
    for name, answers in {"bad": bad, "empty": {}, "wrong": wrong}.items():
        nbformat.write(answered(release, answers), folder / f"{name}.ipynb")
    nbformat.write(solved, folder / "Zoë O'Neil (2).ipynb")
    (folder / "lost" / "homework.ipynb").write_text("{", encoding="utf-8")
    before = {path: path.read_bytes() for path in folder.rglob("*.ipynb")}
    table = grade.grade(chapter, SEED, folder, tmp / "graded", seconds=5)
    with open(table, encoding="utf-8") as file:
        rows = {row["student"]: row for row in csv.DictReader(file)}
    pages = {path.stem: path.read_text(encoding="utf-8") for path in (tmp / "graded" / "pages").iterdir()}
    return SimpleNamespace(release=release, rows=rows, pages=pages, wrong=wrong, folder=folder, before=before)


def points(row: dict) -> list[float]:
    return [float(row[n]) for n in "12345"]


def test_the_solution_edition_scores_full_marks(course):
    assert points(course.rows["Zoë O'Neil (2)"]) == [2, 2, 2, 2, 2]
    assert course.rows["Zoë O'Neil (2)"]["points"] == course.rows["Zoë O'Neil (2)"]["of"] == "10"


def test_the_empty_student_edition_scores_zero_without_crashing(course):
    assert points(course.rows["empty"]) == [0] * 5 and not course.rows["empty"]["note"]
    assert course.pages["empty"].count("not answered yet") == 8      # the fifth is the function with the bug


def test_wrong_answers_get_their_hints_on_the_student_s_page(course):
    assert points(course.rows["wrong"]) == [0] * 5
    for source in course.wrong.values():
        assert re.search("# hint: (.*)", source)[1] in course.pages["wrong"].split("<h2>")[0]


def test_an_endless_loop_ends_by_the_time_limit_and_costs_its_own_points_only(course):
    assert points(course.rows["bad"]) == [2, 0, 2, 2, 2]
    assert course.pages["bad"].count("no answer before the time limit") == 2


def test_a_submission_that_deletes_what_it_finds_costs_nobody_else_s_work(course):
    assert list(course.rows) == ["Zoë O'Neil (2)", "bad", "empty", "lost", "wrong"]
    assert set(course.pages) == set(course.rows)
    assert {path: path.read_bytes() for path in course.folder.rglob("*.ipynb")} == course.before
    assert "axis: rows and columns" in course.pages["wrong"]    # graded after the one that deletes


def test_a_file_that_is_no_notebook_is_noted_and_scores_zero(course):
    assert points(course.rows["lost"]) == [0] * 5
    assert "not a notebook" in course.rows["lost"]["note"]


def test_solutions_and_hidden_tests_are_not_in_the_student_edition(course):
    text = json.dumps(course.release)
    for number, code in parts("01_bigrams").items():
        held_back = code.get("hidden", []) + [m[1] for source in code.get("answer", [])
                                              for m in editions.REGION.finditer(source)]
        for line in "\n".join(held_back).splitlines():
            if len(line.split()) > 3 and not line.startswith(("# Exercise", "adds =", "generator =")):
                assert json.dumps(line)[1:-1] not in text, f"exercise {number}"
    assert "###" not in text and "hint:" not in text and "For instructors" not in text


def test_the_student_edition_keeps_the_checks_and_the_set_up_cell(course):
    sources = [cell.source for cell in course.release.cells]
    for number, code in parts("01_bigrams").items():
        assert all(source in sources for source in code.get("check", []) + code.get("given", [])), number


def test_pages_load_nothing(course):
    for page in course.pages.values():
        assert not re.search(r"https?:|src=|<link|@import|<script", page)


def test_lost_metadata_and_deleted_checks_are_put_back(course):
    ours = [grade.grade_id(cell) for cell in course.release.cells if grade.grade_id(cell)]
    sent = answered(course.release, {"answer-3": "third = 3"})
    sent.cells = [cell for cell in sent.cells if not grade.grade_id(cell).startswith(("check", "variant"))]
    sent.cells += [new_code_cell("helper = 0"), new_code_cell("# Exercise 3: your answer\nagain = 3")]
    for cell in sent.cells:
        cell.metadata = {}
    nb = grade.restored(sent, course.release)
    ids = [grade.grade_id(cell) for cell in nb.cells]
    assert sorted(filter(None, ids)) == sorted(ours)
    assert [i for i in ids if i and "-3" not in i] == [i for i in ours if "-3" not in i]
    assert "again = 3" in nb.cells[ids.index("answer-3")].source       # the last one counts
    assert "helper = 0" in [cell.source for cell in nb.cells[:ids.index("check-3")]]


def test_two_notebooks_of_one_student_are_refused(tmp_path):
    (tmp_path / "ada").mkdir()
    for path in (tmp_path / "ada.ipynb", tmp_path / "ada" / "x.ipynb"):
        path.write_text("{}", encoding="utf-8")
    with pytest.raises(SystemExit, match="two notebooks of ada"):
        grade.found(tmp_path)


def test_an_empty_folder_is_named(tmp_path):
    with pytest.raises(SystemExit, match="no notebooks in"):
        grade.found(tmp_path)


@pytest.fixture
def server():
    with socket.create_server(("127.0.0.1", 0)) as listening:
        yield listening.getsockname()[1]


def test_where_bubblewrap_works_a_submission_has_no_network_and_writes_nowhere_else(tmp_path, server):
    if not walls(tmp_path):
        pytest.skip("bubblewrap does not work here: `apt-get install bubblewrap`")
    nb = new_notebook(cells=[
        new_code_cell(f"import socket; socket.create_connection(('127.0.0.1', {server}), timeout=2)"),
        new_code_cell(f"open({str(tmp_path / 'note')!r}, 'w')"), new_code_cell("open('note', 'w')")])
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    done, _ = Sandbox(timeout=20).preprocess(nb, {"metadata": {}})
    names = [[out.ename for out in cell.outputs if out.output_type == "error"] for cell in done.cells]
    assert names[0] and names[1] == ["OSError"] and not names[2] and not (tmp_path / "note").exists()


def test_a_kernel_that_dies_scores_nothing_from_there_on():
    check = {"nbgrader": {"grade": True, "solution": False, "locked": True, "grade_id": "c", "points": 1}}
    nb = new_notebook(cells=[new_code_cell("x = 1", metadata=check), new_code_cell("import os; os._exit(1)"),
                             new_code_cell("x = 1", metadata=check)])
    nb.metadata.kernelspec = {"name": "python3", "display_name": "Python 3"}
    done, _ = Sandbox(timeout=20).preprocess(nb, {"metadata": {}})
    assert [bool(cell.outputs) for cell in done.cells] == [False, True, True]
    assert done.cells[2].outputs[0].ename == "Stopped"
