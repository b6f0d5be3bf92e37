"""The recurrent networks of chapter 08 on names, on tales and on the recall of one letter.

    python tests/studies/recurrent.py names|tales [NETWORK ...] [SEED ...]
                                                adds to data/runs/recurrent_{names,tales}.json
    python tests/studies/recurrent.py counting  adds Kneser-Ney to the record of tales
    python tests/studies/recurrent.py recall    writes data/runs/recurrent_recall.json

Names are read by letters, tales by words. The record holds for each network and seed the mean training loss
of the 20 steps before each step of MARKS, the last loss on the validation part, in nats per token, and CPU
seconds; for tales also the probes answered rightly, by kind and distance, beside all that were asked.
"""
import contextlib
import io
import json
import platform
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import torch
import torch.nn.functional as F
from torch import Tensor

import lmcore as lm
from lmcore import recurrent
from lmcore.models import train, warmup_cosine
from lmcore.optim import AdamW

ROOT, SEEDS = Path(__file__).resolve().parents[2], range(5)
MARKS = (20, 50, 100, 200, 300, 400, 600, 800)
NAMES = SimpleNamespace(T=32, C=24, steps=800, batch=64, decay=0.1, tok=lm.CharTokenizer, docs=None)
NAMES.networks = {"RNN": {"hidden": 250, "rate": 0.003}, "GRU": {"hidden": 142, "rate": 0.005},
                  "LSTM": {"hidden": 122, "rate": 0.005}}
TALES = SimpleNamespace(T=160, C=64, steps=700, batch=16, decay=0.1, tok=lm.WordTokenizer, docs=300)
TALES.networks = {"GRU": {"hidden": 128, "rate": 0.008}, "LSTM": {"hidden": 128, "rate": 0.008},
                  "WaveNet": {"hidden": 128, "rate": 0.005}, "RNN": {"hidden": 128, "rate": 0.003}}
WAVENET = SimpleNamespace(T=8, C=64, steps=2900, batch=512, decay=0.05)     # as many words as the others
KINDS, PROBES, BANDS = ("name", "thing", "colour", "place"), 120, (20, 50, 100, 200, 401)


def held_loss(model: recurrent.Recurrent, X: Tensor, Y: Tensor) -> float:
    """Shapes: X (N, T), Y (N, T) -> a number, nats"""
    with torch.no_grad():
        parts = [F.cross_entropy(model(x).flatten(0, -2), y.flatten(), reduction="sum")
                 for x, y in zip(X.split(64), Y.split(64))]
    return float(sum(parts) / (Y >= 0).sum())


def probes() -> dict[str, list]:
    """The probes of each kind, the same on every machine; kept beside the records while studies run."""
    kept = ROOT / "data/runs/.cache/recurrent_probes.json"
    if not kept.exists():
        grammar = lm.Grammar.load("tales")
        kept.parent.mkdir(exist_ok=True)
        kept.write_text(json.dumps({kind: grammar.probes(kind, PROBES, 8) for kind in KINDS}))
    return json.loads(kept.read_text())


def answers(model: object, tok: lm.WordTokenizer) -> dict[str, list[list[int]]]:
    """For each kind and band of distances: probes answered rightly, and how many there were."""
    found = {}
    for kind, rows in probes().items():
        found[kind] = [[0, 0] for _ in BANDS[1:]]
        for prefix, right, wrong, distance in rows:
            n = len(tok.encode(prefix))
            good, bad = (float(model.log_probs(tok.encode(prefix + end))[n:].sum()) for end in (right, wrong))
            cell = found[kind][sum(distance >= edge for edge in BANDS) - 1]
            cell[0] += good > bad
            cell[1] += 1
    return found


def run(plan: SimpleNamespace, kind: str, seed: int, data: tuple) -> tuple[dict, recurrent.Recurrent]:
    """One network from one seed."""
    (X, Y), held, V = data
    network = plan.networks[kind]
    torch.manual_seed(seed)
    model = getattr(lm, kind)(V, C=plan.C, hidden=network["hidden"])
    optimiser = AdamW(model.parameters(), network["rate"], weight_decay=plan.decay)
    start = time.process_time()
    with contextlib.redirect_stdout(io.StringIO()):
        losses = train(model, X, Y, optimiser, plan.steps, plan.batch, schedule=warmup_cosine, seed=seed)
    seconds = time.process_time() - start
    return {"train": {str(m): sum(losses[m - 20:m]) / 20 for m in (*MARKS, plan.steps) if m <= plan.steps},
            "val": held_loss(model, *held), "seconds": round(seconds, 1)}, model


