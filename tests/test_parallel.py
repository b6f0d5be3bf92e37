"""Many processes train the model that one process trains, and go on for one another."""
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

ROOT = Path(__file__).resolve().parents[1]
WORKER, SCRIPTS = str(ROOT / "tests/worker.py"), Path(sys.executable).parent
PLAIN = {"n_head": 4, "ffn_bias": True}
RICH = {"n_head": 4, "n_kv_head": 2, "ffn": "swiglu", "expansion": 1.5, "norm": "rmsnorm", "position": "rope",
        "qk_norm": True, "tied": False}
ENV = {**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": ""}


def work(ranks: int, folder: Path, **plans: dict) -> dict:
    """Run plans on so many processes, 20 steps each; gives what each has kept, by its name."""
    todo = [{"model": PLAIN, "engine": {}, "steps": 20, **plan, "keep": str(folder / name)}
            for name, plan in plans.items()]
    done = subprocess.run([sys.executable, WORKER, str(ranks), json.dumps(todo)], capture_output=True,
                          text=True, env=ENV, timeout=120)
    assert done.returncode == 0, done.stderr[-3000:]
    return {name: folder / name for name in plans}


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
                rich_fsdp=rich, rich_tensor={**rich, "engine": {"tensor": 2}}, half={"steps": 10},
                odd_heads={"model": {"n_head": 1}, "engine": {"tensor": 2}},
                odd_ranks={"engine": {"tensor": 4}}, copies={"engine": {"how": "ddp", "tensor": 2}})


@pytest.fixture(scope="module")
def killed(folder):
    """What two processes had kept when one of them was killed after 13 steps, and what torchrun said."""
    plan = {"model": PLAIN, "engine": {}, "steps": 20, "keep": str(folder / "killed"), "die": 12}
    done = subprocess.run([SCRIPTS / "torchrun", "--standalone", "--nproc-per-node=2", WORKER,
                           json.dumps(plan)], capture_output=True, text=True, env=ENV, timeout=120)
    return folder / "killed", done


@pytest.fixture(scope="module")
def four(folder, two, killed):
    on = {"resume": str(killed[0])}
    return work(4, folder, ddp4={"engine": {"how": "ddp"}}, square={"engine": {"tensor": 2}}, on_fsdp=on,
                from_half={"resume": str(two["half"]), "engine": {"tensor": 4}})


def test_the_model_learns(one):
    for name in ("one", "one_rich"):
        losses = kept(one[name])["losses"]
        assert losses[0] > 2.2 and losses[-1] < 1.2


@pytest.mark.parametrize("name", ["ddp", "fsdp", "tensor"])
def test_two_processes_train_as_one(name, one, two):
    check_same(two[name], one["one"])


@pytest.mark.parametrize("name", ["rich_fsdp", "rich_tensor"])
def test_grouped_queries_gates_and_muon_too(name, one, two):
    check_same(two[name], one["one_rich"])


@pytest.mark.parametrize("name", ["ddp4", "square"])
def test_four_processes_train_as_one(name, one, four):
    check_same(four[name], one["one"])


def test_a_killed_process_ends_the_job_with_a_line(killed):
    file, done = killed
    assert done.returncode == 1
    assert "rank 0 of 2: another process of this job has ended; start it again, on any number" in done.stderr
    assert kept(file)["step"] == 10


@pytest.mark.parametrize("name", ["on_fsdp", "from_half"])
def test_four_processes_go_on_where_two_stopped(name, one, four):
    check_same(four[name], one["one"])


def test_one_process_goes_on_where_two_stopped(folder, one, killed):
    check_same(work(1, folder, alone={"resume": str(killed[0])})["alone"], one["one"])


@pytest.mark.parametrize("name, said", [
    ("odd_heads", "1 heads cannot be shared equally by 2 ranks; tensor=1 always works"),
    ("odd_ranks", "2 ranks cannot be shared equally by 4 ranks"), ("copies", 'give how="fsdp" with tensor')])
def test_what_cannot_be_shared_is_refused(name, said, two):
    assert said in two[name].read_text(encoding="utf-8")
