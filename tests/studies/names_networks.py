"""The lectures' networks on names, each trained from five seeds as the lectures train them, and on our split.

    python tests/studies/names_networks.py TABLE lecture|hash       resumes where it was stopped

All seeds and variants of a table train side by side: parameters carry a leading axis M, one row a model, and
a batched matrix product runs them together. Each model draws its own batches of 32. The record, under
data/runs/, holds for each model the loss on the whole validation part at the steps named in STEPS.
Letters: M models, B batch, T context, E channels of the embedding, H hidden units, V symbols.
"""
import json
import platform
import sys
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file, save_file
from torch import Tensor

import lmcore as lm

ROOT = Path(__file__).resolve().parents[2]
SEEDS, B, V = 5, 32, 27
STEPS = (500, 1_000, 2_000, 5_000, 10_000, 20_000, 50_000, 100_000, 150_000, 200_000)


@dataclass(frozen=True, kw_only=True)
class Table:
    T: int                      # context, symbols
    E: int                      # channels of the embedding
    H: int                      # hidden units
    tree: bool = False          # fuse neighbours two by two instead of all at once
    norm: str = "none"          # none, batch, or bug: statistics over the batch axis alone, by place
    drop: int = 150_000         # step at which the rate falls from 0.1 to 0.01
    momentum: float = 0.1       # of the running statistics
    variants: tuple[tuple[str, float, float], ...]    # name, scale of the output layer, of the hidden layers


KAIMING, LECUN = 5 / 3, 1.0     # times 1 / sqrt(fan in); the other scales are plain factors
TABLES = {
    "mlp": Table(T=3, E=10, H=200, drop=100_000, variants=(
        ("as first trained", 1, 1), ("output mended", 0.01, 1), ("tanh mended", 0.01, 0.2),
        ("Kaiming", 0.01, -KAIMING))),
    "batchnorm": Table(T=3, E=10, H=200, norm="batch", drop=100_000, momentum=0.001, variants=(
        ("BatchNorm", 0.01, -KAIMING),)),
    "flat": Table(T=8, E=10, H=200, norm="batch", variants=(("context 8, flat", -0.1, -LECUN),)),
    "tree-bug": Table(T=8, E=10, H=68, tree=True, norm="bug", variants=(
        ("context 8, tree, faulty BatchNorm", -0.1, -LECUN),)),
    "tree": Table(T=8, E=10, H=68, tree=True, norm="batch", variants=(("context 8, tree", -0.1, -LECUN),)),
    "wavenet": Table(T=8, E=24, H=128, tree=True, norm="batch", variants=(("scaled up", -0.1, -LECUN),)),
}


def examples(docs: list[str], T: int) -> tuple[Tensor, Tensor]:
    """Every context of T symbols and the symbol after it, the border symbol 0 before and after each name.

    Shapes: docs, T -> (N, T), (N,)
    """
    X, Y = [], []
    for doc in docs:
        context = [0] * T
        for symbol in [ord(c) - 96 for c in doc] + [0]:
            X.append(context)
            Y.append(symbol)
            context = context[1:] + [symbol]
    return torch.tensor(X), torch.tensor(Y)


def begin(table: Table) -> dict[str, Tensor]:
    """Parameters and running statistics of all models, (M, ...) each. Scales below 0: over sqrt(fan in)."""
    widths = [2 * table.E, 2 * table.H, 2 * table.H] if table.tree else [table.E * table.T]
    size = lambda scale, fan: -scale / fan**0.5 if scale < 0 else scale
    rows: dict[str, list[Tensor]] = {}
    for _, out, hidden in table.variants:
        for seed in range(SEEDS):
            g = torch.Generator().manual_seed(seed)
            row = {"C": torch.randn(V, table.E, generator=g)}
            for i, fan in enumerate(widths):
                row[f"W{i}"] = torch.randn(fan, table.H, generator=g) * size(hidden, fan)
                row[f"b{i}"] = torch.randn(1, 1, table.H, generator=g) * (
                    0 if table.norm != "none" else 1 if hidden == 1 else 0.01)
                if table.norm != "none":
                    places = table.T >> (i + 1) if table.norm == "bug" else 1
                    row[f"gain{i}"] = torch.ones(1, 1, table.H)
                    row[f"mean{i}"] = torch.zeros(1, places, table.H)
                    row[f"var{i}"] = torch.ones(1, places, table.H)
            row["Wo"] = torch.randn(table.H, V, generator=g) * size(out, table.H)
            row["bo"] = torch.randn(1, V, generator=g) * (1 if out == 1 else 0)
            for key, value in row.items():
                rows.setdefault(key, []).append(value)
    return {key: torch.stack(values) for key, values in rows.items()}


def normalise(x: Tensor, p: dict[str, Tensor], i: int, table: Table, training: bool) -> Tensor:
    """BatchNorm, each model by itself.

    Shapes: x (M, B, P, H), P places of the tree -> (M, B, P, H)
    """
    if not training:
        mean, var = p[f"mean{i}"], p[f"var{i}"]
    else:
        var, mean = torch.var_mean(x, 1 if table.norm == "bug" else (1, 2), keepdim=True)   # (M, 1, P|1, H)
        with torch.no_grad():
            p[f"mean{i}"].lerp_(mean, table.momentum)
            p[f"var{i}"].lerp_(var, table.momentum)
    return (x - mean) * (p[f"gain{i}"] / (var + 1e-5).sqrt())


