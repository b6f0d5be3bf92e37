"""GPTs of six sizes on tales read as words, each stopped after five budgets: how the excess falls.

    python tests/studies/scaling.py [SEED CHANNELS ...]     adds what data/runs/scaling_tales.json lacks
    python tests/studies/scaling.py rates                   other rates: the smallest and the largest size

One run for each size and seed sees every tale once, at a steady rate; at each budget a copy of it goes down
to 0 over the last fifth (warm-up, stable, decay). The record holds for each copy the tokens it has read and
its excess over the entropy on 400 validation tales, in bits per byte.
"""
import copy
import json
import math
import platform
import sys
import time
from functools import cache
from pathlib import Path

import torch

import lmcore as lm
from lmcore.optim import groups, wsd

FILE = Path(__file__).resolve().parents[2] / "data/runs/scaling_tales.json"
LAYERS = {16: 1, 24: 1, 32: 2, 48: 2, 64: 3, 96: 4}      # of each number of channels
BUDGETS, BATCH, WARM, SEEDS = (300, 600, 1200, 2400, 4800), 4, 100, 2       # steps, tales a step, steps
HELD = 400


@cache
def tales() -> tuple:
    """Tokenizer, tokens of all training tales, validation tales and their entropy in bits."""
    parts = lm.data.splits("tales")
    tok = lm.WordTokenizer.train(parts["train"])
    least = -sum(lm.data.log2p("tales")["val"][:HELD])
    return tok, [tok.encode(tale) for tale in parts["train"]], parts["val"][:HELD], least


def rate(C: int) -> float:
    """The steady rate for a number of channels."""
    return 0.06 / math.sqrt(C)


def begin(C: int, n_layer: int, seed: int, lr: float) -> tuple[lm.GPT, torch.optim.AdamW]:
    torch.manual_seed(seed)
    model = lm.GPT(lm.GPTConfig(vocab_size=tales()[0].vocab_size, block_size=160, n_embd=C, n_layer=n_layer,
                                n_head=C // 16))
    return model, torch.optim.AdamW(groups(model, lr), betas=(0.9, 0.98), fused=True)


def train(model: lm.GPT, optimiser: torch.optim.AdamW, lr: float, batches: list, start: int, end: int,
          budget: int) -> None:
    """Steps `start` to `end` of a run of `budget` steps."""
    for step in range(start, end):
        for group in optimiser.param_groups:
            group["lr"] = lr * wsd(step, budget, WARM)
        optimiser.zero_grad()
        model.loss(*batches[step]).backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimiser.step()


def excess(model: lm.GPT) -> float:
    tok, _, held, least = tales()
    size = sum(len(tale.encode()) + 1 for tale in held)
    return lm.evaluate(model, held, tok).bits_per_byte - least / size


def run(C: int, seed: int, lr: float | None = None, budgets: tuple[int, ...] = BUDGETS) -> list[dict]:
    lr, done, found = lr or rate(C), 0, []
    batches = list(lm.data.batches(tales()[1], BATCH, budgets[-1], seed))
    tokens = torch.tensor([int((Y >= 0).sum()) for _, Y in batches]).cumsum(0).tolist()
    model, optimiser = begin(C, LAYERS[C], seed, lr)
    start = time.process_time()
    for budget in budgets:
        stable = round(0.8 * budget)
        train(model, optimiser, lr, batches, done, stable, budget)
        done, memo = stable, {}
        branch = copy.deepcopy(model, memo)
        branch_optimiser = copy.deepcopy(optimiser, memo)       # of the copy's parameters
        train(branch, branch_optimiser, lr, batches, stable, budget, budget)
        found.append({"channels": C, "layers": LAYERS[C], "seed": seed, "steps": budget,
                      "tokens": tokens[budget - 1], "excess": excess(branch),
                      "cpu_seconds": round(time.process_time() - start, 1)})
        print(found[-1], flush=True)
    return found


def main(seed: int, sizes: list[int]) -> None:
    for C in sizes:
        if any((r["channels"], r["seed"]) == (C, seed) for r in kept()["runs"]):
            continue
        found = run(C, seed)
        record = kept() | {"unit": "bits per byte over the entropy", "rate": "0.06 / sqrt(channels)",
                           "batch": BATCH, "warm": WARM, "held": HELD, "layers": LAYERS,
                           "torch": torch.__version__, "machine": f"{platform.machine()}, one thread"}
        record["runs"] += found
        FILE.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")


def try_rates() -> None:
    found = [run(C, 0, factor / math.sqrt(C), (600,))[0] | {"factor": factor}
             for C in (min(LAYERS), max(LAYERS)) for factor in (0.02, 0.04, 0.08)]
    FILE.write_text(json.dumps(kept() | {"rates": found}, indent=1) + "\n", encoding="utf-8")


def kept() -> dict:
    """The record as it is now."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {"runs": []}


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] == ["rates"]:
        sys.exit(try_rates())
    chosen = list(map(int, sys.argv[1:]))
    for s in chosen[:1] or range(SEEDS):
        main(s, chosen[1:] or list(LAYERS))
