"""A training step of our GPT against its peers': one shape, one batch, all in turns in one run.

    make bench                        what is not installed is left out, and said
    NANOGPT=folder make bench         with a checkout of nanoGPT, which is no part of this project

A step is zero_grad, the loss, backward and AdamW. Ours and the GPT-2 of transformers work in float32 and, on
a CPU with matrix units for it, under bfloat16 autocast too, where weights stay float32, as `lm.fit` chooses
there. nanoGPT as it comes works in float32 on every CPU. Other work on the machine disturbs: samples in which
it used more than a tenth of a core are left out where three or more are left, and the quiet ones are counted.
"""
import contextlib
import ctypes
import importlib.util
import io
import math
import os
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import lmcore as lm  # before torch, because it says how threads wait

# isort: split
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from lmcore.machine import has_bfloat16_units

CORES, REPEATS = len(os.sched_getaffinity(0)), int(os.environ.get("REPEATS", 7))
PRESET = lm.preset("19m", dropout=0.0)      # wider in the feed-forward than what nanoGPT can build
UNITS = has_bfloat16_units()
WAYS = [("", False, False), (", bfloat16", False, True), (", compiled, bfloat16", True, True)] if UNITS else [
    ("", False, False), (", compiled", True, False)]
Step = Callable[[], None]


@dataclass(frozen=True)
class Shape:
    """What all models are built to."""
    n_layer: int
    n_head: int
    n_embd: int
    block_size: int
    batch: int
    vocab_size: int
    steps: int              # in one measurement
    target: float           # tokens a second against nanoGPT as it comes

    def flops(self, expansion: float = 4) -> float:
        """Of a step: six for each token and weight of a matrix, and attention to half of the places."""
        weights = self.n_layer * (4 + 2 * expansion) * self.n_embd**2 + self.vocab_size * self.n_embd
        return self.tokens * 6 * (weights + self.n_layer * self.block_size * self.n_embd)

    @property
    def tokens(self) -> int:
        """In a batch."""
        return self.batch * self.block_size


SHAPES = {"Shakespeare by letters": Shape(4, 4, 128, 64, 12, 65, steps=20, target=1.5),
          "Shakespeare, a larger one": Shape(6, 6, 384, 256, 16, 65, steps=1, target=1.05),
          "the shape of 19m that all can build": Shape(7, 6, 384, 512, 4, 8192, steps=1, target=1.1)}


def step(model: nn.Module, loss: Callable[[], Tensor], half: bool = False, optimiser: object = None) -> Step:
    """One step of training as a function to call."""
    optimiser = optimiser or torch.optim.AdamW(model.parameters(), lr=1e-4, fused=True)

    def run() -> None:
        optimiser.zero_grad()
        with torch.autocast("cpu", torch.bfloat16, enabled=half):
            found = loss()
        found.backward()
        optimiser.step()
    return run


def ours(config: lm.GPTConfig, x: Tensor, y: Tensor, compiled: bool, half: bool) -> Step:
    model = lm.GPT(config)
    loss = torch.compile(model.loss) if compiled else model.loss
    return step(model, lambda: loss(x, y), half)


def theirs(s: Shape, x: Tensor, compiled: bool, half: bool) -> Step:
    """A plain GPT-2 of transformers."""
    from transformers import GPT2Config, GPT2LMHeadModel
    model = GPT2LMHeadModel(GPT2Config(
        vocab_size=s.vocab_size, n_positions=s.block_size, n_embd=s.n_embd, n_layer=s.n_layer,
        n_head=s.n_head, resid_pdrop=0, embd_pdrop=0, attn_pdrop=0, bos_token_id=0, eos_token_id=0,
        use_cache=False)).train()
    called = torch.compile(model) if compiled else model
    return step(model, lambda: called(x, labels=x).loss, half)


def nanogpt_model(folder: Path, block_size: int, vocab_size: int, n_layer: int, n_head: int,
                  n_embd: int) -> nn.Module:
    """The model in a checkout of nanoGPT."""
    spec = importlib.util.spec_from_file_location("nanogpt_model", folder / "model.py")
    module = sys.modules["nanogpt_model"] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module.GPT(module.GPTConfig(
        block_size, vocab_size, n_layer, n_head, n_embd, dropout=0.0, bias=False))


def nanogpt(folder: Path, s: Shape, x: Tensor, y: Tensor) -> Step:
    """nanoGPT as it comes, with the optimiser that it chooses itself."""
    with contextlib.redirect_stdout(io.StringIO()):
        model = nanogpt_model(folder, s.block_size, s.vocab_size, s.n_layer, s.n_head, s.n_embd)
        optimiser = model.configure_optimizers(0.1, 1e-4, (0.9, 0.95), "cpu")
    return step(model, lambda: model(x, y)[1], optimiser=optimiser)


