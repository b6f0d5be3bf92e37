"""Numbers that remember how they were made, and so can say how a result depends on each of them.

Source: Linnainmaa 1970; Rumelhart, Hinton & Williams 1986, Learning representations by
        back-propagating errors.
"""
import math
import random
from collections.abc import Sequence


class Value:
    """A number, the numbers it was made from, and its slope with respect to each of them.

    `grad` is how fast a result grows with this number, once the result's `backward` was called; calls add up.
    """

    def __init__(self, data: float, parents: tuple["Value", ...] = (), slopes: tuple[float, ...] = (),
                 op: str = ""):
        self.data, self.grad = data, 0.0
        self.parents, self.slopes, self.op = parents, slopes, op

    def __repr__(self) -> str:
        return f"Value({self.data:.4g}, grad={self.grad:.4g})"

    def __add__(self, other: "Value | float") -> "Value":
        other = as_value(other)
        return Value(self.data + other.data, (self, other), (1.0, 1.0), "+")

    def __mul__(self, other: "Value | float") -> "Value":
        other = as_value(other)
        return Value(self.data * other.data, (self, other), (other.data, self.data), "×")

    def __pow__(self, n: float) -> "Value":
        if isinstance(n, Value):
            raise TypeError(f"the exponent must be a plain number, got {n}; write (n * x.log()).exp()")
        return Value(self.data**n, (self,), (n * self.data ** (n - 1),), f"^{n}")

    def exp(self) -> "Value":
        y = math.exp(self.data)
        return Value(y, (self,), (y,), "exp")

    def log(self) -> "Value":
        return Value(math.log(self.data), (self,), (1 / self.data,), "log")

    def tanh(self) -> "Value":
        y = math.tanh(self.data)
        return Value(y, (self,), (1 - y**2,), "tanh")

    def relu(self) -> "Value":
        return Value(max(0.0, self.data), (self,), (float(self.data > 0),), "relu")

    def __neg__(self) -> "Value":
        return self * -1.0

    def __sub__(self, other: "Value | float") -> "Value":
        return self + -as_value(other)

    def __truediv__(self, other: "Value | float") -> "Value":
        return self * as_value(other) ** -1

    __radd__, __rmul__ = __add__, __mul__

    def __rsub__(self, other: float) -> "Value":
        return -self + other

    def __rtruediv__(self, other: float) -> "Value":
        return as_value(other) / self

    def backward(self) -> None:
        """Add to the grad of every number below this one how fast this one grows with it."""
        flow = {self: 1.0}
        for value in reversed(topological_order(self)):
            value.grad += flow[value]
            for parent, slope in zip(value.parents, value.slopes):
                flow[parent] = flow.get(parent, 0.0) + slope * flow[value]


def as_value(x: "Value | float") -> Value:
    """The number itself, wrapped if it is a plain one."""
    return x if isinstance(x, Value) else Value(float(x))


def topological_order(root: Value) -> list[Value]:
    """Every number below root and root itself, each after all the numbers it was made from.

    A stack instead of recursion, so that long chains do not exhaust Python's.
    Source: Tarjan 1976, Edge-disjoint spanning trees and depth-first search.
    """
    order, seen, stack = [], set(), [(root, False)]
    while stack:
        value, done = stack.pop()
        if done:
            order.append(value)
        elif value not in seen:
            seen.add(value)
            stack.append((value, True))
            stack.extend((parent, False) for parent in value.parents)
    return order


class Neuron:
    """One unit: a weighted sum of its inputs, a bias, and tanh unless it is told to stay linear."""

    def __init__(self, n_in: int, rng: random.Random, linear: bool = False):
        self.weights = [Value(rng.uniform(-1, 1)) for _ in range(n_in)]
        self.bias, self.linear = Value(0.0), linear

    def __call__(self, inputs: Sequence[Value | float]) -> Value:
        total = sum((w * x for w, x in zip(self.weights, inputs)), self.bias)
        return total if self.linear else total.tanh()

    def parameters(self) -> list[Value]:
        return [*self.weights, self.bias]


class MLP:
    """Layers of units, each layer fed by all units of the layer before; the last one is linear.

    Raises: ValueError if an input has another length than the first layer wants.
    """

    def __init__(self, sizes: Sequence[int], seed: int = 0):
        rng, last = random.Random(seed), len(sizes) - 2
        self.n_in = sizes[0]
        self.layers = [[Neuron(a, rng, linear=i == last) for _ in range(b)]
                       for i, (a, b) in enumerate(zip(sizes, sizes[1:]))]

    def __call__(self, inputs: Sequence[Value | float]) -> list[Value]:
        if len(inputs) != self.n_in:
            raise ValueError(f"this network takes {self.n_in} numbers, got {len(inputs)}")
        for layer in self.layers:
            inputs = [neuron(inputs) for neuron in layer]
        return inputs

    def parameters(self) -> list[Value]:
        return [p for layer in self.layers for neuron in layer for p in neuron.parameters()]
