"""What a run tells: a line of JSON in history.jsonl, a line on the screen, and Weights & Biases.

On a terminal and in a notebook one line is written over and over, with a bar; into a pipe or a file goes a
plain line now and then. Only `time.monotonic` is asked, so that a clock that is set back does no harm.
"""
import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

HISTORY, SAMPLES = "history.jsonl", "samples.txt"
REDRAW, PLAIN = 0.2, 30.0       # seconds between two states of the bar, between two plain lines


class Log:
    """The files and the screen of one run, from the step at which it begins or goes on."""

    def __init__(self, folder: Path, step: int, steps: int, wandb: str = "off"):
        self.folder, self.steps = folder, steps
        self.wandb = tried(lambda: begin_wandb(folder, wandb)) if wandb != "off" else None
        notebook = type(sys.stdout).__module__.startswith("ipykernel")     # which shows errors in red
        self.screen = sys.stdout if notebook else sys.stderr
        self.alive = notebook or self.screen.isatty()
        self.began = self.shown = time.monotonic()
        self.first, self.tokens, self.width = step, 0, 0

    def progress(self, step: int, loss: float, tokens: int) -> None:
        """After a step: its loss in nats per token and the tokens it read, if it is time to show them.

        A bar is also drawn when it is full.
        """
        self.tokens += tokens
        now = time.monotonic()
        if now - self.shown >= (REDRAW if self.alive else PLAIN) or (self.alive and step == self.steps):
            self.shown = now
            self.show(self.line(step, loss))

    def line(self, step: int, loss: float) -> str:
        """How far, how good, how fast, how long still."""
        seconds = max(time.monotonic() - self.began, 1e-9)
        left = seconds / max(step - self.first, 1) * (self.steps - step)
        bar = f"{'█' * (20 * step // self.steps):·<20}  " if self.alive else ""
        return (f"{bar}step {step:,}/{self.steps:,}  loss {loss:.4f}  {self.rate():,.0f} tokens/s  "
                f"{int(left) // 60}:{int(left) % 60:02d} left")

    def rate(self) -> float:
        """Tokens per second since this session began."""
        return self.tokens / max(time.monotonic() - self.began, 1e-9)

    def show(self, line: str) -> None:
        start, end = ("\r", "") if self.alive else ("", "\n")
        print(f"{start}{line:<{self.width}}", end=end, file=self.screen, flush=True)
        self.width = len(line) if self.alive else 0

    def say(self, line: str) -> None:
        """A line that stays."""
        if self.width:
            print(f"\r{' ' * self.width}\r", end="", file=self.screen, flush=True)
            self.width = 0
        print(line, flush=True)

    def write(self, file: str, text: str) -> None:
        """Append to a file of the run."""
        with open(self.folder / file, "a", encoding="utf-8") as out:
            out.write(text)

    def record(self, **found: object) -> None:
        """A line of history, there and in Weights & Biases."""
        self.write(HISTORY, json.dumps(found) + "\n")
        if self.wandb:
            self.wandb = tried(lambda: self.wandb.log(found, step=found["step"]) or self.wandb)

    def close(self) -> None:
        if self.wandb:
            tried(self.wandb.finish)
        if self.width:
            print(file=self.screen)


def sizes(folder: Path) -> dict[str, int]:
    """Bytes of the files that grow, safely on the disk: a run that goes on cuts them back to this."""
    found = {}
    for file in (HISTORY, SAMPLES):
        with open(folder / file, "ab") as out:
            os.fsync(out.fileno())
            found[file] = out.tell()
    return found


def cut_back(folder: Path, sizes: dict[str, int]) -> None:
    """Take away what was written after the checkpoint from which a run goes on."""
    for file, size in sizes.items():
        if (folder / file).is_file() and (folder / file).stat().st_size > size:
            os.truncate(folder / file, size)


def history(folder: str | Path) -> list[dict]:
    """The lines of a run's history, in order."""
    file = Path(folder) / HISTORY
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


def begin_wandb(folder: Path, mode: str) -> object | None:
    """A run of Weights & Biases, which asks nothing; None where it is not installed.

    Without an account known to this machine "online" is offline too: `wandb sync` can send it later.
    """
    try:
        import wandb
    except ImportError:
        return None
    if mode == "online" and not has_account(wandb):
        print("Weights & Biases knows no account here (wandb login): kept offline", file=sys.stderr)
        mode = "offline"
    return wandb.init(project="lmcore", name=folder.name, dir=str(folder), mode=mode,
                      config=json.loads((folder / "config.json").read_text(encoding="utf-8")),
                      settings=wandb.Settings(silent=True, console="off", init_timeout=20))


def has_account(wandb: ModuleType) -> bool:
    """Whether this machine knows an account of Weights & Biases; nobody is asked for one."""
    try:
        return bool(wandb.login(prompt=False))
    except TypeError:               # versions that cannot be told not to ask
        return bool(wandb.api.api_key)


def tried(call: Callable[[], object]) -> object | None:
    """What comes of it; if it fails, one line says so, and the run goes on without."""
    try:
        return call()
    except Exception as error:      # whatever another program's trouble is, it is none of the run's
        print(f"Weights & Biases is left out from here on: {str(error)[:200]!r}", file=sys.stderr)
        return None
