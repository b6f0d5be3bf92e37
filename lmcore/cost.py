"""What a GPT costs, by formula, before it is built: parameters, operations a token, bytes of memory.

Source: operations: Kaplan et al. 2020, sec. 2.1, https://arxiv.org/abs/2001.08361, with attention to half of
        the places, as it is causal; activations: counted in our own code.
"""
from dataclasses import dataclass

from lmcore.config import GPTConfig


@dataclass(frozen=True)
class Cost:
    """What `cost` found."""

    parameters: int
    flops_per_token: int        # of training at full context, forward and backward
    weight_bytes: int           # float32
    training_bytes: int         # weights, gradients and two numbers of AdamW for each, and what a batch holds
    cache_bytes: int            # keys and values of one text at full context


def cost(config: GPTConfig, batch_size: int = 16) -> Cost:
    """What a model of this config costs, and to train it with batches of so many rows at full context."""
    C, T, L, V = config.n_embd, config.block_size, config.n_layer, config.vocab_size
    n, inner = parameters(config), config.n_head * config.D
    weights = n["matrices"] + V * C                     # the head's product is one too, tied or not
    flops = 6 * (weights + L * T * inner)
    return Cost(sum(n.values()), flops, 4 * sum(n.values()),
                16 * sum(n.values()) + 4 * V * C + round(4 * batch_size * T * held(config)),
                4 * 2 * L * T * config.kv_heads * config.D)


def parameters(config: GPTConfig) -> dict[str, int]:
    """Numbers that are learned: in tables, in matrices, in gains and biases."""
    C, L = config.n_embd, config.n_layer
    inner, qkv, up = widths(config)
    norm = C * (1 + (config.norm == "layernorm" and config.norm_bias))
    tables = config.vocab_size * C * (1 if config.tied else 2)
    tables += config.block_size * C * (config.position == "learned")
    matrices = L * (C * qkv + inner * C + C * up + config.middle * C)
    small = L * (2 * norm + config.attention_bias * (qkv + C) + config.ffn_bias * (up + C))
    small += norm * (config.norm_place == "pre")
    return {"tables": tables, "matrices": matrices, "small": small}


def widths(config: GPTConfig) -> tuple[int, int, int]:
    """Channels of all heads, of queries with keys and values, and of the first matrix of the feed-forward."""
    inner, kv = config.n_head * config.D, config.kv_heads * config.D
    return inner, inner + 2 * kv, config.middle * (2 if config.ffn == "swiglu" else 1)


def held(config: GPTConfig) -> float:
    """Numbers that a training step keeps for each token until the backward pass, about; on a CPU.

    Dropout makes attention keep its whole map there; GPUs have code that does not.
    """
    C, (inner, qkv, _) = config.n_embd, widths(config)
    turned = (config.qk_norm + (config.position == "rope")) * 0.8 * qkv
    bends = {"relu": 1, "gelu": 2, "gelu_tanh": 2, "relu2": 2, "swiglu": 4}[config.ffn] * config.middle
    dropped = (3 * config.n_head * config.block_size + 2 * C) * (config.dropout > 0)
    block = (4 + 2 * (config.norm == "rmsnorm")) * C + qkv + inner + turned + bends + dropped
    return config.n_layer * block + 4 * C + min(3 * config.vocab_size, C)
