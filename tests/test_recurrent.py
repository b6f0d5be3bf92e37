"""Networks with a memory: torch's in value and gradient; documents do not know of each other; learning."""
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import lmcore as lm
from lmcore.models import sample, train
from lmcore.optim import AdamW
from lmcore.recurrent import END, GRU, LSTM, RNN, SKIP, Recurrent, pack

B, T, V, C, H = 3, 7, 11, 5, 6
KINDS = pytest.mark.parametrize("kind", [RNN, GRU, LSTM])


def network(kind: type[Recurrent]) -> Recurrent:
    torch.manual_seed(1)
    model = kind(V, C, H)
    model.out.weight.data *= 10         # so that guesses differ
    return model


def torch_s(model: Recurrent) -> nn.RNNBase:
    """torch's network with the same weights."""
    other = getattr(nn, type(model).__name__)(C, H, batch_first=True)
    for name, layer in ("ih", model.read), ("hh", model.recall):
        getattr(other, f"weight_{name}_l0").data = layer.weight.data.T.clone()
        getattr(other, f"bias_{name}_l0").data = layer.bias.data.clone()
    return other


@KINDS
def test_it_is_torch_s_network_in_value_and_gradient(kind):
    model, x = network(kind), torch.randn(B, T, C)
    other = torch_s(model)
    ours = model.memories(x, torch.zeros(B, T, dtype=bool))[..., :H]
    theirs, _ = other(x)
    torch.testing.assert_close(ours, theirs)
    weights = [model.read.weight, model.recall.weight, model.read.bias, model.recall.bias]
    mine = torch.autograd.grad(ours.square().sum(), weights)
    found = torch.autograd.grad(theirs.square().sum(), list(other.parameters()))
    for a, b in zip(mine, found):
        torch.testing.assert_close(a.T if a.ndim == 2 else a, b, rtol=1e-4, atol=1e-5)


@KINDS
@settings(deadline=None, max_examples=20)
@given(docs=st.lists(st.lists(st.integers(1, V - 1), max_size=6), min_size=1, max_size=4))
def test_documents_in_one_row_do_not_know_of_each_other(kind, docs):
    model, row = network(kind), [token for doc in docs for token in [END, *doc]]
    together = model(torch.tensor([row]))[0]
    apart = torch.cat([model(torch.tensor([[END, *doc]]))[0] for doc in docs])
    torch.testing.assert_close(together, apart)


@KINDS
def test_a_later_token_changes_no_earlier_guess(kind):
    model, ids = network(kind), torch.randint(1, V, (1, T))
    before = model(ids)
    ids[0, 4] = ids[0, 4] % (V - 1) + 1
    after = model(ids)
    assert torch.equal(before[:, :4], after[:, :4])
    assert (before[:, 4:] != after[:, 4:]).any(-1).all()


@KINDS
def test_log_probs_are_those_of_probs_token_by_token(kind):
    model, ids = network(kind), [3, 1, 4, END]
    slowly = torch.stack([model.probs(ids[:i]).log()[token] for i, token in enumerate(ids)])
    torch.testing.assert_close(model.log_probs(ids), slowly)
    torch.testing.assert_close(model.probs(ids).sum(), torch.tensor(1.0))


@KINDS
def test_it_begins_near_the_uniform_guess(kind):
    torch.manual_seed(3)
    X = torch.randint(27, (50, 20))
    assert abs(F.cross_entropy(kind(27)(X).flatten(0, 1), X.flatten()).item() - math.log(27)) < 0.05


@pytest.mark.parametrize("kind, between", [(RNN, "r"), (GRU, "rst"), (LSTM, "rst")])
def test_it_learns_to_remember_a_letter(kind, between):
    docs = [a + between + a for a in "ab"]
    tok = lm.CharTokenizer.train(docs)
    n = len(docs[0]) + 1
    X, Y = pack(docs, tok, n)
    torch.manual_seed(0)
    model = kind(tok.vocab_size, C, hidden=16)
    train(model, X, Y, AdamW(model.parameters(), 0.05), 200, batch=4)
    guesses = lm.evaluate(model, docs, tok).nats_per_token * n
    assert guesses < 1.1 * math.log(2)          # only the first letter is a guess, between a and b
    assert set(sample(model, tok, 10)) <= set(docs)


def test_a_network_that_does_not_say_its_step_is_refused():
    with pytest.raises(NotImplementedError, match="says what its step does"):
        Recurrent(V)(torch.zeros(1, 1, dtype=int))


@settings(deadline=None)
@given(docs=st.lists(st.text("abc", max_size=7), min_size=1, max_size=8), width=st.integers(8, 20))
def test_packed_rows_hold_every_token_of_every_document_once(docs: list[str], width: int):
    tok = lm.CharTokenizer.train(["abc"])
    X, Y = pack(docs, tok, width)
    assert X.shape == Y.shape == (len(X), width)
    real = Y != SKIP
    assert Y[real].tolist() == [i for doc in docs for i in [*tok.encode(doc), END]]
    assert X[real].tolist() == [i for doc in docs for i in [END, *tok.encode(doc)]]
    assert (X[~real] == END).all()


def packed_loss(model: Recurrent, X: Tensor, Y: Tensor) -> float:
    return F.cross_entropy(model(X).flatten(0, 1), Y.flatten()).item()


def test_the_loss_of_packed_rows_is_the_loss_of_the_documents():
    docs, model = ["abba", "", "cab", "a"], network(GRU)
    tok = lm.CharTokenizer.train(docs)
    assert math.isclose(packed_loss(model, *pack(docs, tok, 6)), lm.evaluate(model, docs, tok).nats_per_token,
                        rel_tol=1e-5)


def test_a_document_longer_than_a_row_is_refused():
    tok = lm.CharTokenizer.train(["abc"])
    assert pack(["abc"], tok, 4)[0].tolist() == [[END, 1, 2, 3]]
    with pytest.raises(ValueError, match="3 tokens and its end do not fit into rows of 3"):
        pack(["abc"], tok, 3)
