"""The network of chapter 04 on names, from five seeds, under every recipe that the chapter speaks of.

    python tests/studies/names_mlp.py       resumes where it was stopped; about eight minutes of one thread

Uses the package's own network, loop, optimisers and schedule, so that the chapter can repeat any run. The
record, data/runs/mlp_names.json, holds for each run its settings and, for each seed, the loss on the whole
validation and training parts and the seconds of processor time.
"""
import contextlib
import io
import json
import platform
import time
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
import torch.nn.functional as F

import lmcore as lm
from lmcore.models import train, warmup_cosine
from lmcore.optim import AdamW

RECORD = Path(__file__).resolve().parents[2] / "data/runs/mlp_names.json"
SEEDS = 5


@dataclass(frozen=True, kw_only=True)
class Run:
    lecture: bool = False           # the list and split of the lectures, not ours
    T: int = 3                      # letters of context
    C: int = 24                     # numbers for each letter
    hidden: int = 400
    steps: int = 6000
    batch: int = 512
    rate: float = 0.005
    decay: float = 0.03


SMALL = {"C": 10, "hidden": 200}
RUNS = {
    "recipe": Run(),
    "recipe, lectures' size": Run(**SMALL),
    "recipe, lectures' split": Run(lecture=True),
    "recipe, lectures' size and split": Run(lecture=True, **SMALL),
    "five letters": Run(T=5, decay=0.1),
    "more decay": Run(decay=0.1),
}


def examples(run: Run) -> list[torch.Tensor]:
    parts = lm.data.splits("names-2019", how="lecture") if run.lecture else lm.data.splits("names")
    tok = lm.CharTokenizer.train(parts["train"])
    return [tensor for part in ("train", "val") for tensor in lm.data.windows(parts[part], tok, run.T)]


def one(run: Run, seed: int) -> dict[str, float]:
    X, Y, X_val, Y_val = examples(run)
    torch.manual_seed(seed)
    model, start = lm.MLP(27, run.T, run.C, run.hidden), time.process_time()
    optimiser = AdamW(model.parameters(), run.rate, weight_decay=run.decay)
    with contextlib.redirect_stdout(io.StringIO()):
        train(model, X, Y, optimiser, run.steps, run.batch, warmup_cosine, seed=seed)
    seconds = time.process_time() - start
    with torch.no_grad():
        return {"val": F.cross_entropy(model(X_val), Y_val).item(),
                "train": F.cross_entropy(model(X), Y).item(), "seconds": round(seconds, 1)}


def main() -> None:
    torch.set_num_threads(1)
    record = json.loads(RECORD.read_text()) if RECORD.exists() else {
        "what": f"lm.MLP on names, nats per character, {SEEDS} seeds a run; AdamW, warm-up and cosine",
        "torch": torch.__version__.split("+")[0],
        "machine": f"{platform.machine()}, one thread, Python {platform.python_version()}", "runs": {}}
    for name, run in RUNS.items():
        empty = {"settings": asdict(run), "val": [], "train": [], "seconds": []}
        row = record["runs"].setdefault(name, empty)
        if row["settings"] != asdict(run):
            raise SystemExit(f"{name!r} was recorded with other settings; delete it from {RECORD.name} first")
        for seed in range(len(row["val"]), SEEDS):
            for key, value in one(run, seed).items():
                row[key].append(value)
            RECORD.write_text(json.dumps(record, indent=1) + "\n")
            print(name, seed, row["val"][-1], row["seconds"][-1], flush=True)


if __name__ == "__main__":
    main()
