"""Train a GPT so that one can leave it alone: whatever happens, a run goes on where it was.

All that is random in step i is a function of the seed and of i: the rows of the batch and what is dropped. So
a run is its weights, the optimiser's memory and a few numbers; kept together, they resume it bit for bit.

    run = lm.fit(model, parts, tok, lm.TrainConfig(steps=1000), out="runs/first")
    run = lm.resume("runs/first", parts)        # after a closed lid, a full disk, a kill
"""
import json
import math
import platform
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

import safetensors.torch
import torch

from lmcore import checkpoint, optim
from lmcore.checkpoint import BEST, LAST, Tokenizer
from lmcore.config import TrainConfig
from lmcore.data.corpus import Part, corpus, known, validation
from lmcore.data.windows import Batches
from lmcore.evaluate import score_ids
from lmcore.generate import evaluating, generate
from lmcore.gpt import GPT
from lmcore.learner import Learner
from lmcore.log import HISTORY, SAMPLES, Log, cut_back, history, sizes
from lmcore.machine import alone_in, refusal, signals, together
from lmcore.tokenizers import SKIP

CONFIG, MEMORY, PROGRESS = "config.json", "optimiser.safetensors", "progress.json"
SAMPLE = 100    # tokens of a sample
Parts = Mapping[str, Part]      # by name: train, and val if there is one


class Stopped(Exception):
    """A run that could not go on: one line says why, what is kept, and what to do."""


@dataclass
class Progress:
    """Where a run is, in numbers."""

    step: int = 0
    tokens: int = 0                 # that were guessed in training
    best: float | None = None       # lowest validation loss, nats per token
    waited: int = 0                 # evaluations since then
    recent: list[float] = field(default_factory=list)   # losses since the last line of history
    sizes: dict[str, int] = field(default_factory=dict)     # bytes of the files that grow


@dataclass(frozen=True)
class Run:
    """What `fit` and `resume` give back; the model has the weights of the last step."""

    folder: Path
    model: GPT
    step: int
    ended: str                      # "done", "early", "until", "interrupted"
    best: float | None              # lowest validation loss, nats per token
    history: list[dict]             # step, loss, rate, ... and at evaluations val, perplexity, bits_per_byte


def fit(model: GPT, data: Parts, tok: Tokenizer, config: TrainConfig | None = None,
        out: str | Path = "runs/last", until: int | None = None) -> Run:
    """Train a model on data["train"], judge it on data["val"] if there is one, keep all in the folder `out`.

    A part is a list of documents, the path of a token file, or, not to encode it again, the row of ids that
    `data.corpus.corpus` makes of either. With `until` the run stops at that step, to be resumed. Torch's
    random numbers are seeded anew at every step.

    Raises: ValueError if something does not fit together; Stopped if the run cannot go on.
    """
    with together(Path(out)) as out, alone_in(out):
        with suppress(FileNotFoundError):
            checkpoint.intact(out / LAST)
            raise ValueError(f"{out} holds a run already: lm.resume({str(out)!r}, data) goes on with it; "
                             "a new one wants another folder")
        trainer = Trainer(model, data, tok, config or TrainConfig(), out)
        trainer.begin()
        return trainer.run(until)


def resume(out: str | Path, data: Parts, until: int | None = None, **changes: object) -> Run:
    """Go on with the run in a folder, from its last checkpoint; `changes` are fields of TrainConfig.

    Without changes it ends as if it had never stopped, bit for bit on a CPU.

    Raises: ValueError if there is nothing to go on with, or the text is another; Stopped as `fit`.
    """
    there = Path(out)
    if not there.is_dir():
        raise ValueError(f"no run to go on with: there is no folder {there}")
    with together(there) as out, alone_in(out):
        try:
            kept = checkpoint.intact(there / LAST)
            before = json.loads((kept / CONFIG).read_text(encoding="utf-8"))
            config = replace(TrainConfig(**before["train"]), **changes)
        except (FileNotFoundError, KeyError) as missing:
            raise ValueError(f"no run to go on with in {there}: {missing}") from None
        model, tok = checkpoint.load(kept)
        trainer = Trainer(model, data, tok, config, out)
        trainer.restore(kept, before["text"])
        return trainer.run(until)


