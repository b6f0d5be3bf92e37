"""Ways to take a step down a slope, from the plain one to AdamW and Muon, each in its own few lines.

Every optimiser holds the parameters and, for each, what it remembers; `step` reads their `.grad`. A
schedule is a pure function: the share of the full rate at step 0, 1, ... of a run of `steps`.
"""
import math
from collections.abc import Iterable

import torch
from torch import Tensor, nn

from lmcore.config import TrainConfig


def gradients(params: Iterable[Tensor]) -> list[Tensor]:
    """The gradient of each parameter.

    Shapes: params are tensors of any shape
    Raises: ValueError if one has none, because a step that forgets a parameter would go unnoticed.
    """
    if missing := [tuple(p.shape) for p in params if p.grad is None]:
        raise ValueError(f"no gradient for shapes {missing}: call backward() on the loss before step()")
    return [p.grad for p in params]


class SGD:
    """Move each parameter against its gradient; with momentum, against a running sum of gradients.

    Raises: ValueError if lr is not above 0 or momentum is outside [0, 1).
    Source: Robbins & Monro 1951; Polyak 1964, Some methods of speeding up the convergence of
            iteration methods.
    """

    def __init__(self, params: Iterable[Tensor], lr: float, momentum: float = 0.0):
        if lr <= 0 or not 0 <= momentum < 1:
            raise ValueError(f"lr must be above 0 and momentum in [0, 1), got {lr} and {momentum}")
        self.params, self.lr, self.momentum = list(params), lr, momentum
        self.speed = [torch.zeros_like(p) for p in self.params]

    @torch.no_grad()
    def step(self) -> None:
        for p, grad, speed in zip(self.params, gradients(self.params), self.speed):
            speed.mul_(self.momentum).add_(grad)
            p -= self.lr * speed

    def zero_grad(self) -> None:
        for p in self.params:
            p.grad = None


class AdamW:
    """Divide a running mean of the gradient by the root of a running mean of its square; shrink weights.

    With `weight_decay=0` this is Adam. Early means are too small by a known factor, which is divided out.

    Raises: ValueError if lr is not above 0 or a beta is outside [0, 1).
    Source: Kingma & Ba 2015, algorithm 1, https://arxiv.org/abs/1412.6980;
            Loshchilov & Hutter 2019, algorithm 2, https://arxiv.org/abs/1711.05101
    """

    def __init__(self, params: Iterable[Tensor], lr: float, betas: tuple[float, float] = (0.9, 0.999),
                 eps: float = 1e-8, weight_decay: float = 0.01):
        if lr <= 0 or not all(0 <= b < 1 for b in betas):
            raise ValueError(f"lr must be above 0 and betas in [0, 1), got {lr} and {betas}")
        self.params, self.lr, self.betas, self.eps, self.decay = list(params), lr, betas, eps, weight_decay
        self.mean = [torch.zeros_like(p) for p in self.params]
        self.square = [torch.zeros_like(p) for p in self.params]
        self.steps = 0

    @torch.no_grad()
    def step(self) -> None:
        self.steps += 1
        b1, b2 = self.betas
        for p, grad, mean, square in zip(self.params, gradients(self.params), self.mean, self.square):
            mean.lerp_(grad, 1 - b1)
            square.lerp_(grad**2, 1 - b2)
            typical = (square / (1 - b2**self.steps)).sqrt()    # size of this parameter's gradients
            p.mul_(1 - self.lr * self.decay)
            p -= self.lr * mean / (1 - b1**self.steps) / (typical + self.eps)

    def zero_grad(self) -> None:
        for p in self.params:
            p.grad = None


class Muon(torch.optim.Optimizer):
    """For matrices: a running mean of the gradient, with all its directions made equally long.

    A step is as long as AdamW's typical one, so that a rate found for AdamW serves here too. With `half` the
    directions are worked out in bfloat16. Its state can be saved, as that of torch's optimisers.

    Raises: ValueError if lr is not above 0, momentum is outside [0, 1), or a parameter is no matrix.
    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/; the length of a step: Liu et al.
            2025, sec. 2.2, https://arxiv.org/abs/2502.16982
    """

    def __init__(self, params: Iterable[Tensor] | Iterable[dict], lr: float, momentum: float = 0.95,
                 weight_decay: float = 0.0, half: bool = False):
        if lr <= 0 or not 0 <= momentum < 1:
            raise ValueError(f"lr must be above 0 and momentum in [0, 1), got {lr} and {momentum}")
        self.half = half
        super().__init__(params, {"lr": lr, "momentum": momentum, "weight_decay": weight_decay})
        for p in (p for group in self.param_groups for p in group["params"]):
            if p.ndim != 2:
                raise ValueError(f"Muon is for matrices, got a parameter of shape {tuple(p.shape)}")

    @torch.no_grad()
    def step(self) -> None:
        for group in self.param_groups:
            m = group["momentum"]
            for p, grad in zip(group["params"], gradients(group["params"])):
                mean = self.state[p].setdefault("mean", torch.zeros_like(p))
                mean.lerp_(grad, 1 - m)
                way = grad.lerp(mean, m)                    # Nesterov: look ahead along the mean
                way = orthogonalise(way.bfloat16() if self.half else way)
                p.mul_(1 - group["lr"] * group["weight_decay"])
                p -= 0.2 * max(p.shape)**0.5 * group["lr"] * way.to(p.dtype)


