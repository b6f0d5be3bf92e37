"""Where a token stands, how it looks back, what is kept: positions, attention, cached keys and values.

Letters: K heads of keys and values (H if queries are not grouped).
"""
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmcore.config import GPTConfig

SHORT = 128     # up to here plain arithmetic, once compiled, trains faster on a CPU than the fused kernel


def sinusoids(T: int, C: int) -> Tensor:
    """A fixed vector for every place: sines and cosines of slower and slower waves.

    Shapes: T, C -> (T, C)
    Raises: ValueError if C is odd, because waves come in pairs.
    Source: Vaswani et al. 2017, sec. 3.5. https://arxiv.org/abs/1706.03762
    """
    angles = rope_angles(T, C)                                          # (T, C/2)
    return torch.stack([angles.sin(), angles.cos()], dim=-1).flatten(1)


def rope_angles(T: int, D: int, base: float = 10_000.0) -> Tensor:
    """Angle of every channel pair at every place.

    Shapes: T, D -> (T, D/2)
    Units:  radians. Pair 0 turns 1 rad per token, the last pair about 1/base rad per token.
    Raises: ValueError if D is odd, because channels turn in pairs.
    Source: Su et al. 2021, RoFormer, sec. 3.4. https://arxiv.org/abs/2104.09864
    """
    if D % 2:
        raise ValueError(f"channels turn in pairs and need an even number, got {D}")
    speed = base ** (-torch.arange(0, D, 2) / D)            # (D/2,)    rad per token
    return torch.arange(T)[:, None] * speed                 # (T, D/2)  rad


def rotate(x: Tensor, angles: Tensor) -> Tensor:
    """Turn the channel pairs (0, D/2), (1, D/2+1), ... of x by their angles, one row of angles a token.

    Shapes: x (B, H, T, D), angles (T, D/2) -> (B, H, T, D)
    """
    cos, sin = angles.cos().to(x), angles.sin().to(x)       # (T, D/2) each, in the dtype of x
    a, b = x.chunk(2, dim=-1)                               # (B, H, T, D/2) each
    return torch.cat([a * cos - b * sin, a * sin + b * cos], dim=-1)


class Cache:
    """Keys and values of the tokens a model has read, of every layer, in memory set aside once.

    Give the same cache to every call of the model: `model(new_ids, cache)`.

    Raises: ValueError if more tokens come than there are places.
    """

    def __init__(self, config: GPTConfig, B: int, like: Tensor):
        shape = (config.n_layer, 2, B, config.kv_heads, config.block_size, config.D)
        self.memory, self.length = like.new_empty(shape), 0

    def extend(self, layer: int, k: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """Keep the keys and values of new tokens, and give those of all tokens so far.

        Shapes: layer, k (B, K, T, D), v (B, K, T, D) -> (B, K, S, D), (B, K, S, D)
        """
        end = self.length + k.shape[2]
        if end > self.memory.shape[4]:
            raise ValueError(f"{end} tokens in a cache of {self.memory.shape[4]}")
        for kept, new in ((0, k), (1, v)):
            self.memory[layer, kept, :, :, self.length:end] = new.detach()
        return self.memory[layer, 0, :, :, :end], self.memory[layer, 1, :, :, :end]

    def keep(self, rows: list[int]) -> None:
        """Go on with these rows of the batch, in this order; a row may come twice, or not at all."""
        self.memory = self.memory[:, :, rows]


def causal_mask(T: int, S: int, pad: Tensor | None = None) -> Tensor:
    """Which of S tokens each of the last T may look at: those up to itself, but not the first `pad` of a row.

    A padding token may look at itself, so that its softmax has something to share out.

    Shapes: T, S, pad (B,) -> (B, 1, T, S), B being 1 without pad
    """
    device = None if pad is None else pad.device
    query, key = torch.arange(S - T, S, device=device)[:, None], torch.arange(S, device=device)
    mask = (key <= query)[None, None]                                   # (1, 1, T, S)
    return mask if pad is None else mask & (key >= pad[:, None, None, None]) | (key == query)


class Attention(nn.Module):
    """Causal attention of H heads, with every choice of GPTConfig.

    Shapes: x (B, T, C) -> (B, T, C)
    Source: Vaswani et al. 2017, sec. 3.2, https://arxiv.org/abs/1706.03762; grouped queries: Ainslie et al.
            2023, https://arxiv.org/abs/2305.13245; QK-norm: Henry et al. 2020. https://arxiv.org/abs/2010.04245
    """

    def __init__(self, config: GPTConfig, layer: int = 0):
        super().__init__()
        self.H, self.K, self.D, self.layer = config.n_head, config.kv_heads, config.D, layer
        self.qk_norm, self.drop = config.qk_norm, config.dropout
        self.qkv = nn.Linear(config.n_embd, (self.H + 2 * self.K) * self.D, bias=config.attention_bias)
        self.out = nn.Linear(self.H * self.D, config.n_embd, bias=config.attention_bias)

    def forward(self, x: Tensor, angles: Tensor | None = None, mask: Tensor | None = None,
                cache: Cache | None = None) -> Tensor:
        q, k, v = self.project(x, angles)
        if cache is not None:
            k, v = cache.extend(self.layer, k, v)                       # (B, K, S, D) each
        drop = self.drop if self.training else 0.0
        plain = torch.compiler.is_compiling() and x.device.type == "cpu" and x.shape[1] <= SHORT
        if plain and mask is None and cache is None:
            y = F.dropout(self.weights(q, k), drop) @ self.share(v)     # (B, H, T, D)
        else:
            causal = mask is None and x.shape[1] > 1
            y = F.scaled_dot_product_attention(q, k, v, mask, drop, causal, enable_gqa=self.K < self.H)
        return self.out(y.transpose(1, 2).flatten(2))                   # (B, T, C)

    def project(self, x: Tensor, angles: Tensor | None = None) -> tuple[Tensor, Tensor, Tensor]:
        """Questions, keys and values of every head, normalised and turned where the config says so.

        Shapes: x (B, T, C) -> (B, H, T, D), (B, K, T, D), (B, K, T, D)
        """
        B, T, _ = x.shape
        x = self.qkv(x).view(B, T, -1, self.D).transpose(1, 2)          # (B, H + 2 K, T, D)
        q, k, v = x.split([self.H, self.K, self.K], dim=1)
        if self.qk_norm:
            q, k = F.rms_norm(q, (self.D,)), F.rms_norm(k, (self.D,))
        if angles is not None:
            q, k = rotate(q, angles), rotate(k, angles)
        return q, k, v

    def share(self, x: Tensor) -> Tensor:
        """Give each query head the keys or values of its group.

        Shapes: x (B, K, S, D) -> (B, H, S, D)
        """
        return x if self.K == self.H else x.repeat_interleave(self.H // self.K, dim=1)

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """How much each token takes from each token up to itself: rows sum to 1.

        Shapes: q (B, H, T, D), k (B, K, T, D) -> (B, H, T, T)
        """
        T = q.shape[2]
        future = q.new_full((T, T), -torch.inf).triu(1)         # to be added: no work on the way back
        scores = (q / self.D**0.5) @ self.share(k).transpose(-2, -1)    # (B, H, T, T)
        return (scores + future).softmax(-1)
