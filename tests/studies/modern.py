"""One change at a time to chapter 10's GPT: what each modern part is worth, on tales and on Shakespeare.

    python tests/studies/modern.py [TEXT [CHANGE ...]]      adds what data/runs/modern.json lacks
    python tests/studies/modern.py rates                    Muon's rate, from another seed
    python tests/studies/modern.py best                     the preset mini on 1.5 million characters

All runs of a text have the same budget of counted operations: a change that makes a step dearer has fewer of
them. All changes of a seed read the same rows in the same order. Scores are over 200 validation tales, in
bits per byte above the entropy, and over the whole validation part of Shakespeare, in nats per character,
where every character but the first 32 has at least 32 before it.
"""
import contextlib
import io
import json
import platform
import sys
import tempfile
import time
from dataclasses import asdict, dataclass, replace
from functools import cache
from pathlib import Path

import lmcore as lm
from lmcore.learner import Learner
from lmcore.optim import SCHEDULES
from lmcore.plan import RECIPES

# isort: split
import torch
import torch.nn.functional as F
from torch import Tensor

FILE = Path(__file__).resolve().parents[2] / "data/runs/modern.json"
SEEDS, FAR, HELD, FIRST = 3, 256, 200, 10   # seeds; places looked at; tales scored; losses kept one by one
PARTS = {"position": "rope", "norm": "rmsnorm", "qk_norm": True, "ffn": "relu2"}
CHANGES = {
    "base": {}, "sinusoidal": {"position": "sinusoidal"}, "none": {"position": "none"},
    "rope": {"position": "rope"}, "rmsnorm": {"norm": "rmsnorm"}, "relu2": {"ffn": "relu2"},
    "swiglu": {"ffn": "swiglu", "expansion": 8 / 3}, "qk_norm": {"qk_norm": True},
    "gqa": {"n_kv_head": 2}, "untied": {"tied": False},
    "wsd": {"schedule": "wsd"}, "muon": {"optimiser": "muon"}, "parts": PARTS,
    "modern": {**PARTS, "optimiser": "muon"},
}
AS_LONG = ("muon", "modern")    # these also as long as the base, with more operations: "muon, as long"
BEST_CONTEXT = 128       # of 256 with half as many rows it came to 1.597 instead of 1.549, one seed
BEST = {"steps": 1_500, "batch_size": 8, "sampling": "stream", "stride": 100, "beta2": 0.99, "wandb": "off"}
ALL = [*CHANGES, *(f"{change}, as long" for change in AS_LONG)]
LEFT_OUT = {"tales": ("sinusoidal", "none")}


@dataclass(frozen=True)
class Text:
    """One text, the base model for it, and how that is trained."""

    tok: lm.CharTokenizer | lm.WordTokenizer
    train: list[Tensor]
    held: list[str]
    model: lm.GPTConfig
    config: lm.TrainConfig
    muon_rate: float            # of the matrices, gains and biases under Muon; tables keep theirs
    least: float                # bits per byte of the entropy; 0 where it is not known


@cache
def text(name: str) -> Text:
    config = lm.TrainConfig(learning_rate=4e-3, schedule="linear", warmup=0.05)
    if name == "tales":
        parts = lm.data.splits("tales")
        tok, held = lm.WordTokenizer.train(parts["train"]), parts["val"][:HELD]
        least = -sum(lm.data.log2p("tales")["val"][:HELD]) / sum(len(doc.encode()) + 1 for doc in held)
        return Text(tok, [tok.encode(doc) for doc in parts["train"]], held,
                    lm.GPTConfig(vocab_size=tok.vocab_size, block_size=160, n_layer=2),
                    replace(config, steps=1_500, batch_size=4, table_rate=3.0, beta1=0.8, weight_decay=0.05),
                    MUON_RATE["tales"], least)
    parts = lm.data.splits("shakespeare", how="lecture")
    tok = lm.CharTokenizer.train([*parts["train"], *parts["val"]])
    row = torch.tensor([i for doc in parts["train"] for i in (tok.end, *tok.encode(doc))])
    return Text(tok, [row], parts["val"], lm.GPTConfig(vocab_size=tok.vocab_size, block_size=64),
                replace(config, steps=750, batch_size=12, beta2=0.99), MUON_RATE["shakespeare"], 0.0)


