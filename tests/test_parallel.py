"""Many processes train the model that one process trains, and go on for one another."""
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from small_run import CONFIG, DOCS, PARTS, TOK, model

import lmcore as lm
from lmcore.cli import main

ROOT = Path(__file__).resolve().parents[1]
WORKER, SCRIPTS = str(ROOT / "tests/worker.py"), Path(sys.executable).parent
PLAIN = {"n_head": 4, "ffn_bias": True}
RICH = {"n_head": 4, "n_kv_head": 2, "ffn": "swiglu", "expansion": 1.5, "norm": "rmsnorm", "position": "rope",
        "qk_norm": True, "tied": False}
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def work(ranks: int, folder: Path, **plans: dict) -> dict:
    """Run plans on so many processes, 20 steps each; gives what each has kept, by its name."""
    fork(ranks, [{"model": PLAIN, "engine": {}, "steps": 20, **plan, "keep": str(folder / name)}
                 for name, plan in plans.items()])
    return {name: folder / name for name in plans}


def fork(ranks: int, todo: list[dict]) -> None:
    done = subprocess.run([sys.executable, WORKER, str(ranks), json.dumps(todo)], capture_output=True,
                          text=True, env=ENV, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]


def kept(file: Path) -> dict:
    return torch.load(file, weights_only=True)


def check_same(file: Path, alone: Path) -> None:
    found, wanted = kept(file), kept(alone)
    assert len(found["losses"]) == 20
    torch.testing.assert_close(found["losses"], wanted["losses"], rtol=0, atol=1e-5)
    torch.testing.assert_close(found["model"], wanted["model"], rtol=0, atol=1e-4)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("jobs")


@pytest.fixture(scope="module")
def one(folder):
    return work(1, folder, one={}, one_rich={"model": RICH, "muon": True})


@pytest.fixture(scope="module")
def two(folder):
    rich = {"model": RICH, "muon": True}
    return work(2, folder, ddp={"engine": {"how": "ddp"}}, fsdp={}, tensor={"engine": {"tensor": 2}},
                rich_tensor={**rich, "engine": {"tensor": 2}}, half={"steps": 10},
                odd_heads={"model": {"n_head": 1}, "engine": {"tensor": 2}},
                odd_ranks={"engine": {"tensor": 4}}, copies={"engine": {"how": "ddp", "tensor": 2}})


@pytest.fixture(scope="module")
def four(folder, two):
    on = {"resume": str(two["half"])}
    return work(4, folder, ddp4={"engine": {"how": "ddp"}}, square={"engine": {"tensor": 2}},
                on_tensor={**on, "engine": {"tensor": 4}})


@pytest.fixture(scope="module")
def killed(folder):
    """A run of `lm.fit` by two processes, of which one was killed after 7 of 12 steps; what torchrun said."""
    plan = {"folder": str(folder / "killed"), "die": 7}
    return folder / "killed", subprocess.run(
        [SCRIPTS / "torchrun", "--standalone", "--nproc-per-node=2", WORKER, json.dumps(plan)],
        capture_output=True, text=True, env=ENV, timeout=120)


@pytest.fixture(scope="module")
def undisturbed(folder):
    lm.fit(model(dropout=0.0), PARTS, TOK, CONFIG, folder / "undisturbed")
    return folder / "undisturbed"


def check_same_run(found: Path, wanted: Path) -> None:
    ours, theirs = ([{k: v for k, v in line.items() if k != "tokens_per_second"}
                     for line in lm.log.history(run)] for run in (found, wanted))
    assert [list(line) for line in ours] == [list(line) for line in theirs]
    for line, other in zip(ours, theirs):
        assert line == pytest.approx(other, rel=1e-5)
    assert (found / "samples.txt").read_text() == (wanted / "samples.txt").read_text()


def test_the_model_learns(one):
    for name in ("one", "one_rich"):
        losses = kept(one[name])["losses"]
        assert losses[0] > 2.2 and losses[-1] < 1.2


@pytest.mark.parametrize("name", ["ddp", "fsdp", "tensor"])
def test_two_processes_train_as_one(name, one, two):
    check_same(two[name], one["one"])


def test_grouped_queries_gates_and_muon_too(one, two):
    check_same(two["rich_tensor"], one["one_rich"])


@pytest.mark.parametrize("name", ["ddp4", "square"])
def test_four_processes_train_as_one(name, one, four):
    check_same(four[name], one["one"])


def test_four_processes_go_on_where_two_stopped(one, four):
    check_same(four["on_tensor"], one["one"])


def test_a_killed_process_ends_the_job_with_a_line(killed):
    run, said = killed
    assert said.returncode == 1
    assert "rank 0 of 2: another process of this job has ended; start it again, on any number" in said.stderr
    assert said.stdout.count("step 4: validation") == 1             # the first rank alone speaks
    assert json.loads((run / "ckpt_last/progress.json").read_text())["step"] == 6


@pytest.mark.parametrize("ranks, changes", [(1, {}), (4, {"tensor": 2})])
def test_another_number_of_processes_ends_the_run_as_if_it_had_not_been_killed(ranks, changes, killed,
                                                                             undisturbed, tmp_path):
    shutil.copytree(killed[0], tmp_path / "run")
    if ranks == 1:
        lm.resume(tmp_path / "run", PARTS)
    else:
        fork(ranks, [{"folder": str(tmp_path / "run"), "resume": True, **changes}])
    check_same_run(tmp_path / "run", undisturbed)


def test_the_command_goes_on_under_torchrun_with_what_it_began_alone(tmp_path):
    (tmp_path / "book.txt").write_text("\n".join(DOCS))
    lmcore, torchrun = str(SCRIPTS / "lmcore"), [SCRIPTS / "torchrun", "--standalone", "--nproc-per-node=2"]
    begin = [lmcore, "train", "book.txt", "--preset", "day21", "--out", "run", "--steps"]
    on = [*torchrun, "--no-python", lmcore, "train", "--resume", "run", "--steps"]
    for command in ([*begin, "1"], [*on, "3"]):
        said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=ENV, timeout=120)
        assert said.returncode == 0, said.stderr[-3000:]
        assert said.stdout.count("best ") == 1


def test_the_command_begins_nothing_under_torchrun(monkeypatch, capsys):
    monkeypatch.setenv("RANK", "0")
    assert main(["train", "book.txt"]) == 2
    assert "torchrun goes on with what one process began" in capsys.readouterr().err


@pytest.mark.parametrize("name, said", [
    ("odd_heads", "1 heads cannot be shared equally by 2 ranks; tensor=1 always works"),
    ("odd_ranks", "2 ranks cannot be shared equally by 4 ranks"), ("copies", 'give how="fsdp" with tensor')])
def test_what_cannot_be_shared_is_refused(name, said, two):
    assert said in two[name].read_text(encoding="utf-8")
