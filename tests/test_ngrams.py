"""Counting models: distributions are distributions, and Kneser-Ney is its formula, computed slowly here."""
import math
import os
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

import lmcore as lm
from lmcore.ngrams import count_pairs, smooth

DOCS = ["abba", "abacab", "", "cab", "aaaaaaaaaab", "bca"]
TOK = lm.CharTokenizer.train(["abcd"])                          # no document has a d
TEXTS = st.lists(st.text("abcd", max_size=12), min_size=1, max_size=12)
MODELS = [lambda: lm.NGram(1), lambda: lm.NGram(2), lambda: lm.NGram(4, add=0.3),
          lambda: lm.KneserNey(1, 0.5), lambda: lm.KneserNey(2),
          lambda: lm.KneserNey(5, 0.8), lambda: lm.KneserNey(7, 1.0)]


@pytest.mark.parametrize("model", MODELS)
@given(docs=TEXTS, context=st.text("abcd"))
def test_probabilities_sum_to_1_after_any_text(model, docs, context):
    probs = model().fit(docs, TOK).probs(TOK.encode(context))
    assert probs.shape == (5,) and (probs >= 0).all()
    assert math.isclose(probs.sum(), 1, rel_tol=1e-12)


@pytest.mark.parametrize("model", MODELS)
@given(docs=TEXTS, text=st.text("abcd"))
def test_log_probs_are_those_of_probs_one_token_at_a_time(model, docs, text):
    fitted, ids = model().fit(docs, TOK), [*TOK.encode(text), TOK.end]
    one_by_one = torch.stack([fitted.probs(ids[:t])[ids[t]] for t in range(len(ids))])
    torch.testing.assert_close(fitted.log_probs(ids), one_by_one.log())
    torch.testing.assert_close(fitted.log_probs(torch.tensor(ids)), fitted.log_probs(ids))
    assert fitted.log_probs([]).shape == (0,)


def test_pairs_are_counted_with_the_borders_of_documents():
    counts = count_pairs(["ab", "b"], TOK)
    assert {(i, j): n.item() for i, row in enumerate(counts) for j, n in enumerate(row) if n} == {
        (0, 1): 1, (1, 2): 1, (2, 0): 2, (0, 2): 1}


@given(docs=TEXTS, add=st.sampled_from([0, 0.3, 1]))
def test_a_bigram_is_the_table_of_pairs_smoothed(docs, add):
    table = smooth(count_pairs(docs, TOK).double(), add)        # (V, V)
    bigram = lm.NGram(2, add).fit(docs, TOK)
    torch.testing.assert_close(table, torch.stack([bigram.probs([i]) for i in range(5)]))


def test_an_ngram_divides_what_it_counted():
    model = lm.NGram(3, add=0.5).fit(["aab", "aac", "aab"], TOK)
    assert model.probs(TOK.encode("aa")).tolist() == [0.5 / 5.5, 0.5 / 5.5, 2.5 / 5.5, 1.5 / 5.5, 0.5 / 5.5]
    assert model.probs(TOK.encode("dd")).tolist() == [0.2] * 5


def test_what_was_never_counted_is_impossible_unless_smoothed():
    ids = TOK.encode("ad")
    assert lm.NGram(2).fit(DOCS, TOK).log_probs(ids)[1] == -math.inf
    assert lm.NGram(2, add=0.1).fit(DOCS, TOK).log_probs(ids).isfinite().all()


def kneser_ney(docs, order, discount, ids):
    """P(last of ids | the ones before) straight from the formula, with a dictionary for each order."""
    n, padded = order, [[0] * (order - 1) + TOK.encode(doc) + [0] for doc in docs]
    counts = {n: Counter(tuple(doc[i:i + n]) for doc in padded for i in range(len(doc) - n + 1))}
    for k in range(n - 1, 0, -1):
        counts[k] = Counter(gram[1:] for gram in counts[k + 1])     # different longer ones, each once

    def p(gram):
        if not gram:
            return 1 / 5
        follow = [c for other, c in counts[len(gram)].items() if other[:-1] == gram[:-1]]
        if not follow:
            return p(gram[1:])
        kept = max(counts[len(gram)][gram] - discount, 0)
        return (kept + discount * len(follow) * p(gram[1:])) / sum(follow)

    return p(tuple(([0] * (n - 1) + ids)[-n:]))


@given(docs=TEXTS, order=st.integers(1, 6), discount=st.sampled_from([0.1, 0.75, 1.0]), text=st.text("abcd"))
def test_kneser_ney_is_the_formula(docs, order, discount, text):
    ids = [*TOK.encode(text), TOK.end]
    slow = [kneser_ney(docs, order, discount, ids[:t + 1]) for t in range(len(ids))]
    fast = lm.KneserNey(order, discount).fit(docs, TOK).log_probs(ids).exp()
    torch.testing.assert_close(fast, torch.tensor(slow, dtype=torch.float64), rtol=1e-12, atol=0)


def test_kneser_ney_of_words_is_kneser_ney():
    tok = lm.WordTokenizer.train(["one two three", "two one"])
    model = lm.KneserNey(2, 0.5).fit(["one two three", "two one"], tok)
    # " one" is seen once, after "two"; unigrams are 7 different pairs, one of them ends in " one"
    unigram = (1 - 0.5 + 0.5 * 6 / 6) / 7
    assert math.isclose(model.probs(tok.encode("two"))[tok.encode(" one")[0]], 1 - 0.5 + 0.5 * unigram)


