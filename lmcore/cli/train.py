"""The command `train`: a text's name is enough; what is chosen is said before it begins."""
import inspect
import json
import os
import re
from dataclasses import asdict, dataclass, field, make_dataclass
from math import exp
from pathlib import Path
from types import NoneType
from typing import Annotated, ClassVar, Literal, get_args, get_origin, get_type_hints

import torch
from tyro.conf import OmitArgPrefixes, Positional, arg

from lmcore import data
from lmcore.checkpoint import LAST, Tokenizer
from lmcore.cli.models import SOURCE, model_of, tokens_of
from lmcore.cli.texts import Str, Vocabulary, option, written
from lmcore.config import GPTConfig, TrainConfig, preset
from lmcore.generate import generate
from lmcore.gpt import GPT
from lmcore.plan import NEAR, counted, plan
from lmcore.train import Run, fit, resume


def optional(config: type, without: tuple[str, ...] = ()) -> type:
    """A config whose fields may all be left out, with the same help: what is not given is chosen."""
    comments = dict(re.findall(r"^    (\w+):.*?#\s*(.*)$", inspect.getsource(config), re.M))
    hints = get_type_hints(config)
    fields = [(name, Annotated[hint | None, option(shown(hint), help=comments[name])], None)
              for name, hint in hints.items() if name not in without]
    made = make_dataclass(config.__name__, fields, frozen=True, kw_only=True)
    made.__doc__ = "If not given, as the preset has it, or as suits the text."
    return made


def shown(hint: object) -> str:
    """What stands for the value of an option in its help: "INT", "True|False", "pre|post"."""
    if get_origin(hint) is Literal:
        return "|".join(get_args(hint))
    kind = next((part for part in get_args(hint) if part is not NoneType), hint)
    return "True|False" if kind is bool else kind.__name__.upper()


TEXTS = "a file, a folder of texts, a set that `lmcore data` lists, or a folder that `lmcore prepare` wrote"
ModelChoices, TrainChoices = optional(GPTConfig, ("vocab_size",)), optional(TrainConfig)


def given(choices: object) -> dict:
    """The fields that were given."""
    return {name: value for name, value in asdict(choices).items() if value is not None}


