"""The parts of a network: each equal to torch's in value and in every gradient."""
import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

from lmcore.layers import BatchNorm1d, Embedding, LayerNorm, Linear, Sequential, Tanh

B, T, C, OUT, V = 6, 5, 3, 7, 11
F64 = torch.float64


def agree(ours: nn.Module, theirs: nn.Module, x: Tensor, tol: float = 1e-10) -> None:
    """Same output, same gradients of the input and of all parameters (Linear's weight is turned)."""
    a, b = (x.clone().requires_grad_(x.is_floating_point()) for _ in range(2))
    y, z = ours(a), theirs(b)
    torch.testing.assert_close(y, z, atol=tol, rtol=0)
    push = torch.randn_like(y)
    (y * push).sum().backward()
    (z * push).sum().backward()
    if a.requires_grad:
        torch.testing.assert_close(a.grad, b.grad, atol=tol, rtol=0)
    mine, other = dict(ours.named_parameters()), dict(theirs.named_parameters())
    assert mine.keys() == other.keys()
    for name, p in mine.items():
        wanted = other[name].grad.T if isinstance(ours, Linear) and p.ndim == 2 else other[name].grad
        torch.testing.assert_close(p.grad, wanted, atol=tol, rtol=0)


@pytest.mark.parametrize("bias", [True, False])
def test_linear_is_torch_s_with_the_weight_turned(bias: bool):
    ours, theirs = Linear(C, OUT, bias).to(F64), nn.Linear(C, OUT, bias, dtype=F64)
    ours.weight.data = theirs.weight.data.T.clone()
    if bias:
        ours.bias.data = theirs.bias.data.clone()
    agree(ours, theirs, torch.randn(B, T, C, dtype=F64))


def test_linear_starts_with_outputs_as_spread_as_its_inputs():
    torch.manual_seed(1)
    assert Linear(500, 400)(torch.randn(200, 500)).std().item() == pytest.approx(1, abs=0.02)


def test_embedding_is_torch_s():
    ours, theirs = Embedding(V, C).to(F64), nn.Embedding(V, C, dtype=F64)
    ours.weight.data = theirs.weight.data.clone()
    agree(ours, theirs, torch.randint(V, (B, T)))


def test_tanh_is_torch_s():
    agree(Tanh(), nn.Tanh(), torch.randn(B, C, dtype=F64))


def test_sequential_is_its_layers_one_after_another():
    first, second = Linear(C, OUT), Tanh()
    x = torch.randn(B, C)
    assert torch.equal(Sequential(first, second)(x), second(first(x)))


def test_sequential_knows_the_parameters_of_its_layers_and_sets_their_mode():
    net = Sequential(Linear(C, OUT, bias=False), BatchNorm1d(OUT), Tanh(), Linear(OUT, V))
    assert sum(p.numel() for p in net.parameters()) == C * OUT + 2 * OUT + OUT * V + V
    assert not any(layer.training for layer in net.eval().layers)


@settings(deadline=None)
@given(rows=st.integers(2, 9), momentum=st.sampled_from([0.001, 0.1, 1.0]), steps=st.integers(1, 3))
def test_batchnorm_is_torch_s_in_training_and_in_evaluation(rows: int, momentum: float, steps: int):
    ours = BatchNorm1d(C, momentum=momentum).to(F64)
    ours.weight.data.normal_()
    ours.bias.data.normal_()
    theirs = nn.BatchNorm1d(C, momentum=momentum, dtype=F64)
    theirs.load_state_dict(ours.state_dict(), strict=False)     # torch counts batches besides
    for _ in range(steps):
        ours.zero_grad(), theirs.zero_grad()
        agree(ours, theirs, 2 * torch.randn(rows, C, dtype=F64) + 1, tol=1e-8)
    torch.testing.assert_close(ours.running_mean, theirs.running_mean)
    torch.testing.assert_close(ours.running_var, theirs.running_var)
    ours.zero_grad(), theirs.zero_grad()
    agree(ours.eval(), theirs.eval(), torch.randn(rows, C, dtype=F64))


def test_batchnorm_takes_its_statistics_over_every_axis_but_the_last():
    ours, theirs = BatchNorm1d(C).to(F64), nn.BatchNorm1d(C, dtype=F64)
    x = torch.randn(B, T, C, dtype=F64) + torch.arange(T, dtype=F64)[:, None]   # places differ
    torch.testing.assert_close(ours(x), theirs(x.flatten(0, 1)).view(B, T, C))
    torch.testing.assert_close(ours.running_var, theirs.running_var)


@settings(deadline=None)
@given(scale=st.floats(0.1, 100), shift=st.floats(-100, 100))
def test_scale_and_shift_of_the_input_do_not_matter_in_training(scale: float, shift: float):
    norm, x = BatchNorm1d(C, eps=0).to(F64), torch.randn(B, C, dtype=F64)
    torch.testing.assert_close(norm(scale * x + shift), norm(x), atol=1e-7, rtol=0)


def test_in_evaluation_a_row_does_not_depend_on_the_others():
    norm, x = BatchNorm1d(C).eval(), torch.randn(B, C)
    before = copy.deepcopy(norm.state_dict())
    assert torch.equal(norm(x)[2:3], norm(x[2:3]))
    assert all(torch.equal(before[name], value) for name, value in norm.state_dict().items())


@pytest.mark.parametrize("shape", [(1, C), (1, 1, C)])
def test_batchnorm_refuses_to_train_on_a_single_value(shape: tuple[int, ...]):
    with pytest.raises(ValueError, match=r"no spread: call eval\(\)"):
        BatchNorm1d(C)(torch.randn(shape))
    assert BatchNorm1d(C).eval()(torch.randn(shape)).isfinite().all()


@settings(deadline=None, max_examples=20)
@given(st.integers(2, 9), st.floats(0.1, 10), st.floats(-5, 5))
def test_layernorm_is_torch_s_in_value_and_in_every_gradient(width: int, scale: float, shift: float):
    ours, theirs = LayerNorm(width).to(F64), nn.LayerNorm(width, dtype=F64)
    for a, b in zip(ours.parameters(), theirs.parameters()):
        a.data = b.data = torch.randn(width, dtype=F64)
    agree(ours, theirs, scale * torch.randn(B, T, width, dtype=F64) + shift, tol=1e-9)


def test_layernorm_sees_one_token_at_a_time():
    norm, x = LayerNorm(C), torch.randn(B, T, C)
    y = norm(x)
    x[1:, 2:] = 7 * torch.randn(B - 1, T - 2, C)
    assert torch.equal(norm(x)[0], y[0]) and torch.equal(norm(x)[:, :2], y[:, :2])
