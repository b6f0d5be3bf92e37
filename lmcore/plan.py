"""Choose model, steps and rate for a text and a machine, and say beforehand how long it takes and how good.

    plan = lm.plan(parts, tok, minutes=10)
    print(plan)
    run = lm.fit(lm.GPT(plan.model), parts, tok, plan.train)
"""
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from math import ceil

import numpy as np
import torch

from lmcore.config import GPTConfig, TrainConfig, preset
from lmcore.cost import cost
from lmcore.data.corpus import corpus, validation
from lmcore.data.tokens import Tokenizer
from lmcore.data.windows import Batches, borders
from lmcore.evaluate import Score, score_ids
from lmcore.gpt import GPT
from lmcore.learner import Learner
from lmcore.machine import choose
from lmcore.ngrams import KneserNey
from lmcore.train import Parts

LADDER = ("day21", "mini", "small", "medium", "large")      # from which a model is chosen, by size
RECIPES = {     # what goes with a preset
    "day21": {"learning_rate": 2e-3}, "simple": {"learning_rate": 1e-3},
    "mini": {"optimiser": "muon", "learning_rate": 1e-2, "table_rate": 0.4, "schedule": "linear"},
    "19m": {"learning_rate": 1e-3}, "small": {"learning_rate": 5e-4, "batch_size": 32},
    "medium": {"learning_rate": 3e-4}, "large": {"learning_rate": 2e-4, "batch_size": 8}}
READ = 10               # tokens that are read for each parameter, at least
EPOCHS = 30             # times through a text after which little is left to learn
JUDGED, SHARE = 20, 0.2     # evaluations in a run, and what they may take of its steps' time, at most
COUNTED = 500_000       # tokens from which the expectation is counted
NEAR = 0.95, 1.1        # what runs came to, times what counting reaches (africa-galore, shakespeare, sonetos)


@dataclass(frozen=True)
class Plan:
    """What `plan` chose; `print` it."""

    preset: str
    model: GPTConfig
    train: TrainConfig
    epochs: float
    seconds: float                  # of the whole run, evaluations included

    def __str__(self) -> str:
        train, n = self.train, cost(self.model).parameters
        return (f"model      {self.preset}: {n:,} parameters, context {self.model.block_size}\n"
                f"training   {train.steps:,} steps of {train.batch_size} rows: {self.epochs:.2g} times "
                f"through the text\n"
                f"time       {duration(self.seconds)} here ({self.seconds / train.steps:.3f} s a step, "
                f"{train.precision} on {train.device})")


def duration(seconds: float) -> str:
    """In words: "less than a second", "about 40 seconds", "about 12 minutes", "about 3.5 hours"."""
    if seconds < 1:
        return "less than a second"
    if seconds < 90:
        return f"about {ceil(seconds)} seconds"
    return f"about {seconds / 60:.0f} minutes" if seconds < 5400 else f"about {seconds / 3600:.1f} hours"


