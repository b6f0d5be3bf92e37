"""A small GPT with vocabularies of several sizes, the arithmetic being the same for all.

    python tests/studies/vocabularies.py        writes data/runs/vocabularies_coplas.json

Each run has the same number of floating-point operations: a larger vocabulary costs more a token, and so it
takes fewer steps. The record holds for each size and seed the bits per byte on the whole validation part, the
mean training loss of the first 20 steps in nats per token, and the CPU seconds; and for each size how many
bytes a token has in the validation part.
"""
import json
import platform
import statistics
import time
from pathlib import Path

import torch
import torch.nn.functional as F

import lmcore as lm
from lmcore.minigpt import GPT
from lmcore.models import warmup_cosine

ROOT, SEEDS, FIRST = Path(__file__).resolve().parents[2], 3, 20
SIZES = [257, 512, 1024, 2048]
T, B, C, LAYERS, HEADS, RATE, OPERATIONS = 128, 4, 64, 2, 4, 6e-3, 4e11


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


def main() -> None:
    parts, found = lm.data.splits("coplas"), {}
    size = sum(len(doc.encode()) + 1 for doc in parts["val"])
    for V in SIZES:
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
    (ROOT / "data/runs/vocabularies_coplas.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    main()
