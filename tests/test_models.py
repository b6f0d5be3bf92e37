"""Networks that see the last few tokens, and the loop that trains them."""
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

import lmcore as lm
from lmcore.models import MLP, sample, train, warmup_cosine
from lmcore.optim import SGD, AdamW

DOCS = ["anna", "ann", "nan", "hanna"]
TOK = lm.CharTokenizer.train(DOCS)      # • a h n
V, T, C, HIDDEN, B = 4, 3, 5, 7, 6


@pytest.fixture
def model() -> MLP:
    torch.manual_seed(1)
    return MLP(V, T, C, HIDDEN)


def test_windows_are_the_tokens_before_each_token():
    X, Y = lm.data.windows(["an", ""], TOK, T=2)
    assert X.tolist() == [[0, 0], [0, 1], [1, 3], [0, 0]]
    assert Y.tolist() == [1, 3, 0, 0]


@settings(deadline=None)
@given(st.lists(st.text("anh", max_size=9), min_size=1, max_size=5), st.integers(1, 9))
def test_windows_never_look_past_a_document(docs: list[str], T: int):
    apart = [lm.data.windows([doc], TOK, T) for doc in docs]
    for ours, theirs in zip(lm.data.windows(docs, TOK, T), zip(*apart)):
        assert torch.equal(ours, torch.cat(theirs))


@settings(deadline=None)
@given(st.text("anh", max_size=9), st.integers(1, 9))
def test_windows_side_by_side_give_the_document_back(doc: str, T: int):
    X, Y = lm.data.windows([doc], TOK, T)
    assert Y.tolist() == TOK.encode(doc) + [0]
    assert X[0].tolist() == [0] * T and torch.equal(X[1:, -1], Y[:-1]) and torch.equal(X[1:, :-1], X[:-1, 1:])


def test_an_mlp_equals_torch_in_value_and_gradient(model: MLP):
    X = torch.randint(V, (B, T))
    layers = nn.Embedding(V, C), nn.Flatten(), nn.Linear(T * C, HIDDEN), nn.Tanh(), nn.Linear(HIDDEN, V)
    theirs = nn.Sequential(*layers)
    ours = [model.embedding, model.hidden_weight, model.hidden_bias, model.out_weight, model.out_bias]
    with torch.no_grad():
        for p, q in zip(theirs.parameters(), ours):
            p.copy_(q.T if q is model.hidden_weight or q is model.out_weight else q)
    torch.testing.assert_close(model(X), theirs(X))
    for net in model, theirs:
        net(X).square().sum().backward()
    for p, q in zip(theirs.parameters(), ours):
        torch.testing.assert_close(p.grad, q.grad.T if p.shape != q.shape else q.grad)


def test_an_mlp_begins_near_the_uniform_guess():
    torch.manual_seed(3)
    X, Y = torch.randint(27, (1000, T)), torch.randint(27, (1000,))
    assert abs(F.cross_entropy(MLP(27)(X), Y).item() - math.log(27)) < 0.5


def test_log_probs_are_those_of_the_windows(model: MLP):
    X, Y = lm.data.windows(["hanna"], TOK, T)
    ids = TOK.encode("hanna") + [TOK.end]
    wanted = model(X).log_softmax(-1)[range(len(Y)), Y]
    torch.testing.assert_close(model.log_probs(ids), wanted.detach())


def test_probs_continue_a_document_of_any_length(model: MLP):
    for doc in "", "a", "hannanna":
        every = torch.stack([model.log_probs(TOK.encode(doc) + [i])[-1] for i in range(V)])
        torch.testing.assert_close(model.probs(TOK.encode(doc)), every.exp())
        assert abs(float(model.probs(TOK.encode(doc)).sum()) - 1) < 1e-5


def test_the_future_does_not_change_the_past(model: MLP):
    first, second = (model.log_probs(TOK.encode(doc)) for doc in ("hanna", "hanhh"))
    assert torch.equal(first[:3], second[:3]) and not torch.equal(first[3:], second[3:])


def test_one_batch_is_learnt_by_heart(model: MLP):
    X, Y = lm.data.windows(["anh"], TOK, T)
    losses = train(model, X, Y, AdamW(model.parameters(), 0.05), steps=200)
    assert losses[0] > 1 and losses[-1] < 0.01