def recall(kind: str, distance: int, seed: int, steps: int = 300) -> float:
    """The share of right answers at the end of training: which of eight letters stood before all others?"""
    torch.manual_seed(seed)
    name, _, bias = kind.partition(", bias ")
    model = getattr(recurrent, name)(17, C=8, hidden=32)
    if bias:
        model.read.bias.data[32:64] = float(bias)       # of the gate that keeps
    optimiser, right = AdamW(model.parameters(), 0.01), []
    for _ in range(steps):
        X = torch.randint(9, 17, (32, distance + 1))
        X[:, 0] = torch.randint(1, 9, (32,))
        logits = model(X)[:, -1]                                            # (32, V)
        loss = F.cross_entropy(logits, X[:, 0])
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        right += (logits.argmax(1) == X[:, 0]).tolist()
    return sum(right[-640:]) / 640


def recalls() -> None:
    far = {"RNN": (4, 8, 16, 32), "GRU": (4, 8, 16, 32), "LSTM": (4, 8, 16, 32),
           "LSTM, bias 0": (8,), "LSTM, bias 3": (16, 32)}
    record = {kind: {str(d): [recall(kind, d, seed) for seed in SEEDS] for d in distances}
              for kind, distances in far.items()}
    print(record)
    (ROOT / "data/runs/recurrent_recall.json").write_text(json.dumps(record, indent=1) + "\n")


def packed(docs: list[str], plan: SimpleNamespace, tok: lm.CharTokenizer, kind: str) -> tuple[Tensor, Tensor]:
    return lm.data.windows(docs, tok, plan.T) if kind == "WaveNet" else recurrent.pack(docs, tok, plan.T)


def main(name: str, kinds: list[str], seeds: list[int]) -> None:
    plan, target = {"names": NAMES, "tales": TALES}[name], ROOT / f"data/runs/recurrent_{name}.json"
    parts = lm.data.splits(name)
    tok = plan.tok.train(parts["train"])
    for kind in kinds or plan.networks:
        network, how = plan.networks[kind], WAVENET if kind == "WaveNet" else plan
        how = SimpleNamespace(**vars(how) | {"networks": plan.networks})
        data = (packed(parts["train"], how, tok, kind), packed(parts["val"][:plan.docs], how, tok, kind),
                tok.vocab_size)
        for seed in seeds:
            found, model = run(how, kind, seed, data)
            if name == "tales":
                found["probes"] = answers(model, tok)
            print(kind, seed, found, flush=True)
            record = json.loads(target.read_text()) if target.exists() else {
                "settings": {k: v for k, v in vars(plan).items() if k not in ("tok", "networks")},
                "versions": {"torch": torch.__version__.split("+")[0], "python": platform.python_version()},
                "machine": f"{platform.machine()}, one thread", "networks": {}}
            entry = record["networks"].setdefault(kind, network | {
                "parameters": sum(p.numel() for p in model.parameters()), "seeds": {}})
            entry["seeds"][str(seed)] = found
            target.write_text(json.dumps(record, indent=1) + "\n")


def counting() -> None:
    """The same probes and tales for a table of counts, written into the record of tales."""
    parts, target = lm.data.splits("tales"), ROOT / "data/runs/recurrent_tales.json"
    tok, found = TALES.tok.train(parts["train"]), {}
    for order, discount in ((2, 0.1), (6, 0.8), (8, 0.9)):
        counted = lm.KneserNey(order, discount).fit(parts["train"], tok)
        score = lm.evaluate(counted, parts["val"][:TALES.docs], tok)
        found[str(order)] = {"val": score.nats_per_token, "probes": answers(counted, tok)}
    record = json.loads(target.read_text()) | {"counting": found}
    target.write_text(json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    torch.set_num_threads(1)
    chosen = [word for word in sys.argv[2:] if not word.isdigit()]
    numbers = [int(word) for word in sys.argv[2:] if word.isdigit()] or list(SEEDS)
    match sys.argv[1:2]:
        case ["recall"]:
            recalls()
        case ["counting"]:
            counting()
        case ["names" | "tales" as part]:
            main(part, chosen, numbers)
        case _:
            sys.exit("usage: recurrent.py recall|counting, or names|tales [NETWORK ...] [SEED ...]")