@dataclass(frozen=True, kw_only=True)
class Train(Vocabulary):
    """Train a model on a text. All else is chosen by the text's size and the machine, and said beforehand.

    Ctrl-C ends a run so that it can go on: lmcore train --resume runs/book
    """

    EXAMPLES: ClassVar = ("lmcore train book.txt", "lmcore train book.txt --minutes 60",
                          "lmcore train africa-galore --preset day21 --tokenizer word --epochs 50",
                          "lmcore train other.txt --from runs/book",
                          "lmcore train --resume runs/book --steps 20000")

    text: Positional[Annotated[str | None, option("TEXT", help=TEXTS)]] = None
    preset: Str = None                  # one of those that `lmcore info` lists
    minutes: float = 10                 # how long it may take, if neither --steps nor --epochs says so
    out: Str = None                     # the folder of the run; if not given, runs/ and the text's name
    resume: Str = None                  # a run to go on with
    from_: Annotated[Str, arg(name="from")] = None         # a trained model to begin with
    model: OmitArgPrefixes[ModelChoices] = field(default_factory=ModelChoices)
    train: OmitArgPrefixes[TrainChoices] = field(default_factory=TrainChoices)

    def __call__(self) -> None:
        if bool(self.text) == bool(self.resume):
            raise ValueError("name a text to train on, or a run with --resume: lmcore train book.txt")
        run = self.go_on() if self.resume else self.begin()
        if run.ended == "interrupted":
            raise KeyboardInterrupt(f"go on with: lmcore train --resume {run.folder}")
        if os.environ.get("RANK", "0") == "0":      # under torchrun, one process speaks
            ended(run)

    def go_on(self) -> Run:
        """Take up a run where it was."""
        if not (folder := tokens_of(self.resume)):
            raise FileNotFoundError(f"no run of `lmcore train` in {self.resume}: it has no {SOURCE}")
        parts, _ = data.prepared(folder)
        return resume(self.resume, parts, **given(self.train))

    def begin(self) -> Run:
        """Prepare the text, plan, say so, train."""
        train, changes = given(self.train), given(self.model)
        if {"steps", "epochs"} <= set(train):
            raise ValueError("--steps and --epochs say the same: give one of them")
        preset(self.preset or "mini", **changes), TrainConfig(**train)      # tell of a bad choice at once
        out = Path(self.out or Path("runs") / Path(self.text).stem)
        if "RANK" in os.environ:
            raise ValueError("torchrun goes on with what one process began: lmcore train "
                             f"{self.text} --steps 1, then torchrun ... --no-python lmcore train "
                             f"--resume {out} --steps 20000")
        if (out / LAST).exists():
            raise ValueError(f"{out} holds a run: go on with `lmcore train --resume {out}`, or name another "
                             "folder with --out")
        model, tok = self.start(changes)
        parts, tok = self.prepared(out, tok)
        chosen = plan(parts, tok, self.preset, self.minutes, changes, train, model and model.config)
        print(f"{chosen}\nquality    {expected(parts, tok)}\nrun        {out}", flush=True)
        torch.manual_seed(chosen.train.seed)
        return fit(model or GPT(chosen.model), parts, tok, chosen.train, out)

    def start(self, changes: dict) -> tuple[GPT | None, Tokenizer | None]:
        """The model and tokenizer with which to begin, if they are trained already."""
        if not self.from_:
            return None, None
        if changes or self.preset or self.tokenizer or self.vocab_size or self.min_count:
            raise ValueError(f"--from keeps model and tokenizer of {self.from_}: leave out their options")
        return model_of(self.from_)

    def prepared(self, out: Path, tok: Tokenizer | None) -> tuple[dict[str, Path], Tokenizer]:
        """The token files of the text: those that were prepared, or written now into the run's folder."""
        folder = Path(self.text)
        if not (folder / "train.bin").is_file():
            folder = out / "text"
            tok, why = (tok, f"of {self.from_}") if tok else self.learned()
            written(self, tok, why, folder)
        elif self.fold or self.tokenizer or self.vocab_size or self.min_count:
            raise ValueError(f"{folder} is prepared already: leave out the options of texts and tokenizers")
        out.mkdir(parents=True, exist_ok=True)
        source = {"text": self.text, "tokens": str(folder)}
        (out / SOURCE).write_text(json.dumps(source) + "\n", encoding="utf-8")
        return data.prepared(folder)


def expected(parts: dict[str, Path], tok: Tokenizer) -> str:
    """What to expect, in words."""
    score = counted(parts, tok)
    bits, nats = ([near * value for near in NEAR] for value in (score.bits_per_byte, score.nats_per_token))
    return (f"expect {bits[0]:.2f} to {bits[1]:.2f} bits per byte, perplexity {exp(nats[0]):.0f} to "
            f"{exp(nats[1]):.0f}: counting (Kneser-Ney of 5 tokens) reaches {score.bits_per_byte:.2f}")


def ended(run: Run) -> None:
    """How good it became, if it was ever judged, a text, and what to do with it."""
    judged = [line for line in run.history if "val" in line]
    if judged:
        best = min(judged, key=lambda line: line["val"])
        print(f"\nbest       {best['bits_per_byte']:.3f} bits per byte, perplexity {best['perplexity']:.1f}, "
              f"at step {best['step']:,}")
    model, tok = model_of(str(run.folder))
    print(f"\n{generate(model, tok, '', 100, temperature=0.8)}\n\nnext       "
          + " | ".join(f"lmcore {name} {run.folder}" for name in ("generate", "chat", "evaluate")))
