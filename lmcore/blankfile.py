"""Look over a GPT that somebody wrote from a blank file, whatever its names, and name its first fault.

A GPT is a module that turns ids (B, T) into logits (B, T, V), or a pair: a function that does, and the list
of tensors that it learns. Nothing inside is looked at: all is found out by calling it.
"""
import math
from collections.abc import Callable, Iterable

import torch
import torch.nn.functional as F
from torch import Tensor

from lmcore.optim import AdamW

Made = Callable[[Tensor], Tensor] | tuple[Callable[[Tensor], Tensor], Iterable[Tensor]]
LAG, KEEP = 4, 0.9      # in the text that it has to learn, a token is the one LAG before with chance KEEP
STEPS, ROWS, RATE = 300, 32, 0.01   # of learning it
START, NEAR = 0.5, 0.6  # nats above ln V at the start, and above the entropy at the end, that pass
T = 16                  # tokens in a row, or as many as the GPT can take


class Candidate:
    """A fresh GPT that can be called without dropout and gradients, and learn with both."""

    def __init__(self, make: Callable[[], Made], V: int, block_size: int):
        made = make()
        self.forward, params = made if isinstance(made, tuple) else (made, made.parameters())
        self.V, self.T, self.params = V, min(T, block_size), list(params)
        self.idle = set(range(len(self.params)))        # those that never got a gradient

    @torch.no_grad()
    def __call__(self, ids: Tensor) -> Tensor:
        """Logits, as after training.

        Shapes: ids (B, T) -> (B, T, V)
        """
        if hasattr(self.forward, "eval"):
            self.forward.eval()
        return self.forward(ids)

    def loss(self, ids: Tensor) -> Tensor:
        """Mean loss of every token of each row but its first.

        Shapes: ids (B, T) -> ()
        Units:  nats
        """
        return F.cross_entropy(self.forward(ids[:, :-1]).flatten(0, 1), ids[:, 1:].flatten())

    def random(self, B: int) -> Tensor:
        """Rows of random tokens.

        Shapes: B -> (B, 16)
        """
        return torch.randint(self.V, (B, self.T))

    def learn(self, rows: Callable[[], Tensor], steps: int = STEPS) -> float:
        """The loss, without dropout, after some steps.

        Shapes: `rows` gives (B, T)
        Units:  nats
        """
        optimiser = AdamW(self.params, RATE, betas=(0.9, 0.95), weight_decay=0)
        if hasattr(self.forward, "train"):
            self.forward.train()
        for step in range(1, steps + 1):
            optimiser.lr = RATE * min(1, step / 20, 2 - 2 * (step - 1) / steps)
            optimiser.zero_grad()
            self.loss(rows()).backward()
            for i, p in enumerate(self.params):
                p.grad = torch.zeros_like(p) if p.grad is None else p.grad
                if p.grad.any():
                    self.idle.discard(i)
            torch.nn.utils.clip_grad_norm_(self.params, 1.0)
            optimiser.step()
        if hasattr(self.forward, "eval"):
            self.forward.eval()
        with torch.no_grad():
            return sum(self.loss(rows()).item() for _ in range(4)) / 4

    def influence(self) -> Tensor:
        """How much the token at each place (row) changes the logits at each place (column).

        Shapes: -> (16, 16)
        """
        ids, found = self.random(1), []
        before = self(ids)
        for t in range(self.T):
            other = ids.clone()
            other[0, t] = (other[0, t] + 1) % self.V
            found.append((self(other) - before)[0].abs().amax(-1))
        found = torch.stack(found)
        return found * (found > 1e-5 * found.max())     # less is rounding


def shape(gpt: Candidate) -> str:
    """It gives finite logits for every token of a row, be it long or a single one."""
    for places in (gpt.T, 1):
        logits = gpt(gpt.random(2)[:, :places])
        if logits.shape != (2, places, gpt.V):
            return f"ids (2, {places}) give {tuple(logits.shape)}, and should give (2, {places}, {gpt.V})"
        if not logits.isfinite().all():
            return "some logits are not finite: does a row of the mask leave nothing to look at?"
    return ""


def not_probabilities(gpt: Candidate) -> str:
    """Its outputs are logits: the softmax is left to the loss."""
    total = gpt(gpt.random(2)).sum(-1)
    return "the outputs sum to 1: a softmax too many" if (total - 1).abs().max() < 1e-3 else ""


def start(gpt: Candidate) -> str:
    """Before training it guesses blindly, and its loss is ln V."""
    ids = torch.randint(gpt.V, (32, gpt.T))
    loss, blind = F.cross_entropy(gpt(ids)[:, :-1].flatten(0, 1), ids[:, 1:].flatten()), math.log(gpt.V)
    return f"the loss is {loss:.2f}, ln V is {blind:.2f}: weights too large" if loss > blind + START else ""


def steady(gpt: Candidate) -> str:
    """After training the same tokens give the same logits."""
    ids = gpt.random(2)
    return "" if torch.equal(gpt(ids), gpt(ids)) else "two calls on the same tokens differ: dropout stays on"


