"""Choosing the next token: equal to a standard library where there is one, and to the definition."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from lmcore.sampling import Sampling, draw, penalise, scale, top_k, top_p

B, T, V = 3, 7, 13


@pytest.fixture
def logits() -> torch.Tensor:
    return 3 * torch.randn(B, V, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize("ours, theirs", [
    (lambda x: scale(x, 0.7), TemperatureLogitsWarper(0.7)), (lambda x: top_k(x, 4), TopKLogitsWarper(4)),
    (lambda x: top_k(x, 99), TopKLogitsWarper(99)), (lambda x: top_p(x, 0.8), TopPLogitsWarper(0.8)),
    (lambda x: top_p(x, 1e-9), TopPLogitsWarper(1e-9)), (lambda x: top_p(x, 1.0), TopPLogitsWarper(1.0))],
    ids=["temperature", "top_k", "top_k of all", "top_p", "top_p of one", "top_p of all"])
def test_probabilities_are_those_of_a_standard_library(logits, ours, theirs):
    torch.testing.assert_close(ours(logits).softmax(-1), theirs(None, logits.clone()).softmax(-1))


def test_the_penalty_is_that_of_a_standard_library_but_for_the_end(logits):
    ids = torch.randint(1, V, (B, T), generator=torch.Generator().manual_seed(2))
    expected = RepetitionPenaltyLogitsProcessor(1.3)(ids, logits.clone())
    torch.testing.assert_close(penalise(logits, ids, 1.3), expected)
    assert torch.equal(penalise(logits, ids.index_fill(1, torch.tensor([0]), 0), 1.3)[:, 0], logits[:, 0])


@given(st.lists(st.integers(-8, 8), min_size=2, max_size=9), st.floats(0.01, 1))
@settings(deadline=None)
def test_top_p_keeps_the_smallest_set_that_reaches_p(scores, p):
    probs = torch.tensor([scores], dtype=torch.double).softmax(-1)
    kept = top_p(probs.log(), p).isfinite()
    assert probs[kept].sum() >= p - 1e-9
    assert probs[kept].sum() - probs[kept].min() < p
    assert not (~kept).any() or probs[~kept].max() <= probs[kept].min()


def test_of_equal_tokens_top_k_keeps_no_more_than_k():
    assert top_k(torch.zeros(B, V), 4).isfinite().sum(-1).tolist() == [4] * B


def test_temperature_zero_takes_the_likeliest_and_is_the_limit(logits):
    best = logits.argmax(-1)
    for temperature in (0, 1e-9, 1e-3):
        probs = scale(logits, temperature).softmax(-1)
        torch.testing.assert_close(probs.gather(1, best[:, None]), torch.ones(B, 1))


def test_throws_spread_evenly_draw_each_token_as_often_as_is_probable(logits):
    throws, row = torch.arange(10_000) / 10_000, top_k(logits[:1], 5)
    counts = draw(row.expand(10_000, V), throws).bincount(minlength=V)
    assert (counts - 10_000 * row.softmax(-1)[0]).abs().max() <= 1.01
    assert (counts > 0).sum() == 5


def test_the_first_and_the_last_throw_hit_tokens_that_are_possible():
    row = torch.tensor([[-torch.inf, 0.0, -torch.inf, 1.0, -torch.inf]])
    assert draw(row.expand(2, 5), torch.tensor([0.0, 1 - 2**-53], dtype=torch.double)).tolist() == [1, 3]


def test_choices_follow_one_another_penalty_first(logits):
    ids = [[1, 2], [3, 4], [5, 5]]
    found = Sampling(temperature=0.5, top_k=6, top_p=0.7, repetition_penalty=1.5).shape(logits, ids)
    step = scale(penalise(logits, torch.tensor(ids), 1.5), 0.5)
    torch.testing.assert_close(found, top_p(top_k(step, 6), 0.7))


@pytest.mark.parametrize("choice, line", [
    ({"temperature": -0.1}, "temperature must be at least 0, got -0.1"),
    ({"temperature": float("nan")}, "temperature must be at least 0, got nan"),
    ({"top_k": 0}, "top_k must be at least 1, got 0"), ({"top_p": 0}, r"top_p must be in \(0, 1\], got 0"),
    ({"top_p": 1.5}, r"top_p must be in \(0, 1\], got 1.5"),
    ({"repetition_penalty": 0}, "repetition_penalty must be above 0, got 0")])
def test_a_bad_choice_gets_one_line(choice, line):
    with pytest.raises(ValueError, match=f"^{line}$"):
        Sampling(**choice)
