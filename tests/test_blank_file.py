"""The checker of the blank file passes GPTs written in any way, and names what is wrong with the others."""
import itertools
import math

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmcore import blankfile, minigpt

V, T, C, H, L = 20, 16, 32, 2, 2


class Mine(nn.Module):
    """A GPT in other words, with a fault where one is asked for."""

    def __init__(self, fault: str = "", layers: int = L):
        super().__init__()
        self.fault, self.layers = fault, layers
        self.wte, self.wpe = nn.Embedding(V, C), nn.Embedding(2 * T, C)
        make = lambda a, b: nn.Linear(a, b, bias=False)
        self.mats = nn.ModuleList(make(C, n) for _ in range(layers) for n in (3 * C, C))
        self.up = nn.ModuleList(make(C, 4 * C) for _ in range(layers))
        self.down = nn.ModuleList(make(4 * C, C) for _ in range(layers))
        self.gains = nn.Parameter(torch.ones(2 * layers + 1, C))
        for p in self.parameters():
            if p.ndim == 2 and p is not self.gains:
                nn.init.normal_(p, std=0.5 if fault == "weights too large" else 0.02)

    def norm(self, x: Tensor, i: int) -> Tensor:
        axis = 1 if self.fault == "a norm runs over places" else -1
        x = x - x.mean(axis, keepdim=True)
        return x / (x.var(axis, keepdim=True, unbiased=False) + 1e-5).sqrt() * self.gains[i]

    def attend(self, x: Tensor, qkv: nn.Module, out: nn.Module) -> Tensor:
        B, n, _ = x.shape
        if self.fault == "runs over the batch":
            x, B, n = x.transpose(0, 1), n, B
        q, k, v = qkv(x).chunk(3, -1)
        if self.fault == "view, then transpose":
            q, k, v = (z.reshape(B, H, n, C // H) for z in (q, k, v))
        else:
            q, k, v = (z.reshape(B, n, H, C // H).transpose(1, 2) for z in (q, k, v))
        scores = q @ k.mT / math.sqrt(C // H)
        mask = torch.ones(n, n).tril({"off by one": 1}.get(self.fault, 0)).bool()
        if self.fault == "upside down":
            mask = mask.T
        if self.fault != "there is no mask":
            scores = scores.masked_fill(~mask, -1e9)
        weights = scores.softmax(-2 if self.fault == "the softmax runs over the wrong axis" else -1)
        y = (weights @ v).transpose(1, 2).reshape(B, n, C)
        if self.fault == "what attention finds is lost":
            y = y * 0 + x
        return out(y.transpose(0, 1) if self.fault == "runs over the batch" else y)

    def forward(self, ids: Tensor) -> Tensor:
        B, n = ids.shape
        place = {"counted from the end": torch.arange(n).flip(0),
                 "positions are counted over rows": torch.arange(B)[:, None]}.get(self.fault, torch.arange(n))
        x = self.wte(ids) + self.wpe(place) * (self.fault != "it knows no positions")
        if self.fault == "dropout stays on":
            x = F.dropout(x, 0.1)
        for i in range(self.layers):
            found = self.attend(self.norm(x, 2 * i), self.mats[2 * i], self.mats[2 * i + 1])
            x = found if self.fault == "attention replaces the stream" else x + found
            if self.fault == "never get a gradient" and i == 0:
                x = x.detach()
            x = x + self.down[i](F.relu(self.up[i](self.norm(x, 2 * i + 1))))
        x = self.norm(x, -1) @ self.wte.weight.T
        return x.softmax(-1) if self.fault == "a softmax too many" else x


class FromTorch(nn.Module):
    """The library's own layers: norm after, biases, sines, no tying."""

    def __init__(self):
        super().__init__()
        self.inp, self.out = nn.Embedding(V, C), nn.Linear(C, V)
        layer = nn.TransformerEncoderLayer(C, H, 4 * C, 0.1, batch_first=True)
        self.layers = nn.TransformerEncoder(layer, L)
        nn.init.normal_(self.out.weight, std=0.02)

    def forward(self, ids: Tensor) -> Tensor:
        n = ids.shape[1]
        speed = torch.exp(-torch.arange(0, C, 2) / C * math.log(1000))
        angle = torch.arange(n)[:, None] * speed
        x = self.inp(ids) + torch.cat([angle.sin(), angle.cos()], -1)
        mask = nn.Transformer.generate_square_subsequent_mask(n)
        return self.out(self.layers(x, mask=mask, is_causal=True))


def functions():
    """No class at all: one layer, a loop over heads, rotary positions, a head that starts at zero."""
    shapes = {"in": (V, C), "qkv": (H, 3, C, C // H), "join": (C, C), "up": (C, 2 * C), "down": (2 * C, C)}
    p = {name: nn.Parameter(torch.randn(shape) * 0.1) for name, shape in shapes.items()}
    p["head"] = nn.Parameter(torch.zeros(C, V))
    angles = torch.arange(T)[:, None] * 100 ** (-torch.arange(0, C // H, 2) / (C // H))

    def turn(x: Tensor) -> Tensor:
        a, b, w = *x.chunk(2, -1), angles[:x.shape[1]]
        return torch.cat([a * w.cos() - b * w.sin(), a * w.sin() + b * w.cos()], -1)

    def gpt(ids: Tensor) -> Tensor:
        x, heads = p["in"][ids], []
        normal = lambda x: F.rms_norm(x, (C,))
        for wq, wk, wv in p["qkv"]:
            q, k, v = turn(normal(x) @ wq), turn(normal(x) @ wk), normal(x) @ wv
            heads.append(F.scaled_dot_product_attention(q, k, v, is_causal=True))
        x = x + torch.cat(heads, -1) @ p["join"]
        return normal(x + F.silu(normal(x) @ p["up"]) @ p["down"]) @ p["head"]

    return gpt, p.values()


RIGHT = {"other words": Mine, "one layer": lambda: Mine(layers=1), "the library's layers": FromTorch,
         "functions only": functions, "minigpt": lambda: minigpt.GPT(V, T, C, L, H, dropout=0.1)}
FAULTS = ["there is no mask", "off by one", "upside down", "it knows no positions", "counted from the end",
          "positions are counted over rows", "runs over the batch", "weights too large", "a softmax too many",
          "dropout stays on", "a norm runs over places", "attention replaces the stream",
          "the softmax runs over the wrong axis", "view, then transpose", "never get a gradient",
          "what attention finds is lost"]


@pytest.mark.parametrize("seed", range(2))
@pytest.mark.parametrize("make", RIGHT.values(), ids=RIGHT)
def test_a_right_gpt_passes_however_it_is_written(make, seed):
    assert blankfile.check(make, V, T, seed) == ""


@pytest.mark.parametrize("fault, layers", list(itertools.product(FAULTS, (1, 3))))
def test_a_planted_fault_is_named(fault, layers, capsys):
    assert fault in blankfile.check(lambda: Mine(fault, layers), V, T)
    assert capsys.readouterr().out.count("✘") == 1
