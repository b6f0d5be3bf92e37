"""The GPT that holds every choice of GPTConfig; in the plain case equal to `minigpt`, weight by weight."""
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.utils.checkpoint import checkpoint

from lmcore import exchange
from lmcore.attention import Attention, Cache, causal_mask, rope_angles, sinusoids
from lmcore.config import GPTConfig
from lmcore.tokenizers import END, SKIP

AT_ONCE = 2**22         # logits held in memory at a time when the loss is computed


def norm_layer(config: GPTConfig) -> nn.Module:
    """The normalisation that the config asks for, in torch's own fast code."""
    if config.norm == "rmsnorm":
        return nn.RMSNorm(config.n_embd, eps=config.norm_eps)
    return nn.LayerNorm(config.n_embd, eps=config.norm_eps, bias=config.norm_bias)


class FeedForward(nn.Module):
    """What a token does with what it has gathered: out to more channels, a bend, and back.

    Shapes: x (B, T, C) -> (B, T, C)
    Source: SwiGLU: Shazeer 2020, eq. 6, https://arxiv.org/abs/2002.05202; squared ReLU: So et al. 2021.
            https://arxiv.org/abs/2109.08668
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        C, middle, self.kind = config.n_embd, config.middle, config.ffn
        self.up = nn.Linear(C, 2 * middle if self.kind == "swiglu" else middle, bias=config.ffn_bias)
        self.down = nn.Linear(middle, C, bias=config.ffn_bias)

    def forward(self, x: Tensor) -> Tensor:
        x = self.up(x)
        if self.kind == "swiglu":
            gate, x = x.chunk(2, dim=-1)
            return self.down(F.silu(gate) * x)
        bend = {"relu": F.relu, "relu2": lambda x: F.relu(x).square(), "gelu": F.gelu,
                "gelu_tanh": lambda x: F.gelu(x, approximate="tanh")}[self.kind]
        return self.down(bend(x))


class Block(nn.Module):
    """Attention, then feed-forward, each adding to the stream what it found.

    Shapes: x (B, T, C) -> (B, T, C)
    Source: Xiong et al. 2020, fig. 1. https://arxiv.org/abs/2002.04745
    """

    def __init__(self, config: GPTConfig, layer: int = 0):
        super().__init__()
        self.pre = config.norm_place == "pre"
        self.norm1, self.norm2 = norm_layer(config), norm_layer(config)
        self.attention, self.ffn = Attention(config, layer), FeedForward(config)
        self.dropout = nn.Dropout(config.dropout)

    def forward(self, x: Tensor, angles: Tensor | None = None, mask: Tensor | None = None,
                cache: Cache | None = None) -> Tensor:
        if self.pre:
            x = x + self.dropout(self.attention(self.norm1(x), angles, mask, cache))
            return x + self.dropout(self.ffn(self.norm2(x)))
        x = self.norm1(x + self.dropout(self.attention(x, angles, mask, cache)))
        return self.norm2(x + self.dropout(self.ffn(x)))


class GPT(nn.Module):
    """Tokens in, and for every token the logits of the one after it. Set `checkpointing` to save memory.

    With a `cache`, ids are only the tokens that are new. With `pad`, row i starts with pad[i] tokens that
    count for nothing, so that prompts of unequal length fit one batch.

    Shapes: ids (B, T) -> (B, T, V)
    Raises: ValueError if there are more tokens than block_size.
    """

    def __init__(self, config: GPTConfig):
        super().__init__()
        self.config, self.block_size, self.checkpointing = config, config.block_size, False
        C, T = config.n_embd, config.block_size
        self.tokens = nn.Embedding(config.vocab_size, C)
        if config.position == "learned":
            self.places = nn.Embedding(T, C)
        elif config.position == "sinusoidal":
            self.register_buffer("waves", sinusoids(T, C), persistent=False)
        elif config.position == "rope":
            self.register_buffer("angles", rope_angles(T, config.D, config.rope_base), persistent=False)
        self.dropout = nn.Dropout(config.dropout)
        self.blocks = nn.ModuleList(Block(config, layer) for layer in range(config.n_layer))
        self.norm = norm_layer(config) if config.norm_place == "pre" else nn.Identity()
        self.head = nn.Linear(C, config.vocab_size, bias=False)
        if config.tied:
            self.head.weight = self.tokens.weight
        self.reset()

    def reset(self) -> None:
        """Draw all weights anew: outputs as spread as inputs, less where a matrix adds to the stream.

        Places begin small, biases at 0, gains at 1, the last one smaller: the first guess is near uniform.

        Source: for the parts that add, Radford et al. 2019, sec. 2.3.
        """
        for name, weight in self.named_parameters():
            if weight.ndim == 2:
                nn.init.normal_(weight, std=0.02 if name == "places.weight" else weight.shape[1]**-0.5)
            else:
                nn.init.constant_(weight, float("norm" in name and name.endswith("weight")))
            if name.endswith(("out.weight", "down.weight")):
                weight.data /= (2 * self.config.n_layer)**0.5
        last_norm = self.norm if self.config.norm_place == "pre" else self.blocks[-1].norm2
        nn.init.constant_(last_norm.weight, 3 * self.config.n_embd**-0.5)

    @classmethod
    def from_transformers(cls, model: str | nn.Module) -> "GPT":
        """A GPT with the weights of a GPT-2 or Llama of `transformers`, or of its name there, such as "gpt2".

        Its tokens are theirs: id 0 need not be the border of documents that `log_probs` takes it for.

        Raises: ValueError if it is another architecture, or has a choice that we lack.
        """
        config, weights = exchange.read(model)
        gpt = cls(config)
        gpt.load_state_dict(weights)
        return gpt.eval()

    def to_transformers(self) -> nn.Module:
        """A GPT-2 or Llama of `transformers` with these weights.

        Raises: ValueError if a choice of the config has no counterpart there.
        """
        return exchange.write(self.config, self.state_dict())

    @property
    def n_params(self) -> int:
        """Numbers that are learned; a tied table counts once."""
        return sum(p.numel() for p in self.parameters())

    def forward(self, ids: Tensor, cache: Cache | None = None, pad: Tensor | None = None) -> Tensor:
        return self.head(self.stream(ids, cache, pad))                  # (B, T, V)

    def stream(self, ids: Tensor, cache: Cache | None = None, pad: Tensor | None = None) -> Tensor:
        """The last channels of every token, from which the head writes.

        Shapes: ids (B, T) -> (B, T, C)
        """
        x, angles, mask = self._begin(ids, cache, pad)
        for block in self.blocks:
            if self.checkpointing and self.training:
                x = checkpoint(block, x, angles, mask, use_reentrant=False)
            else:
                x = block(x, angles, mask, cache)
        if cache is not None:
            cache.length += ids.shape[1]
        return self.norm(x)

    def _begin(self, ids: Tensor, cache: Cache | None = None,
               pad: Tensor | None = None) -> tuple[Tensor, Tensor | None, Tensor | None]:
        """What the blocks get: embedded tokens, rotary angles, and a mask where causal order is not all."""
        past, T = cache.length if cache is not None else 0, ids.shape[1]
        if past + T > self.block_size:
            raise ValueError(f"{past + T} tokens, but this model sees {self.block_size} at most")
        places = torch.arange(past, past + T, device=ids.device)        # (T,)
        if pad is not None:
            places = (places - pad[:, None]).clamp(min=0)               # (B, T)
        x, angles = self.tokens(ids), None                              # (B, T, C)
        match self.config.position:
            case "learned":
                x = x + self.places(places)
            case "sinusoidal":
                x = x * self.config.n_embd**0.5 + self.waves[places]
            case "rope":
                angles = self.angles[places] if pad is None else self.angles[places][:, None]
        mask = causal_mask(T, past + T, pad) if pad is not None or (past and T > 1) else None
        return self.dropout(x), angles, mask if mask is None else mask.to(ids.device)

    def loss(self, ids: Tensor, targets: Tensor) -> Tensor:
        """Mean loss of the targets, those equal to SKIP left out; big logits are never held all at once.

        Shapes: ids (B, T), targets (B, T) -> ()
        Units:  nats per token
        """
        x, y = self.stream(ids).flatten(0, 1), targets.flatten()        # (B*T, C), (B*T,)
        if len(y) * self.config.vocab_size <= AT_ONCE or not torch.is_grad_enabled():
            return F.cross_entropy(self.head(x), y, ignore_index=SKIP)
        return HeadLoss.apply(x, self.head.weight, y)

    def maps(self, ids: Tensor) -> Tensor:
        """How much each token takes from each earlier one, in every layer and head.

        Shapes: ids (B, T) -> (n_layer, B, H, T, T)
        """
        x, angles, mask = self._begin(ids)
        found = []
        for block in self.blocks:
            q, k, _ = block.attention.project(block.norm1(x) if block.pre else x, angles)
            found.append(block.attention.weights(q, k))
            x = block(x, angles, mask)
        return torch.stack(found)

    @torch.no_grad()
    def log_probs(self, ids: Sequence[int]) -> Tensor:
        """Log-probability of each token of a document given those before it, its start being an end.

        A document longer than the context is read in windows that overlap by half, so that every token
        sees at least block_size / 2 tokens before it, where there are as many.

        Shapes: ids (T,) -> (T,)
        Units:  nats
        """
        ids = torch.tensor([END, *ids], device=self.tokens.weight.device)
        n, T = len(ids) - 1, self.block_size
        if n <= T:
            return -F.cross_entropy(self(ids[None, :-1])[0], ids[1:], reduction="none")
        hop = max(T // 2, 1)
        starts, found = [*range(0, n - T, hop), n - T], ids.new_empty(n, dtype=torch.float)
        for some in torch.tensor(starts).split(16):
            rows = torch.stack([ids[s:s + T + 1] for s in some])        # (up to 16, T + 1)
            logits = self(rows[:, :-1]).flatten(0, 1)                   # (up to 16 * T, V)
            nats = F.cross_entropy(logits, rows[:, 1:].flatten(), reduction="none")
            for s, row in zip(some.tolist(), nats.view(-1, T)):
                seen = T - hop if s else 0
                found[s + seen:s + T] = -row[seen:]
        return found


class HeadLoss(torch.autograd.Function):
    """The head and its cross-entropy, some rows at a time: their gradients are kept, their logits are not.

    Under autocast its three products are in the type that autocast asks for, the sums in float32.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, y: Tensor) -> Tensor:
        device, dtype = x.device.type, x.dtype
        if torch.is_autocast_enabled(device):
            dtype = torch.get_autocast_dtype(device)
        total, count = weight.new_zeros(()), (y != SKIP).sum()
        dx, dw, w = torch.empty_like(x), torch.zeros_like(weight), weight.to(dtype)
        rows = max(AT_ONCE // len(weight), 1)
        for some, out, target in zip(x.to(dtype).split(rows), dx.split(rows), y.split(rows)):
            kept = (target != SKIP)[:, None]                            # (rows, 1)
            log_p = (some @ w.T).to(weight.dtype).log_softmax(-1)       # (rows, V)
            target = target.clamp(min=0)[:, None]
            total -= (log_p.gather(1, target) * kept).sum()
            d = log_p.exp_().scatter_add_(1, target, -torch.ones_like(log_p[:, :1]))
            d = d.mul_(kept / count).to(dtype)                          # (rows, V) gradient of the logits
            out.copy_(d @ w)
            dw += d.T @ some
        ctx.save_for_backward(dx, dw)
        return total / count

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, Tensor, None]:
        dx, dw = ctx.saved_tensors
        return grad * dx, grad * dw, None
