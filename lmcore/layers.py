"""The parts of a network, written by hand: each a module with its parameters and one line of arithmetic."""
import torch
from torch import Tensor, nn


class Linear(nn.Module):
    """Multiply by a learned matrix, and add a learned bias unless told not to.

    Weights start with a spread of 1 / sqrt(n_in), so that outputs have the spread of the inputs.

    Shapes: x (..., n_in) -> (..., n_out)
    Source: LeCun et al. 1998, Efficient BackProp, sec. 4.6.
    """

    def __init__(self, n_in: int, n_out: int, bias: bool = True):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(n_in, n_out) / n_in**0.5)
        self.bias = nn.Parameter(torch.zeros(n_out)) if bias else None

    def forward(self, x: Tensor) -> Tensor:
        y = x @ self.weight
        return y if self.bias is None else y + self.bias


class Embedding(nn.Module):
    """Look up a learned row for each id.

    Shapes: ids (...) -> (..., C)
    Source: Bengio et al. 2003, A neural probabilistic language model, sec. 2.
    """

    def __init__(self, V: int, C: int):
        super().__init__()
        self.weight = nn.Parameter(torch.randn(V, C))

    def forward(self, ids: Tensor) -> Tensor:
        return self.weight[ids]


class Tanh(nn.Module):
    """Squash every number into (-1, 1).

    Shapes: x (...) -> (...)
    """

    def forward(self, x: Tensor) -> Tensor:
        return x.tanh()


class BatchNorm1d(nn.Module):
    """Give every channel mean 0 and spread 1 over the batch, then a learned gain and shift.

    In training the statistics are those of the batch, over every axis but the last; in evaluation they are
    running means kept on the way.

    Shapes: x (..., C) -> (..., C)
    Raises: ValueError in training if the batch has one value a channel, because one value has no spread.
    Source: Ioffe & Szegedy 2015, algorithms 1 and 2. https://arxiv.org/abs/1502.03167
    """

    def __init__(self, C: int, eps: float = 1e-5, momentum: float = 0.1):
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(C))
        self.bias = nn.Parameter(torch.zeros(C))
        self.register_buffer("running_mean", torch.zeros(C))
        self.register_buffer("running_var", torch.ones(C))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            axes, n = tuple(range(x.ndim - 1)), x[..., 0].numel()
            if n < 2:
                raise ValueError("one value a channel has no spread: "
                                 "call eval() to use a trained model")
            mean, var = x.mean(axes), x.var(axes, unbiased=False)   # (C,)
            with torch.no_grad():
                self.running_mean.lerp_(mean, self.momentum)
                self.running_var.lerp_(var * n / (n - 1), self.momentum)
        else:
            mean, var = self.running_mean, self.running_var
        normal = (x - mean) / (var + self.eps).sqrt()
        return normal * self.weight + self.bias


class FastBatchNorm1d(nn.BatchNorm1d):
    """BatchNorm1d by torch's own code, which goes through memory fewer times.

    Shapes: x (..., C) -> (..., C)
    """

    def __init__(self, C: int):
        super().__init__(C)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x.flatten(0, -2)).view(x.shape)      # torch wants (rows, C)


class LayerNorm(nn.Module):
    """Give the channels of each token mean 0 and spread 1, then a learned gain and shift for each channel.

    No other token and no other example enters, so it does the same in training and in evaluation.

    Shapes: x (..., C) -> (..., C)
    Source: Ba et al. 2016, eq. 3 and 4. https://arxiv.org/abs/1607.06450
    """

    def __init__(self, C: int, eps: float = 1e-5):
        super().__init__()
        self.eps = eps      # keeps a token whose channels are all alike finite
        self.weight = nn.Parameter(torch.ones(C))
        self.bias = nn.Parameter(torch.zeros(C))

    def forward(self, x: Tensor) -> Tensor:
        mean = x.mean(-1, keepdim=True)                             # (..., 1)
        var = x.var(-1, keepdim=True, unbiased=False)               # (..., 1)
        normal = (x - mean) / (var + self.eps).sqrt()
        return normal * self.weight + self.bias


class FlattenConsecutive(nn.Module):
    """Join every n neighbouring places into one with n times the channels; a single place loses its axis.

    Shapes: x (B, T*n, C) -> (B, T, C*n)
    Raises: ValueError if the number of places is not divisible by n.
    """

    def __init__(self, n: int):
        super().__init__()
        self.n = n

    def forward(self, x: Tensor) -> Tensor:
        B, T, C = x.shape
        if T % self.n:
            raise ValueError(f"{T} places cannot be joined {self.n} by {self.n}")
        x = x.reshape(B, T // self.n, C * self.n)
        return x.squeeze(1) if x.shape[1] == 1 else x


class Sequential(nn.Module):
    """Run layers one after another.

    Shapes: what the first layer takes, to what the last one gives.
    """

    def __init__(self, *layers: nn.Module):
        super().__init__()
        self.layers = nn.ModuleList(layers)

    def forward(self, x: Tensor) -> Tensor:
        for layer in self.layers:
            x = layer(x)
        return x