def plan(parts: Parts, tok: Tokenizer, name: str | None = None, minutes: float = 10,
         model: Mapping[str, object] | None = None, train: Mapping[str, object] | None = None,
         config: GPTConfig | None = None) -> Plan:
    """Choose what is not given, for the text in `parts`; a few steps are run to know the machine.

    `name` is a preset's, `model` and `train` hold fields of GPTConfig and TrainConfig, `config` is that of a
    model that there is already. Without steps or epochs the run takes these minutes, or 30 times through the
    text if that is less.

    Raises: ValueError if what is given does not go together.
    """
    model, train, ids = dict(model or {}), dict(train or {}), corpus(parts["train"], tok, "train")
    if {"steps", "epochs"} <= set(train):
        raise ValueError("steps and epochs say the same: give one of them")
    if not config:
        name = name or largest(len(ids), tok.vocab_size, minutes, TrainConfig(**train))
        config = preset(name, **{**model, "vocab_size": tok.vocab_size})
    settings = TrainConfig(**{**RECIPES.get(name, {}), **train})
    if "batch_size" not in train:
        settings = replace(settings, batch_size=fitting(ids, settings.batch_size, config.block_size))
    batch = Batches(ids, settings.batch_size, config.block_size, settings.sampling, settings.stride)
    step = seconds_per_step(config, settings, batch)
    judge = seconds_of_judging(parts, tok, settings, step / batch.length.mean() / settings.batch_size)
    if "epochs" in train:
        train["steps"] = max(1, round(train["epochs"] * batch.per_epoch))
    elif "steps" not in train:
        train = {"steps": enough(60 * minutes, step, judge, batch.per_epoch), "patience": 5, **train}
    apart = min(max(train["steps"] // JUDGED, ceil(judge / (SHARE * step))), train["steps"])
    device, precision, _ = choose(settings, config)
    settings = replace(settings, **{"eval_every": apart, **train, "epochs": None, "device": device,
                                    "precision": precision})
    seconds = settings.steps * step + settings.steps // settings.eval_every * judge
    return Plan(name or "as trained", config, settings, settings.steps / batch.per_epoch, seconds)


def enough(seconds: float, step: float, judge: float, per_epoch: int) -> int:
    """Steps that fit in this time with their evaluations, or that leave little to learn from the text."""
    fitting = max((seconds - JUDGED * judge) / step, seconds / step / (1 + SHARE))
    return max(1, min(int(fitting), EPOCHS * per_epoch))


def largest(text: int, V: int, minutes: float, settings: TrainConfig) -> str:
    """The largest preset that reads ten tokens for each parameter in these minutes, at this machine's speed.

    Nor has it more than two parameters for each of the text's tokens.

    Source: that tokens should grow with parameters: Hoffmann et al. 2022, https://arxiv.org/abs/2203.15556
    """
    found, speed = LADDER[0], None
    for name in LADDER[1:]:
        config = preset(name, vocab_size=V)
        about = cost(config)
        if about.parameters > 2 * text:
            break
        speed = speed or 16 * config.block_size * about.flops_per_token / seconds_per_step(config, settings)
        if READ * about.parameters * about.flops_per_token / speed > 60 * minutes:
            break
        found = name
    return found


def fitting(ids: np.ndarray, B: int, T: int) -> int:
    """B rows, or so many that a short text still makes eight batches."""
    windows = int(np.ceil(np.diff(borders(ids), prepend=-1) / T).sum())
    return max(1, min(B, windows // 8))


def seconds_per_step(config: GPTConfig, settings: TrainConfig, batch: Batches | None = None) -> float:
    """The median time of three steps of a run with this model on this machine, after one to warm up."""
    full, taken = torch.ones(settings.batch_size, config.block_size, dtype=torch.long), []
    batch = batch or (lambda i: (full, full))
    with torch.random.fork_rng():       # whoever draws later draws as if this had not been
        learner = Learner(GPT(config), settings, *batch(0))
        for i in range(4):
            began = time.perf_counter()
            learner.learn(*batch(i), share=1.0)
            taken.append(time.perf_counter() - began)
    return sorted(taken[1:])[1]


def seconds_of_judging(parts: Parts, tok: Tokenizer, settings: TrainConfig, a_token: float) -> float:
    """One evaluation: forward only, a third of the seconds that a token takes in training, for each."""
    if "val" not in parts:
        return 0.0
    rows, _ = validation(corpus(parts["val"], tok, "val"), tok, settings.eval_docs)
    return a_token / 3 * sum(map(len, rows))


def counted(parts: Parts, tok: Tokenizer) -> Score:
    """What counting reaches on this text: the score on validation that a network should come to, or pass.

    Kneser-Ney of order 5 counts the first half million tokens of training, and is scored on 200 documents.
    """
    train = corpus(parts["train"], tok, "train")[:COUNTED]
    rows, _ = validation(np.append(train, tok.end) if train[-1] != tok.end else train, tok, 0)
    model = KneserNey(5)
    model.tok = tok
    model.count(rows)
    return score_ids(model, *validation(corpus(parts["val"], tok, "val"), tok, 200))
