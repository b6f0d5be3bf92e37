"""Numbers that know their slopes: equal to torch and to nudging, in the right order, at any depth."""
import math
import random

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from lmcore.autograd import MLP, Neuron, Value, topological_order

BINARY = [lambda a, b: a + b, lambda a, b: a - b, lambda a, b: a * b, lambda a, b: a / (b**2 + 1)]
UNARY = [lambda a: a.tanh(), lambda a: -a, lambda a: a**3, lambda a: a.relu(), lambda a: (a * 0.1).exp(),
         lambda a: (a * a + 1).log(), lambda a: 2 - a, lambda a: 1 / (a * a + 1), lambda a: 3 + 2 * a]


def grown(leaves: list, choices: list[tuple[int, int, int]]) -> list:
    """The leaves, and for each choice (operation, one number, another) a number made from earlier ones."""
    made = list(leaves)
    for op, i, j in choices:
        a, b = made[i % len(made)], made[j % len(made)]
        ops = BINARY + UNARY
        op = ops[op % len(ops)]
        made.append(op(a, b) if op in BINARY else op(a))
        made[-1] = made[-1].tanh()          # keeps numbers small, and makes shared numbers many
    return made


@settings(deadline=None)
@given(st.lists(st.tuples(*[st.integers(0, 99)] * 3), min_size=1, max_size=25),
       st.lists(st.floats(-2, 2).filter(lambda x: abs(x) > 1e-3), min_size=1, max_size=4))
def test_any_graph_has_the_gradients_of_torch(choices, starts):
    ours = [Value(x) for x in starts]
    theirs = [torch.tensor(x, dtype=torch.float64, requires_grad=True) for x in starts]
    top, reference = grown(ours, choices)[-1], grown(theirs, choices)[-1]
    top.backward()
    reference.backward()
    assert top.data == pytest.approx(reference.item(), abs=1e-12)
    for value, tensor in zip(ours, theirs):
        assert value.grad == pytest.approx(0.0 if tensor.grad is None else tensor.grad.item(), abs=1e-10)


@pytest.mark.parametrize("op", BINARY + UNARY)
def test_every_operation_has_the_slope_found_by_nudging(op):
    a, b, h = Value(0.7), Value(-1.3), 1e-6
    inputs = [a, b] if op in BINARY else [a]
    op(*inputs).backward()
    for value in inputs:
        middle, found = value.data, []
        for value.data in (middle + h, middle - h):
            found.append(op(*inputs).data)
        value.data = middle
        assert value.grad == pytest.approx((found[0] - found[1]) / (2 * h), abs=1e-6)


def test_a_number_comes_after_all_that_it_was_made_from():
    made = grown([Value(x) for x in (0.1, 0.2, 0.3)], [(n, n * 7, n * 3) for n in range(60)])
    order = topological_order(made[-1])
    place = {value: i for i, value in enumerate(order)}
    assert order[-1] is made[-1] and len(place) == len(order)
    assert all(place[parent] < place[value] for value in order for parent in value.parents)


def test_a_number_is_complete_before_it_passes_its_slope_on():
    a = Value(1.0)
    b = 2 * a
    c = b + 1
    (b + c).backward()
    assert (a.grad, b.grad, c.grad) == (4, 2, 1)


def test_a_number_used_twice_adds_up_both_ways():
    a = Value(3.0)
    (a + a).backward()
    assert a.grad == 2


def test_two_calls_add_up_where_graphs_share_a_number():
    a = Value(1.0)
    shared = 2 * a
    (shared + 1).backward()
    (shared * 3).backward()
    assert shared.grad == 1 + 3 and a.grad == 2 + 6


def test_a_chain_longer_than_python_s_stack_is_no_trouble():
    first = y = Value(0.0)
    for _ in range(20_000):
        y = y + 1
    y.backward()
    assert first.grad == 1


def test_paths_that_double_at_each_level_are_not_walked_one_by_one():
    first = y = Value(1.0)
    for _ in range(200):
        y = y + y
    y.backward()
    assert first.grad == 2.0**200 and len(topological_order(y)) == 201


def test_an_exponent_must_be_a_plain_number():
    with pytest.raises(TypeError, match="exponent must be a plain number"):
        Value(2.0) ** Value(3.0)


def test_plain_numbers_may_stand_on_either_side():
    a = Value(4.0)
    assert [x.data for x in (1 + a, 1 - a, 2 * a, 2 / a, a / 2, a - 1, -a)] == [5, -3, 8, 0.5, 2, 3, -4]


def test_a_neuron_is_tanh_of_a_weighted_sum():
    neuron = Neuron(2, random.Random(0))
    (w, v), b = (p.data for p in neuron.weights), 0.0
    assert neuron([0.5, -2.0]).data == pytest.approx(math.tanh(0.5 * w - 2 * v + b))
    assert len(neuron.parameters()) == 3


def test_an_mlp_equals_torch_in_value_and_gradient():
    net, x = MLP([3, 5, 4, 2], seed=1), [0.3, -1.2, 0.8]
    sizes = [(5, 3), (4, 5), (2, 4)]
    weights = [torch.tensor([[w.data for w in n.weights] for n in layer], dtype=torch.float64,
                            requires_grad=True) for layer in net.layers]
    assert [tuple(w.shape) for w in weights] == sizes and len(net.parameters()) == 20 + 24 + 10
    h = torch.tensor(x, dtype=torch.float64)
    for i, w in enumerate(weights):
        h = w @ h if i == 2 else (w @ h).tanh()                 # biases begin at 0
    h.square().sum().backward()
    out = net(x)
    sum(y**2 for y in out).backward()
    torch.testing.assert_close(torch.tensor([y.data for y in out], dtype=torch.float64), h.detach())
    for w, layer in zip(weights, net.layers):
        ours = torch.tensor([[p.grad for p in n.weights] for n in layer], dtype=torch.float64)
        torch.testing.assert_close(ours, w.grad, rtol=0, atol=1e-10)


def test_a_seed_gives_the_same_network():
    first, again, other = ([p.data for p in MLP([2, 3, 1], seed=s).parameters()] for s in (1, 1, 2))
    assert first == again != other


def test_an_input_of_another_length_is_refused():
    with pytest.raises(ValueError, match="takes 3 numbers, got 2"):
        MLP([3, 1])([1.0, 2.0])
