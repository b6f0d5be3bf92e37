"""Keep a trained GPT in a folder: its config and tokenizer to read, its weights as numbers, no code.

A folder is written whole or not at all. Beside `x` the one before it stays as `x.old`, and `sha256.json` in
each tells what its files must be; a damaged folder is named, and the one before it is read instead.
"""
import hashlib
import json
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory

import safetensors.torch
import torch
from torch import Tensor

from lmcore.config import GPTConfig
from lmcore.data import vocabulary
from lmcore.data.files import DATA
from lmcore.data.vocabulary import Tokenizer
from lmcore.gpt import GPT

KINDS = {kind.__name__: kind for kind in vocabulary.KINDS.values()}
FILES = ("config.json", "tokenizer.json", "model.safetensors")
SUMS = "sha256.json"
BEST, LAST = "ckpt_best", "ckpt_last"       # in the folder of a run


def save(folder: str | Path, model: GPT, tok: Tokenizer, half: bool = False) -> None:
    """Write config.json, tokenizer.json and model.safetensors; with `half`, weights take two bytes each.

    Source: the format is https://github.com/huggingface/safetensors, which holds no code to run.
    """
    put(folder, contents(model, tok, half))
    shutil.rmtree(beside(folder, ".old"), ignore_errors=True)


def load(folder: str | Path) -> tuple[GPT, Tokenizer]:
    """The model and tokenizer of a folder, of a run (its best), or of the course's own run of that name.

    Raises: FileNotFoundError if a file is missing there; ValueError if the files do not belong together.
    """
    folder = Path(folder) if Path(folder).is_dir() else DATA / "runs" / folder
    folder = next((folder / part for part in (BEST, LAST) if places(folder / part)), folder)
    folder = intact(folder) if places(folder) else folder
    if missing := [name for name in FILES if not (folder / name).is_file()]:
        raise FileNotFoundError(f"no trained model in {folder}: {', '.join(missing)} not there")
    kind, config = read_config(folder)
    tok = KINDS[kind].load(folder / "tokenizer.json")
    try:
        model, weights = GPT(config), safetensors.torch.load_file(folder / "model.safetensors")
        if config.tied:
            weights["head.weight"] = weights["tokens.weight"]
        model.load_state_dict({name: w.float() for name, w in weights.items()})
    except safetensors.SafetensorError as error:
        raise ValueError(f"{folder / 'model.safetensors'} is damaged: {error}") from None
    except (RuntimeError, KeyError) as error:
        first = " ".join(str(error).split())[:160]
        raise ValueError(f"the weights in {folder} are not of the model in config.json: {first}") from None
    if tok.vocab_size != config.vocab_size:
        raise ValueError(f"the tokenizer in {folder} has {tok.vocab_size} tokens, "
                         f"its model {config.vocab_size}")
    return model.eval(), tok


def read_config(folder: Path) -> tuple[str, GPTConfig]:
    """The kind of tokenizer and the choices of the model that config.json names."""
    try:
        about = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        kind, config = about["tokenizer"], GPTConfig(**about["model"])
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"{folder / 'config.json'} is damaged, or of another program: {error}") from None
    if kind not in KINDS:
        raise ValueError(f"{folder / 'config.json'} names a tokenizer {kind!r}; there are {', '.join(KINDS)}")
    return kind, config


def contents(model: GPT, tok: Tokenizer, half: bool = False) -> dict[str, bytes]:
    """The files of a kept model, by name."""
    weights = {name: (w.half() if half else w).contiguous() for name, w in model.state_dict().items()}
    if model.config.tied:
        weights.pop("head.weight")                  # the same numbers as tokens.weight
    kind = {"tokenizer": type(tok).__name__, "model": asdict(model.config)}
    with TemporaryDirectory() as there:
        tok.save(Path(there) / "tokenizer.json")
        symbols = (Path(there) / "tokenizer.json").read_bytes()
    return dict(zip(FILES, (as_json(kind), symbols, safetensors.torch.save(weights))))


