"""A plan keeps what is given, chooses the rest by text and machine, and expects what counting reaches."""
import pytest
import torch

import lmcore as lm
from lmcore.plan import EPOCHS, counted, duration, enough, fitting, largest, seconds_per_step

DOCS = [f"the {i}th tale ends with {i * i % 97} and no more" for i in range(300)]
PARTS = lm.data.splits(DOCS)
TOK = lm.CharTokenizer.train(DOCS)


def test_what_is_given_is_kept_and_the_rest_fits_the_text():
    plan = lm.plan(PARTS, TOK, "day21", model={"n_layer": 1}, train={"steps": 7, "learning_rate": 1e-4})
    assert (plan.model.n_layer, plan.train.steps, plan.train.learning_rate) == (1, 7, 1e-4)
    assert plan.model.vocab_size == TOK.vocab_size and plan.train.patience is None
    run = lm.fit(lm.GPT(plan.model), PARTS, TOK, lm.TrainConfig(steps=1, wandb="off"), "runs/x", until=0)
    assert run.step == 0


@pytest.fixture(autouse=True)
def desk(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


def test_epochs_become_steps():
    plan = lm.plan(PARTS, TOK, "day21", train={"epochs": 2.5, "batch_size": 4})
    rows = len(PARTS["train"])                              # each fits one window
    assert plan.train.steps == round(2.5 * (rows // 4)) and plan.epochs == pytest.approx(2.5, abs=0.01)


def test_minutes_bound_the_steps_and_so_does_the_text():
    short = lm.plan(PARTS, TOK, "day21", minutes=1e-6)
    assert short.train.steps == 1 and short.train.patience
    long = lm.plan(PARTS, TOK, "day21", minutes=1e6)
    assert long.epochs == pytest.approx(EPOCHS)
    assert "times through the text" in str(long) and "s a step" in str(long)


def test_evaluations_take_a_fifth_of_the_steps_at_most():
    assert enough(600, 0.1, 0.5, 10**9) == 5_900            # twenty evaluations in ten seconds
    assert enough(600, 0.1, 60, 10**9) == 5_000             # fewer, in a hundred
    assert enough(600, 0.1, 0.5, 10) == 10 * EPOCHS and enough(0, 0.1, 0.5, 10) == 1
    plan = lm.plan(PARTS, TOK, "day21", train={"steps": 10})
    assert plan.train.steps >= plan.train.eval_every > 1


def test_steps_and_epochs_together_are_refused():
    with pytest.raises(ValueError, match="give one of them"):
        lm.plan(PARTS, TOK, train={"steps": 1, "epochs": 1})


def test_more_text_and_time_bring_a_larger_model():
    settings = lm.TrainConfig(batch_size=1)
    assert largest(10_000, 100, 1e9, settings) == "day21"
    assert largest(10**12, 100, 1e-9, settings) == "day21"
    assert largest(10**12, 100, 1e12, settings) == "large"


def test_a_short_text_has_small_batches():
    tokens = lambda n: torch.tensor(([1] * 9 + [0]) * n).numpy()
    assert [fitting(tokens(n), 16, 10) for n in (3, 80, 4_000)] == [1, 10, 16]
    assert fitting(tokens(80), 16, 5) == 16                 # each document is two windows


def test_the_expectation_is_the_score_of_counting():
    found = counted(PARTS, TOK)
    score = lm.evaluate(lm.KneserNey(5).fit(PARTS["train"], TOK), PARTS["val"], TOK)
    assert found.bits_per_byte == pytest.approx(score.bits_per_byte)


def test_the_time_of_a_step_leaves_the_random_numbers_of_others_alone():
    torch.manual_seed(1)
    seconds = seconds_per_step(lm.GPTConfig(vocab_size=11, block_size=8, n_embd=8, n_layer=1, n_head=1),
                               lm.TrainConfig(batch_size=2))
    found = torch.rand(3)
    torch.manual_seed(1)
    assert seconds > 0 and torch.equal(found, torch.rand(3))


def test_the_step_that_is_timed_is_that_of_a_run(monkeypatch):
    taken = []
    learn = lambda self, X, Y, share: taken.append((X.shape, self.config.compile, share))
    monkeypatch.setattr("lmcore.learner.Learner.learn", learn)
    seconds_per_step(lm.GPTConfig(vocab_size=11, block_size=8), lm.TrainConfig(batch_size=2, compile=True))
    assert taken == [((2, 8), True, 1.0)] * 4


@pytest.mark.parametrize("seconds, words", [(0.02, "less than a second"), (1.2, "about 2 seconds"),
                                            (89.6, "about 90 seconds"), (600, "about 10 minutes"),
                                            (9_000, "about 2.5 hours")])
def test_durations_are_said_in_words(seconds, words):
    assert duration(seconds) == words
