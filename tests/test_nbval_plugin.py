"""Notebooks are compared strictly where it matters: each cell below is run and held against its outputs."""
import io
import os
import subprocess
import sys
import xml.etree.ElementTree as ET
from contextlib import redirect_stdout
from pathlib import Path

import chapter as ch
import nbformat
import nbval_plugin
from hypothesis import given
from hypothesis import strategies as st
from nbformat.v4 import new_code_cell, new_notebook, new_output
from sample import picture, text

import lmcore as lm

CLAIM = "loss {} nats · book 2.454 ± 0.010 ✓"
SAY = 'print("' + CLAIM + '")'
FIGURE = "import matplotlib.pyplot as plt\nplt.figure(figsize=(2, 2)); plt.plot([1, 2]);"
SMALL = "<Figure size 200x200 with 1 Axes>"


def figure(size: str) -> object:
    out = picture()
    out.data["text/plain"] = size
    return out


GOOD = {        # what is run, what was stored, tags
    "the measured value of a claim varies": (SAY.format(2.4562), [text(CLAIM.format(2.4541))], []),
    "a number varies by little": ("print(2.4562)", [text("2.4541")], []),
    "a difference in rounding varies": ('print("a: the same, largest difference 2.4e-07 ✓")',
                                        [text("a: the same, largest difference 4.8e-05 ✓")], []),
    "a semicolon silences": ("3;", [], []),
    "a picture's pixels vary": (FIGURE, [figure(SMALL)], [ch.PICTURE]),
    "timings vary": ('print("3.2 s")', [text("in 9 s")], [ch.IGNORE]),
    "strict, one thread": ('import os\nprint(os.environ["LMCORE_STRICT"], os.environ["OMP_NUM_THREADS"])',
                           [text("1 1")], []),
}
BAD = {
    "a claim's book was edited": (SAY.format(2.4541), [text("loss 2.4541 nats · book 2.455 ± 0.010 ✓")], []),
    "a claim was lost": ("print('no loss')", [text(CLAIM.format(2.4541))], []),
    "a claim under the tag": (SAY.format(2.4541), [text("3.2 s\nloss 2.4 · book 2.4 ± 0.1 ✓")], [ch.IGNORE]),
    "a number was edited": ("print(2.4541)", [text("2.6541")], []),
    "a small number was edited": ("print(0.0001)", [text("0.0002")], []),
    "an integer was edited": ("print(27)", [text("28")], []),
    "a word was edited": ("print('emma')", [text("anna")], []),
    "a line was lost": ("print('a\\nb')", [text("a")], []),
    "another picture": (FIGURE, [figure("<Figure size 400x400 with 1 Axes>")], [ch.PICTURE]),
    "a picture fewer": ("3.2;", [figure(SMALL)], [ch.IGNORE]),
    "an error": ("1 / 0", [text("1")], []),
    "a claim missed": ('import lmcore as lm\nlm.expect("loss", 3.1, 2.454, 0.01)', [text("x")], [ch.IGNORE]),
    "no output stored": ("print('a')", [], []),
}


def compared(folder: Path, cells: dict, *args: str, **env: str) -> tuple[list[str], str]:
    """The outcome of each cell of a notebook under nbval, and what the run printed."""
    nb = new_notebook()
    for i, (source, outputs, tags) in enumerate(cells.values(), start=1):
        nb.cells.append(new_code_cell(source, outputs=outputs, execution_count=i, metadata={"tags": tags}))
    nbformat.write(nb, folder / "01_count.ipynb")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "tests.nbval_plugin", "--nbval", "--nbval-current-env",
         "--nbval-sanitize-with", "tests/nbval_sanitize.cfg", f"--junitxml={folder}/report.xml", *args,
         str(folder / "01_count.ipynb")], cwd=ch.ROOT, text=True, capture_output=True, env=os.environ | env)
    cases = ET.parse(folder / "report.xml").iter("testcase")
    return [next((child.tag for child in case), "passed") for case in cases], done.stdout


def test_what_may_vary_passes_and_what_may_not_is_found(tmp_path: Path):
    outcomes, printed = compared(tmp_path, GOOD | BAD, "-n", "1", "--dist", "loadfile")
    expected = ["passed"] * len(GOOD) + ["failure"] * len(BAD)
    assert dict(zip(GOOD | BAD, outcomes)) == dict(zip(GOOD | BAD, expected)), printed
    assert "plugin exception" not in printed


DATA = {
    "has its data": ('import lmcore as lm\nlm.data.available("names")', [new_output(
        "execute_result", data={"text/plain": "True"}, execution_count=1)], ["needs-data"]),
    "lacks its data": ('lm.data.available("tinystories.txt")', [text("x")], ["needs-data"]),
    "needs what the one before needs": ("1 / 0", [text("x")], ["needs-data"]),
    "is of another section": ("print(1)", [text("1")], []),
}


def test_a_cell_whose_data_cannot_be_had_is_skipped_and_counted(tmp_path: Path):
    outcomes, printed = compared(tmp_path, DATA, LMCORE_MIRROR="")
    assert outcomes == ["passed", "skipped", "skipped", "passed"], printed
    assert "2 cells tagged needs-data SKIPPED" in printed


def test_with_a_mirror_no_cell_is_skipped(tmp_path: Path):
    outcomes, printed = compared(tmp_path, DATA, LMCORE_MIRROR=str(tmp_path))
    assert outcomes == ["passed", "failure", "failure", "passed"], printed




NAMES = st.text("abcd 012.", min_size=1).map(lambda name: "x " + name.strip())
NUMBERS = st.integers(-10**6, 10**6) | st.floats(-1e4, 1e4)


@given(name=NAMES, ours=NUMBERS, again=NUMBERS, book=st.integers(-500, 500),
       tol=st.sampled_from([1, 0.02, 0.005]), unit=st.sampled_from(["", "nats/char", "%"]))
def test_whatever_expect_prints_is_read_and_masked(name, ours, again, book, tol, unit):
    first, second = (printed(name, value, book / 100, tol, unit) for value in (ours, again))
    [claim] = ch.CLAIM.finditer(first)
    assert claim["name"] == name and claim["unit"].strip() == unit
    assert abs(float(claim["book"].replace(",", "")) - book / 100) < 0.005
    assert nbval_plugin.masked(first).partition(" · ")[0] == nbval_plugin.masked(second).partition(" · ")[0]


def printed(*claim) -> str:
    with redirect_stdout(io.StringIO()) as said:
        lm.expect(*claim)
    return said.getvalue().rstrip("\n")
