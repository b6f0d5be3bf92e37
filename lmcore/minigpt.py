"""A whole GPT in one file: what chapters 09 and 10 build, and what a reader can write from a blank page.

Letters: B batch, T tokens, C channels of the stream, H heads, D channels per head, V vocabulary.
Source:  Radford et al. 2019, Language models are unsupervised multitask learners (GPT-2).
"""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

END = 0     # the token at the border of documents


class Attention(nn.Module):
    """Each token asks, every earlier token answers, and the answers are averaged by how well they fit.

    Shapes: x (B, T, C) -> (B, T, C)
    Raises: ValueError if C is not divisible by H, because heads share the channels equally.
    Source: Vaswani et al. 2017, sec. 3.2. https://arxiv.org/abs/1706.03762
    """

    def __init__(self, C: int, H: int, dropout: float = 0.0):
        super().__init__()
        if C % H:
            raise ValueError(f"{C} channels cannot be shared equally by {H} heads")
        self.H = H
        self.qkv = nn.Linear(C, 3 * C, bias=False)      # questions, keys and values of all heads at once
        self.out = nn.Linear(C, C, bias=False)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = self.qkv(x).chunk(3, dim=-1)                          # (B, T, C) each
        q, k, v = self.split(q), self.split(k), self.split(v)           # (B, H, T, D) each
        y = self.dropout(self.weights(q, k)) @ v                        # (B, H, T, D)
        return self.out(y.transpose(1, 2).flatten(2))                   # (B, T, C)

    def split(self, x: Tensor) -> Tensor:
        """Give each head its own channels.

        Shapes: x (B, T, C) -> (B, H, T, C/H)
        """
        B, T, C = x.shape
        return x.view(B, T, self.H, C // self.H).transpose(1, 2)

    def weights(self, q: Tensor, k: Tensor) -> Tensor:
        """How much each token (row) takes from each token up to itself (column); every row sums to 1.

        Shapes: q (B, H, T, D), k (B, H, T, D) -> (B, H, T, T)
        """
        T, D = q.shape[-2:]
        scores = q @ k.transpose(-2, -1) / D**0.5                       # (B, H, T, T)
        future = torch.ones(T, T, dtype=torch.bool, device=q.device).triu(1)
        return scores.masked_fill(future, -torch.inf).softmax(-1)


class FeedForward(nn.Module):
    """What a token does with what it has gathered: out to four times the channels, a bend, and back.

    Shapes: x (B, T, C) -> (B, T, C)
    Source: Vaswani et al. 2017, sec. 3.3; GELU: Hendrycks & Gimpel 2016. https://arxiv.org/abs/1606.08415
    """

    def __init__(self, C: int):
        super().__init__()
        self.up = nn.Linear(C, 4 * C, bias=False)
        self.down = nn.Linear(4 * C, C, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.down(F.gelu(self.up(x)))


class Block(nn.Module):
    """Gather from earlier tokens, then think: each adds what it found to the stream.

    Shapes: x (B, T, C) -> (B, T, C)
    Source: Xiong et al. 2020, fig. 1b (norm before). https://arxiv.org/abs/2002.04745
    """

    def __init__(self, C: int, H: int, dropout: float = 0.0):
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(C), nn.LayerNorm(C)
        self.attention = Attention(C, H, dropout)
        self.ffn = FeedForward(C)
        self.dropout = nn.Dropout(dropout)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.dropout(self.attention(self.norm1(x)))
        return x + self.dropout(self.ffn(self.norm2(x)))


class GPT(nn.Module):
    """Tokens and places in, blocks, and for every token the logits of the one after it.

    Shapes: ids (B, T) -> (B, T, V)
    Raises: ValueError if there are more tokens than block_size.
    """

    def __init__(self, vocab_size: int, block_size: int, n_embd: int = 128, n_layer: int = 4, n_head: int = 4,
                 dropout: float = 0.0):
        super().__init__()
        self.block_size = block_size
        self.tokens = nn.Embedding(vocab_size, n_embd)
        self.places = nn.Embedding(block_size, n_embd)
        self.dropout = nn.Dropout(dropout)
        self.blocks = nn.ModuleList(Block(n_embd, n_head, dropout) for _ in range(n_layer))
        self.norm = nn.LayerNorm(n_embd)
        self.head = nn.Linear(n_embd, vocab_size, bias=False)
        self.head.weight = self.tokens.weight           # one table: how a token reads and how it is written
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, std=weight.shape[1]**-0.5)      # outputs as spread as inputs
            if name.endswith(("out.weight", "down.weight")):
                weight.data /= (2 * n_layer)**0.5                       # so many parts add to the stream
        nn.init.normal_(self.places.weight, std=0.02)   # what a token is, before where it is
        nn.init.constant_(self.norm.weight, 3 * n_embd**-0.5)   # the first guess is near uniform

    def forward(self, ids: Tensor) -> Tensor:
        T = ids.shape[1]
        if T > self.block_size:
            raise ValueError(f"{T} tokens, but this model sees {self.block_size} at most")
        x = self.tokens(ids) + self.places.weight[:T]                   # (B, T, C)
        x = self.dropout(x)
        for block in self.blocks:
            x = block(x)
        return self.head(self.norm(x))                                  # (B, T, V)

    @torch.no_grad()
    def log_probs(self, ids: Sequence[int]) -> Tensor:
        """Log-probability of each token of a document given those before it, its start being an end.

        Shapes: ids (T,) -> (T,)
        Units:  nats
        """
        ids = torch.tensor([END, *ids])                                 # (T + 1,)
        return -F.cross_entropy(self(ids[None, :-1])[0], ids[1:], reduction="none")


@torch.no_grad()
def generate(model: GPT, ids: Sequence[int], n: int, temperature: float = 1.0, seed: int = 0) -> list[int]:
    """Continue a document by up to n tokens, until it ends; it sees the last block_size."""
    generator, ids = torch.Generator().manual_seed(seed), [END, *ids]
    for _ in range(n):
        logits = model(torch.tensor([ids[-model.block_size:]]))[0, -1]  # (V,)
        probs = (logits / temperature).softmax(-1)
        ids.append(int(torch.multinomial(probs, 1, generator=generator)))
        if ids[-1] == END:
            break
    return ids[1:]
