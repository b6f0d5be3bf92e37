"""How a rate and a batch go together, and what a search finds: many short runs of one small GPT on tales.

    python tests/studies/training.py            data/runs/training_tales.json

Every run reads tales as words, in windows of 64, through `lm.fit`, and is judged on 200 tales of validation.
In the grid each run reads 2,048 windows, whatever its batch. In the search 12 candidates are drawn twice;
all are trained to the end, so that what halving would have chosen is known, and what it would have missed.
"""
import contextlib
import io
import json
import platform
import random
import tempfile
import time
from pathlib import Path

import torch

import lmcore as lm

RECORD = Path(__file__).resolve().parents[2] / "data/runs/training_tales.json"
SIZE = {"block_size": 64, "n_embd": 64, "n_layer": 2, "n_head": 4}
ROWS, BATCHES, RATES, SEEDS = 2_048, (4, 16, 64), (1e-3, 3e-3, 1e-2, 3e-2), (0, 1, 2)
STEPS, JUDGED, CANDIDATES, DRAWS = 240, (30, 60, 120, 240), 12, 2


def trained(parts: dict, tok: lm.WordTokenizer, seed: int, **settings: object) -> list[float]:
    """Validation losses of a run, in nats a word."""
    torch.manual_seed(seed)
    model = lm.GPT(lm.GPTConfig(vocab_size=tok.vocab_size, **SIZE))
    config = lm.TrainConfig(**{"seed": seed, "wandb": "off", "precision": "float32", **settings})
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        try:
            run = lm.fit(model, parts, tok, config, folder)
        except lm.train.Stopped:
            return [float("inf")]
    return [line["val"] for line in run.history if "val" in line]


def candidate(chance: random.Random) -> dict:
    """Settings drawn at random: the rate over three powers of ten, the others from a few."""
    return {"learning_rate": 10**chance.uniform(-4, -1), "beta2": chance.choice([0.9, 0.98, 0.999]),
            "warmup": chance.choice([0.0, 0.05, 0.2]), "weight_decay": chance.choice([0.0, 0.1, 1.0]),
            "clip": chance.choice([0.3, 1.0, 100.0])}


def main() -> None:
    parts = lm.data.splits("tales")
    tok = lm.WordTokenizer.train(parts["train"])
    parts, start = {"train": parts["train"][:4_000], "val": parts["val"]}, time.process_time()
    grid = {f"{B}, {rate:g}": [trained(parts, tok, seed, batch_size=B, learning_rate=rate, steps=ROWS // B,
                                       eval_every=ROWS)[-1] for seed in SEEDS]
            for B in BATCHES for rate in RATES}
    print(json.dumps(grid, indent=1), flush=True)
    search = []
    for draw in range(DRAWS):
        chance = random.Random(draw)
        for _ in range(CANDIDATES):
            settings = candidate(chance)
            losses = trained(parts, tok, 0, batch_size=8, steps=STEPS, eval_every=JUDGED[0], eval_docs=50,
                             **settings)
            search.append({"draw": draw, "settings": settings, "losses": losses})
            print(search[-1], flush=True)
    record = {"settings": {**SIZE, "rows": ROWS, "steps": STEPS, "judged": JUDGED, "seeds": SEEDS},
              "grid": grid, "search": search, "cpu_seconds": round(time.process_time() - start),
              "torch": torch.__version__, "machine": f"{platform.machine()}, 1 thread"}
    RECORD.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
