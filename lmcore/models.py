"""Networks that guess the next token from the few before it, and the loop that trains them."""
import math
import time
from collections.abc import Callable, Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmcore.layers import Embedding, FastBatchNorm1d, FlattenConsecutive, Linear, Sequential, Tanh
from lmcore.ngrams import sample as sample  # networks write as tables do
from lmcore.optim import SGD, AdamW
from lmcore.tokenizers import END


class FixedContext(nn.Module):
    """What networks that see the last T tokens share: the document's start has T ends before it.

    A network sets `T`, and its `forward` turns contexts X (B, T) into logits (B, V).
    """

    T: int

    @torch.no_grad()
    def log_probs(self, ids: Sequence[int]) -> Tensor:
        """Log-probability of each token of a document given those before it.

        Shapes: ids (N,) -> (N,)
        Units:  nats
        """
        rows = torch.tensor([END] * self.T + list(ids)).unfold(0, self.T + 1, 1)    # (N, T + 1)
        return -F.cross_entropy(self(rows[:, :-1]), rows[:, -1], reduction="none")

    @torch.no_grad()
    def probs(self, ids: Sequence[int]) -> Tensor:
        """Probability of each token after the tokens of a document so far.

        Shapes: ids (N,) -> (V,)
        """
        context = ([END] * self.T + list(ids))[-self.T:]
        return self(torch.tensor([context])).softmax(-1)[0]


class MLP(FixedContext):
    """Look up a learned vector for each of T tokens, join them, one hidden layer, a logit for each token.

    Weights start with a spread of 1 / sqrt(inputs); biases at 0.

    Shapes: X (B, T) -> (B, V)
    Source: Bengio et al. 2003, A neural probabilistic language model, sec. 2.
    """

    def __init__(self, V: int, T: int = 3, C: int = 10, hidden: int = 200):
        super().__init__()
        self.T = T
        self.embedding = nn.Parameter(torch.randn(V, C))
        self.hidden_weight = nn.Parameter(torch.randn(T * C, hidden) / (T * C)**0.5)
        self.hidden_bias = nn.Parameter(torch.zeros(hidden))
        self.out_weight = nn.Parameter(torch.randn(hidden, V) / hidden**0.5)
        self.out_bias = nn.Parameter(torch.zeros(V))

    def forward(self, X: Tensor) -> Tensor:
        x = self.embedding[X].flatten(1)                                # (B, T * C)
        h = (x @ self.hidden_weight + self.hidden_bias).tanh()          # (B, hidden)
        return h @ self.out_weight + self.out_bias                      # (B, V)


class WaveNet(FixedContext):
    """Join neighbours two by two, level by level, until one place is left: a tree over the last T tokens.

    Weights start with a spread of 1 / sqrt(inputs), those of the output with a tenth of it.

    Shapes: X (B, 8) -> (B, V), 8 being the default T
    Raises: ValueError if T is not 2, 4, 8, 16, ...
    Source: van den Oord et al. 2016, sec. 2.1, without gates. https://arxiv.org/abs/1609.03499
    """

    def __init__(self, V: int, T: int = 8, C: int = 24, hidden: int = 128):
        super().__init__()
        if T < 2 or T & (T - 1):
            raise ValueError(f"a tree that joins two by two needs T = 2, 4, 8, 16, ..., got {T}")
        self.T = T
        self.embedding = Embedding(V, C)
        self.levels = nn.ModuleList()
        while T > 1:
            width = 2 * hidden if self.levels else 2 * C
            self.levels.append(Sequential(FlattenConsecutive(2), Linear(width, hidden, bias=False),
                                          FastBatchNorm1d(hidden), Tanh()))
            T //= 2
        self.out = Linear(hidden, V)
        self.out.weight.data *= 0.1     # begin near the uniform guess

    def forward(self, X: Tensor) -> Tensor:
        x = self.embedding(X)           # (B, T, C)
        for level in self.levels:
            x = level(x)                # (B, T/2, hidden), (B, T/4, hidden), ... (B, hidden)
        return self.out(x)              # (B, V)


def warmup_cosine(progress: float, warmup: float = 0.1) -> float:
    """The share of the full rate at a point of training, 0 start to 1 end: a straight rise, a cosine down.

    Source: Loshchilov and Hutter 2017, SGDR, eq. 5, https://arxiv.org/abs/1608.03983
    """
    if progress < warmup:
        return progress / warmup
    return (1 + math.cos(math.pi * (progress - warmup) / (1 - warmup))) / 2


def train(model: nn.Module, X: Tensor, Y: Tensor, optimiser: SGD | AdamW, steps: int, batch: int = 32,
          schedule: Callable[[float], float] = lambda progress: 1.0, seed: int = 0,
          sample: Callable[[], str] | None = None) -> list[float]:
    """Step down the loss of random minibatches of examples, and return every loss.

    One line on the screen tells how it goes, with a text of `sample()`. The model ends in evaluation mode.

    Shapes: X (N, T), Y (N,) or (N, T)
    Units:  losses in nats per token; `schedule` gives the share of the rate at progress 0 ... 1.
    """
    generator = torch.Generator().manual_seed(seed)
    losses, rate, shown = [], optimiser.lr, time.monotonic()
    for step in range(steps):
        model.train()
        optimiser.lr = rate * schedule((step + 0.5) / steps)
        rows = torch.randint(len(X), (batch,), generator=generator)     # (batch,)
        logits = model(X[rows])                                         # (batch, V) or (batch, T, V)
        loss = F.cross_entropy(logits.flatten(0, -2), Y[rows].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(loss.item())
        if step + 1 == steps or time.monotonic() > shown + 2:
            model.eval()
            shown, mean = time.monotonic(), sum(losses[-100:]) / len(losses[-100:])
            text = sample() if sample else ""
            print(f"\rstep {step + 1:,}  loss {mean:.3f}  {text:<20}", end="", flush=True)
    print()
    optimiser.lr = rate
    return losses
