"""What a run tells is right, on a terminal, in a pipe, and in Weights & Biases, which can do no harm."""
import os
import pty
import re
import sys
from dataclasses import replace

import pytest
import torch
from small_run import CONFIG, PARTS, TOK, forked, model, what_is_left

import lmcore as lm
from lmcore.log import Log, cut_back, history, sizes


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def on_a_terminal(work) -> str:
    """What someone at a terminal sees, who can type nothing."""
    child, screen = pty.fork()
    if not child:
        try:
            sys.stdout, sys.stderr = open(1, "w", closefd=False), open(2, "w", closefd=False)
            work()
        finally:
            sys.stdout.flush()
            os._exit(0)
    said = b""
    while True:
        try:
            said += os.read(screen, 1 << 16)
        except OSError:             # the other end is closed
            break
    os.waitpid(child, 0)
    return said.decode()


def test_on_a_terminal_one_line_tells_loss_rate_and_what_is_left(tmp_path, monkeypatch):
    monkeypatch.setattr("lmcore.log.REDRAW", 0.0)       # however fast the machine is
    config = replace(CONFIG, steps=160, eval_every=80, save_every=None)
    said = on_a_terminal(lambda: lm.fit(model(), PARTS, TOK, config, tmp_path))
    shown = re.findall(r"\r(█*·*)  step (\d+)/160  loss (\d\.\d{4})  [\d,]+ tokens/s  \d+:\d\d left", said)
    assert len(shown) > 1
    assert all(len(bar) == 20 and bar.count("█") == 20 * int(step) // 160 for bar, step, *_ in shown)
    losses = [line["loss"] for line in history(tmp_path) if "loss" in line]
    assert min(losses) - 1 < float(shown[-1][2]) < max(losses) + 1
    assert [int(step) for _, step, *_ in shown] == sorted(int(step) for _, step, *_ in shown)


def test_a_bar_is_full_at_the_end(tmp_path, monkeypatch):
    monkeypatch.setattr("lmcore.log.REDRAW", 1e9)       # never on the way
    said = on_a_terminal(lambda: lm.fit(model(), PARTS, TOK, replace(CONFIG, steps=3), tmp_path))
    assert re.findall(r"\r(█*·*)  step", said) == ["█" * 20]


def test_the_rate_is_tokens_by_seconds_of_this_session(tmp_path):
    log = Log(tmp_path, 50, 100)
    log.began -= 10
    log.tokens = 5_000
    assert log.rate() == pytest.approx(500, rel=0.01)
    assert "step 75/100" in log.line(75, 1.0) and log.line(75, 1.0).endswith("0:10 left")


def test_a_file_is_cut_back_to_what_it_was(tmp_path):
    log = Log(tmp_path, 0, 10)
    log.record(step=1, loss=2.0)
    known = sizes(tmp_path)
    log.record(step=2, loss=1.0)
    assert [line["step"] for line in history(tmp_path)] == [1, 2]
    cut_back(tmp_path, known)
    assert history(tmp_path) == [{"step": 1, "loss": 2.0}]


def test_offline_is_a_folder_and_changes_nothing(tmp_path):
    pytest.importorskip("wandb")
    lm.fit(model(), PARTS, TOK, CONFIG, tmp_path / "without")
    config = replace(CONFIG, wandb="offline")
    ended, said = forked(lambda: lm.fit(model(), PARTS, TOK, config, tmp_path / "with"))
    assert ended == 0 and list((tmp_path / "with/wandb").glob("offline-run-*/*.wandb")), said
    assert what_is_left(tmp_path / "with") == what_is_left(tmp_path / "without")


def test_online_without_an_account_asks_nothing_and_is_offline(tmp_path):
    pytest.importorskip("wandb")

    def work():
        os.environ.pop("WANDB_API_KEY", None)
        os.environ["HOME"] = os.environ["NETRC"] = str(tmp_path)
        lm.fit(model(), PARTS, TOK, replace(CONFIG, wandb="online"), tmp_path / "run")

    said = on_a_terminal(work)
    assert "knows no account here" in said and "step 12: validation" in said
    assert list((tmp_path / "run/wandb").glob("offline-run-*"))


class Broken:
    """A Weights & Biases in which everything fails."""

    def __getattr__(self, name):
        raise OSError(f"no {name} today")


@pytest.mark.parametrize("wandb", [None, Broken()], ids=["absent", "broken"])
def test_a_run_needs_no_wandb(tmp_path, monkeypatch, wandb, capsys):
    monkeypatch.setitem(sys.modules, "wandb", wandb)
    assert lm.fit(model(), PARTS, TOK, replace(CONFIG, wandb="offline"), tmp_path).ended == "done"
    assert ("left out from here on" in capsys.readouterr().err) == (wandb is not None)