def test_a_step_of_training_is_a_step_down_the_loss_of_its_rows(model: MLP):
    X, Y = lm.data.windows(DOCS, TOK, T)
    rows = torch.randint(len(X), (B,), generator=torch.Generator().manual_seed(4))
    loss = F.cross_entropy(model(X[rows]), Y[rows])
    params = list(model.parameters())
    wanted = [p - 0.1 * g for p, g in zip(params, torch.autograd.grad(loss, params))]
    assert train(model, X, Y, SGD(model.parameters(), 0.1), steps=1, batch=B, seed=4) == [loss.item()]
    for p, q in zip(model.parameters(), wanted):
        torch.testing.assert_close(p, q)


def test_the_seed_decides_the_batches():
    X, Y = lm.data.windows(DOCS, TOK, T)

    def run(seed: int) -> list[float]:
        torch.manual_seed(0)
        model = MLP(V, T, C, HIDDEN)
        return train(model, X, Y, SGD(model.parameters(), 0.1), 5, batch=2, seed=seed)

    assert run(1) == run(1) != run(2)


def test_the_schedule_moves_the_rate_and_gives_it_back(model: MLP):
    class Watched(SGD):
        def step(self) -> None:
            rates.append(self.lr)

    rates, optimiser = [], Watched(model.parameters(), 0.5)
    train(model, *lm.data.windows(DOCS, TOK, T), optimiser, 4, schedule=lambda progress: progress)
    assert rates == [0.0625, 0.1875, 0.3125, 0.4375] and optimiser.lr == 0.5


def test_training_tells_and_leaves_the_model_in_evaluation_mode(model: MLP, capsys: pytest.CaptureFixture):
    train(model, *lm.data.windows(DOCS, TOK, T), SGD(model.parameters(), 0.1), 3, sample=lambda: "ann")
    assert "step 3 " in (told := capsys.readouterr().out) and "ann" in told and told.count("\n") == 1
    assert not model.training


def test_a_label_for_every_place_is_averaged_over_all(model: MLP):
    class Each(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Parameter(torch.randn(V, V))

        def forward(self, X: torch.Tensor) -> torch.Tensor:
            return self.table[X]                                    # (B, T, V)

    each = Each()
    X, Y = torch.randint(V, (1, T)), torch.randint(V, (1, T))
    wanted = F.cross_entropy(each(X)[0], Y[0]).item()
    assert train(each, X, Y, SGD(each.parameters(), 0.1), 1) == pytest.approx([wanted])


def test_the_schedule_rises_straight_and_falls_to_nothing():
    assert [warmup_cosine(p) for p in (0, 0.05, 0.1)] == [0, 0.5, 1]
    assert warmup_cosine(0.55) == pytest.approx(0.5) and warmup_cosine(1) == pytest.approx(0)
    assert warmup_cosine(0, warmup=0) == 1


def test_samples_follow_the_probabilities(model: MLP):
    class Fork(MLP):
        def probs(self, ids: list[int]) -> torch.Tensor:
            return torch.tensor([[0, 0.25, 0, 0.75], [1, 0, 0, 0.0]][min(len(ids), 1)])

    texts = sample(Fork(V), TOK, 400, seed=5)
    assert set(texts) == {"a", "n"} and 0.68 < texts.count("n") / 400 < 0.82
    assert sample(model, TOK, 3, seed=1) == sample(model, TOK, 3, seed=1) != sample(model, TOK, 3, seed=2)


def test_a_text_without_end_stops_at_the_longest(model: MLP):
    with torch.no_grad():
        model.out_bias[0] = -1e9
    assert [len(text) for text in sample(model, TOK, 2, max_tokens=9)] == [9, 9]


def test_batches_hold_every_document_once_before_any_twice():
    docs = [[i] * (1 + i % 5) for i in range(1, 25)]
    first = [row for X, _ in lm.data.batches(docs, 4, 6) for row in X.tolist()]
    assert sorted(row[1] for row in first) == list(range(1, 25))


@given(st.lists(st.lists(st.integers(1, 9), max_size=6), min_size=3, max_size=9), st.integers(0, 5))
def test_a_batch_is_whole_documents_and_their_shifts(docs: list[list[int]], seed: int):
    for X, Y in lm.data.batches(docs, 3, 4, seed):
        for x, y in zip(X.tolist(), Y.tolist()):
            doc = [t for t in y if t != -100]
            assert doc[:-1] in docs and doc[-1] == 0
            assert x[:len(doc)] == [0, *doc[:-1]]


def test_fewer_documents_than_a_batch_are_refused():
    with pytest.raises(ValueError, match="2 documents do not fill a batch of 3"):
        next(lm.data.batches([[1], [2]], 3, 1))
