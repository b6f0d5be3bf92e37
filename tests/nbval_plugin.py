"""nbval as the chapters need it; loaded by `-p tests.nbval_plugin`.

Every output of every cell is compared with the stored one:
- text exactly, but numbers with a decimal point to 2 % (other machines round otherwise);
- a line of `lm.expect` or `lm.same` exactly but for the measured value, which they have checked themselves;
- a picture by its kind and size, its pixels never;
- of a cell tagged nbval-ignore-output only those lines and the number of pictures: no tag hides a claim.
A cell tagged needs-data is skipped and counted where its data cannot be had; with LMCORE_MIRROR set it fails.
"""
import math
import os
import re
import sys
from pathlib import Path

import pytest
from nbformat.v4 import new_output
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "book" / "tools"))
import chapter as ch
import run

RTOL, ATOL = 2e-2, 1e-6
NUMBER = re.compile(r"(?<![\w.])[-+]?(?:\d+\.\d*|\.\d+|\d+(?=[eE][-+]?\d))(?:[eE][-+]?\d+)?(?![\w.])")
SAME = re.compile(r"(largest difference )\S+(?= ✓)")


class Tolerant(str):
    """A text that equals another if every line does: claims but for the value, numbers with tolerance."""
    __hash__ = str.__hash__

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, str):
            return NotImplemented
        ours, theirs = str(self).splitlines(), str(other).splitlines()
        return len(ours) == len(theirs) and all(map(same_line, ours, theirs))

    def __ne__(self, other: object) -> bool:
        return not self == other


def is_claim(line: str) -> bool:
    return " · book " in line or bool(SAME.search(line))


def masked(line: str) -> str:
    """A claim's line without the value that was measured."""
    line = ch.CLAIM.sub(lambda m: line[:m.start("value")] + "VALUE" + line[m.end("value"):], line)
    return SAME.sub(r"\1VALUE", line)


def same_line(a: str, b: str) -> bool:
    if is_claim(a) or is_claim(b):
        return masked(a) == masked(b)
    words = [re.sub(r"\s+", " ", NUMBER.sub("#", line)) for line in (a, b)]
    return words[0] == words[1] and all(math.isclose(float(x), float(y), rel_tol=RTOL, abs_tol=ATOL)
                                        for x, y in zip(NUMBER.findall(a), NUMBER.findall(b)))


def stable(outputs: list) -> list:
    """What is compared of a cell whose outputs vary between runs: its claims and the number of pictures."""
    cell = {"outputs": outputs}
    kept = [line for text in ch.texts(cell) for line in text.splitlines() if is_claim(line)]
    return [new_output("stream", text="\n".join([*kept, f"{ch.pictures(cell)} pictures"]))]


def missing_data(item: IPyNbCell) -> str:
    """What a cell needs and cannot have; asked once a notebook, when its first cell is run."""
    if not hasattr(item.parent, "missing"):
        cells = [cell for cell in item.parent.nb.cells if cell.cell_type == "code"]
        item.parent.missing = ch.missing_data(cells)
    return item.parent.missing[item.cell_num]


def pytest_configure(config: pytest.Config) -> None:
    os.environ |= run.STRICT
    compare, sanitize, runtest = IPyNbCell.compare_outputs, IPyNbCell.sanitize, IPyNbCell.runtest

    def run_or_skip(self):
        if missing := missing_data(self):
            reason = f"needs-data: {missing} cannot be had"
            if os.environ.get("LMCORE_MIRROR"):
                pytest.fail(f"{reason}, although LMCORE_MIRROR is set: see data/registry.toml")
            pytest.skip(reason)
        self.volatile = not self.options["check"]
        self.options["check"] = True
        runtest(self)

    def compare_what_is_stable(self, test, ref, skip_compare=None):
        if self.volatile:
            test, ref = stable(test), stable(ref)
        return compare(self, test, ref, skip_compare)

    def sanitize_tolerantly(self, text):
        text = sanitize(self, text)
        return Tolerant(text) if isinstance(text, str) else text

    def execute_in_history(self, cell_input, allow_stdin=None):     # else IPython ignores a trailing ;
        return self.kc.execute(cell_input, store_history=True, allow_stdin=allow_stdin, stop_on_error=False)

    IPyNbCell.runtest, IPyNbCell.compare_outputs = run_or_skip, compare_what_is_stable
    IPyNbCell.sanitize = sanitize_tolerantly
    RunningKernel.execute_cell_input = execute_in_history


def pytest_terminal_summary(terminalreporter) -> None:
    skipped = [r for r in terminalreporter.stats.get("skipped", []) if "needs-data" in str(r.longrepr)]
    if skipped:
        terminalreporter.write_line(f"{len(skipped)} cells tagged needs-data SKIPPED: no data")