def orthogonalise(x: Tensor, steps: int = 5) -> Tensor:
    """The matrix with the same directions, each stretched to a length between 0.7 and 1.2.

    The polynomial is odd, so it moves the lengths (singular values) alone; it is steep at 0, so that small
    ones catch up.

    Shapes: x (n_in, n_out) -> (n_in, n_out)
    Source: Jordan et al. 2024, https://kellerjordan.github.io/posts/muon/
    """
    if x.shape[0] > x.shape[1]:
        return orthogonalise(x.T, steps).T
    x = x / x.norm().clamp(min=1e-7)                        # no length above 1
    for _ in range(steps):
        square = x @ x.T                                    # (n_in, n_in)
        x = 3.4445 * x + (2.0315 * square @ square - 4.7750 * square) @ x
    return x


def groups(model: nn.Module, lr: float, table_lr: float | None = None,
           weight_decay: float = 0.1) -> list[dict]:
    """The parameters of a model as an optimiser takes them: weight decay shrinks matrices, nothing else.

    Tables of embeddings, also one that is tied to the head, get a rate of their own if one is given; gains
    and biases have the rate of the matrices. Each group has a name.
    """
    tables = {id(m.weight) for m in model.modules() if isinstance(m, nn.Embedding)}
    kinds = {"matrices": [], "vectors": [], "tables": []}
    for p in model.parameters():
        kinds["tables" if id(p) in tables else "matrices" if p.ndim >= 2 else "vectors"].append(p)
    return [{"name": kind, "params": params, "lr": (table_lr or lr) if kind == "tables" else lr,
             "weight_decay": weight_decay if kind == "matrices" else 0.0}
            for kind, params in kinds.items() if params]


def optimisers(model: nn.Module, config: TrainConfig) -> list[torch.optim.Optimizer]:
    """AdamW for all parameters; or Muon for the matrices and AdamW for the rest."""
    rate, muon = config.learning_rate, config.optimiser == "muon"
    kinds = groups(model, rate, rate * config.table_rate, config.weight_decay)
    matrices = [group for group in kinds if muon and group["name"] == "matrices"]
    rest = [group for group in kinds if not (muon and group["name"] == "matrices")]
    adamw = torch.optim.AdamW(rest, rate, betas=(config.beta1, config.beta2), fused=True)
    half = config.precision == "bfloat16"
    return [adamw, Muon(matrices, rate, half=half)] if matrices else [adamw]


def warm(step: int, steps: int, warmup: int) -> float:
    """The share during a straight rise that reaches 1 at step `warmup`; 1 from there on.

    Raises: ValueError if the rise is not shorter than the run.
    """
    if not 0 <= warmup < steps:
        raise ValueError(f"warmup must be at least 0 and shorter than the run of {steps} steps, got {warmup}")
    return min((step + 1) / (warmup + 1), 1.0)


def cosine(step: int, steps: int, warmup: int = 0, floor: float = 0.0) -> float:
    """A rise over `warmup` steps, then half a wave down, which would be at `floor` at step `steps`.

    Source: Loshchilov & Hutter 2017, eq. 5, https://arxiv.org/abs/1608.03983
    """
    rise, past = warm(step, steps, warmup), max(step - warmup, 0) / (steps - warmup)
    return rise * (floor + (1 - floor) * (1 + math.cos(math.pi * min(past, 1))) / 2)


def linear(step: int, steps: int, warmup: int = 0, floor: float = 0.0) -> float:
    """A rise over `warmup` steps, then straight down, to be at `floor` at step `steps`."""
    rise, past = warm(step, steps, warmup), max(step - warmup, 0) / (steps - warmup)
    return rise * (1 - (1 - floor) * min(past, 1))


def wsd(step: int, steps: int, warmup: int = 0, floor: float = 0.0, decay: float = 0.2) -> float:
    """A rise, a plain at the full rate, and straight down over the last share `decay` of the steps.

    Until it goes down it does not know how long the run is: one long run serves budgets of many lengths.

    Source: Hu et al. 2024 (MiniCPM), sec. 4, https://arxiv.org/abs/2404.06395
    """
    past = (step - (1 - decay) * steps) / (decay * steps) if decay else 0.0
    return warm(step, steps, warmup) * (1 - (1 - floor) * min(max(past, 0), 1))


SCHEDULES = {"cosine": cosine, "linear": linear, "wsd": wsd}