def rows_apart(gpt: Candidate) -> str:
    """No row of the batch changes with the others, nor with its place among them."""
    ids = gpt.random(3)
    before, changed = gpt(ids), (ids + 1) % gpt.V
    rounding = 1e-4 * before.abs().max()
    for row in range(3):
        other = torch.cat([changed[:row], ids[row:row + 1], changed[row + 1:]])
        if (gpt(other) - before)[row].abs().max() > rounding:
            return "a row changes with the other rows: something runs over the batch"
    if (gpt(ids.flip(0)).flip(0) - before).abs().max() > rounding:
        return "a row changes with its place in the batch: positions are counted over rows"
    return ""


def token_alone(gpt: Candidate) -> str:
    """A token that stands alone makes a difference."""
    logits = gpt(torch.arange(min(gpt.V, 8))[:, None])
    if (logits - logits[:1]).abs().max() > 1e-5 * logits.abs().max() or not gpt(gpt.random(2)).any():
        return ""       # a head that starts at zero tells nothing yet
    return "one token alone, and all give the same logits: a norm runs over places instead of channels"


def causal(gpt: Candidate) -> str:
    """No place sees a later token."""
    found = gpt.influence()
    past, future = found.triu(1), found.tril(-1)
    if not future.any():
        return ""
    if not past.any():
        return "places see later tokens and no earlier ones: the mask is upside down"
    t, place = future.nonzero().T
    if (t - place).max() < gpt.T // 2 and future.diagonal(-1).all():
        return "a place sees the token after it, which it should guess: the mask is off by one"
    if future.sum() < past.sum() / 10:
        return "later tokens change places before them, but little: the softmax runs over the wrong axis"
    if not future[-1, :-1].all():
        return "some places see some later tokens: heads are cut across places; view, then transpose"
    return "every place sees every later token: there is no mask"


def counted_from_the_start(gpt: Candidate) -> str:
    """The beginning of a text gives the same logits, however long the text."""
    ids, half = gpt.random(2), gpt.T // 2
    whole, part = gpt(ids)[:, :half], gpt(ids[:, :half])
    close = (whole - part).abs().max() <= 1e-4 * whole.abs().max()
    return "" if close else "a longer text changes its beginning: positions are counted from the end"


def residual(gpt: Candidate) -> str:
    """At first a token's own place hears of it far more than places after it: the stream runs through."""
    found = gpt.influence()[:, gpt.T // 2:]
    own, past = found.diagonal(-(gpt.T // 2)).mean(), found.triu(1 - gpt.T // 2)
    if own > 2 * past.sum() / past.count_nonzero().clamp(min=1) or not found.any():
        return ""
    return "a token is heard no louder at its own place than later: attention replaces the stream; add to it"


def source(B: int, T: int, n: int) -> Tensor:
    """A text of n tokens: each is the one LAG before with chance KEEP, else any.

    Shapes: B, T, n -> (B, T)
    """
    ids = torch.randint(n, (B, T))
    keep = torch.rand(B, T) < KEEP
    for t in range(LAG, T):
        ids[:, t] = ids[:, t].where(~keep[:, t], ids[:, t - LAG])
    return ids


def learns(gpt: Candidate) -> str:
    """It comes near the entropy of a text where only the token four before tells."""
    n = min(gpt.V, 16)
    other = (1 - KEEP) / n
    told = -(KEEP + other) * math.log(KEEP + other) - (n - 1) * other * math.log(other)
    entropy = ((LAG - 1) * math.log(n) + (gpt.T - LAG) * told) / (gpt.T - 1)
    loss = gpt.learn(lambda: source(ROWS, gpt.T, n))
    if fault := causal(gpt):
        return fault
    if loss > entropy + NEAR and not gpt.influence().triu(1).any():
        return "a place sees its own token only: what attention finds is lost"
    same = gpt(torch.full((1, gpt.T), 1))[0]
    if loss > entropy + NEAR and (same - same[:1]).abs().max() < 1e-3 * same.abs().max():
        return "it cannot tell how far back a token stands: it knows no positions"
    if gpt.idle:
        some = [tuple(gpt.params[i].shape) for i in sorted(gpt.idle)[:3]]
        return f"{len(gpt.idle)} of {len(gpt.params)} tensors never get a gradient, of shapes {some}"
    return "" if loss < entropy + NEAR else \
        f"its loss stays at {loss:.2f}, the entropy is {entropy:.2f}, a blind guess {math.log(n):.2f}"


def by_heart(gpt: Candidate) -> str:
    """It learns one batch by heart."""
    ids = gpt.random(4)
    ids[:, 0] = torch.arange(4) % gpt.V
    loss = gpt.learn(lambda: ids, 100)
    return "" if loss < 0.1 else f"on four rows, seen 100 times, its loss is still {loss:.2f}"


CHECKS = (shape, not_probabilities, start, steady, rows_apart, token_alone, causal, counted_from_the_start,
          residual, learns, by_heart)


def check(make: Callable[[], Made], V: int, block_size: int, seed: int = 0) -> str:
    """Print a line for each check, up to the first that fails; return the fault, "" if there is none.

    `make` builds a new GPT for V tokens and rows of up to block_size. A small one is checked in seconds.

    Shapes: the GPT turns ids (B, T) into logits (B, T, V)
    """
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        for one in CHECKS:
            fault = one(Candidate(make, V, block_size))
            print("✘" if fault else "✓", one.__doc__.splitlines()[0], f"\n  {fault}" if fault else "")
            if fault:
                return fault
    return ""
