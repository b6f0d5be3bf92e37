"""A small GPT with vocabularies of several sizes, the arithmetic being the same for all.

    python tests/studies/vocabularies.py coplas|shakespeare     writes data/runs/vocabularies_NAME.json

Each run has the same number of floating-point operations: a larger vocabulary costs more a token, and so it
takes fewer steps. The record holds for each size and seed the bits per byte on the whole validation part, the
mean training loss of the first 20 steps in nats per token, and the CPU seconds; and for each size how many
bytes a token has in the validation part. A speech of Shakespeare is cut into documents of three lines, for
each to fit into the context as bytes.
"""
import json
import platform
import statistics
import sys
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import lmcore as lm
from lmcore.minigpt import GPT
from lmcore.models import warmup_cosine

ROOT, SEEDS, FIRST = Path(__file__).resolve().parents[2], 3, 20
SIZES = {"coplas": [257, 384, 512, 1024, 2048], "shakespeare": [257, 512, 1024, 2048, 4096]}
T, B, C, LAYERS, HEADS, RATE, OPERATIONS = 168, 8, 64, 2, 4, 3e-3, 8e11


def documents(name: str) -> dict[str, list[str]]:
    parts = lm.data.splits(name)
    return {part: threes(docs) for part, docs in parts.items()} if name == "shakespeare" else parts


def threes(docs: list[str]) -> list[str]:
    return ["\n".join(lines[i:i + 3]) for doc in docs for lines in [doc.split("\n")]
            for i in range(0, len(lines), 3)]


def steps_for(V: int) -> int:
    """How many steps the operations are enough for, counted as 6 for each weight that multiplies a token."""
    weights = 12 * LAYERS * C * C + V * C + LAYERS * T * C      # blocks, output table, attention
    return round(OPERATIONS / (6 * weights * B * T))


def run(stream: torch.Tensor, V: int, seed: int) -> tuple[GPT, list[float]]:
    """A GPT trained on windows of a stream of tokens, and the loss of every step."""
    torch.manual_seed(seed)
    model, steps, losses = GPT(V, T, C, LAYERS, HEADS), steps_for(V), []
    optimiser = torch.optim.AdamW(model.parameters(), RATE, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(optimiser, lambda step: warmup_cosine((step + 0.5) / steps))
    for _ in range(steps):
        starts = torch.randint(len(stream) - T, (B, 1))
        window = stream[starts + torch.arange(T + 1)]           # (B, T + 1)
        loss = F.cross_entropy(model(window[:, :-1]).flatten(0, 1), window[:, 1:].flatten())
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(loss.item())
    return model.eval(), losses


def main(name: str) -> None:
    parts, found = documents(name), {}
    size = sum(len(doc.encode()) + 1 for doc in parts["val"])
    for V in SIZES[name]:
        tok = lm.BPETokenizer.train(parts["train"], V)
        stream = torch.tensor([i for doc in parts["train"] for i in [tok.end, *tok.encode(doc)]])
        val, first, seconds = [], [], []
        for seed in range(SEEDS):
            start = time.process_time()
            model, losses = run(stream, V, seed)
            seconds.append(round(time.process_time() - start, 1))
            first.append(statistics.mean(losses[:FIRST]))
            score = lm.evaluate(model, parts["val"], tok)
            val.append(score.bits_per_byte)
            print(f"{V} seed {seed}: {val[-1]:.4f} bits per byte, {seconds[-1]:.0f} s", flush=True)
        found[V] = {"val": val, "first": first, "seconds": seconds, "steps": steps_for(V),
                    "bytes_per_token": size / score.tokens, "tokens_in_train": len(stream),
                    "parameters": sum(p.numel() for p in model.parameters())}
    settings = {"T": T, "B": B, "C": C, "layers": LAYERS, "heads": HEADS, "rate": RATE,
                "operations": OPERATIONS, "pattern": "gpt4"}
    record = {"settings": settings, "sizes": found, "torch": torch.__version__.split("+")[0],
              "machine": f"{platform.machine()}, one thread, Python {platform.python_version()}"}
    (ROOT / "data/runs" / f"vocabularies_{name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) != 2 or sys.argv[1] not in SIZES:
        sys.exit(f"usage: vocabularies.py [{'|'.join(SIZES)}]")
    main(sys.argv[1])
