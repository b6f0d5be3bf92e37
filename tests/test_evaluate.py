"""Scores: every token counts once, bytes and bits are those of the texts, intervals hold the truth."""
import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lmcore as lm
from lmcore.evaluate import ratio_with_interval


class Halves:
    """Says 1/2 of every token, and remembers what it was asked."""

    def __init__(self):
        self.asked = []

    def log_probs(self, ids):
        self.asked.append(ids)
        return torch.full((len(ids),), 0.5).log()


@given(st.lists(st.text(), min_size=1, max_size=20))
def test_every_token_and_end_is_scored_once_from_its_documents_start(docs):
    model, tok = Halves(), lm.CharTokenizer.train(docs)
    score = lm.evaluate(model, docs, tok)
    assert model.asked == [[*tok.encode(doc), 0] for doc in docs]
    assert (score.docs, score.tokens) == (len(docs), sum(len(doc) + 1 for doc in docs))
    assert math.isclose(score.nats_per_token, math.log(2), rel_tol=1e-6)
    assert math.isclose(score.perplexity, 2, rel_tol=1e-6)
    size = sum(len(doc.encode()) + 1 for doc in docs)
    assert math.isclose(score.bits_per_byte, score.tokens / size, rel_tol=1e-6)


def test_bits_per_byte_count_bytes_and_the_end():
    score = lm.evaluate(Halves(), ["año", "—"], lm.CharTokenizer.train(["año—"]))
    assert math.isclose(score.bits_per_byte, (4 + 2) / (5 + 4), rel_tol=1e-6)   # ñ has 2 bytes, — has 3
    assert math.isclose(score.nats_per_token, math.log(2), rel_tol=1e-6)


def test_the_same_model_has_the_same_bits_per_byte_in_words_and_in_characters():
    docs = ["one two", "one"]
    chars, words = (kind.train(docs) for kind in (lm.CharTokenizer, lm.WordTokenizer))
    a = lm.evaluate(lm.KneserNey(9, 0.01).fit(docs, chars), docs, chars)
    b = lm.evaluate(lm.KneserNey(9, 0.01).fit(docs, words), docs, words)
    assert math.isclose(a.bits_per_byte, 2 / 12, abs_tol=0.05)      # each document is one of two: 1 bit
    assert math.isclose(b.bits_per_byte, 2 / 12, abs_tol=0.05)
    assert a.nats_per_token < b.nats_per_token


@pytest.mark.parametrize("seed", range(3))
def test_the_interval_holds_the_truth_95_times_in_100(seed):
    draw, held = torch.Generator().manual_seed(seed), 0
    for _ in range(400):
        length = torch.randint(1, 9, (150,), generator=draw)
        nats = 1.5 * length + torch.randn(150, generator=draw) * length.sqrt()
        low, high = ratio_with_interval(nats.tolist(), length.tolist())[1]
        held += low < 1.5 < high
    assert 362 <= held <= 396                                       # 380 ± 4 standard deviations


def test_an_impossible_token_costs_infinitely_much():
    tok = lm.CharTokenizer.train(["ab"])
    score = lm.evaluate(lm.NGram(2).fit(["a", "b"], tok), ["a", "ab"], tok)
    assert score.nats_per_token == score.perplexity == score.bits_per_byte == math.inf


def test_one_document_has_no_interval():
    score = lm.evaluate(Halves(), ["ab"], lm.CharTokenizer.train(["ab"]))
    assert all(math.isnan(end) for end in score.interval + score.bits_per_byte_interval)


@pytest.mark.parametrize("docs", ["abba", [], ()])
def test_no_documents_or_a_bare_text_are_refused(docs):
    with pytest.raises(ValueError, match="evaluate wants a list of documents with at least one"):
        lm.evaluate(Halves(), docs, lm.CharTokenizer.train(["ab"]))


def test_a_score_cannot_be_changed():
    with pytest.raises(AttributeError):
        lm.evaluate(Halves(), ["ab"], lm.CharTokenizer.train(["ab"])).tokens = 3
