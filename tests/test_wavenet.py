"""The tree of neighbours: FlattenConsecutive and WaveNet."""
import math

import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import lmcore as lm
from lmcore.layers import BatchNorm1d, FastBatchNorm1d, FlattenConsecutive
from lmcore.models import WaveNet, train, warmup_cosine
from lmcore.optim import AdamW

V, C, HIDDEN, B = 5, 3, 6, 4


def wavenet(T: int = 8) -> WaveNet:
    torch.manual_seed(T)
    model = WaveNet(V, T, C, HIDDEN)
    for level in model.levels:          # statistics as after training, so that no two levels are alike
        level.layers[2].running_mean.normal_()
        level.layers[2].running_var.uniform_(0.5, 2)
    return model.eval()


def dilated(model: WaveNet, ids: Tensor) -> Tensor:
    """The tree's logits for every place of a text at once, by torch's dilated convolution.

    Shapes: ids (T,) -> (T - 7, V)
    """
    x = model.embedding(ids).T[None]                                        # (1, C, T)
    for i, level in enumerate(model.levels):
        _, linear, norm, _ = level.layers
        kernel = linear.weight.T.unflatten(1, (2, -1)).transpose(1, 2)      # (hidden, C, 2)
        x = F.conv1d(x, kernel, dilation=2**i)
        x = F.batch_norm(x, norm.running_mean, norm.running_var, norm.weight, norm.bias).tanh()
    return model.out(x[0].T)


@settings(deadline=None)
@given(st.integers(1, 4), st.integers(1, 4), st.integers(1, 5))
def test_neighbours_are_joined_in_order(T: int, n: int, channels: int):
    x = torch.randn(2, T * n, channels)
    wanted = torch.stack([torch.cat([x[:, t * n + i] for i in range(n)], 1) for t in range(T)], 1)
    assert torch.equal(FlattenConsecutive(n)(x), wanted.squeeze(1) if T == 1 else wanted)


def test_joining_all_places_is_torch_s_flatten():
    x = torch.randn(B, 7, C)
    assert torch.equal(FlattenConsecutive(7)(x), nn.Flatten()(x))


def test_a_batch_of_one_keeps_its_axis():
    assert FlattenConsecutive(2)(torch.randn(1, 2, C)).shape == (1, 2 * C)


def test_places_that_cannot_be_joined_evenly_are_refused():
    with pytest.raises(ValueError, match="7 places cannot be joined 2 by 2"):
        FlattenConsecutive(2)(torch.randn(B, 7, C))


@pytest.mark.parametrize("size", [(B, C), (B, 7, C)], ids=str)
def test_the_fast_batchnorm_is_the_one_by_hand_in_value_gradient_and_memory(size: tuple[int, ...]):
    x, layers = torch.randn(size, requires_grad=True), (BatchNorm1d(C), FastBatchNorm1d(C))
    first, second = (layer(x) for layer in layers)
    torch.testing.assert_close(first, second)
    torch.testing.assert_close(*(torch.autograd.grad(y.pow(3).sum(), x) for y in (first, second)))
    for name in "running_mean", "running_var":
        torch.testing.assert_close(*(getattr(layer, name) for layer in layers))
    torch.testing.assert_close(*(layer.eval()(x) for layer in layers))


@pytest.mark.parametrize("T", [0, 1, 6, 12])
def test_a_context_without_a_tree_is_refused(T: int):
    with pytest.raises(ValueError, match=f"got {T}"):
        WaveNet(V, T)


def test_the_lectures_network_has_as_many_parameters_as_theirs():
    assert sum(p.numel() for p in WaveNet(27).parameters()) == 76_579
    assert sum(p.numel() for p in WaveNet(27, C=10, hidden=68).parameters()) == 22_397


def test_the_tree_is_a_dilated_convolution_in_value_and_gradient():
    model, ids = wavenet(), torch.randint(V, (20,))
    tree, conv = model(ids.unfold(0, 8, 1)), dilated(model, ids)            # (13, V) each
    torch.testing.assert_close(tree, conv)
    for ours, theirs in zip(*(torch.autograd.grad(y.square().sum(), list(model.parameters()))
                              for y in (tree, conv))):
        torch.testing.assert_close(ours, theirs, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("T", [2, 4, 8, 16])
def test_every_token_of_the_context_counts_and_none_before_it(T: int):
    model, ids = wavenet(T), torch.randint(V, (30,))
    before = model.log_probs(ids.tolist())[-1]
    for back in range(1, 30):
        other = ids.clone()
        other[-1 - back] = (other[-1 - back] + 1) % V
        assert (model.log_probs(other.tolist())[-1] != before) == (back <= T)


def test_it_begins_near_the_uniform_guess():
    torch.manual_seed(3)
    X, Y = torch.randint(27, (1000, 8)), torch.randint(27, (1000,))
    assert abs(F.cross_entropy(WaveNet(27)(X), Y).item() - math.log(27)) < 0.05


def test_a_text_s_probabilities_do_not_depend_on_the_texts_beside_it():
    model = wavenet()
    model.log_probs([1, 2, 3])
    first = model.log_probs([4, 0])
    model.log_probs([2] * 50)
    assert torch.equal(first, model.log_probs([4, 0]))


def test_it_learns_what_lies_eight_letters_back():
    docs = [a + "xyzxyzx" + a for a in "ab"]
    tok = lm.CharTokenizer.train(docs)
    X, Y = lm.data.windows(docs, tok, 8)
    torch.manual_seed(0)
    model = WaveNet(tok.vocab_size, 8, C, hidden=16)
    train(model, X, Y, AdamW(model.parameters(), 0.02), 300, schedule=warmup_cosine)
    guesses = lm.evaluate(model, docs, tok).nats_per_token * len("axyzxyzxa•")
    assert guesses < 1.1 * math.log(2)          # only the first letter is a guess, between a and b
