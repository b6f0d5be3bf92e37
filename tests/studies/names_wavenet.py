"""The WaveNet of chapter 07 beside flat networks as large, each by the recipe of chapter 07.

    python tests/studies/names_wavenet.py VARIANT        adds five seeds to data/runs/names_recipe.json

Each run is what the chapter does: `models.train` with batches of 512, AdamW, a warm-up and a cosine. The
record holds for each seed the loss on the whole validation part and the mean training loss of the first 200
steps, both in nats per character, and the CPU seconds.
"""
import json
import platform
import statistics
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import Tensor

import lmcore as lm
from lmcore.layers import Embedding, FastBatchNorm1d, FlattenConsecutive, Linear, Sequential, Tanh
from lmcore.models import MLP, FixedContext, WaveNet, train, warmup_cosine
from lmcore.optim import SGD, AdamW

ROOT, SEEDS = Path(__file__).resolve().parents[2], 5
FIRST = 200     # steps whose mean training loss is kept, so that a chapter can run them again


@dataclass(frozen=True, kw_only=True)
class Recipe:
    data: str = "names"
    how: str = "hash"
    T: int = 8
    C: int = 24
    hidden: int = 128
    flat: bool = False      # join all places at once
    norm: bool = True       # with BatchNorm; the flat network without is chapter 04's
    steps: int = 4000
    batch: int = 512
    rate: float = 0.005
    decay: float = 0.05
    cosine: bool = True
    adam: bool = True


SHORT = {"steps": 1000}
FLAT = {"flat": True, "norm": False, "hidden": 344, "decay": 0.1}
LECTURES = {"data": "names-2019", "how": "lecture", "steps": 10_000}
VARIANTS = {
    "own split": Recipe(),
    "short": Recipe(**SHORT),
    "context 16": Recipe(T=16, **SHORT),
    "flat, as large": Recipe(flat=True, hidden=344, **SHORT),
    "flat": Recipe(**FLAT),
    "flat, lectures' list": Recipe(**FLAT, **LECTURES),
}


class Flat(FixedContext):
    """All places at once, with one BatchNorm: as WaveNet, but joined in one step."""

    def __init__(self, V: int, T: int, C: int, hidden: int):
        super().__init__()
        self.T = T
        self.layers = Sequential(Embedding(V, C), FlattenConsecutive(T), Linear(T * C, hidden, bias=False),
                                 FastBatchNorm1d(hidden), Tanh(), Linear(hidden, V))
        self.layers.layers[-1].weight.data *= 0.1

    def forward(self, X: Tensor) -> Tensor:
        return self.layers(X)


def run(recipe: Recipe, seed: int, parts: dict[str, list[str]],
        tok: lm.CharTokenizer) -> tuple[float, float, float, int]:
    """Validation loss and mean loss of the first steps, nats per character; CPU seconds; parameters."""
    X, Y = lm.data.windows(parts["train"], tok, recipe.T)
    torch.manual_seed(seed)
    kind = WaveNet if not recipe.flat else Flat if recipe.norm else MLP
    model = kind(tok.vocab_size, recipe.T, recipe.C, recipe.hidden)
    optimiser = (AdamW(model.parameters(), recipe.rate, weight_decay=recipe.decay) if recipe.adam
                 else SGD(model.parameters(), recipe.rate))
    schedule = {"schedule": warmup_cosine} if recipe.cosine else {}
    start = time.process_time()
    losses = train(model, X, Y, optimiser, recipe.steps, recipe.batch, seed=seed, **schedule)
    seconds = time.process_time() - start
    loss = lm.evaluate(model, parts["val"], tok).nats_per_token
    print(f"seed {seed}: {loss:.4f} nats/char, {seconds:.0f} s", flush=True)
    return loss, statistics.mean(losses[:FIRST]), seconds, sum(p.numel() for p in model.parameters())


def main(name: str) -> None:
    recipe, target = VARIANTS[name], ROOT / "data/runs/names_recipe.json"
    parts = lm.data.splits(recipe.data, how=recipe.how)
    tok = lm.CharTokenizer.train(parts["train"])
    found = []
    for seed in range(SEEDS):       # the record is written after every seed
        found.append(run(recipe, seed, parts, tok))
        val, first, seconds, sizes = zip(*found)
        record = json.loads(target.read_text()) if target.exists() else {}
        record[name] = {"settings": asdict(recipe), "val": val, "first": first,
                        "seconds": [round(s, 1) for s in seconds], "parameters": sizes[0],
                        "torch": torch.__version__.split("+")[0],
                        "machine": f"{platform.machine()}, one thread, Python {platform.python_version()}"}
        target.write_text(json.dumps({k: record[k] for k in VARIANTS if k in record}, indent=1) + "\n")
    print(f"{name}: {statistics.mean(val):.4f}, spread {statistics.stdev(val):.4f}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) != 2 or sys.argv[1] not in VARIANTS:
        sys.exit(f"usage: names_wavenet.py [{'|'.join(VARIANTS)}]")
    main(sys.argv[1])
