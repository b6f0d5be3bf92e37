"""A run is what its seed and settings make it, however it is cut in parts; it is told, kept and judged."""
import json
import math
import re
import signal
from dataclasses import replace

import pytest
import torch
from small_run import CONFIG, DOCS, PARTS, TOK, forked, model, watch, what_is_left

import lmcore as lm
from lmcore import checkpoint
from lmcore.data.corpus import corpus
from lmcore.data.tokens import prepare
from lmcore.data.windows import Batches, flat
from lmcore.machine import choose
from lmcore.train import Trainer


@pytest.fixture(autouse=True)
def one_thread():
    torch.set_num_threads(1)


def run(folder, until=None, parts=PARTS, **changes) -> lm.train.Run:
    sizes = changes.pop("sizes", {})
    return lm.fit(model(**sizes), parts, TOK, replace(CONFIG, **changes), folder, until)


KINDS = pytest.mark.parametrize("changes", [
    {}, {"accumulate": 2}, {"precision": "bfloat16"}, {"optimiser": "muon"},
    {"sampling": "stream", "stride": 5},
    {"schedule": "wsd", "checkpointing": True}, {"patience": 2, "learning_rate": 1e-9}],
    ids=lambda changes: "-".join(map(str, changes.values())) or "plain")


@KINDS
@pytest.mark.parametrize("cut", [4, 7])
def test_a_run_in_two_parts_is_the_run_in_one_to_the_bit(tmp_path, changes, cut):
    whole = run(tmp_path / "whole", **changes)
    assert run(tmp_path / "cut", until=cut, **changes).ended == "until"
    again = lm.resume(tmp_path / "cut", PARTS)
    assert (again.step, again.ended, again.best) == (whole.step, whole.ended, whole.best)
    assert what_is_left(tmp_path / "cut") == what_is_left(tmp_path / "whole")
    for a, b in zip(whole.model.parameters(), again.model.parameters(), strict=True):
        assert torch.equal(a, b)


def test_two_hundred_steps_are_a_hundred_and_a_hundred(tmp_path):
    long = {"steps": 200, "eval_every": 50, "save_every": None, "log_every": 10}
    run(tmp_path / "whole", **long)
    run(tmp_path / "cut", until=100, **long)
    lm.resume(tmp_path / "cut", PARTS)
    assert what_is_left(tmp_path / "cut") == what_is_left(tmp_path / "whole")


@pytest.mark.parametrize("moment", range(20))
def test_a_killed_run_ends_as_if_it_had_not_been(tmp_path, moment, undisturbed):
    kind = ["calls", "files"][moment % 2]
    chance = torch.Generator().manual_seed(moment)
    most = undisturbed[kind] * 9 // 10          # no two runs count quite alike
    last = int(torch.randint(1, most, (), generator=chance))

    def work():
        run(tmp_path / "run", until=1)          # after the first step, and then at any moment
        watch(kind, last)
        lm.resume(tmp_path / "run", PARTS)

    assert forked(work)[0] == signal.SIGKILL
    lm.resume(tmp_path / "run", PARTS)
    assert what_is_left(tmp_path / "run") == undisturbed["left"]


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    """What a run leaves that nobody kills, and how many calls and operations on files it takes."""
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder / "run", until=1)
    lm.resume(folder / "run", PARTS)            # and all that is imported late is there now
    found = {"left": what_is_left(folder / "run")}
    for kind in ("calls", "files"):

        def work(kind=kind):
            run(folder / kind, until=1)
            count = watch(kind)
            lm.resume(folder / kind, PARTS)
            print(f"counted {count[0]}")

        found[kind] = int(re.search(r"counted (\d+)", forked(work)[1])[1])
    return found


@pytest.mark.parametrize("k", [2, 3, 4])
def test_parts_of_a_batch_have_the_gradient_of_the_batch(tmp_path, k):
    found = []
    for parts in (1, k):
        trainer = Trainer(model(dropout=0.0).double(), PARTS, TOK,
                          replace(CONFIG, batch_size=6, accumulate=parts), tmp_path)
        X, Y = next(pair for pair in map(trainer.batch, range(8)) if (pair[1] == -100).any())
        loss = trainer.gradients(X, Y)
        found.append([torch.tensor(loss), *(p.grad for p in trainer.model.parameters())])
    for one, other in zip(*found):
        torch.testing.assert_close(one, other, rtol=0, atol=1e-12)


