"""A small GPT with vocabularies of several sizes, the arithmetic being the same for all.

    python tests/studies/vocabularies.py coplas|shakespeare     writes data/runs/vocabularies_NAME.json

Each run has the same number of floating-point operations: a larger vocabulary costs more a token, and so it
takes fewer steps. The record holds for each size and seed the bits per byte on the whole validation part, the
mean training loss of the first 20 steps in nats per token, and the CPU seconds; and for each size how many
bytes a token has in the validation part. Coplas fit into the context and are scored each from its start.
Shakespeare's speeches do not: they are scored as one row, in windows that overlap by half; there the record
has two amounts of arithmetic, the training loss of the last 100 steps, and counting of letters beside it all.
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

RUNS, SEEDS, FIRST, LAST = Path(__file__).resolve().parents[2] / "data/runs", 3, 20, 100
SIZES = {"coplas": [257, 512, 1024, 2048], "shakespeare": [257, 512, 1024, 2048, 4096]}
T, B, C, LAYERS, HEADS, RATE, OPERATIONS, MORE = 128, 4, 64, 2, 4, 6e-3, 4e11, 2e12


def steps_for(V: int, operations: float) -> int:
    """How many steps the operations are enough for, counted as 6 for each weight that multiplies a token."""
    weights = 12 * LAYERS * C * C + V * C + LAYERS * T * C      # blocks, output table, attention
    return round(operations / (6 * weights * B * T))


def row(docs: list[str], tok: lm.BPETokenizer) -> torch.Tensor:
    """All documents in one row, an end before each."""
    return torch.tensor([i for doc in docs for i in [tok.end, *tok.encode(doc)]])


def run(stream: torch.Tensor, V: int, seed: int, steps: int) -> tuple[GPT, list[float]]:
    """A GPT trained on windows of a stream of tokens, and the loss of every step."""
    torch.manual_seed(seed)
    model, losses = GPT(V, T, C, LAYERS, HEADS), []
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


@torch.no_grad()
def windowed(model: GPT, held: torch.Tensor) -> float:
    """Nats of a whole row of documents and its last end, every token with at least T/2 before it."""
    half, ids = T // 2, F.pad(held, (0, 1))
    targets = F.pad(ids[1:], (0, -len(held) % half), value=-100)
    inputs = F.pad(ids[:-1], (half, -len(held) % half))         # ends stand before the first document
    logits = torch.cat([model(part)[:, half:] for part in inputs.unfold(0, T, half).split(64)])
    return F.cross_entropy(logits.flatten(0, 1), targets, reduction="sum").item()


def of_size(parts: dict[str, list[str]], V: int, amounts: list[float]) -> dict:
    """What is recorded of one vocabulary: its own facts, and under each amount of arithmetic its runs."""
    tok = lm.BPETokenizer.train(parts["train"], V)
    stream, held = row(parts["train"], tok), row(parts["val"], tok)
    size = sum(len(doc.encode()) + 1 for doc in parts["val"])
    short = max(len(tok.encode(doc)) for doc in parts["val"]) < T
    found = {"bytes_per_token": size / len(held), "tokens_in_train": len(stream)}
    for operations in amounts:
        runs = {"steps": steps_for(V, operations), "val": [], "first": [], "last": [], "seconds": []}
        for seed in range(SEEDS):
            start = time.process_time()
            model, losses = run(stream, V, seed, runs["steps"])
            runs["seconds"].append(round(time.process_time() - start, 1))
            runs["first"].append(statistics.mean(losses[:FIRST]))
            runs["last"].append(statistics.mean(losses[-LAST:]))
            runs["val"].append(lm.evaluate(model, parts["val"], tok).bits_per_byte if short
                               else windowed(model, held) / size / torch.tensor(2.0).log().item())
            print(f"{V} seed {seed} {operations:.0e}: {runs['val'][-1]:.4f} bits per byte, "
                  f"{runs['seconds'][-1]:.0f} s", flush=True)
        found[f"{operations:.0e}"] = runs
    return found | {"parameters": sum(p.numel() for p in model.parameters())}


def counted(parts: dict[str, list[str]]) -> dict[str, float]:
    """Bits per byte of counting letters, by the order of the counts."""
    tok = lm.CharTokenizer.train([*parts["train"], *parts["val"]])
    tables = {order: lm.KneserNey(order).fit(parts["train"], tok) for order in (4, 6)}
    return {str(order): lm.evaluate(t, parts["val"], tok).bits_per_byte for order, t in tables.items()}


def main(name: str) -> None:
    parts = lm.data.splits(name)
    record = {"settings": {"T": T, "B": B, "C": C, "layers": LAYERS, "heads": HEADS, "rate": RATE,
                           "operations": OPERATIONS, "pattern": "gpt4"},
              "torch": torch.__version__.split("+")[0],
              "machine": f"{platform.machine()}, one thread, Python {platform.python_version()}", "sizes": {}}
    if name == "shakespeare":
        record["Kneser-Ney"] = counted(parts)
    for V in SIZES[name]:
        found = of_size(parts, V, [OPERATIONS, MORE] if name == "shakespeare" else [OPERATIONS])
        few = found.pop(f"{OPERATIONS:.0e}")
        record["sizes"][V] = few | found
        (RUNS / f"vocabularies_{name}.json").write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if sys.argv[1:] not in [[name] for name in SIZES]:
        sys.exit("usage: vocabularies.py coplas|shakespeare")
    main(sys.argv[1])
