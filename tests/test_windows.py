"""Every token is a target, its past before it, no window crosses a border; batch i knows no other batch."""
import numpy as np
import pytest
import torch
from hypothesis import assume, given
from hypothesis import strategies as st

import lmcore as lm
from lmcore.data.tokens import prepare, tokens
from lmcore.data.windows import Batches, borders, flat

docs = st.lists(st.lists(st.integers(1, 99), max_size=20), min_size=1, max_size=12)
sizes = st.tuples(st.integers(1, 3), st.integers(1, 8), st.integers(0, 9))      # B, T, seed


def windows(batch: Batches) -> list[tuple[int, int]]:
    return list(zip(batch.start.tolist(), batch.length.tolist()))


@given(docs, sizes)
def test_every_token_is_a_target_of_some_window(docs, sizes):
    _, T, _ = sizes
    for how in ("documents", "stream"):
        ids = flat(docs)
        seen = {i for start, n in windows(Batches(ids, 1, T, how)) for i in range(start, start + n)}
        assert seen == set(range(len(ids)))


@given(docs, sizes)
def test_without_overlap_only_the_last_window_of_a_document_sees_a_token_again(docs, sizes):
    _, T, _ = sizes
    found = Batches(flat(docs), 1, T).length
    assert sum(found) == sum(len(doc) + 1 if len(doc) < T else -(-(len(doc) + 1) // T) * T for doc in docs)


@given(docs, sizes)
def test_a_window_of_documents_crosses_no_border(docs, sizes):
    _, T, _ = sizes
    ids = flat(docs)
    ends = set(borders(ids).tolist())
    for start, n in windows(Batches(ids, 1, T)):
        assert not ends & set(range(start, start + n - 1))


@given(docs, sizes, st.sampled_from(["documents", "stream"]), st.integers(1, 5))
def test_what_a_model_sees_is_what_stands_before_what_it_guesses(docs, sizes, how, stride):
    B, T, seed = sizes
    ids = flat(docs * 3)
    assume(len(Batches(ids, 1, T, how, stride).start) >= B)
    batch = Batches(ids, B, T, how, stride, seed)
    before = np.append(0, ids)                                      # an end before the first of all
    for i in range(min(batch.per_epoch, 5)):
        X, Y = batch(i)
        for x, y, w in zip(X, Y, batch.chosen(i)):
            start, n = batch.start[w], batch.length[w]
            assert y[:n].tolist() == ids[start:start + n].tolist() and (y[n:] == -100).all()
            assert x[:n].tolist() == before[start:start + n].tolist() and (x[n:] == 0).all()


@given(docs, sizes, st.lists(st.integers(0, 60), min_size=1, max_size=8))
def test_a_batch_is_the_same_whatever_was_asked_before(docs, sizes, asked):
    B, T, seed = sizes
    often, ids = Batches(flat(docs * 3), B, T, seed=seed), flat(docs * 3)
    for i in asked:
        for a, b in zip(often(i), Batches(ids, B, T, seed=seed)(i)):
            assert torch.equal(a, b)


@given(docs, sizes)
def test_an_epoch_has_every_window_once(docs, sizes):
    B, T, seed = sizes
    batch = Batches(flat(docs * 3), B, T, seed=seed)
    rows = np.concatenate([batch.chosen(i) for i in range(batch.per_epoch)]).tolist()
    assert len(set(rows)) == len(rows) > len(batch.start) - B
    second = [batch.chosen(batch.per_epoch + i).tolist() for i in range(batch.per_epoch)]
    assert len({w for row in second for w in row}) == len(rows)


def test_stride_says_how_far_apart_windows_begin():
    ids = flat([range(1, 12)])                                          # twelve tokens with the end
    assert Batches(ids, 1, 4, stride=2).start.tolist() == [0, 2, 4, 6, 8]
    assert Batches(ids, 1, 5, stride=5).start.tolist() == [0, 5, 7]     # the last ends where the text ends
    assert Batches(ids, 1, 50, "stream").length.tolist() == [12]


def test_the_documents_of_a_batch_are_named():
    batch = Batches(flat([[1] * 3, [2] * 9, [3]]), 2, 4, seed=3)
    for i in range(batch.per_epoch):
        _, Y = batch(i)
        assert [int(y[y > 0][0]) - 1 if (y > 0).any() else 1 for y in Y] == batch.documents(i)


def test_a_token_file_gives_the_batches_of_its_documents(tmp_path):
    texts = ["a hen", "a cat sang", "an ox"] * 5
    tok = lm.CharTokenizer.train(texts)
    prepare(texts, tok, tmp_path / "text.bin")
    mapped = tokens(tmp_path / "text.bin", tok)
    assert isinstance(mapped, np.memmap)
    for ours, theirs in zip(Batches(mapped, 4, 6)(7), Batches(flat(map(tok.encode, texts)), 4, 6)(7)):
        assert torch.equal(ours, theirs)


def test_too_few_windows_are_refused():
    with pytest.raises(ValueError, match="2 documents do not fill a batch of 3: make the batch smaller"):
        Batches(flat([[1], [2]]), 3, 8)
    with pytest.raises(ValueError, match="2 windows do not fill a batch of 3"):
        Batches(flat([[1] * 7]), 3, 4)
