"""Optimisers equal torch's, step for step, and refuse what cannot be a step; schedules; groups."""
import io
import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import Tensor, nn

import lmcore as lm
from lmcore.optim import SCHEDULES, SGD, AdamW, Muon, cosine, groups, linear, orthogonalise, wsd

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


def by_numbers(x: Tensor) -> Tensor:
    """The polynomial of `orthogonalise` on the singular values themselves, five times."""
    u, lengths, v = torch.linalg.svd(x, full_matrices=False)
    lengths = lengths / lengths.norm()
    for _ in range(5):
        lengths = 3.4445 * lengths - 4.7750 * lengths**3 + 2.0315 * lengths**5
    return u * lengths @ v


@settings(deadline=None, max_examples=20)
@given(st.integers(1, 40), st.integers(1, 40), st.integers(0, 99))
def test_orthogonalise_moves_the_singular_values_alone(rows, columns, seed):
    x = torch.randn(rows, columns, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
    torch.testing.assert_close(orthogonalise(x), by_numbers(x), rtol=1e-9, atol=1e-9)


@pytest.mark.parametrize("shape", [(48, 48), (30, 90), (90, 30)])
def test_what_is_orthogonalised_is_nearly_orthogonal(shape):
    generator = torch.Generator().manual_seed(1)
    u, v = (torch.linalg.qr(torch.randn(n, 30, generator=generator, dtype=torch.float64))[0] for n in shape)
    lengths = 10 ** torch.linspace(-1.5, 1.5, 30, dtype=torch.float64)      # a thousand times apart
    found = torch.linalg.svdvals(orthogonalise(u * lengths @ v.T))[:30]
    assert found[2:25].min() > 0.65 and found.max() < 1.25
    equal = orthogonalise(u @ v.T)
    torch.testing.assert_close(equal / equal.norm(), u @ v.T / 30**0.5)     # equal ones stay equal


def test_a_gradient_of_zeros_is_no_way():
    assert orthogonalise(torch.zeros(3, 4)).eq(0).all()


torch_muon = pytest.mark.skipif(not hasattr(torch.optim, "Muon"), reason="this torch has no Muon")


class Exact(Tensor):
    """What torch's Muon would round to bfloat16 stays as it is."""

    def bfloat16(self) -> Tensor:
        return self.clone()


@torch_muon
@pytest.mark.parametrize("decay", [0.0, 0.3])
def test_muon_equals_torch_step_for_step(decay):
    def walk_matrices(make):
        generator = torch.Generator().manual_seed(3)
        params = [torch.randn(s, generator=generator, dtype=torch.float64) for s in ((6, 15), (15, 6))]
        optimiser = make(params)
        for _ in range(30):
            for p in params:
                p.grad = torch.randn(p.shape, generator=generator, dtype=torch.float64).as_subclass(Exact)
            optimiser.step()
        return [p.as_subclass(Tensor) for p in params]

    found = walk_matrices(lambda p: Muon(p, 0.01, 0.9, decay))
    wanted = walk_matrices(lambda p: torch.optim.Muon(p, 0.01, decay, 0.9, adjust_lr_fn="match_rms_adamw"))
    torch.testing.assert_close(found, wanted, rtol=1e-12, atol=1e-12)


def test_a_step_of_muon_is_as_long_as_one_of_adam():
    p, q = (torch.zeros(64, 48, requires_grad=True) for _ in range(2))
    p.grad = q.grad = torch.randn(64, 48, generator=torch.Generator().manual_seed(4))
    Muon([p], 0.1).step()
    AdamW([q], 0.1).step()
    assert q.detach().square().mean().sqrt() == pytest.approx(0.1, rel=1e-4)
    assert p.detach().square().mean().sqrt() == pytest.approx(0.2 * 0.1, rel=0.2)   # as of an Adam under way


def test_muon_in_bfloat16_goes_the_same_way():
    start = torch.randn(48, 64, generator=torch.Generator().manual_seed(5))
    params = [torch.zeros(48, 64, requires_grad=True) for _ in range(2)]
    for p, half in zip(params, (False, True)):
        p.grad = start.clone()
        Muon([p], 0.1, half=half).step()
    assert params[1].dtype == torch.float32 and not params[0].equal(params[1])
    assert torch.cosine_similarity(*(p.detach().flatten() for p in params), dim=0) > 0.99


def test_muon_goes_on_exactly_from_its_saved_state():
    def step(p, optimiser, seed):
        p.grad = torch.randn(5, 8, generator=torch.Generator().manual_seed(seed))
        optimiser.step()

    p, file = torch.ones(5, 8), io.BytesIO()
    first = Muon([p], 0.1)
    step(p, first, 0)
    q = p.clone()
    torch.save(first.state_dict(), file)
    file.seek(0)
    second = Muon([q], 0.5)
    second.load_state_dict(torch.load(file, weights_only=True))
    for seed in (1, 2):
        step(p, first, seed)
        step(q, second, seed)
    assert p.equal(q)


def test_muon_takes_matrices_alone():
    with pytest.raises(ValueError, match=r"for matrices, got a parameter of shape \(5,\)"):
        Muon([torch.zeros(5, 3), torch.zeros(5)], 0.1)
    with pytest.raises(ValueError, match="lr must be above 0"):
        Muon([torch.zeros(5, 3)], 0.0)


@pytest.mark.parametrize("tied", [True, False])
def test_matrices_are_decayed_and_gains_biases_and_tables_are_not(tied):
    model = lm.GPT(lm.GPTConfig(vocab_size=9, n_embd=8, n_layer=1, n_head=2, ffn_bias=True, tied=tied))
    found = {group["name"]: group for group in groups(model, 0.1, 0.3, 0.5)}
    names = {id(p): name for name, p in model.named_parameters()}
    members = {kind: {names[id(p)] for p in group["params"]} for kind, group in found.items()}
    assert members["tables"] == {"tokens.weight", "places.weight"}
    assert members["matrices"] == {f"blocks.0.{part}.weight" for part in
                                   ("attention.qkv", "attention.out", "ffn.up", "ffn.down")} | (
                                       set() if tied else {"head.weight"})
    assert set().union(*members.values()) == set(names.values())
    assert [found[kind]["weight_decay"] for kind in ("matrices", "vectors", "tables")] == [0.5, 0, 0]
    assert [found[kind]["lr"] for kind in ("matrices", "vectors", "tables")] == [0.1, 0.1, 0.3]


def test_a_kind_that_a_model_lacks_makes_no_group_and_tables_take_the_common_rate():
    torch.optim.AdamW(groups(nn.Linear(3, 2, bias=False), 0.1))
    assert [(g["name"], g["lr"]) for g in groups(nn.Embedding(4, 2), 0.1)] == [("tables", 0.1)]


@pytest.mark.parametrize("schedule", SCHEDULES.values())
def test_schedules_reach_their_peak_and_their_floor_at_the_named_steps(schedule):
    shares = [schedule(step, 100, warmup=10, floor=0.1) for step in range(101)]
    assert shares[0] == pytest.approx(1 / 11) and shares[10] == max(shares) == 1
    assert shares[9] == pytest.approx(10 / 11)
    assert shares[99] > shares[100] == pytest.approx(0.1)
    assert schedule(500, 100, 10, 0.1) == pytest.approx(0.1)
    assert schedule(0, 100) == 1                    # without a rise


@settings(deadline=None, max_examples=50)
@given(st.sampled_from([*SCHEDULES.values()]), st.integers(2, 500), st.data(), st.floats(0, 1))
def test_schedules_rise_then_never_rise_again(schedule, steps, data, floor):
    warmup = data.draw(st.integers(0, steps // 2))
    shares = [schedule(step, steps, warmup, floor) for step in range(steps + 2)]
    assert all(0 <= share <= 1 for share in shares)
    assert shares[:warmup + 1] == sorted(shares[:warmup + 1])
    assert all(a >= b - 1e-12 for a, b in zip(shares[warmup:], shares[warmup + 1:]))


def test_half_way_down_each_schedule_has_its_own_share():
    assert cosine(60, 100, 20) == pytest.approx(0.5)
    assert cosine(40, 100, 20) == pytest.approx((1 + math.sqrt(0.5)) / 2)
    assert linear(40, 100, 20) == pytest.approx(0.75)
    assert [wsd(step, 100, 20) for step in (60, 80, 90)] == pytest.approx([1, 1, 0.5])
    assert wsd(99, 100, decay=0) == 1


@pytest.mark.parametrize("schedule", SCHEDULES.values())
@pytest.mark.parametrize("warmup", [-1, 10])
def test_a_rise_must_be_shorter_than_the_run(schedule, warmup):
    with pytest.raises(ValueError, match="shorter than the run of 10 steps"):
        schedule(3, 10, warmup)
