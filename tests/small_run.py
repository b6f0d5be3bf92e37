"""A run that takes a second, and ways to put it through a bad day, in a process forked from here."""
import os
import resource
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

import lmcore as lm

DOCS = [f"{a} {b} {c}." for a in ("a cat", "a hen", "the dog", "an ox") for b in ("sang", "ran", "saw")
        for c in ("home", "a tree", "by night", "for us", "and fell")]
PARTS = {"train": DOCS[:50], "val": DOCS[50:]}
TOK = lm.CharTokenizer.train(DOCS)
CONFIG = lm.TrainConfig(steps=12, batch_size=4, eval_every=4, save_every=2, log_every=3, wandb="off",
                        prompt="a")


def model(**changes: object) -> lm.GPT:
    torch.manual_seed(0)
    sizes = {"vocab_size": TOK.vocab_size, "block_size": 24, "n_embd": 16, "n_layer": 1, "n_head": 2}
    return lm.GPT(lm.GPTConfig(**{**sizes, "dropout": 0.1, **changes}))


def what_is_left(folder: Path) -> tuple:
    """All that two equal runs share: weights and memory to the bit, history but for its times, samples."""
    lines = [{k: v for k, v in line.items() if k != "tokens_per_second"} for line in lm.log.history(folder)]
    kept = [(folder / part / file).read_bytes() for part in ("ckpt_last", "ckpt_best")
            for file in ("model.safetensors", "optimiser.safetensors") if (folder / part / file).exists()]
    return lines, (folder / "samples.txt").read_text(), kept


def forked(work: Callable[[], object]) -> tuple[int, str]:
    """Do it in a child; the signal that ended it (0 if none) and all that it printed, errors as one line."""
    out, into = os.pipe()
    if not (child := os.fork()):
        os.dup2(into, 1)
        os.dup2(into, 2)
        sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
        try:
            work()
        except (ValueError, lm.train.Stopped) as error:
            print(f"{type(error).__name__}: {error}")
        except BaseException:
            traceback.print_exc()
        sys.stdout.flush()
        os._exit(0)
    os.close(into)
    with open(out, encoding="utf-8") as said:
        text = said.read()
    return os.waitpid(child, 0)[1] & 0x7F, text


def watch(kind: str, last: int = 0) -> list[int]:
    """Count from now on calls of functions, or operations on files; at the last, end with no farewell."""
    count, files = [0], ("open", "os.", "shutil.")

    def hear() -> None:
        count[0] += 1
        if count[0] == last:
            os.kill(os.getpid(), signal.SIGKILL)

    if kind == "calls":
        sys.setprofile(lambda frame, what, arg: hear() if what == "call" else None)
    else:
        sys.addaudithook(lambda name, args: hear() if name.startswith(files) else None)
    return count


def no_file_above(size: int) -> None:
    """Let the system refuse to make any file longer than this."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))
