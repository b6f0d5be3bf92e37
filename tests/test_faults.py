"""Bad days, one a row: what the user is told in one line, and that nothing kept is lost."""
import json
import os
import resource
import signal
import subprocess
import threading
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from small_run import CONFIG, DOCS, PARTS, TOK, forked, model, no_file_above, what_is_left

import lmcore as lm
from lmcore import checkpoint
from lmcore.data.tokens import prepare
from lmcore.train import Stopped

NOBODY = 65_534


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    folder = tmp_path_factory.mktemp("whole")
    lm.fit(model(), PARTS, TOK, CONFIG, folder)
    return what_is_left(folder)


@pytest.fixture
def half(tmp_path):
    """A run that stands at step 6 of 12, with checkpoints of steps 4 and 6."""
    lm.fit(model(), PARTS, TOK, CONFIG, tmp_path / "half", until=6)
    return tmp_path / "half"


def ends_well(folder: Path, whole: tuple) -> None:
    """After the bad day a run goes on and ends as if nothing had been."""
    lm.resume(folder, PARTS)
    assert what_is_left(folder) == whole


def told(work) -> str:
    """The one line that an error says."""
    with pytest.raises((ValueError, Stopped)) as error:
        work()
    said = str(error.value)
    assert "\n" not in said and error.value.__cause__ is None
    return said


