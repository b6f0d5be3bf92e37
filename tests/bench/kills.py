"""A hundred kills at random moments of the clock: a run killed time and again ends as if it had not been.

    pytest tests/bench/kills.py -s

Runs take turns at a plain step, accumulation, bfloat16 and Muon. A run goes on in a new child each time, and
is ended with SIGKILL after a random part of half the time that a whole run takes.
"""
import contextlib
import io
import itertools
import os
import random
import signal
import time
from dataclasses import replace
from pathlib import Path

import torch
from small_run import CONFIG, PARTS, TOK, model, what_is_left

import lmcore as lm

KILLS = 100
KINDS = ({}, {"accumulate": 2}, {"precision": "bfloat16"}, {"optimiser": "muon"})


def started(work) -> int:
    """The process that does it, in silence."""
    if not (child := os.fork()):
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
        os.dup2(1, 2)
        code = 1
        try:
            work()
            code = 0
        finally:
            os._exit(code)
    return child


def lived(child: int, seconds: float) -> bool:
    """Whether it ended before it was killed, after so many seconds."""
    time.sleep(seconds)
    os.kill(child, signal.SIGKILL)
    status = os.waitpid(child, 0)[1]
    assert status in (0, signal.SIGKILL), f"it failed: {status}"
    return status == 0


def test_a_hundred_kills_change_nothing(tmp_path: Path):
    torch.set_num_threads(1)
    chance, kills, runs = random.Random(0), 0, 0
    for number, kind in enumerate(itertools.cycle(KINDS)):
        config = replace(CONFIG, steps=30, **kind)
        whole, run = tmp_path / f"whole{number}", tmp_path / f"run{number}"
        began = time.monotonic()
        with contextlib.redirect_stdout(io.StringIO()):
            assert lm.fit(model(), PARTS, TOK, config, whole).ended == "done"
            seconds = time.monotonic() - began
            lm.fit(model(), PARTS, TOK, config, run, until=1)
        while not lived(started(lambda run=run: lm.resume(run, PARTS)), chance.uniform(0, seconds / 2)):
            kills += 1
        assert what_is_left(run) == what_is_left(whole)
        runs += 1
        if kills >= KILLS:
            break
    print(f"\n{kills} kills in {runs} runs of 30 steps: every run ended bit for bit as it would have")
