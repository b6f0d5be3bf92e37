"""Choose the next token: what temperature, top-k, top-p and a penalty make of logits, and the draw.

Each function takes the logits of B texts and gives logits, so they can follow one another.
"""
from dataclasses import dataclass

import torch
from torch import Tensor

from lmcore.tokenizers import END

Rows = list[list[int]]


def scale(logits: Tensor, temperature: float) -> Tensor:
    """Divide by the temperature: below 1 likely tokens become likelier, above 1 rarer ones do, 0 is greedy.

    Shapes: logits (B, V) -> (B, V)
    Raises: ValueError if the temperature is below 0.
    Source: Ackley, Hinton and Sejnowski 1985, eq. 5. https://doi.org/10.1207/s15516709cog0901_7
    """
    if not temperature >= 0:
        raise ValueError(f"temperature must be at least 0, got {temperature}")
    if temperature == 0:
        return top_k(logits, 1)
    return (logits - logits.amax(-1, keepdim=True)) / temperature   # the best at 0, so that nothing overflows


def top_k(logits: Tensor, k: int) -> Tensor:
    """Keep the k best tokens; send the rest to -inf.

    Shapes: logits (B, V) -> (B, V)
    Raises: ValueError if k is below 1.
    Source: Fan, Lewis and Dauphin 2018, sec. 5.4. https://arxiv.org/abs/1805.04833
    """
    if k < 1:
        raise ValueError(f"top_k must be at least 1, got {k}")
    values, best = logits.topk(min(k, logits.shape[-1]))            # (B, k) each
    return torch.full_like(logits, -torch.inf).scatter(-1, best, values)


def top_p(logits: Tensor, p: float) -> Tensor:
    """Keep the smallest set of tokens whose probabilities reach p; send the rest to -inf.

    Shapes: logits (B, V) -> (B, V)
    Units:  logits in nats, p a probability in (0, 1].
    Raises: ValueError if p is outside (0, 1].
    Source: Holtzman et al. 2020, sec. 3.1. https://arxiv.org/abs/1904.09751
    """
    if not 0 < p <= 1:
        raise ValueError(f"top_p must be in (0, 1], got {p}")
    values, order = logits.sort(-1, descending=True)                # (B, V) each
    probs = values.softmax(-1)
    before = probs.cumsum(-1) - probs                               # (B, V) mass of better tokens
    values = values.masked_fill(before >= p, -torch.inf)
    return torch.full_like(logits, -torch.inf).scatter(-1, order, values)


def penalise(logits: Tensor, ids: Tensor, penalty: float) -> Tensor:
    """Make tokens that the text already has less likely; the end of the text is spared.

    Shapes: logits (B, V), ids (B, T) -> (B, V)
    Raises: ValueError if the penalty is not above 0; 1 changes nothing.
    Source: Keskar et al. 2019, sec. 4.1, for logits of either sign. https://arxiv.org/abs/1909.05858
    """
    if not penalty > 0:
        raise ValueError(f"repetition_penalty must be above 0, got {penalty}")
    weaker = torch.where(logits > 0, logits / penalty, logits * penalty)
    seen = torch.zeros_like(logits, dtype=torch.bool).scatter(-1, ids, True)    # (B, V)
    seen[:, END] = False
    return torch.where(seen, weaker, logits)


def draw(logits: Tensor, throws: Tensor) -> Tensor:
    """Lay the probabilities end to end on a line from 0 to 1; the token on which a throw falls is drawn.

    Shapes: logits (B, V), throws (B,) -> (B,)
    Units:  throws in [0, 1)
    """
    line = logits.softmax(-1).double().cumsum(-1)                   # (B, V) where each token's part ends
    at = throws.to(line)[:, None] * line[:, -1:]                    # (B, 1)
    return torch.searchsorted(line, at, right=True)[:, 0]


def pad_left(rows: Rows) -> Rows:
    """Rows of one length, filled with ends on their left."""
    longest = max(map(len, rows))
    return [[END] * (longest - len(row)) + row for row in rows]


@dataclass(frozen=True, kw_only=True)
class Sampling:
    """How the next token is chosen. As it comes: drawn from the model's own probabilities.

    Raises: ValueError if a number is out of its range.
    """

    temperature: float = 1.0            # below 1 safer, above 1 wilder; 0 always takes the likeliest token
    top_k: int | None = None            # draw from this many of the likeliest tokens
    top_p: float | None = None          # draw from the likeliest tokens that together reach this probability
    repetition_penalty: float = 1.0     # above 1 tokens that the text has already become less likely

    def __post_init__(self):
        self.shape(torch.zeros(1, 2), [[END]])      # tells of a bad number at once

    def shape(self, logits: Tensor, rows: Rows) -> Tensor:
        """The logits to draw from, after the texts in rows.

        Shapes: logits (B, V), rows, each (T,) -> (B, V)
        """
        if self.repetition_penalty != 1:
            ids = torch.tensor(pad_left(rows), device=logits.device)
            logits = penalise(logits, ids, self.repetition_penalty)
        logits = scale(logits, self.temperature)
        if self.top_k is not None:
            logits = top_k(logits, self.top_k)
        return logits if self.top_p is None else top_p(logits, self.top_p)
