"""Optimisers equal torch's, step for step, and refuse what cannot be a step."""
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor

from lmcore.optim import SGD, AdamW

C, V = 5, 3


def walk(make, seed: int, steps: int = 60) -> list[list[Tensor]]:
    """The parameters after each step of an optimiser that is handed random gradients of many sizes.

    Gradients of a loss would grow rounding errors: an optimiser that divides by a small number is chaotic.
    """
    generator = torch.Generator().manual_seed(seed)
    params = [torch.randn(*shape, generator=generator, dtype=torch.float64) for shape in ((C, V), (V,))]
    optimiser, found = make(params), []
    for _ in range(steps):
        for p in params:
            size = 10 ** (4 * torch.rand((), generator=generator) - 2)
            p.grad = size * torch.randn(p.shape, generator=generator, dtype=torch.float64)
        optimiser.step()
        found.append([p.clone() for p in params])
    return found


def check_walks(ours, theirs, seed: int) -> None:
    for a, b in zip(walk(ours, seed), walk(theirs, seed)):
        torch.testing.assert_close(a, b, rtol=1e-12, atol=1e-12)


@settings(deadline=None, max_examples=20)
@given(st.floats(1e-4, 0.5), st.sampled_from([0, 0.3, 0.9]), st.integers(0, 99))
def test_sgd_equals_torch_step_for_step(lr, momentum, seed):
    check_walks(lambda p: SGD(p, lr, momentum), lambda p: torch.optim.SGD(p, lr, momentum), seed)


@settings(deadline=None, max_examples=20)
@given(st.floats(1e-4, 0.1), st.sampled_from([0, 0.01, 0.3]),
       st.sampled_from([(0.9, 0.999), (0.5, 0.8), (0.0, 0.9)]), st.integers(0, 99))
def test_adamw_equals_torch_step_for_step(lr, decay, betas, seed):
    check_walks(lambda p: AdamW(p, lr, betas, weight_decay=decay),
                lambda p: torch.optim.AdamW(p, lr, betas, weight_decay=decay), seed)


def test_without_decay_adamw_is_adam():
    check_walks(lambda p: AdamW(p, 0.01, weight_decay=0), lambda p: torch.optim.Adam(p, 0.01), 1)


def test_decay_of_sgd_is_a_square_in_the_loss_and_of_adam_it_is_not():
    x = torch.tensor([3.0, -1.0], dtype=torch.float64)
    ends = {}
    for name, make in {"adam": lambda p: AdamW(p, 0.1, weight_decay=0),
                       "adamw": lambda p: AdamW(p, 0.1, weight_decay=0.5)}.items():
        p = x.clone().requires_grad_()
        optimiser = make([p])
        loss = (p * torch.tensor([100.0, 0.01])).sum() + (0.25 * p.square().sum() if name == "adam" else 0)
        loss.backward()
        optimiser.step()
        ends[name] = p.detach()
    torch.testing.assert_close(ends["adam"], x - 0.1 * torch.tensor([1.0, -1.0]), check_dtype=False,
                               rtol=0, atol=1e-6)               # only the sign of the sum counts
    torch.testing.assert_close(ends["adamw"], 0.95 * x - 0.1, rtol=0, atol=1e-6)


def test_the_first_step_of_adam_is_lr_however_small_the_gradient():
    p = torch.tensor([1.0, 1.0], dtype=torch.float64, requires_grad=True)
    (p * torch.tensor([1e-3, 1e3])).sum().backward()
    AdamW([p], 0.1, weight_decay=0).step()
    torch.testing.assert_close(p.detach(), torch.full_like(p, 0.9), rtol=0, atol=1e-5)


@pytest.mark.parametrize("make", [SGD, AdamW])
def test_zero_grad_forgets(make):
    params = [torch.randn(C, V, requires_grad=True), torch.randn(V, requires_grad=True)]
    optimiser = make(params, 0.1)
    params[0].matmul(params[1]).sum().backward()
    optimiser.zero_grad()
    assert all(p.grad is None for p in params)


@pytest.mark.parametrize("make", [SGD, AdamW])
def test_a_step_without_a_gradient_is_refused(make):
    p, q = (torch.ones(2, 3, requires_grad=True) for _ in range(2))
    p.sum().backward()
    with pytest.raises(ValueError, match=r"no gradient for shapes \[\(2, 3\)\]: call backward"):
        make([p, q], 0.1).step()


@pytest.mark.parametrize("make", [SGD, AdamW])
@pytest.mark.parametrize("lr", [0, -1])
def test_a_rate_must_be_positive(make, lr):
    with pytest.raises(ValueError, match="lr must be above 0"):
        make([torch.ones(1)], lr)


def test_what_is_remembered_must_fade():
    with pytest.raises(ValueError, match=r"momentum in \[0, 1\)"):
        SGD([torch.ones(1)], 0.1, momentum=1)
    with pytest.raises(ValueError, match=r"betas in \[0, 1\)"):
        AdamW([torch.ones(1)], 0.1, betas=(0.9, 1.0))


def test_a_generator_of_parameters_is_enough():
    p = torch.ones(2, requires_grad=True)
    p.sum().backward()
    SGD((x for x in [p]), 0.5).step()
    assert p.tolist() == [0.5, 0.5]
