"""How rate and batch go together, what a search finds, what 16 bits cost: short runs of a small GPT on tales.

    python tests/studies/training.py [N]        data/runs/training_tales.json; at most N runs now

Every run reads 4,000 tales as words, in windows of 64, through `lm.fit`, and is judged on 200 of validation.
In the grid each run reads 2,048 windows, whatever its batch. In the search all candidates are trained to the
end, so that what halving would have chosen is known, and what it would have missed. What is done is kept.
"""
import contextlib
import io
import json
import platform
import random
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

import lmcore as lm

RECORD = Path(__file__).resolve().parents[2] / "data/runs/training_tales.json"
SIZE = {"block_size": 64, "n_embd": 64, "n_layer": 2, "n_head": 4}
ROWS, BATCHES, RATES, SEEDS = 2_048, (4, 16, 64), (1e-3, 3e-3, 1e-2, 3e-2), (0, 1)
STEPS, JUDGED, CANDIDATES = 240, 30, 12
KINDS = {"32 bits": "float32", "products in 16": "bfloat16", "all in 16": "float32"}


def trained(parts: dict, tok: lm.WordTokenizer, seed: int, kind: torch.dtype = torch.float32,
            **settings: object) -> list[float]:
    """Validation losses of a run, in nats a word."""
    torch.manual_seed(seed)
    model = lm.GPT(lm.GPTConfig(vocab_size=tok.vocab_size, **SIZE)).to(kind)
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


def runs() -> Iterator[tuple[str, dict]]:
    """All runs, by name."""
    for B in BATCHES:
        for rate in RATES:
            for seed in SEEDS:
                yield f"batch {B}, rate {rate:g}, seed {seed}", {
                    "seed": seed, "batch_size": B, "learning_rate": rate, "steps": ROWS // B,
                    "eval_every": ROWS}
    for name, precision in KINDS.items():
        for seed in SEEDS:
            yield f"{name}, seed {seed}", {
                "seed": seed, "batch_size": 16, "learning_rate": 1e-2, "steps": ROWS // 16,
                "eval_every": ROWS,
                "precision": precision,
                "kind": torch.bfloat16 if name == "all in 16" else torch.float32}
    for decay in (0.1, 1.0):                # what the search made us ask
        for seed in (0, 1, 2):
            yield f"decay {decay}, seed {seed}", {
                "seed": seed, "batch_size": 8, "learning_rate": 1e-2, "steps": STEPS, "eval_every": ROWS,
                "weight_decay": decay}
    chance = random.Random(0)
    for i in range(CANDIDATES):
        yield f"candidate {i}", {"seed": 0, "batch_size": 8, "steps": STEPS, "eval_every": JUDGED,
                                 "eval_docs": 50, **candidate(chance)}


def main(most: int = 1_000) -> None:
    whole = lm.data.splits("tales")
    tok = lm.WordTokenizer.train(whole["train"])
    parts = {"train": whole["train"][:4_000], "val": whole["val"]}
    known = json.loads(RECORD.read_text(encoding="utf-8")) if RECORD.exists() else {"runs": {}}
    todo = [(name, settings) for name, settings in runs() if name not in known["runs"]]
    for name, settings in todo[:most]:
        losses = trained(parts, tok, **settings)
        told = {key: value for key, value in settings.items() if key != "kind"}
        known = {"size": SIZE, "torch": torch.__version__, "machine": f"{platform.machine()}, 1 thread",
                 "runs": known["runs"] | {name: {"settings": told, "losses": losses}}}
        RECORD.write_text(json.dumps(known, indent=1) + "\n", encoding="utf-8")
        print(name, losses, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*map(int, sys.argv[1:]))