class Trainer(Learner):
    """One run: what it reads, what it changes, where it is."""

    def __init__(self, model: GPT, data: Parts, tok: Tokenizer, config: TrainConfig, out: Path):
        if tok.vocab_size != model.config.vocab_size:
            raise ValueError(f"the tokenizer has {tok.vocab_size} tokens, the model "
                             f"{model.config.vocab_size}: build it with vocab_size=tok.vocab_size")
        tok.encode(config.prompt or "")     # a prompt that it cannot read is better known now
        text = {part: corpus(data[part], tok, part) for part in ("train", "val") if part in data}
        self.tok, self.out, self.text = tok, out, {part: known(ids) for part, ids in text.items()}
        self.batch = Batches(text["train"], config.batch_size, model.block_size, config.sampling,
                             config.stride, config.seed)
        self.val = validation(text["val"], tok, config.eval_docs) if "val" in text else None
        if config.epochs is not None:
            config = replace(config, steps=max(1, round(config.epochs * self.batch.per_epoch)), epochs=None)
        super().__init__(model, config, *self.batch(0))
        self.at, self.kept = Progress(), None       # self.kept: the step of the last checkpoint
        epochs = round(self.config.steps / self.batch.per_epoch, 2)
        print(f"{self.config.device}, {self.config.precision}: {self.why}\n{model.n_params:,} parameters; "
              f"{self.config.steps:,} steps are {epochs:,} times through {len(text['train']):,} tokens",
              flush=True)

    def about(self) -> dict:
        """What config.json says of the run."""
        return {"tokenizer": type(self.tok).__name__, "model": asdict(self.model.config),
                "train": asdict(self.config), "text": self.text,
                "versions": {"torch": torch.__version__, "python": platform.python_version()}}

    def begin(self) -> None:
        """Set the folder up and keep the model as it comes: whatever fails later can be gone on with."""
        with self.explained():
            cut_back(self.out, {HISTORY: 0, SAMPLES: 0})
            self.keep()
            self.tok.save(self.out / "tokenizer.json")
            (self.out / CONFIG).write_bytes(checkpoint.as_json(self.about()))

    def restore(self, kept: Path, text: dict) -> None:
        """Take up the optimiser's memory and the numbers of a checkpoint, and forget what came after it.

        Raises: ValueError if the text is not the one of the run.
        """
        for part in {*text, *self.text}:
            if text.get(part) != self.text.get(part):
                raise ValueError(f"{part!r} is not the text with which {self.out} began: give the same, or "
                                 "begin a run elsewhere with the model of this one")
        checkpoint.remember(self.optimisers, safetensors.torch.load_file(kept / MEMORY))
        self.at = Progress(**json.loads((kept / PROGRESS).read_text(encoding="utf-8")))
        self.kept = self.at.step
        with self.explained():
            cut_back(self.out, self.at.sizes)
            (self.out / CONFIG).write_bytes(checkpoint.as_json(self.about()))
        print(f"{self.out} goes on at step {self.at.step:,}", flush=True)

    def run(self, until: int | None) -> Run:
        """Step until the end, or until something else ends it; every end leaves a whole checkpoint."""
        self.log = Log(self.out, self.at.step, self.config.steps, self.config.wandb)
        try:
            with self.explained(), signals() as asked:
                stop = self.job.any if self.job else bool       # all processes at the same step
                while not (ended := self.over(until) or ("interrupted" if stop(asked) else "")):
                    self.step()
                if self.kept != self.at.step:
                    self.keep()
            if ended == "interrupted":
                self.log.say(f"interrupted; {self.left()}")
        finally:
            self.log.close()
        return Run(self.out, self.model.eval(), self.at.step, ended, self.at.best, history(self.out))

    def over(self, until: int | None) -> str:
        """Why there is no further step, or nothing."""
        if self.at.step >= self.config.steps:
            return "done"
        if self.config.patience and self.at.waited >= self.config.patience:
            return "early"
        return "until" if until is not None and self.at.step >= until else ""

    def step(self) -> None:
        """One step, and what is due after it."""
        config, at = self.config, self.at
        X, Y = self.batch(at.step)
        torch.manual_seed(config.seed * 1_000_003 + at.step)       # what is dropped in this step
        share = optim.SCHEDULES[config.schedule](at.step, config.steps, int(config.warmup * config.steps),
                                                 config.floor)
        loss, length = self.learn(X, Y, share)
        if not math.isfinite(loss + length):
            self.lost(loss, length)
        at.step, tokens = at.step + 1, int((Y != SKIP).sum())
        at.tokens, at.recent = at.tokens + tokens, [*at.recent, loss]
        self.log.progress(at.step, loss, tokens)
        self.due(share * config.learning_rate, length)

    def due(self, rate: float, length: float) -> None:
        """After a step: a line of history, an evaluation, a checkpoint, each at its time."""
        config, at, last = self.config, self.at, self.at.step == self.config.steps
        if at.step % config.log_every == 0 or last:
            self.log.record(step=at.step, loss=sum(at.recent) / len(at.recent), rate=rate, gradient=length,
                            tokens=at.tokens, tokens_per_second=round(self.log.rate()))
            at.recent = []
        judged = at.step % config.eval_every == 0 or last
        if judged and self.val:
            self.judge()
        if judged and config.prompt is not None:
            self.write_sample()
        if at.step % config.save_every == 0 if config.save_every else judged:
            self.keep()

    def judge(self) -> None:
        """Score the validation documents; keep the model if it is the best so far."""
        with evaluating(self.model), torch.autocast(self.device.type, torch.bfloat16, enabled=self.half):
            found = score_ids(self.model, *self.val)
        at, nats = self.at, found.nats_per_token
        better = at.best is None or nats < at.best
        at.best, at.waited = (nats, 0) if better else (at.best, at.waited + 1)
        perplexity, bits = found.perplexity, found.bits_per_byte
        self.log.record(step=at.step, val=nats, perplexity=perplexity, bits_per_byte=bits)
        self.log.say(f"step {at.step:,}: validation {nats:.4f} nats/token, perplexity {perplexity:,.1f}, "
                     f"{bits:.4f} bits/byte{'' if better else f', best {at.best:.4f}'}")
        if better:
            checkpoint.put(self.out / BEST, checkpoint.contents(self.model, self.tok))

    def write_sample(self) -> None:
        model = self.job.gathered() if self.job else self.model
        text = generate(model, self.tok, self.config.prompt, SAMPLE, seed=self.config.seed)
        self.log.write(SAMPLES, f"step {self.at.step}: {text}\n")

    def keep(self) -> None:
        """A checkpoint: all that the run needs to go on, and the model as `checkpoint.load` reads it."""
        self.at.sizes = sizes(self.out)
        files = checkpoint.contents(self.model, self.tok)
        files[CONFIG] = checkpoint.as_json(self.about())
        files[MEMORY] = safetensors.torch.save(checkpoint.memory(self.optimisers))
        files[PROGRESS] = checkpoint.as_json(asdict(self.at))
        checkpoint.put(self.out / LAST, files)
        self.kept = self.at.step

    def lost(self, loss: float, length: float) -> None:
        """Stop before a loss or a gradient that is no number is learned, and say where it was met."""
        documents = sorted(set(self.batch.documents(self.at.step)))
        shown = ", ".join(map(str, documents[:8])) + (", ..." if len(documents) > 8 else "")
        raise Stopped(f"the loss is {loss} and its gradient {length} long at step {self.at.step + 1:,}, in a "
                      f"batch of documents {shown} of the training text (from 0): look at these, or go on "
                      f"with a lower learning_rate; {self.left()}")

    @contextmanager
    def explained(self) -> Iterator[None]:
        """Turn what the machine refuses, disk or memory, into a line that says what to do."""
        try:
            yield
        except (OSError, RuntimeError, MemoryError) as error:
            if not (said := refusal(error, self.config)):
                raise
            raise Stopped(f"{said}; {self.left()}") from None

    def left(self) -> str:
        """What is kept, and how to go on."""
        if self.kept is None:
            return "nothing is kept yet"
        return f"step {self.kept:,} is kept: lm.resume({str(self.out)!r}, data) goes on"
