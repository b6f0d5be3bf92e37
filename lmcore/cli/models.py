"""The commands for models: info, generate, chat, evaluate."""
import json
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Annotated, ClassVar, Literal

from tyro.conf import OmitArgPrefixes, Positional, arg

from lmcore import data, evaluate
from lmcore.checkpoint import Tokenizer, load
from lmcore.cli.texts import Str, option
from lmcore.config import PRESETS, GPTConfig, preset
from lmcore.cost import cost
from lmcore.generate import generate, generate_file, interact, stream
from lmcore.gpt import GPT
from lmcore.sampling import Sampling

ModelName = Annotated[str, arg(metavar="MODEL")]
SOURCE = "source.json"      # in the folder of a run: where its text is


def model_of(name: str) -> tuple[GPT, Tokenizer]:
    """A trained model and its tokenizer, by its folder or by the course's name for it.

    Raises: FileNotFoundError that names what there is.
    """
    kept = [file.parent.name for file in (data.files.DATA / "runs").glob("*/model.safetensors")]
    if not Path(name).is_dir() and name not in kept:
        kept += [str(file.parent) for file in Path("runs").glob("*/ckpt_last")]
        raise FileNotFoundError(f"no trained model {name!r}{data.files.near(name, kept)}; there is "
                                f"{', '.join(kept)}, and what `lmcore train` makes")
    return load(name)


@dataclass(frozen=True, kw_only=True)
class Info:
    """What a preset or a trained model costs: parameters, operations for a token in training, memory."""

    EXAMPLES: ClassVar = ("lmcore info", "lmcore info --preset 19m --json", "lmcore info runs/book")

    model: Positional[Annotated[str | None, option("MODEL")]] = None     # a trained one
    preset: Str = None                  # one of the presets; if nothing is named, all
    batch_size: int = 16                # rows of a step, for the memory of training
    json: bool = False                  # for programs

    def __call__(self) -> None:
        if self.model:
            configs = {self.model: model_of(self.model)[0].config}
        else:
            configs = {name: preset(name) for name in ([self.preset] if self.preset else PRESETS)}
        if self.json:
            found = {name: self.about(config) for name, config in configs.items()}
            print(json.dumps(found if len(found) > 1 else next(iter(found.values())), indent=1))
        elif len(configs) > 1:
            print(f"{'preset':<8}{'parameters':>12}{'layers':>8}{'heads':>7}{'width':>7}{'context':>9}"
                  f"{'vocabulary':>12}{'MFLOP/token':>13}{'MB to train':>13}")
            for name, c in configs.items():
                found = cost(c, self.batch_size)
                print(f"{name:<8}{found.parameters:>12,}{c.n_layer:>8}{c.n_head:>7}{c.n_embd:>7}{c.block_size:>9}"
                      f"{c.vocab_size:>12,}{found.flops_per_token / 1e6:>13,.1f}"
                      f"{found.training_bytes / 1e6:>13,.0f}")
        else:
            for key, value in self.about(next(iter(configs.values()))).items():
                print(f"{key:<18}{value:>14,}" if type(value) is int else f"{key:<18}{value!s:>14}")

    def about(self, config: GPTConfig) -> dict:
        """Costs first, then every choice."""
        return asdict(cost(config, self.batch_size)) | asdict(config)


@dataclass(frozen=True, kw_only=True)
class Write:
    """How texts are written."""

    model: Positional[ModelName]        # the folder of a run, or a model of the course, such as tales
    max_tokens: int = 200               # a text ends here, if it does not end before
    seed: int = 0                       # another seed, another text
    sampling: OmitArgPrefixes[Sampling] = field(default_factory=Sampling)

    def how(self) -> dict:
        """The choices as `generate` takes them."""
        return {"max_tokens": self.max_tokens, "seed": self.seed, **asdict(self.sampling)}