def logits(p: dict[str, Tensor], x: Tensor, table: Table, training: bool) -> Tensor:
    """Shapes: x (M, B, T) -> (M, B, V)"""
    M, n, T = x.shape
    h = F.embedding(x + (torch.arange(M) * V)[:, None, None], p["C"].reshape(M * V, -1))      # (M, B, T, E)
    for i in range(3 if table.tree else 1):
        fan = p[f"W{i}"].shape[1]
        h = (h.reshape(M, -1, fan) @ p[f"W{i}"]).view(M, n, -1, table.H)                      # (M, B, P, H)
        if table.norm != "none":
            h = normalise(h, p, i, table, training)
        h = (h + p[f"b{i}"]).tanh()
    return torch.baddbmm(p["bo"], h.reshape(M, n, -1), p["Wo"])


@torch.no_grad()
def losses(p: dict[str, Tensor], X: Tensor, Y: Tensor, table: Table) -> list[float]:
    """Mean loss of every model over all examples, in nats."""
    M = len(p["C"])
    total = torch.zeros(M, dtype=torch.float64)
    for x, y in zip(X.split(2048), Y.split(2048)):
        out = logits(p, x.expand(M, -1, -1), table, training=False)                           # (M, B, V)
        nll = F.cross_entropy(out.flatten(0, 1), y.repeat(M), reduction="none")
        total += nll.view(M, -1).double().sum(1)
    return (total / len(Y)).tolist()


def main(name: str, split: str) -> None:
    table = TABLES[name]
    data = "names-2019" if split == "lecture" else "names"
    parts = lm.data.splits(data, how=split)
    X, Y = examples(parts["train"], table.T)
    held = examples(parts["val"], table.T)
    p = begin(table)
    trained = [k for k in p if not k.startswith(("mean", "var"))]
    M, step, curve = len(p["C"]), 0, {}
    place = ROOT / ".cache" / f"names_{name}_{split}"
    if place.with_suffix(".json").exists():
        saved = json.loads(place.with_suffix(".json").read_text())
        step, curve = saved["step"], saved["curve"]
        p = load_file(place.with_suffix(".safetensors"))
        print(f"resuming at step {step}")
    start = time.time()
    while step < STEPS[-1]:
        g = torch.Generator().manual_seed(1_000_000 + step)
        picks = torch.randint(len(X), (500, M, B), generator=g)
        for ix in picks:
            q = {k: v.requires_grad_() if k in trained else v for k, v in p.items()}
            out = logits(q, X[ix], table, training=True)
            loss = F.cross_entropy(out.flatten(0, 1), Y[ix].flatten(), reduction="sum") / B
            used = [q[k] for k in trained]
            grads = torch.autograd.grad(loss, used)
            with torch.no_grad():
                torch._foreach_add_(used, grads, alpha=-(0.1 if step < table.drop else 0.01))
            step += 1
        p = {k: v.detach() for k, v in p.items()}
        if step in STEPS:
            curve[str(step)] = losses(p, *held, table)
            means = [sum(curve[str(step)][i:i + SEEDS]) / SEEDS for i in range(0, M, SEEDS)]
            print(step, [round(m, 4) for m in means], f"{time.time() - start:.0f} s", flush=True)
        if step % 10_000 == 0:
            place.parent.mkdir(exist_ok=True)
            save_file(p, place.with_suffix(".safetensors"))
            place.with_suffix(".json").write_text(json.dumps({"step": step, "curve": curve}))
    train = losses(p, X, Y, table)
    settings = asdict(table)
    variants = settings.pop("variants")
    record = {
        "what": f"{data}, split by {split}: validation loss in nats per character, {SEEDS} seeds a variant",
        "settings": settings | {"batch": B, "rates": [0.1, 0.01], "steps": STEPS[-1]},
        "parameters": sum(p[k][0].numel() for k in trained),
        "examples": {k: sum(len(d) + 1 for d in docs) for k, docs in parts.items()},
        "versions": {"torch": torch.__version__.split("+")[0], "python": platform.python_version()},
        "machine": f"{platform.machine()}, one thread",
        "variants": [{"name": name, "output scale": out, "hidden scale": hidden,
                      "val": {s: c[i * SEEDS:(i + 1) * SEEDS] for s, c in curve.items()},
                      "train": train[i * SEEDS:(i + 1) * SEEDS]}
                     for i, (name, out, hidden) in enumerate(variants)],
    }
    target = ROOT / "data/runs" / f"names_{name}_{split}.json"
    target.parent.mkdir(parents=True, exist_ok=True)
    target.write_text(json.dumps(record, indent=1) + "\n")
    print(f"wrote {target.relative_to(ROOT)}")


if __name__ == "__main__":
    torch.set_num_threads(1)
    if len(sys.argv) != 3 or sys.argv[1] not in TABLES or sys.argv[2] not in ("lecture", "hash"):
        sys.exit(f"usage: names_networks.py [{'|'.join(TABLES)}] [lecture|hash]")
    main(*sys.argv[1:])