MUON_RATE = {"tales": 0.005, "shakespeare": 0.01}


def changed(name: str, change: dict, as_long: bool = False) -> tuple[lm.GPTConfig, lm.TrainConfig]:
    """Model and training with a change, and as many steps as the base's operations pay for."""
    this = text(name)
    model = {key: value for key, value in change.items() if hasattr(this.model, key)}
    train = {key: value for key, value in change.items() if key not in model}
    if train.get("optimiser") == "muon":
        table = this.config.table_rate * this.config.learning_rate
        train |= {"learning_rate": this.muon_rate, "table_rate": table / this.muon_rate}
    found = replace(this.model, **model), replace(this.config, **train)
    paid = operations(this.model, this.config) / operations(*found)
    return found[0], replace(found[1], steps=round(this.config.steps * (1 if as_long else paid)))


def operations(model: lm.GPTConfig, config: lm.TrainConfig) -> int:
    """Of one step at full context: the products of the model, and those of Muon, five times a matrix."""
    found = lm.cost(model).flops_per_token * config.batch_size * model.block_size
    if config.optimiser == "muon":
        for p in (p for p in lm.GPT(model).blocks.parameters() if p.ndim == 2):
            short, long = min(p.shape), max(p.shape)
            found += 5 * 2 * short**2 * (2 * long + short)
    return found


def rows(name: str, config: lm.TrainConfig, T: int):
    """The batches of a run, the same for every change."""
    this = text(name)
    if name == "tales":
        yield from lm.data.batches(this.train, config.batch_size, config.steps, config.seed)
        return
    generator, windows = torch.Generator().manual_seed(config.seed), this.train[0].unfold(0, T + 1, 1)
    for _ in range(config.steps):
        some = windows[torch.randint(len(windows), (config.batch_size,), generator=generator)]
        yield some[:, :-1].contiguous(), some[:, 1:].contiguous()


def train(name: str, model: lm.GPT, config: lm.TrainConfig) -> tuple[list[float], float]:
    """The loss of every step, and CPU seconds a step."""
    batches, losses = list(rows(name, config, model.block_size)), []
    learner = Learner(model, config, *batches[0])
    start = time.process_time()
    for step, (X, Y) in enumerate(batches):
        share = SCHEDULES[config.schedule](step, config.steps, int(config.warmup * config.steps))
        losses.append(learner.learn(X, Y, share)[0])
    return losses, (time.process_time() - start) / config.steps


def score(name: str, model: lm.GPT) -> float:
    this = text(name)
    if name == "tales":
        return lm.evaluate(model.eval(), this.held, this.tok).bits_per_byte - this.least
    return lm.evaluate(model.eval(), this.held, this.tok).nats_per_token


@torch.no_grad()
def by_place(model: lm.GPT) -> list[float]:
    """Loss at the places 0 to 255 of windows of Shakespeare, in means of eight, whatever T it learnt with."""
    this = text("shakespeare")
    far = lm.GPT(replace(model.config, block_size=FAR)).eval()
    far.load_state_dict(model.state_dict())
    ids = torch.tensor([i for doc in this.held for i in (this.tok.end, *this.tok.encode(doc))])
    found = torch.cat([F.cross_entropy(far(some[:, :-1]).transpose(1, 2), some[:, 1:], reduction="none")
                       for some in ids.unfold(0, FAR + 1, FAR).split(64)])
    return [round(x, 4) for x in found.mean(0).view(-1, 8).mean(1).tolist()]