def memory(optimisers: Sequence[torch.optim.Optimizer]) -> dict[str, Tensor]:
    """What optimisers remember, each tensor by its place: optimiser, parameter, name.

    Shapes: those of the parameters, and of counters ()
    """
    return {f"{n}.{i}.{name}": value.contiguous() for n, each in enumerate(optimisers)
            for i, state in each.state_dict()["state"].items() for name, value in state.items()}


def remember(optimisers: Sequence[torch.optim.Optimizer], tensors: Mapping[str, Tensor]) -> None:
    """Give optimisers their memory back.

    Shapes: tensors are those of `memory`
    """
    for n, each in enumerate(optimisers):
        state: dict[int, dict[str, Tensor]] = {}
        for key, value in tensors.items():
            number, i, name = key.split(".")
            if int(number) == n:
                state.setdefault(int(i), {})[name] = value
        each.load_state_dict({"state": state, "param_groups": each.state_dict()["param_groups"]})


def as_json(content: object) -> bytes:
    return (json.dumps(content, indent=1, ensure_ascii=False) + "\n").encode()


def put(folder: str | Path, files: Mapping[str, bytes]) -> None:
    """Write a folder with these files whole or not at all; the one before it stays, as `.old`.

    At every moment one of `.new`, the folder and `.old` is whole: that is what `intact` finds.
    """
    folder, new, old = Path(folder), beside(folder, ".new"), beside(folder, ".old")
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(parents=True)
    sums = {name: hashlib.sha256(data).hexdigest() for name, data in files.items()}
    try:
        for name, data in {**files, SUMS: as_json(sums)}.items():
            write(new / name, data)
        sync(new)
        if wrong := damage(new):
            raise OSError(f"{new} does not read as it was written: {wrong}")
    except OSError:
        shutil.rmtree(new, ignore_errors=True)      # it takes room that something else may need
        raise
    if folder.exists():
        shutil.rmtree(old, ignore_errors=True)
        folder.rename(old)
    new.rename(folder)
    sync(folder.parent)


def write(file: Path, data: bytes) -> None:
    """Write a file, and return when the disk has it."""
    with open(file, "wb") as out:
        out.write(data)
        out.flush()
        os.fsync(out.fileno())


def sync(folder: Path) -> None:
    """Return when the disk has the names in a folder (where the system can tell)."""
    if os.name == "posix":
        handle = os.open(folder, os.O_RDONLY)
        os.fsync(handle)
        os.close(handle)


def beside(folder: str | Path, ending: str) -> Path:
    return Path(folder).with_name(Path(folder).name + ending)


def places(folder: Path) -> list[Path]:
    """Where a kept folder may be after a bad day: in its place, about to be put there, or the one before."""
    return [place for place in (folder, beside(folder, ".new"), beside(folder, ".old")) if place.is_dir()]


def damage(folder: Path) -> str:
    """What is wrong with the files of a folder, or nothing; one without checksums is believed."""
    try:
        sums = json.loads((folder / SUMS).read_bytes())
        changed = [name for name, known in sums.items()
                   if hashlib.sha256((folder / name).read_bytes()).hexdigest() != known]
    except FileNotFoundError as missing:
        is_sums = Path(missing.filename).name == SUMS
        return "" if is_sums and folder.suffix != ".new" else f"{Path(missing.filename).name} is not there"
    except (ValueError, AttributeError):
        return f"{SUMS} is damaged"
    return f"{', '.join(changed)} changed since it was written" if changed else ""


def intact(folder: str | Path) -> Path:
    """The newest whole one of a folder and the one before it; a damaged one is named.

    Raises: FileNotFoundError if there is none; ValueError if all are damaged.
    """
    folder, wrong = Path(folder), []
    for place in places(folder):
        if not (found := damage(place)):
            if wrong:
                print(f"{'; '.join(wrong)}: going by {place.name}", file=sys.stderr)
            return place
        if place.suffix != ".new":                  # one that was not finished is nobody's loss
            wrong.append(f"{place}: {found}")
    if wrong:
        raise ValueError(f"nothing whole is left: {'; '.join(wrong)}")
    raise FileNotFoundError(f"nothing is kept in {folder}")
