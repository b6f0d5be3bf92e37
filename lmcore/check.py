"""Show a value beside the book's, or ours beside theirs. Only the tests are strict about it."""
import os
from decimal import Decimal
from numbers import Integral


def expect(name: str, value: float, book: float, tol: float, unit: str = "") -> None:
    """Print the reader's value beside the book's: `loss 2.093 nats/char · book 2.10 ± 0.02 ✓`.

    Outside the tolerance the line says so and the notebook goes on, because changing things is welcome.

    Raises: AssertionError if outside the tolerance and LMCORE_STRICT=1, as the tests set it.
    """
    places = max(_places(book), _places(tol))
    shown = f"{value:,}" if isinstance(value, Integral) else f"{float(value):,.{places + 1}f}"
    ours = f"{name} {shown} {unit}".rstrip()
    good = bool(abs(value - book) <= tol * (1 + 1e-9))
    verdict = "✓" if good else "≠ book: expected if you changed something"
    _report(f"{ours} · book {book:,.{places}f} ± {Decimal(str(tol)):f} {verdict}", good)


def same(name: str, ours: object, theirs: object, tol: float = 0.0) -> None:
    """Print whether two tensors, numbers, lists or texts agree: `loss: the same, largest difference 2e-07 ✓`.

    Raises: AssertionError if they differ by more than tol and LMCORE_STRICT=1.
    """
    good, found = compare(ours, theirs, tol)
    _report(f"{name}: {found}", good)


def compare(ours: object, theirs: object, tol: float) -> tuple[bool, str]:
    """Whether two things agree within tol, and the words that say so."""
    import torch

    try:
        a, b = (torch.as_tensor(x, dtype=torch.float64).detach().cpu() for x in (ours, theirs))
    except (TypeError, ValueError, RuntimeError):   # texts, or anything else that is not numbers
        good = ours == theirs
        return good, "the same ✓" if good else f"✗ {ours!r:.60} is not {theirs!r:.60}"
    if a.shape != b.shape:
        return False, f"✗ shapes {tuple(a.shape)} and {tuple(b.shape)} differ"
    both = (a == b) | (a.isnan() & b.isnan())       # inf - inf is no difference
    gap = float((a - b).abs().masked_fill(both, 0).max()) if a.numel() else 0.0
    good = gap <= tol
    return good, f"the same, largest difference {gap:.2g} ✓" if good else f"✗ differ by {gap:.2g}"


def _report(line: str, good: bool) -> None:
    print(line)
    if not good and os.environ.get("LMCORE_STRICT") == "1":
        raise AssertionError(line)


def _places(number: float) -> int:
    """Decimals that it takes to write a number: 2 for 0.02, none for 300."""
    return max(0, -int(Decimal(str(number)).normalize().as_tuple().exponent))