def test_the_loss_of_a_step_is_that_of_the_step_by_hand(tmp_path):
    history = run(tmp_path, log_every=1, sizes={"dropout": 0.0}, precision="float32").history
    losses = [line["loss"] for line in history if "loss" in line]
    ours, batch = model(dropout=0.0), Batches(flat(map(TOK.encode, PARTS["train"])), 4, 24)
    optimiser = torch.optim.AdamW(lm.optim.groups(ours, 3e-3, 3e-3, 0.1), betas=(0.9, 0.98), fused=True)
    for step, told in enumerate(losses):
        X, Y = batch(step)
        loss = torch.nn.functional.cross_entropy(ours(X).flatten(0, 1), Y.flatten(), ignore_index=-100)
        assert math.isclose(loss.item(), told, rel_tol=1e-5)
        optimiser.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(ours.parameters(), 1.0)
        for group in optimiser.param_groups:
            group["lr"] = 3e-3 * lm.optim.cosine(step, 12, 0)
        optimiser.step()


def test_a_run_learns_and_its_best_is_kept(tmp_path):
    done = run(tmp_path, steps=120, eval_every=40, save_every=None)
    judged = [line["val"] for line in done.history if "val" in line]
    assert done.ended == "done" and judged[-1] < 1.8 < judged[0] < math.log(TOK.vocab_size)
    best, tok = checkpoint.load(tmp_path)
    score = lm.evaluate(best, PARTS["val"], tok)
    assert score.nats_per_token == pytest.approx(done.best) == pytest.approx(min(judged))
    told = next(line for line in done.history if line.get("val") == min(judged))
    assert told["bits_per_byte"] == pytest.approx(score.bits_per_byte)
    assert told["perplexity"] == pytest.approx(math.exp(told["val"]))


def test_early_stopping_stops_at_the_first_evaluation_too_many(tmp_path):
    done = run(tmp_path, steps=100, learning_rate=1.0, patience=2, eval_every=5)
    judged = [line["val"] for line in done.history if "val" in line]
    since = [i - judged.index(min(judged[:i + 1])) for i in range(len(judged))]
    assert done.ended == "early" and done.step == 5 * (1 + since.index(2)) == 5 * len(judged)


def test_epochs_decide_the_steps(tmp_path):
    assert run(tmp_path, epochs=1.5).step == 18         # 50 documents, 4 a step: 12 steps an epoch


def test_the_folder_of_a_run_holds_what_is_promised(tmp_path):
    run(tmp_path)
    about = json.loads((tmp_path / "config.json").read_text())
    assert about["train"]["steps"] == 12 and about["train"]["precision"] in ("float32", "bfloat16")
    assert about["train"]["device"] in ("cpu", "cuda", "mps") and about["text"]["train"]["tokens"] > 500
    assert lm.CharTokenizer.load(tmp_path / "tokenizer.json").symbols == TOK.symbols
    assert (tmp_path / "samples.txt").read_text().count("step ") == 3
    assert not list(tmp_path.rglob("*.pt")) and not list(tmp_path.rglob("*.pkl"))


def test_a_token_file_and_its_ids_train_as_the_documents_do(tmp_path):
    files = {part: tmp_path / f"{part}.bin" for part in PARTS}
    for part, file in files.items():
        prepare(PARTS[part], TOK, file)
    run(tmp_path / "text")
    ids = {part: corpus(PARTS[part], TOK, part) for part in PARTS}
    for kind, parts in {"file": files, "ids": ids}.items():
        run(tmp_path / kind, parts=parts)
        assert what_is_left(tmp_path / kind) == what_is_left(tmp_path / "text")


def test_without_validation_a_run_has_no_best(tmp_path):
    done = run(tmp_path, parts={"train": DOCS})
    assert done.best is None and not (tmp_path / "ckpt_best").exists()
    assert checkpoint.load(tmp_path)[0].n_params == done.model.n_params


def test_a_run_goes_on_for_longer_if_asked(tmp_path):
    run(tmp_path)
    assert lm.resume(tmp_path, PARTS, steps=15).step == 15


def test_into_a_pipe_go_plain_lines(tmp_path, capfd):
    run(tmp_path)
    out, err = capfd.readouterr()
    assert "\r" not in out + err and out.count("validation") == 3 and "bits/byte" in out


def test_the_choice_of_precision_is_told_and_can_be_made(tmp_path, capsys):
    run(tmp_path, precision="bfloat16")
    assert "bfloat16: as asked" in capsys.readouterr().out
    device, precision, why = choose(lm.TrainConfig(device="cpu"), model().config)
    assert (device, precision) == ("cpu", "float32") and why
    with pytest.raises(ValueError, match="no device 'abacus' here; there is"):
        choose(lm.TrainConfig(device="abacus"), model().config)


@pytest.mark.parametrize("wrong, said", [
    ({"steps": 0}, "steps must be at least 1"), ({"learning_rate": 0}, "learning_rate must be above 0"),
    ({"warmup": 1}, r"warmup must be in \[0, 1\)"), ({"floor": 2}, "floor must be in"),
    ({"clip": float("nan")}, "clip must be above 0")])
def test_a_number_out_of_its_range_is_refused(wrong, said):
    with pytest.raises(ValueError, match=said):
        lm.TrainConfig(**wrong)
