"""What a run asks of the machine: device and precision, a folder to itself, word of a wish to stop."""
import errno
import os
import signal
import threading
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import torch
from torch import Tensor

from lmcore.config import GPTConfig, TrainConfig
from lmcore.generate import evaluating
from lmcore.gpt import GPT

if TYPE_CHECKING:
    from lmcore.parallel import Parallel

try:
    import fcntl
except ImportError:     # Windows has none: there, nobody watches over two runs in one folder
    fcntl = None

LOCK = "lock"
WIDE = 256      # channels from which bfloat16 pays on a CPU that has units for it


def choose(config: TrainConfig, model: GPTConfig) -> tuple[str, str, str]:
    """Device and precision of a run, and the reason: the one place where this is decided.

    Units in CPUs for bfloat16 pay for wide matrices, in a compiled step for narrow ones too; without such
    units bfloat16 is many times slower.

    Raises: ValueError if the machine has not what is asked for.
    """
    there = {"cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available(), "cpu": True}
    device = next(name for name in there if there[name]) if config.device == "auto" else config.device
    if not there.get(device.split(":")[0]):
        raise ValueError(f"no device {device!r} here; there is {', '.join(filter(there.get, there))}")
    if config.precision != "auto":
        return device, config.precision, "as asked"
    if device.startswith("cuda"):
        able = torch.cuda.is_bf16_supported(including_emulation=False)
        return device, *(("bfloat16", "this GPU has units for it") if able else
                         ("float32", "this GPU has no units for bfloat16"))
    if device != "cpu":
        return device, "float32", "the safe one on this device"
    if not has_bfloat16_units():
        return device, "float32", "this CPU has no matrix units for bfloat16"
    if model.n_embd < WIDE and not config.compile:
        return device, "float32", f"{model.n_embd} channels are too few for this CPU's bfloat16 units to pay"
    return device, "bfloat16", "this CPU has matrix units for it"


def moved(model: GPT, device: torch.device, X: Tensor, Y: Tensor) -> GPT:
    """The model on its device, which must find the loss that the CPU finds: some do not, and say nothing.

    Shapes: X (B, T), Y (B, T)
    Raises: ValueError if the two differ by more than rounding.
    """
    if device.type == "cpu":
        return model.to(device)
    found = []
    for place in ("cpu", device):
        model = model.to(place)
        with evaluating(model):
            found.append(model.loss(X[:1].to(place), Y[:1].to(place)).item())
    if not abs(found[0] - found[1]) <= 0.01:
        raise ValueError(f"{device} finds a loss of {found[1]:.4f} where the CPU finds {found[0]:.4f}; "
                         "device='cpu' is to be trusted")
    return model


def has_bfloat16_units() -> bool:
    """Whether this CPU multiplies matrices of bfloat16 in hardware (Intel's AMX)."""
    return bool(getattr(torch.cpu, "get_capabilities", dict)().get("amx_bf16"))


def refusal(error: Exception, config: TrainConfig) -> str:
    """What the machine refused, in words that say what to change; nothing if the error is none of its."""
    first, _, _ = str(error).strip().partition("\n")
    if isinstance(error, OSError):
        where = f": {error.filename}" if error.filename else ""
        return f"{error.strerror or error}{where}; make room, or mend it, then go on"
    if config.compile and type(error).__module__.startswith(("torch._dynamo", "torch._inductor")):
        return f"the step cannot be compiled here ({first}): compile=False does without"
    if isinstance(error, MemoryError) or "memory" in first:
        k = config.accumulate
        parts = f" in {k} parts" if k > 1 else ""
        return (f"out of memory with {config.batch_size} rows{parts}: accumulate={2 * k} gives the same "
                "result with half of it, checkpointing=True takes less too")
    return ""


def together(folder: Path) -> AbstractContextManager[Path]:
    """The job that `torchrun` started, whose first process alone keeps things in the folder, if it did."""
    if "RANK" not in os.environ:
        return nullcontext(folder)
    from lmcore.parallel import team  # takes a second to import
    return team(folder)


def job(model: GPT, config: TrainConfig) -> "Parallel | None":
    """The model dealt out to the processes of the job, if this is one."""
    if "RANK" not in os.environ:
        return None
    from lmcore.parallel import Parallel
    return Parallel(model, config.parallel, config.tensor)


@contextmanager
def alone_in(folder: Path) -> Iterator[None]:
    """Hold a folder for one run; the system lets go of it when the process ends, however it ends.

    Raises: ValueError if another run holds it, or nothing can be written there.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        held = open(folder / LOCK, "a+")
    except OSError as error:
        raise ValueError(f"cannot write in {folder}: {error.strerror}; name another folder") from None
    with held:
        try:
            if fcntl:
                fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            held.seek(0)
            if error.errno in (errno.EAGAIN, errno.EACCES):     # else this disk knows no locks
                raise ValueError(f"another run, process {held.read().strip() or 'unknown'}, is at work in "
                                 f"{folder}: end it, or name another folder") from None
        held.truncate(0)
        held.write(f"{os.getpid()}\n")
        held.flush()
        yield


@contextmanager
def signals() -> Iterator[list[str]]:
    """A list that gets the name of SIGINT or SIGTERM, so that a step is never cut in half; twice is at once.

    Only the main thread hears signals; in another one the list stays empty.
    """
    asked: list[str] = []

    def hear(number: int, frame: object) -> None:
        asked.append(signal.Signals(number).name)
        signal.signal(number, before[number])

    heard = (signal.SIGINT, signal.SIGTERM) if threading.current_thread() is threading.main_thread() else ()
    before = {number: signal.signal(number, hear) for number in heard}
    try:
        yield asked
    finally:
        for number in heard:
            signal.signal(number, before[number])
