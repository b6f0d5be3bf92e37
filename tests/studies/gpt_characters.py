"""A small GPT on characters: tiny Shakespeare and Spanish sonnets, 2,000 steps of 12 x 64 characters.

    python tests/studies/gpt_characters.py shakespeare|sonetos [SEED ...]
                                                adds to data/runs/gpt_characters.json

The sizes are those of a well-known recipe for one processor (nanoGPT, README); the loop, the optimiser and
the schedule are the package's own, so that chapter 10 can run the first steps again. Losses, in nats per
character, are over the whole validation part: in windows of 64 that do not overlap, as the recipe's are, and
in windows that overlap by half, where every character has 32 or more before it. Counting stands beside them.
"""
import contextlib
import io
import json
import platform
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor

import lmcore as lm
from lmcore import minigpt
from lmcore.models import train, warmup_cosine
from lmcore.optim import AdamW

RECORD = Path(__file__).resolve().parents[2] / "data/runs/gpt_characters.json"
T, SIZE = 64, {"n_embd": 128, "n_layer": 4, "n_head": 4}
STEPS, BATCH, RATE, DECAY = 2000, 12, 4e-3, 0.1
SEEDS, FIRST, ORDERS = (0, 1, 2), 20, (2, 4, 7)


def stream(docs: list[str], tok: lm.CharTokenizer) -> Tensor:
    """All documents in one row, an end before each."""
    return torch.tensor([i for doc in docs for i in (tok.end, *tok.encode(doc))])


@torch.no_grad()
def loss(model: minigpt.GPT, ids: Tensor, new: int) -> float:
    """Over the whole row, in windows of T characters of which the last `new` are counted."""
    rows, total = ids.unfold(0, T + 1, new), 0.0
    for part in rows.split(256):
        logits = model(part[:, :-1])[:, -new:]
        targets = part[:, 1 + T - new:]
        total += F.cross_entropy(logits.flatten(0, 1), targets.flatten(), reduction="sum").item()
    return total / (len(rows) * new)


def data(name: str) -> tuple[dict[str, list[str]], lm.CharTokenizer]:
    parts = lm.data.splits(name, how="lecture" if name == "shakespeare" else "hash")
    return parts, lm.CharTokenizer.train([*parts["train"], *parts["val"]])


def run(name: str, seed: int) -> dict:
    parts, tok = data(name)
    ids, held = (stream(parts[part], tok) for part in ("train", "val"))
    torch.manual_seed(seed)
    model = minigpt.GPT(tok.vocab_size, T, **SIZE)
    optimiser = AdamW(model.parameters(), RATE, betas=(0.9, 0.99), weight_decay=DECAY)
    X, Y = ids[:-1].unfold(0, T, 1), ids[1:].unfold(0, T, 1)
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        losses = train(model, X, Y, optimiser, STEPS, BATCH, warmup_cosine, seed=seed)
    seconds = time.process_time() - start
    means = [sum(losses[i:i + 50]) / 50 for i in range(0, STEPS, 50)]
    text = tok.decode(minigpt.generate(model, [], 300, temperature=0.8, seed=1))
    return {"val": loss(model, held, T), "val, overlapping": loss(model, held, T // 2),
            "first": losses[:FIRST], "train, means of 50": means, "seconds": round(seconds, 1), "text": text}


def counted(name: str) -> dict:
    parts, tok = data(name)
    found = {}
    for order in ORDERS:
        model = lm.KneserNey(order).fit(parts["train"], tok)
        found[str(order)] = lm.evaluate(model, parts["val"], tok).nats_per_token
    return found


def main(name: str, seeds: list[int]) -> None:
    for seed in [*seeds, None]:
        found = run(name, seed) if seed is not None else counted(name)
        record = json.loads(RECORD.read_text()) if RECORD.exists() else {
            "what": "minigpt on characters, nats per character",
            "settings": {"T": T, **SIZE, "steps": STEPS, "batch": BATCH, "rate": RATE, "decay": DECAY},
            "versions": {"torch": torch.__version__.split("+")[0], "python": platform.python_version()},
            "machine": f"{platform.machine()}, one thread"}
        entry = record.setdefault(name, {"seeds": {}})
        if seed is None:
            entry["Kneser-Ney"] = found
        else:
            entry["seeds"][str(seed)] = found
        RECORD.write_text(json.dumps(record, indent=1, ensure_ascii=False) + "\n")
        print(name, seed, {k: v for k, v in found.items() if not isinstance(v, list)}, flush=True)


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:2] not in (["shakespeare"], ["sonetos"]):
        sys.exit("usage: gpt_characters.py shakespeare|sonetos [SEED ...]")
    main(sys.argv[1], [int(s) for s in sys.argv[2:]] or list(SEEDS))
