"""How good is a model: its loss over the whole of a set of documents, in units that can be compared."""
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

    from lmcore.tokenizers import CharTokenizer


class Model(Protocol):
    """Anything that can say how probable each token of a document is, given those before it."""

    def log_probs(self, ids: Sequence[int]) -> "Tensor":
        """Log-probability of each token of a document given those before it.

        Shapes: ids (T,) -> (T,)
        Units:  nats
        """


@dataclass(frozen=True)
class Score:
    """What `evaluate` found, with 95 % intervals for the mean over other documents of the same kind."""

    nats_per_token: float
    interval: tuple[float, float]                  # of nats_per_token
    bits_per_byte: float                           # all bits / (UTF-8 bytes + one separator a document)
    bits_per_byte_interval: tuple[float, float]
    tokens: int
    docs: int

    @property
    def perplexity(self) -> float:
        return math.exp(self.nats_per_token)


def evaluate(model: Model, docs: Sequence[str], tok: "CharTokenizer") -> Score:
    """Score every token of every document, its end included, each document from its own start.

    Raises: ValueError if docs is empty, or one text instead of a list of them.
    """
    if isinstance(docs, str) or not docs:
        raise ValueError(f"evaluate wants a list of documents with at least one, got {docs!r:.40}")
    rows = [[*tok.encode(doc), tok.end] for doc in docs]
    return score_ids(model, rows, [len(doc.encode(errors="surrogatepass")) + 1 for doc in docs])


def score_ids(model: Model, rows: Sequence[Sequence[int]], size: Sequence[int]) -> Score:
    """The same for documents that are encoded already, ends included, of so many bytes each."""
    nats = [-float(model.log_probs(ids).double().sum()) for ids in rows]
    tokens = list(map(len, rows))
    per_token, interval = ratio_with_interval(nats, tokens)
    bits, bits_interval = ratio_with_interval([n / math.log(2) for n in nats], size)
    return Score(per_token, interval, bits, bits_interval, sum(tokens), len(rows))


def ratio_with_interval(above: Sequence[float], below: Sequence[float]) -> tuple[float, tuple[float, float]]:
    """Sum of above / sum of below, and its 95 % interval if the pairs were drawn anew; NaN for a single pair.

    Source: Cochran 1977, Sampling Techniques, eq. 6.13 (the variance of a ratio).
    """
    n, ratio = len(above), sum(above) / sum(below)
    if n == 1:
        return ratio, (math.nan, math.nan)
    spread = sum((a - ratio * b) ** 2 for a, b in zip(above, below))
    half = 1.96 * math.sqrt(spread * n / (n - 1)) / sum(below)
    return ratio, (ratio - half, ratio + half)
