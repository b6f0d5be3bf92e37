"""A GPT on tales read as words, trained until it is near their entropy; data/runs/tales keeps its weights.

    python tests/studies/tales_gpt.py           data/runs/tales_gpt.json and data/runs/tales/

The model is chapter 10's `minigpt.GPT` with one block more, its loop and settings below; chapter 10 runs the
first steps again. Losses of steps are of the batch, in nats per token; scores are over whole parts.
"""
import json
import platform
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import nn

import lmcore as lm
from lmcore import checkpoint, minigpt

RUNS = Path(__file__).resolve().parents[2] / "data/runs"
SIZE = {"block_size": 160, "n_embd": 128, "n_layer": 3, "n_head": 4}
STEPS, BATCH, RATE, WARM, BETAS, DECAY, SEED = 11_000, 8, 4e-3, 0.05, (0.9, 0.98), 0.05, 0
FIRST, EVERY = 50, 1_000            # steps kept one by one; steps between scores on 200 tales of validation


def begin(vocab_size: int, steps: int = STEPS) -> tuple[nn.Module, torch.optim.AdamW, object]:
    """The untrained model, its optimiser, and its schedule: a rise, then straight down to 0."""
    torch.manual_seed(SEED)
    model = minigpt.GPT(vocab_size, **SIZE)
    matrices = [p for p in model.parameters() if p.ndim == 2]
    others = [p for p in model.parameters() if p.ndim != 2]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimiser = torch.optim.AdamW(groups, lr=RATE, betas=BETAS, fused=True)
    share = lambda step: min((step + 1) / (WARM * steps), (steps - step) / (steps - WARM * steps))
    return model, optimiser, torch.optim.lr_scheduler.LambdaLR(optimiser, share)


def step(model: nn.Module, optimiser: torch.optim.AdamW, schedule: object, X: torch.Tensor,
         Y: torch.Tensor) -> float:
    loss = F.cross_entropy(model(X).flatten(0, 1), Y.flatten())
    optimiser.zero_grad()
    loss.backward()
    nn.utils.clip_grad_norm_(model.parameters(), 1.0)
    optimiser.step()
    schedule.step()
    return loss.item()


def main(steps: int = STEPS) -> None:
    parts = lm.data.splits("tales")
    tok = lm.WordTokenizer.train(parts["train"])
    docs = [tok.encode(doc) for doc in parts["train"]]
    grammar = lm.Grammar.load("tales")
    size = {part: sum(len(doc.encode()) + 1 for doc in parts[part]) for part in ("val", "test")}
    floor = {part: -sum(map(grammar.log_prob, parts[part])) / size[part] for part in size}
    model, *rest = begin(tok.vocab_size, steps)
    losses, scores, start = [], [], time.process_time()
    for i, (X, Y) in enumerate(lm.data.batches(docs, BATCH, steps, SEED), 1):
        losses.append(step(model, *rest, X, Y))
        if i % EVERY == 0 or i == steps:
            score = lm.evaluate(model, parts["val"][:200], tok)
            scores.append((i, score.bits_per_byte, time.process_time() - start))
            print(i, f"{sum(losses[-100:]) / 100:.4f}", scores[-1], flush=True)
    full = lm.GPT(lm.GPTConfig(vocab_size=tok.vocab_size, **SIZE))
    full.load_state_dict(model.state_dict())
    checkpoint.save(RUNS / "tales", full, tok, half=True)
    kept, tok = checkpoint.load(RUNS / "tales")         # what is scored is what was kept
    found = {part: lm.evaluate(kept, parts[part], tok) for part in ("val", "test")}
    record = {
        "settings": {**SIZE, "steps": steps, "batch": BATCH, "rate": RATE, "warm": WARM, "betas": BETAS,
                     "decay": DECAY, "seed": SEED, "vocab_size": tok.vocab_size},
        "parameters": full.n_params, "cpu_seconds": round(time.process_time() - start),
        "torch": torch.__version__, "machine": f"{platform.machine()}, 1 thread",
        "first_losses": losses[:FIRST],
        "losses": [sum(losses[i:i + 100]) / 100 for i in range(0, steps, 100)],
        "scores": scores,
        "bits_per_byte": {part: found[part].bits_per_byte for part in found},
        "interval": {part: found[part].bits_per_byte_interval for part in found},
        "entropy": floor,
        "excess": {part: found[part].bits_per_byte - floor[part] for part in found}}
    (RUNS / "tales_gpt.json").write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    print(record["excess"])


if __name__ == "__main__":
    torch.set_num_threads(1)
    main(*map(int, sys.argv[1:]))