@pytest.mark.parametrize("model", [lm.NGram(2), lm.NGram(3, 0.1), lm.KneserNey(3, 0.7)])
def test_samples_have_the_probabilities_of_the_model(model):
    model.fit(["ab", "ba", "b"], TOK)
    texts, n = Counter(model.sample(3000, seed=5)), 3000
    for text in ("ab", "ba", "b"):
        p = model.log_probs([*TOK.encode(text), TOK.end]).sum().exp().item()
        assert abs(texts[text] - n * p) < 4 * math.sqrt(n * p * (1 - p))


def test_samples_repeat_by_seed_and_stop_where_told():
    model = lm.KneserNey(4, 0.6).fit(DOCS, TOK)
    assert model.sample(20, seed=1) == model.sample(20, seed=1) != model.sample(20, seed=2)
    assert max(len(text) for text in lm.NGram(2).fit(["a" * 500], TOK).sample(5, max_tokens=30)) == 30


def test_a_discount_is_chosen_when_none_is_given_even_for_one_document():
    grid = [i / 10 for i in range(1, 10)]
    assert lm.KneserNey(3).fit(DOCS * 20, TOK).discount in grid
    assert lm.KneserNey(3).fit(["abcabcabd" * 40], TOK).discount in grid
    assert lm.KneserNey(3).fit([""], TOK).discount in grid


@pytest.mark.parametrize("build, message", [
    (lambda: lm.NGram(0), "order must be at least 1 and add at least 0, got 0 and 0.0"),
    (lambda: lm.NGram(2, -1), "got 2 and -1"),
    (lambda: lm.KneserNey(0), "order must be at least 1"),
    (lambda: lm.KneserNey(3, 1.2), r"discount in \(0, 1\], got 3 and 1.2"),
    (lambda: lm.KneserNey(3).fit([], TOK), r"fit wants a list of documents with at least one, got \[\]"),
    (lambda: lm.NGram(3).fit("abba", TOK), "fit wants a list of documents with at least one, got 'abba'"),
])
def test_what_cannot_be_counted_is_refused(build, message):
    with pytest.raises(ValueError, match=message):
        build()


def test_a_second_fit_forgets_the_first():
    model = lm.NGram(2).fit(["aaaa"], TOK).fit(["b"], TOK)
    assert model.probs([])[TOK.encode("b")[0]] == 1


needs_mirror = pytest.mark.skipif("LMCORE_MIRROR" not in os.environ, reason="LMCORE_MIRROR is not set")


@pytest.fixture(scope="module")
def lecture():
    parts = lm.data.splits("names-2019", how="lecture")
    return parts, lm.CharTokenizer.train(parts["train"])


@needs_mirror
@pytest.mark.parametrize("model, val, test", [
    (lm.NGram(2, 0.3), 2.4530, 2.4580), (lm.NGram(3, 0.2), 2.2223, 2.2235),
    (lm.NGram(4, 0.1), 2.1018, 2.1044), (lm.KneserNey(4, 0.8), 2.0608, 2.0636),
    (lm.KneserNey(5, 0.8), 1.9922, 1.9924), (lm.KneserNey(6, 0.9), 1.9836, 1.9869)])
def test_names_of_the_lectures_score_what_was_measured(lecture, model, val, test):
    parts, tok = lecture
    model.fit(parts["train"], tok)
    scores = [lm.evaluate(model, parts[part], tok) for part in ("val", "test")]
    assert [round(score.nats_per_token, 4) for score in scores] == [val, test]
    assert [score.tokens for score in scores] == [22_655, 22_866]


@needs_mirror
def test_the_held_out_tenth_chooses_the_discounts_of_the_book(lecture):
    parts, tok = lecture
    assert [lm.KneserNey(order).fit(parts["train"], tok).discount for order in (5, 6)] == [0.8, 0.9]


@needs_mirror
def test_seen_names_are_easier_than_unseen_ones(lecture):
    parts, tok = lecture
    model, seen = lm.KneserNey(5, 0.8).fit(parts["train"], tok), set(parts["train"])
    easy = lm.evaluate(model, [name for name in parts["val"] if name in seen], tok)
    hard = lm.evaluate(model, [name for name in parts["val"] if name not in seen], tok)
    assert (round(easy.nats_per_token, 3), round(hard.nats_per_token, 3)) == (1.716, 2.031)


@needs_mirror
def test_all_names_of_the_lectures_without_smoothing_and_with_one_more():
    names = lm.data.load("names-2019")
    tok = lm.CharTokenizer.train(names)
    losses = [lm.evaluate(lm.NGram(2, add).fit(names, tok), names, tok).nats_per_token for add in (0, 1)]
    assert [round(loss, 4) for loss in losses] == [2.4540, 2.4546]


@needs_mirror
def test_shakespeare_by_seven_letters():
    parts = lm.data.splits("shakespeare", how="lecture")
    tok = lm.CharTokenizer.train(parts["train"])
    score = lm.evaluate(lm.KneserNey(7, 0.9).fit(parts["train"], tok), parts["val"], tok)
    assert math.isclose(score.nats_per_token, 1.5225, abs_tol=5e-4)