REFUSED = {
    "empty corpus": (dict(parts={"train": []}), "the text is empty: no document in 'train'"),
    "empty validation": (dict(parts={**PARTS, "val": []}), "the text is empty: no document in 'val'"),
    "corpus shorter than a batch": (dict(parts={"train": DOCS[:3]}),
                                    "3 documents do not fill a batch of 4: make the batch smaller"),
    "corpus shorter than the context": (dict(parts={"train": ["a cat"]}, sampling="stream"),
                                        "1 windows do not fill a batch of 4"),
    "vocabulary mismatch": (dict(tok=lm.CharTokenizer.train(["ab"])),
                            "the tokenizer has 3 tokens, the model 23: build it with vocab_size="),
    "unknown character in the text": (dict(parts={"train": ["a catß"] * 9}),
                                      "'ß' is not among the 22 symbols"),
    "unknown character in the prompt": (dict(prompt="ß"), "'ß' is not among the 22 symbols"),
    "no such device": (dict(device="abacus"), "no device 'abacus' here; there is"),
    "no such token file": (dict(parts={"train": "nowhere.bin"}), "no token file nowhere.bin"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_trained_is_refused_before_anything_is_written(tmp_path, name):
    how, says = REFUSED[name]
    how, tok = dict(how), TOK
    parts, tok = how.pop("parts", PARTS), how.pop("tok", TOK)
    with pytest.raises((ValueError, FileNotFoundError)) as error:
        lm.fit(model(), parts, tok, replace(CONFIG, **how), tmp_path)
    assert says in str(error.value) and "\n" not in str(error.value)
    assert os.listdir(tmp_path) == ["lock"]


def cut_short(file: Path) -> None:
    os.truncate(file, file.stat().st_size // 2)


def flip(file: Path) -> None:
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)


@pytest.mark.parametrize("file", ["model.safetensors", "optimiser.safetensors", "progress.json",
                                  "config.json", "tokenizer.json", "sha256.json"])
@pytest.mark.parametrize("harm", [cut_short, flip, Path.unlink], ids=["cut short", "one bit", "gone"])
def test_a_damaged_checkpoint_is_named_and_the_one_before_it_used(half, whole, file, harm, capsys):
    if (file, harm) == ("sha256.json", Path.unlink):
        pytest.skip("a folder without checksums is believed")
    harm(half / "ckpt_last" / file)
    assert lm.resume(half, PARTS, until=5).step == 5
    said = capsys.readouterr()
    assert (file in said.err or file == "sha256.json") and "half/ckpt_last: " in said.err
    assert "going by ckpt_last.old" in said.err and "goes on at step 4" in said.out
    ends_well(half, whole)


def test_two_damaged_checkpoints_are_an_end_that_says_so(half):
    for place in ("ckpt_last", "ckpt_last.old"):
        flip(half / place / "model.safetensors")
    assert "nothing whole is left" in told(lambda: lm.resume(half, PARTS))
    assert "nothing whole is left" in told(lambda: lm.fit(model(), PARTS, TOK, CONFIG, half))


def test_a_damaged_best_model_is_replaced_by_the_one_before(tmp_path, capsys):
    lm.fit(model(), PARTS, TOK, CONFIG, tmp_path)
    flip(tmp_path / "ckpt_best/model.safetensors")
    assert checkpoint.load(tmp_path)[0].n_params == model().n_params
    assert "ckpt_best: model.safetensors changed since it was written" in capsys.readouterr().err


@pytest.fixture
def small_disk(tmp_path):
    """A real disk of one megabyte, where we may have one."""
    place = tmp_path / "disk"
    place.mkdir()
    made = subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", place], capture_output=True)
    if made.returncode:
        pytest.skip("only root can mount a small disk; the next test limits the size of files instead")
    yield place
    subprocess.run(["umount", place], check=True)


def test_a_full_disk_stops_the_run_and_keeps_the_checkpoint(small_disk, whole):
    run = small_disk / "run"
    lm.fit(model(), PARTS, TOK, CONFIG, run, until=6)
    blocks = os.statvfs(small_disk)
    (small_disk / "rubbish").write_bytes(bytes((blocks.f_bavail - 2) * blocks.f_frsize))
    said = told(lambda: lm.resume(run, PARTS))
    assert "No space left on device" in said and "make room" in said and "step 6 is kept: lm.resume(" in said
    (small_disk / "rubbish").unlink()
    ends_well(run, whole)


def test_a_limit_on_files_stops_the_run_and_keeps_the_checkpoint(half, whole):
    def work():
        no_file_above(10_000)
        lm.resume(half, PARTS)

    said = forked(work)[1].splitlines()[-1]
    assert "Stopped: File too large" in said and "step 6 is kept" in said
    ends_well(half, whole)


def test_history_on_a_full_disk_stops_the_run(half, whole):
    (half / "samples.txt").rename(half / "kept")
    (half / "samples.txt").symlink_to("/dev/full")
    said = told(lambda: lm.resume(half, PARTS))
    assert "No space left on device" in said and "step 6 is kept" in said
    (half / "kept").replace(half / "samples.txt")
    ends_well(half, whole)


def test_a_folder_that_cannot_be_written_is_named(tmp_path):
    tmp_path.chmod(0o555)

    def work():
        if os.getuid() == 0:
            os.setuid(NOBODY)
        lm.fit(model(), PARTS, TOK, CONFIG, tmp_path / "run")

    last = forked(work)[1].splitlines()[-1]
    tmp_path.chmod(0o755)
    assert last.startswith("ValueError: cannot write in") and "Permission denied; name another folder" in last


def test_a_folder_that_is_a_file_is_named(tmp_path):
    (tmp_path / "file").write_text("mine")
    assert "cannot write in" in told(lambda: lm.fit(model(), PARTS, TOK, CONFIG, tmp_path / "file"))
    assert (tmp_path / "file").read_text() == "mine"


def test_a_loss_that_is_no_number_stops_before_it_is_learned(tmp_path, capsys):
    config = replace(CONFIG, learning_rate=1e30, clip=1e30, steps=40)
    said = told(lambda: lm.fit(model(), PARTS, TOK, config, tmp_path))
    assert "the loss is nan" in said and "at step 2, in a batch of documents" in said
    assert "lower learning_rate; step 0 is kept: lm.resume(" in said
    again = lm.resume(tmp_path, PARTS, learning_rate=3e-3)
    assert again.ended == "done" and all(w.isfinite().all() for w in again.model.parameters())


def test_out_of_memory_says_what_to_change(tmp_path):
    large, book = model(block_size=1024, n_embd=128, n_layer=2), {"train": ["a cat sang. " * 2000]}

    def work():
        used = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (used + (80 << 20),) * 2)
        lm.fit(large, book, TOK, replace(CONFIG, batch_size=16, prompt=None), tmp_path / "run")

    ended, said = forked(work)
    assert ended == 0, said
    assert "out of memory with 16 rows: accumulate=2 gives the same result with half" in said.splitlines()[-1]


def test_another_run_in_the_same_folder_is_refused(half, whole):
    def work():
        lm.resume(half, PARTS, until=7)

    with lm.machine.alone_in(half):
        said = forked(work)[1].splitlines()[-1]
    assert f"another run, process {os.getpid()}, is at work in" in said
    ends_well(half, whole)


def test_the_lock_of_a_dead_run_holds_nobody_back(half, whole):
    (half / "lock").write_text("4000000\n")
    ends_well(half, whole)


def test_a_folder_with_a_run_is_not_written_over(half, whole):
    assert "holds a run already: lm.resume(" in told(lambda: lm.fit(model(), PARTS, TOK, CONFIG, half))
    ends_well(half, whole)


@pytest.mark.parametrize("parts", [{**PARTS, "train": DOCS[1:50]}, {"train": PARTS["train"]}])
def test_a_run_does_not_go_on_with_another_text(half, whole, parts):
    assert "is not the text with which" in told(lambda: lm.resume(half, parts))
    ends_well(half, whole)


def test_there_is_nothing_to_resume_where_nothing_is(tmp_path):
    assert "no run to go on with" in told(lambda: lm.resume(tmp_path, PARTS))
    assert "there is no folder" in told(lambda: lm.resume(tmp_path / "nowhere", PARTS))
    assert not (tmp_path / "nowhere").exists()


def test_a_config_of_another_model_is_refused(half):
    about = json.loads((half / "ckpt_last/config.json").read_text())
    about["model"]["n_layer"] = 2
    files = {file.name: file.read_bytes() for file in (half / "ckpt_last").iterdir()}
    del files[checkpoint.SUMS]
    checkpoint.put(half / "ckpt_last", files | {"config.json": checkpoint.as_json(about)})
    assert "are not of the model in config.json" in told(lambda: lm.resume(half, PARTS))


def test_a_token_file_of_another_tokenizer_is_refused(tmp_path):
    prepare(DOCS, lm.CharTokenizer.train([*DOCS, "xyz"]), tmp_path / "train.bin")
    said = told(lambda: lm.fit(model(), {"train": tmp_path / "train.bin"}, TOK, CONFIG, tmp_path / "run"))
    assert "was written with another tokenizer" in said


def test_a_clock_that_runs_backwards_changes_nothing(tmp_path, whole, monkeypatch):
    ticks = iter(range(10**9, 0, -3600))
    monkeypatch.setattr(time, "time", lambda: float(next(ticks)))
    run = lm.fit(model(), PARTS, TOK, CONFIG, tmp_path)
    assert what_is_left(tmp_path) == whole
    assert all(line.get("tokens_per_second", 1) > 0 for line in run.history)


@pytest.mark.parametrize("name", ["SIGINT", "SIGTERM"])
def test_a_signal_ends_the_step_keeps_it_and_says_how_to_go_on(tmp_path, name):
    def work():
        config = replace(CONFIG, steps=100_000, save_every=None, eval_every=50_000, prompt=None)
        threading.Timer(0.5, os.kill, (os.getpid(), getattr(signal, name))).start()
        run = lm.fit(model(), PARTS, TOK, config, tmp_path)
        kept = json.loads((tmp_path / "ckpt_last/progress.json").read_text())
        print(run.ended, run.step > 0, kept["step"] == run.step)

    ended, said = forked(work)
    assert ended == 0 and said.splitlines()[-1] == "interrupted True True"
    assert "is kept: lm.resume(" in said.splitlines()[-2]