@dataclass(frozen=True, kw_only=True)
class Generate(Write):
    """Continue texts with a trained model."""

    EXAMPLES: ClassVar = ('lmcore generate tales "This is a" --temperature 0.8',
                          'lmcore generate runs/book "The " "And " --stream --max-tokens 300',
                          "lmcore generate tales --prompt-file prompts.txt --output texts.jsonl",
                          'echo "Long ago" | lmcore generate tales --prompt-file /dev/stdin')

    prompts: Positional[Annotated[tuple[str, ...], option("PROMPT")]] = ()      # beginnings; none: a new text
    stream: bool = False                # show each piece as soon as it is known
    prompt_file: Str = None             # a file with a beginning on each line
    output: Str = None                  # with --prompt-file: a file for the texts, a line of JSON each

    def __call__(self) -> None:
        if self.prompt_file and self.prompts:
            raise ValueError("give prompts or --prompt-file, not both")
        if self.output and (self.stream or not self.prompt_file):
            raise ValueError("--output goes with --prompt-file, and without --stream")
        model, tok = model_of(self.model)
        if self.output:
            n = generate_file(model, tok, self.prompt_file, self.output, **self.how())
            print(f"{n} texts in {self.output}")
            return
        prompts = self.prompts or ("",)
        if self.prompt_file:
            prompts = Path(self.prompt_file).read_text(encoding="utf-8").splitlines()
        for i, prompt in enumerate(prompts):
            how = self.how() | {"seed": self.seed + i}
            if self.stream:
                for piece in stream(model, tok, prompt, **how):
                    print(piece, end="", flush=True)
            print("" if self.stream else generate(model, tok, prompt, **how))


@dataclass(frozen=True, kw_only=True)
class Chat(Write):
    """Give a beginning, read how the model goes on, give another; an empty line or Ctrl-D ends it."""

    EXAMPLES: ClassVar = ("lmcore chat tales --temperature 0.8", "lmcore chat runs/book")

    def __call__(self) -> None:
        model, tok = model_of(self.model)
        try:
            interact(model, tok, **self.how())
        except EOFError:
            print()


@dataclass(frozen=True, kw_only=True)
class Evaluate:
    """Loss, perplexity and bits per byte of a trained model on a text, with 95 % intervals.

    Units:  loss in nats per token; bits per byte compares models of any vocabulary.
    """

    EXAMPLES: ClassVar = ("lmcore evaluate runs/book", "lmcore evaluate tales tales --part test --docs 100",
                          "lmcore evaluate runs/book other.txt --json")

    model: Positional[ModelName]        # the folder of a run, or a model of the course, such as tales
    text: Positional[Annotated[str | None, option("TEXT")]] = None      # if not given, the run's own
    part: Literal["train", "val", "test"] = "test"      # of a text cut in parts; a file is taken whole
    docs: int = 0                       # the first so many documents; 0: all
    json: bool = False                  # for programs

    def __call__(self) -> None:
        model, tok = model_of(self.model)
        found = evaluate(model, self.documents(tok)[:self.docs or None], tok)
        if self.json:
            print(json.dumps(asdict(found) | {"perplexity": found.perplexity}, indent=1))
            return
        between = lambda pair: "{:.4f} to {:.4f}".format(*pair)
        print(f"{found.docs:,} documents, {found.tokens:,} tokens\n"
              f"loss            {found.nats_per_token:.4f} nats per token ({between(found.interval)})\n"
              f"perplexity      {found.perplexity:.2f}\n"
              f"bits per byte   {found.bits_per_byte:.4f} ({between(found.bits_per_byte_interval)})")

    def documents(self, tok: Tokenizer) -> list[str]:
        """The documents to score."""
        text = self.text or tokens_of(self.model) or (self.model if self.model in data.names() else "")
        if not text:
            raise ValueError(f"{self.model} does not say on which text to score it: "
                             f"lmcore evaluate {self.model} TEXT")
        if (Path(text) / f"{self.part}.bin").is_file():
            return list(data.decoded(Path(text) / f"{self.part}.bin", tok))
        return data.splits(text)[self.part] if text in data.names() else list(data.documents(text))


def tokens_of(run: str) -> str | None:
    """Where the text of a run of `train` is as tokens, as it wrote down itself."""
    file = Path(run) / SOURCE
    return json.loads(file.read_text(encoding="utf-8"))["tokens"] if file.is_file() else None
