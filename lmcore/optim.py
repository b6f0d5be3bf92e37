"""Ways to take a step down a slope, from the plain one to AdamW, each in its own few lines.

Every optimiser holds the parameters and, for each, what it remembers; `step` reads their `.grad`.
"""
from collections.abc import Iterable

import torch
from torch import Tensor


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