def run(name: str, change: dict, seed: int, as_long: bool = False) -> dict:
    model_config, config = changed(name, change, as_long)
    config = replace(config, seed=seed)
    torch.manual_seed(seed)
    model = lm.GPT(model_config)
    losses, seconds = train(name, model, config)
    found = {"score": score(name, model), "steps": config.steps, "parameters": model.n_params,
             "seconds_a_step": round(seconds, 5), "first": losses[:FIRST], "last": sum(losses[-50:]) / 50}
    if name == "shakespeare" and model_config.position != "learned":
        found["by_place"] = by_place(model)
    return found


def kept() -> dict:
    """The record as it is now."""
    return json.loads(FILE.read_text(encoding="utf-8")) if FILE.is_file() else {"runs": [], "rates": []}


def keep(**new: object) -> None:
    about = {"unit": {"tales": "bits per byte above the entropy", "shakespeare": "nats per character"},
             "changes": CHANGES, "torch": torch.__version__, "machine": f"{platform.machine()}, one thread",
             "base": {name: {"model": asdict(text(name).model), "train": asdict(text(name).config),
                             "muon_rate": text(name).muon_rate} for name in MUON_RATE}}
    FILE.write_text(json.dumps(kept() | about | new, indent=1) + "\n", encoding="utf-8")


def ablations(names: list[str], changes: list[str]) -> None:
    for name in names:
        for seed in range(SEEDS):
            for change in changes:
                if change in LEFT_OUT.get(name, ()):
                    continue
                if any((r["text"], r["change"], r["seed"]) == (name, change, seed) for r in kept()["runs"]):
                    continue
                plain = change.removesuffix(", as long")
                found = run(name, CHANGES[plain], seed, plain != change)
                found = {"text": name, "change": change, "seed": seed} | found
                print({key: found[key] for key in ("text", "change", "seed", "score")}, flush=True)
                keep(runs=[*kept()["runs"], found])


def rates() -> None:
    """Muon at three rates, from a seed that no other run has; AdamW's are chapter 10's."""
    for name in MUON_RATE:
        for rate in (5e-3, 1e-2, 2e-2):
            MUON_RATE[name] = rate
            text.cache_clear()
            found = {"text": name, "rate": rate} | run(name, CHANGES["muon"], seed=9)
            print({key: value for key, value in found.items() if key != "first"}, flush=True)
            keep(rates=[*kept()["rates"], found])


def best(seed: int, **changes: object) -> dict:
    """The preset mini, its recipe, and as many characters as nanoGPT's 2,000 steps of 12 x 64 read."""
    parts = lm.data.splits("shakespeare", how="lecture")
    tok = text("shakespeare").tok
    torch.manual_seed(seed)
    model = lm.GPT(lm.preset("mini", vocab_size=tok.vocab_size, block_size=BEST_CONTEXT))
    config = lm.TrainConfig(**RECIPES["mini"] | BEST | {"seed": seed} | changes)
    start = time.process_time()
    with tempfile.TemporaryDirectory() as folder, contextlib.redirect_stdout(io.StringIO()):
        run = lm.fit(model, {"train": parts["train"]}, tok, config, Path(folder) / "run")
    seconds = time.process_time() - start
    return {"seed": seed, "parameters": model.n_params, "steps": config.steps,
            "characters": config.steps * config.batch_size * model.block_size,
            "score": lm.evaluate(run.model, parts["val"], tok).nats_per_token,
            "cpu_seconds": round(seconds, 1), "loss": [line["loss"] for line in run.history]}


def best_of_all_seeds() -> None:
    found = [best(seed) for seed in range(SEEDS)]
    print([{key: value for key, value in each.items() if key != "loss"} for each in found])
    mini = lm.preset("mini", vocab_size=text("shakespeare").tok.vocab_size, block_size=BEST_CONTEXT)
    keep(best={"preset": asdict(mini),
               "train": {**RECIPES["mini"], **BEST}, "runs": found})


if __name__ == "__main__":
    torch.set_num_threads(1)
    match sys.argv[1:]:
        case ["rates"]:
            rates()
        case ["best"]:
            best_of_all_seeds()
        case [name, *changes]:
            ablations([name], changes or ALL)
        case _:
            ablations(list(MUON_RATE), ALL)
