"""What a GPT is made of and how it is trained, in two frozen records, and the presets that have names.

The comment behind a field is the help that the command line shows for it.
"""
from dataclasses import dataclass, replace
from typing import Literal


@dataclass(frozen=True, kw_only=True)
class GPTConfig:
    """The choices of one GPT. As it comes it is the plain GPT of `minigpt`.

    Raises: ValueError if a number is out of its range or two choices do not go together.
    """

    vocab_size: int                 # V, tokens in the vocabulary
    block_size: int = 256           # longest T, tokens of context
    n_embd: int = 128               # C, channels of the residual stream
    n_layer: int = 4                # blocks
    n_head: int = 4                 # H, attention heads
    n_kv_head: int | None = None    # heads of keys and values; fewer than n_head: grouped queries
    head_size: int | None = None    # D, channels per head; if not given, n_embd / n_head
    position: Literal["learned", "sinusoidal", "rope", "none"] = "learned"  # how a token's place is told
    norm: Literal["layernorm", "rmsnorm"] = "layernorm"     # the kind of normalisation
    norm_place: Literal["pre", "post"] = "pre"              # before each part, or after adding it
    qk_norm: bool = False           # normalise queries and keys in each head
    ffn: Literal["relu", "gelu", "gelu_tanh", "relu2", "swiglu"] = "gelu"   # the bend (gelu_tanh is GPT-2's)
    expansion: float = 4.0          # channels in the middle of the feed-forward, times n_embd
    attention_bias: bool = False    # biases in the attention's matrices
    ffn_bias: bool = False          # biases in the feed-forward's matrices
    norm_bias: bool = True          # biases in LayerNorm (RMSNorm has none)
    tied: bool = True               # one table for reading and for writing tokens
    dropout: float = 0.0            # probability of dropping a unit; 0 turns it off
    norm_eps: float = 1e-5          # keeps the norm of a row of zeros finite
    rope_base: float = 10_000.0     # the slowest rotary pair turns about 1 / rope_base rad per token

    def __post_init__(self):
        for name in ("vocab_size", "block_size", "n_embd", "n_layer", "n_head"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        if self.head_size is None and self.n_embd % self.n_head:
            raise ValueError(f"n_embd={self.n_embd} is not divisible by n_head={self.n_head}; "
                             "change one of them, or give head_size")
        if self.n_head % self.kv_heads:
            raise ValueError(f"n_head={self.n_head} is not divisible by n_kv_head={self.n_kv_head}")
        if self.position == "rope" and self.D % 2:
            raise ValueError(f"rope turns pairs of channels and needs an even head size, got {self.D}")
        if not 0 <= self.dropout < 1:
            raise ValueError(f"dropout must be in [0, 1), got {self.dropout}")

    @property
    def D(self) -> int:
        """Channels per head."""
        return self.head_size or self.n_embd // self.n_head

    @property
    def kv_heads(self) -> int:
        """Heads of keys and values."""
        return self.n_kv_head or self.n_head

    @property
    def middle(self) -> int:
        """Channels in the middle of the feed-forward."""
        return int(self.expansion * self.n_embd + 1e-6)     # a share like 49/3 may fall a hair short


@dataclass(frozen=True, kw_only=True)
class TrainConfig:
    """How a run is trained: its steps, its text in rows, its rate, what is written down on the way.

    Raises: ValueError if a number is out of its range.
    """

    steps: int = 1_000              # steps of the optimiser
    epochs: float | None = None     # times through the text; if given, it decides the steps
    batch_size: int = 16            # B, rows of a step
    accumulate: int = 1             # parts in which a batch is worked through: less memory, the same result
    sampling: Literal["documents", "stream"] = "documents"  # a row begins with a document, or anywhere
    stride: int | None = None       # tokens between the starts of windows; if not given, none overlap
    learning_rate: float = 3e-3     # the highest, after the warm-up
    table_rate: float = 1.0         # the rate of embedding tables, times learning_rate
    schedule: Literal["cosine", "linear", "wsd"] = "cosine"     # the way down (wsd: late, and straight)
    warmup: float = 0.05            # share of the steps in which the rate rises
    floor: float = 0.0              # share of the rate that is left at the end
    optimiser: Literal["adamw", "muon"] = "adamw"   # muon: for matrices; AdamW for the rest
    weight_decay: float = 0.1       # of matrices; tables, gains and biases have none
    beta1: float = 0.9              # how much of the mean gradient is kept at a step
    beta2: float = 0.98             # how much of the mean squared gradient is kept
    clip: float = 1.0               # longest gradient; a longer one is shortened to this
    precision: Literal["auto", "float32", "bfloat16"] = "auto"  # of products; weights are always float32
    compile: bool = False           # translate the step first: a minute's wait, then faster, up to twice
    device: str = "auto"            # cpu, cuda, mps; auto: the fastest there is
    checkpointing: bool = False     # compute parts of the forward pass twice, to hold less in memory
    eval_every: int = 200           # steps between evaluations
    eval_docs: int = 200            # validation documents that are scored then; 0: all
    patience: int | None = None     # stop after so many evaluations without a better one
    save_every: int | None = None   # steps between checkpoints; if not given, at evaluations
    log_every: int = 10             # steps whose mean loss makes a line of history
    prompt: str | None = None       # a text to be continued at every evaluation, into samples.txt
    wandb: Literal["off", "offline", "online"] = "offline"  # Weights & Biases, if it is installed
    parallel: Literal["fsdp", "ddp"] = "fsdp"   # under torchrun, a rank has a slice of the model, or a copy
    tensor: int = 1                 # under torchrun, neighbouring ranks that share the work of every matrix
    seed: int = 0                   # decides the order of the text and what is dropped

    def __post_init__(self):
        for name in ("steps", "batch_size", "accumulate", "eval_every", "log_every", "tensor"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} must be at least 1, got {getattr(self, name)}")
        for name in ("epochs", "stride", "patience", "save_every", "learning_rate", "table_rate", "clip"):
            if getattr(self, name) is not None and not getattr(self, name) > 0:
                raise ValueError(f"{name} must be above 0, got {getattr(self, name)}")
        for name in ("warmup", "beta1", "beta2"):
            if not 0 <= getattr(self, name) < 1:
                raise ValueError(f"{name} must be in [0, 1), got {getattr(self, name)}")
        if not 0 <= self.floor <= 1:
            raise ValueError(f"floor must be in [0, 1], got {self.floor}")


_ROOMY = {"position": "rope", "norm": "rmsnorm", "ffn": "swiglu", "expansion": 8 / 3, "vocab_size": 32_000}
PRESETS = {
    "day21": GPTConfig(                 # 403,200 parameters: small enough for a text of a few pages
        vocab_size=30, block_size=64, n_embd=128, n_layer=2, n_head=4, position="sinusoidal", ffn="relu",
        norm_place="post", ffn_bias=True, tied=False),
    "simple": GPTConfig(                # the transformer of 2017, its decoder alone
        vocab_size=2_000, block_size=512, n_embd=256, n_layer=6, n_head=8, position="sinusoidal", ffn="relu",
        norm_place="post", attention_bias=True, ffn_bias=True, tied=False, dropout=0.1),
    "19m": GPTConfig(                   # 19,804,416 parameters: chapter 15's, for Wikipedia
        vocab_size=8_192, block_size=512, n_embd=384, n_layer=7, n_head=7, head_size=54, expansion=6,
        dropout=0.05),
    "mini": GPTConfig(                  # 0.85 million: chapter 16's best, for a text of one's own on a CPU
        vocab_size=512, block_size=256, n_embd=128, n_layer=4, n_head=4, position="rope", norm="rmsnorm",
        qk_norm=True, ffn="relu2"),
    "small": GPTConfig(**_ROOMY, block_size=256, n_embd=256, n_layer=6, n_head=4),      # 12.9 million
    "medium": GPTConfig(**_ROOMY, block_size=512, n_embd=384, n_layer=8, n_head=6),     # 26.4 million
    "large": GPTConfig(**_ROOMY, block_size=1_024, n_embd=512, n_layer=12, n_head=8, tied=False),   # 70.5
}


def preset(name: str, **changes: object) -> GPTConfig:
    """The config of a preset, with some fields changed: `preset("19m", vocab_size=5000)`.

    Raises: ValueError if there is no preset of that name; TypeError if there is no such field.
    """
    if name not in PRESETS:
        raise ValueError(f"no preset {name!r}; there are {', '.join(PRESETS)}")
    return replace(PRESETS[name], **changes)
