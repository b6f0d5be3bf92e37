"""Norm before or after, at depth: GPTs of 2, 8 and 16 blocks on the first 64 words of tales, without warm-up.

    python tests/studies/gpt_depth.py       resumes where it was stopped; five minutes of one thread

All else is equal: the seeds, the rows in their order, the rate, the spread 1 / sqrt(inputs) of the blocks'
matrices, and that of the tables of words and places: 0.02, but for two runs with wide ones. The record,
data/runs/gpt_depth.json, holds the mean training loss of every 20 steps, nats per word.
"""
import contextlib
import io
import json
import platform
import time
from pathlib import Path

import torch
from torch import Tensor, nn

import lmcore as lm
from lmcore.models import train, warmup_cosine
from lmcore.optim import AdamW

RECORD = Path(__file__).resolve().parents[2] / "data/runs/gpt_depth.json"
T, C, H, STEPS, BATCH, RATE, SEEDS = 64, 64, 4, 200, 8, 3e-3, (0, 1, 2)
TABLES = {"": 0.02, ", warm-up": 0.02, ", wide tables": 0.5}        # their spread, by what is special
RUNS = [(place, depth, special) for depth, special in (
    (2, ""), (8, ""), (16, ""), (16, ", warm-up"), (2, ", wide tables")) for place in ("pre", "post")]


def rows(docs: list[str], tok: lm.WordTokenizer) -> tuple[Tensor, Tensor]:
    """The first T words of each tale, and those one later."""
    ids = torch.tensor([[tok.end, *tok.encode(doc)][:T + 1] for doc in docs])
    return ids[:, :-1], ids[:, 1:]


def build(V: int, place: str, depth: int, seed: int, tables: float) -> lm.GPT:
    torch.manual_seed(seed)
    sizes = {"vocab_size": V, "block_size": T, "n_embd": C, "n_layer": depth, "n_head": H}
    model = lm.GPT(lm.GPTConfig(**sizes, norm_place=place))
    for name, weight in model.named_parameters():
        if weight.ndim == 2:
            nn.init.normal_(weight, std=weight.shape[1]**-0.5 if "blocks" in name else tables)
    return model


def main() -> None:
    torch.set_num_threads(1)
    docs = lm.data.splits("tales")["train"]
    tok = lm.WordTokenizer.train(docs)
    X, Y = rows(docs[:4000], tok)
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {
        "what": "training loss of GPTs by depth and place of the norm, nats per word, means of 20 steps",
        "settings": {"T": T, "n_embd": C, "n_head": H, "steps": STEPS, "batch": BATCH, "rate": RATE},
        "torch": torch.__version__.split("+")[0], "machine": f"{platform.machine()}, one thread", "runs": {}}
    record["settings"]["tables"] = TABLES
    for place, depth, special in RUNS:
        entry = record["runs"].setdefault(f"{place}, {depth}{special}", [])
        for seed in SEEDS[len(entry):]:
            model = build(tok.vocab_size, place, depth, seed, TABLES[special])
            schedule, start = {"schedule": warmup_cosine} if "warm" in special else {}, time.process_time()
            with contextlib.redirect_stdout(io.StringIO()):
                optimiser = AdamW(model.parameters(), RATE)
                losses = train(model, X, Y, optimiser, STEPS, BATCH, seed=seed, **schedule)
            entry.append([round(sum(losses[i:i + 20]) / 20, 4) for i in range(0, STEPS, 20)])
            RECORD.write_text(json.dumps(record, indent=1) + "\n")
            seconds = time.process_time() - start
            print(f"{place}, {depth}{special}", seed, entry[-1][-1], f"{seconds:.0f} s", flush=True)


if __name__ == "__main__":
    main()