def contestants(s: Shape) -> tuple[dict[str, Step], list[str]]:
    """The steps to measure by name, and what is left out."""
    x, y = torch.randint(s.vocab_size, (2, s.batch, s.block_size))
    config = lm.GPTConfig(vocab_size=s.vocab_size, block_size=s.block_size, n_embd=s.n_embd,
                          n_layer=s.n_layer, n_head=s.n_head)
    found, missing = {}, []
    if s.vocab_size == PRESET.vocab_size:
        found["ours, preset 19m"] = ours(PRESET, x, y, compiled=True, half=UNITS)
    for name, compiled, half in WAYS:
        found[f"ours{name}"] = ours(config, x, y, compiled, half)
        if importlib.util.find_spec("transformers"):
            found[f"transformers{name}"] = theirs(s, x, compiled, half)
    if folder := os.environ.get("NANOGPT"):
        found["nanoGPT as it comes"] = nanogpt(Path(folder), s, x, y)
    else:
        missing.append("nanoGPT: NANOGPT names no checkout")
    if "transformers" not in found:
        missing.append("transformers: not installed")
    return found, missing


def warm(steps: dict[str, Step]) -> tuple[dict[str, float], list[str]]:
    """Seconds of the first two steps of each, in which the compiler works; what fails is taken out."""
    seconds, failed = {}, []
    for name in list(steps):
        start = time.perf_counter()
        try:
            steps[name](), steps[name]()
            seconds[name] = time.perf_counter() - start
        except Exception as error:      # no compiler here, or one that does not know this Python
            failed.append(f"{name}: {str(error).splitlines()[0]}")
            del steps[name]
    return seconds, failed


def clock() -> tuple[float, float]:
    """Seconds by the clock, and core seconds that other programs have used."""
    if not os.path.exists("/proc/stat"):
        return time.perf_counter(), 0.0
    user, nice, system, *_ = map(int, Path("/proc/stat").read_text().split()[1:4])
    used = (user + nice + system) / os.sysconf("SC_CLK_TCK")
    return time.perf_counter(), used - time.process_time()


def matmul(n: int = 2048) -> Step:
    a, b = torch.randn(2, n, n)
    return lambda: F.linear(a, b)


def take_turns(steps: dict[str, Step], times: dict[str, int]) -> tuple[dict[str, float], dict[str, int]]:
    """Median milliseconds of each step over its undisturbed samples, or over all if few are; how many are."""
    found = {name: [] for name in steps}
    for _ in range(REPEATS):
        for name, run in steps.items():
            start, others = clock()
            for _ in range(times[name]):
                run()
            end, after = clock()
            found[name].append((after - others > 0.1 * (end - start), (end - start) / times[name] * 1e3))
    quiet = {name: [ms for disturbed, ms in all_ if not disturbed] for name, all_ in found.items()}
    kept = {name: ms if len(ms) >= 3 else [ms for _, ms in found[name]] for name, ms in quiet.items()}
    return {n: statistics.median(ms) for n, ms in kept.items()}, {n: len(ms) for n, ms in quiet.items()}


def megabytes(run: Step) -> float:
    """What one step holds at most on top of weights and optimiser; nan where the system does not tell."""
    try:
        ctypes.CDLL(None).malloc_trim(0)                                # give back what is free
        Path("/proc/self/clear_refs").write_text("5")                   # the peak starts from here
        before = status("VmRSS")
        run()
        return (status("VmHWM") - before) / 1024
    except (OSError, AttributeError):
        return float("nan")


def status(field: str) -> int:
    """A line of this process's status, in kilobytes."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(field))


@pytest.mark.parametrize("title", SHAPES)
def test_a_step_of_training(title):
    torch.manual_seed(0)
    torch.set_num_threads(CORES)
    s = SHAPES[title]
    steps, missing = contestants(s)
    first, failed = warm(steps)
    memory = {name: megabytes(run) for name, run in steps.items()}
    times = dict.fromkeys(steps, s.steps) | {"matmul": 3}
    ms, quiet = take_turns({**steps, "matmul": matmul()}, times)
    peak = 2 * 2048**3 / ms["matmul"] * 1e3
    print(f"\n\n{title}: {s.n_layer} layers, {s.n_head} heads, {s.n_embd} wide, context {s.block_size}, "
          f"batch {s.batch}, {s.vocab_size} tokens; {CORES} threads, matmul peak in float32 "
          f"{peak / 1e9:.0f} GFLOP/s")
    print(f"{'':36}{'ms a step':>10}{'tokens/s':>10}{'nanoGPT':>9}{'of peak':>9}{'MB a step':>11}"
          f"{'start, s':>10}{'quiet':>8}")
    nano = "nanoGPT as it comes"
    for name in steps:
        ratio = ms.get(nano, math.nan) / ms[name]
        flops = s.flops(PRESET.expansion if "preset" in name else 4)
        print(f"{name:36}{ms[name]:10.1f}{s.tokens / ms[name] * 1e3:10,.0f}{ratio:9.2f}"
              f"{flops / ms[name] * 1e3 / peak:9.0%}{memory[name]:11.0f}{first[name]:10.1f}"
              f"{quiet[name]:6}/{REPEATS}")
    for line in missing + failed:
        print(f"left out: {line}")
    best = {who: min((ms[who + way] for way, *_ in WAYS if who + way in ms), default=math.inf)
            for who in ("ours", "transformers", nano)}
    print(f"ours takes {best['ours'] / best[nano]:.2f} of nanoGPT's time (at most {1 / s.target:.2f}) and "
          f"{best['ours'] / best['transformers']:.2f} of transformers' best (at most 1)")
    assert best["ours"] * s.target <= best[nano]
    assert best["ours"] <= best["transformers"]
