"""Check an answer to an exercise and, when it is wrong, name the likely mistake."""
import math
from collections.abc import Mapping

import torch

from lmcore.check import compare

# What right answers turn into by mistakes that all exercises share; those of one exercise are given with it.
SHARED = {
    "axis: rows and columns are exchanged": [lambda r: r.mT if r.ndim > 1 else r],
    "sign: yours is the right answer times -1": [lambda r: -r],
    "unit: one is in bits, the other in nats": [lambda r: r / math.log(2), lambda r: r * math.log(2)],
    "a logarithm or an exponential too many, or too few": [torch.exp, lambda r: (-r).exp(), torch.log],
    "off by one: every number is 1 too large or too small": [lambda r: r + 1, lambda r: r - 1],
    "off by one: everything has moved by one place": [lambda r: r.roll(1, -1) if r.ndim else r,
                                                      lambda r: r.roll(-1, -1) if r.ndim else r],
}


class Hint(AssertionError):
    """A wrong answer, and what it looks like. A notebook shows this line alone, without a traceback."""

    def _render_traceback_(self) -> list[str]:
        return [f"✗ {self}"]


def check_answer(name: str, answer: object, right: object, mistakes: Mapping[str, object] | None = None,
                 tol: float = 1e-4) -> None:
    """Print `name ✓`, or say what the answer looks like.

    `mistakes` holds the hints of this exercise, each with the wrong answer that it fits.

    Raises: Hint, an AssertionError, if the answer differs from the right one by more than tol.
    """
    if compare(answer, right, tol)[0]:
        print(f"{name} ✓")
        return
    fitting = (hint for hint, wrong in (mistakes or {}).items() if compare(answer, wrong, tol)[0])
    raise Hint(f"{name}: {next(fitting, None) or shared_hint(answer, right, tol)}")


def shared_hint(answer: object, right: object, tol: float) -> str:
    """The first of the hints for all exercises that fits a wrong answer."""
    if answer is None:
        return "nothing came back: is there a `return`?"
    try:
        ours, theirs = (torch.as_tensor(x).detach().cpu().double() for x in (answer, right))
    except (TypeError, ValueError, RuntimeError):
        theirs = None
    if theirs is None or isinstance(right, bool):       # no numbers to compare
        return f"not {answer!r:.60}, and no hint fits"
    for hint, turns in SHARED.items():
        if any(compare(ours, turn(theirs), tol)[0] for turn in turns):
            return hint
    if ours.shape != theirs.shape:
        return f"shape: yours is {tuple(ours.shape)}, wanted is {tuple(theirs.shape)}"
    if theirs.isfinite().all() and not ours.isfinite().all():
        return "not finite: the logarithm of 0, or a division by 0"
    ratio = float(ours.sum() / theirs.sum())
    if ours.numel() > 1 and compare(ours, ratio * theirs, tol)[0]:
        return f"a factor: yours is {ratio:.4g} times the right answer; a sum where a mean is wanted?"
    wrong = int((ours - theirs).abs().gt(tol).sum())
    return f"{wrong} of {ours.numel()} numbers are wrong, and no hint fits" if ours.ndim else \
        f"{ours.item():.6g} is wrong, and no hint fits"
