"""Values beside the book's: what the line says, and when it raises."""
import math
import os
import subprocess
import sys

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lmcore as lm


@pytest.fixture(autouse=True)
def lenient(monkeypatch):
    monkeypatch.delenv("LMCORE_STRICT", raising=False)


@pytest.mark.parametrize("call, line", [
    (("val loss", 2.0934, 2.10, 0.02, "nats/char"), "val loss 2.093 nats/char · book 2.10 ± 0.02 ✓"),
    (("bigram", 2.45401, 2.4540, 0.0001), "bigram 2.45401 · book 2.4540 ± 0.0001 ✓"),
    (("names", 32033, 32033, 0), "names 32,033 · book 32,033 ± 0 ✓"),
    (("tiny", 2e-7, 0.0, 1e-6), "tiny 0.0000002 · book 0.000000 ± 0.000001 ✓"),
    (("tensor", torch.tensor(0.5), 0.5, 0.1), "tensor 0.50 · book 0.5 ± 0.1 ✓"),
    (("edge", 2.12, 2.10, 0.02), "edge 2.120 · book 2.10 ± 0.02 ✓"),
    (("loss", 2.1934, 2.10, 0.02), "loss 2.193 · book 2.10 ± 0.02 ≠ book: expected if you changed something"),
    (("loss", math.nan, 2.10, 0.02), "loss nan · book 2.10 ± 0.02 ≠ book: expected if you changed something"),
])
def test_expect_shows_the_value_beside_the_books(call, line, capsys):
    lm.expect(*call)
    assert capsys.readouterr().out == line + "\n"


def test_expect_raises_only_when_strict_and_outside(monkeypatch):
    monkeypatch.setenv("LMCORE_STRICT", "1")
    lm.expect("loss", 2.11, 2.10, 0.02)
    with pytest.raises(AssertionError, match=r"loss 2\.130 · book 2\.10 ± 0\.02 ≠ book"):
        lm.expect("loss", 2.13, 2.10, 0.02)


@pytest.mark.parametrize("ours, theirs, tol, line", [
    (torch.tensor([1.0, 2.0]), [1.0, 2.25], 0.3, "x: the same, largest difference 0.25 ✓"),
    (torch.tensor([1.0, 2.0]), [1.0, 2.25], 0.2, "x: ✗ differ by 0.25"),
    (torch.zeros(2, 3), torch.zeros(3, 2), 9, "x: ✗ shapes (2, 3) and (3, 2) differ"),
    ([math.inf, math.nan], [math.inf, math.nan], 0, "x: the same, largest difference 0 ✓"),
    ([1.0], [math.nan], 9, "x: ✗ differ by nan"),
    ([], [], 0, "x: the same, largest difference 0 ✓"),
    ("emma", "emma", 0, "x: the same ✓"),
    (["emma"], ["anna"], 0, "x: ✗ ['emma'] is not ['anna']"),
    ({"a": 1}, {"a": 1}, 0, "x: the same ✓"),
    (3, 3.0, 0, "x: the same, largest difference 0 ✓"),
])
def test_same_says_whether_and_by_how_much(ours, theirs, tol, line, capsys):
    lm.same("x", ours, theirs, tol)
    assert capsys.readouterr().out == line + "\n"


def test_same_raises_only_when_strict(monkeypatch):
    monkeypatch.setenv("LMCORE_STRICT", "1")
    lm.same("x", torch.ones(3, requires_grad=True), torch.ones(3).bfloat16())
    with pytest.raises(AssertionError, match="differ by 1"):
        lm.same("x", [1, 2], [1, 3])


@given(st.lists(st.floats(-1e6, 1e6), min_size=1), st.floats(0, 10), st.floats(0, 10))
def test_a_difference_is_accepted_exactly_up_to_the_tolerance(numbers, gap, tol):
    moved = torch.tensor(numbers, dtype=torch.float64) + gap
    largest = (moved - torch.tensor(numbers, dtype=torch.float64)).abs().max()
    assert lm.check.compare(numbers, moved, tol)[0] == (largest <= tol)


@pytest.mark.parametrize("line, answer", [
    ("import lmcore; print('torch' in sys.modules)", "False"),
    ("import lmcore, torch; print(os.environ['GOMP_SPINCOUNT'])", "1000"),
    ("os.environ['GOMP_SPINCOUNT'] = '7'; import lmcore; print(os.environ['GOMP_SPINCOUNT'])", "7"),
    ("import lmcore.evaluate, lmcore as lm; print(callable(lm.evaluate), lm.ngrams.NGram)",
     "True <class 'lmcore.ngrams.NGram'>"),
])
def test_importing_lmcore_is_light_and_sets_threads_first(line, answer):
    clean = {name: value for name, value in os.environ.items() if name != "GOMP_SPINCOUNT"}
    command = [sys.executable, "-c", "import os, sys; " + line]
    done = subprocess.run(command, env=clean, capture_output=True, text=True)
    assert done.stdout.strip() == answer, done.stderr


def test_every_public_name_is_there_and_another_is_named():
    assert all(hasattr(lm, name) for name in lm.__all__)
    with pytest.raises(AttributeError, match="lmcore has no 'gpt9'"):
        lm.gpt9  # noqa: B018
