"""A grammar that writes texts, knows how probable each is, and what may truly come next.

It makes its choices from left to right, each with a probability that may depend on what was chosen before:
the hero's name fixes every later pronoun. A text is as probable as all its choices together. Reading goes the
other way: `advance` keeps every way to have written the text so far (a *live derivation*) with its
probability; what they write next is the true distribution of the next symbol.
Source: Rabiner 1989, sec. III.A, the forward algorithm. https://doi.org/10.1109/5.18626
"""
import re
from collections.abc import Callable, Iterator
from math import inf, log2
from pathlib import Path
from typing import NamedTuple

from lmcore.grammar.checking import check
from lmcore.grammar.choices import Choice, Env, GrammarError, Option
from lmcore.grammar.compiling import Compiler
from lmcore.grammar.dice import dice
from lmcore.grammar.probing import Probe, probes
from lmcore.grammar.reading import Tables
from lmcore.grammar.sentences import sentences
from lmcore.tokenizers import split_words

__all__ = ["Grammar", "GrammarError", "Probe", "State"]

Node = tuple[int, int, tuple, Env]  # place in `code`, characters of it read, where to return to, variables
END: Node = (0, 0, (), ())
FOLDERS = Path(__file__).parents[1] / "_data", Path(__file__).parents[2] / "data"  # installed, in a checkout


class State(NamedTuple):
    """Where the writing of a text may stand."""
    nodes: dict[Node, float]    # the live derivations; their probabilities, given the text, sum to 1
    log2p: float                # of all texts that begin so, in bits
    text: str


class Grammar:
    """A probabilistic attribute grammar, from TOML text. `Grammar.load` reads one from a file.

    Raises: GrammarError, with rule, line and reason, if the grammar is malformed.
    """

    def __init__(self, source: str, name: str = "grammar"):
        tables = Tables(source, name)
        compiled = Compiler(tables)
        self.source, self.slots, self.code, self.entry = source, tables.slots, compiled.code, compiled.entry
        self.probe_kinds = sorted({op.probe for op in self.code if isinstance(op, Choice) and op.probe})
        check(self.code, self.entry, list(self.slots))

    @classmethod
    def load(cls, name: str | Path) -> "Grammar":
        """The grammar of that name in `data`, such as "tales", or any file ending in .toml."""
        path = Path(name)
        if path.suffix != ".toml":
            path = next((f / f"{name}.toml" for f in FOLDERS if (f / f"{name}.toml").exists()), path)
        if not path.is_file():
            raise FileNotFoundError(f"no grammar {str(name)!r}: give the name of one in data, or a path "
                                    "ending in .toml")
        return cls(path.read_text(encoding="utf-8"), path.name)

    def sample(self, seed: int, n: int) -> list[tuple[str, float]]:
        """n texts, each with its log2 probability: the same on every machine."""
        below = dice(seed)
        return [self._write(below) for _ in range(n)]

    def _write(self, below: Callable[[int], int]) -> tuple[str, float]:
        text, weight, total = [], 1, 1
        for _, op, option, share, _ in self.derive(below):
            if option is None:
                text.append(op)
            else:
                weight, total = weight * option.weight, total * share
        return "".join(text), log2(weight) - log2(total)

    def derive(self, below: Callable[[int], int]) -> Iterator[tuple]:
        """Write one text, step by step: (depth, text or choice, option taken or None, total weight, env)."""
        pc, stack, env, steps = self.entry, [], (None,) * len(self.slots), 0
        while pc:
            op = self.code[pc]
            if isinstance(op, str):
                yield len(stack), op, None, 1, env
                pc += 1
            elif isinstance(op, int):
                pc = stack.pop() if stack else 0
            else:
                total, options = op.open(env)
                option = _pick(options, below(total) if len(options) > 1 else 0)
                yield len(stack), op, option, total, env
                stack.append(pc + 1)
                pc, env, steps = option.body, option.bind(env), steps + 1
                if steps > 10_000:
                    raise GrammarError(f"{op.where}: endless recursion, 10,000 choices in one text")

    def grow(self, pc: int, stack: tuple, env: Env, mass: float) -> Iterator[tuple[Node, float]]:
        """Follow choices until each way on has a text to write, or has ended."""
        op = self.code[pc]
        if isinstance(op, str):
            yield (pc, 0, stack, env), mass
        elif isinstance(op, int):
            if stack:
                yield from self.grow(*stack, env, mass)
            else:
                yield END, mass
        else:
            total, options = op.open(env)
            if not isinstance(self.code[pc + 1], int):  # else nothing is left here to come back to
                stack = pc + 1, stack
            for option in options:
                yield from self.grow(option.body, stack, option.bind(env), mass * option.weight / total)

    def start(self) -> State:
        nodes: dict[Node, float] = {}
        for node, mass in self.grow(self.entry, (), (None,) * len(self.slots), 1.0):
            nodes[node] = nodes.get(node, 0.0) + mass
        return State(nodes, 0.0, "")

    def advance(self, state: State, text: str) -> State:
        """Read more text (a character, a word, anything), and keep the derivations that write it."""
        chart: list[dict[Node, float]] = [state.nodes, *({} for _ in text)]     # after 0, 1, ... characters
        for i, nodes in enumerate(chart[:-1]):
            for (pc, read, stack, env), mass in nodes.items():
                rest = self.code[pc][read:]
                if len(rest) > len(text) - i:
                    if rest.startswith(text[i:]):
                        node = pc, read + len(text) - i, stack, env
                        chart[-1][node] = chart[-1].get(node, 0.0) + mass
                elif rest and text.startswith(rest, i):
                    j = i + len(rest)
                    for node, part in self.grow(pc + 1, stack, env, mass):
                        if j == len(text) or self.code[node[0]][:1] == text[j]:
                            chart[j][node] = chart[j].get(node, 0.0) + part
        total = sum(chart[-1].values())
        nodes = {node: mass / total for node, mass in chart[-1].items()} if total else {}
        return State(nodes, state.log2p + log2(total) if total else -inf, state.text + text)

    def read(self, text: str) -> State:
        """The state after `text`, which goes in slices whose probabilities no float is too small for."""
        state = self.start()
        for i in range(0, len(text), 200):
            state = self.advance(state, text[i:i + 200])
        return state

    def log_prob(self, text: str) -> float:
        """log2 of the probability of the whole text; -inf if the grammar cannot write it.

        Units:  bits.
        """
        state = self.read(text)
        last = state.nodes.get(END, 0.0)
        return state.log2p + log2(last) if last else -inf

    def next_probs(self, prefix: str | State, unit: str = "char") -> dict[str, float]:
        """The true distribution of the next character, or of the next piece of `split_words`; "" is the end.

        Raises: ValueError if the grammar cannot write the prefix, or the unit is neither "char" nor "word".
        """
        state = self.read(prefix) if isinstance(prefix, str) else prefix
        if unit not in ("char", "word"):
            raise ValueError(f'unit is "char" or "word", got {unit!r}')
        probs: dict[str, float] = {}
        if unit == "char":
            for (pc, read, _, _), mass in state.nodes.items():
                symbol = self.code[pc][read:read + 1]
                probs[symbol] = probs.get(symbol, 0.0) + mass
        else:
            for word, mass in self._next_words(state):
                probs[word] = probs.get(word, 0.0) + mass
        total = sum(probs.values())
        if not total:
            raise ValueError(f"the grammar cannot write {state.text[-60:]!r} here")
        return {symbol: mass / total for symbol, mass in probs.items()}

    def _next_words(self, state: State) -> Iterator[tuple[str, float]]:
        """Each way to write the next word. A word is known when the piece after it has begun."""
        tail = re.search(r"\s?\S*\Z", state.text)[0]
        before = split_words(tail)
        n = len(before)
        todo = [(tail, node, mass) for node, mass in state.nodes.items()]
        while todo:
            written, (pc, read, stack, env), mass = todo.pop()
            rest = self.code[pc][read:]
            pieces = split_words(written + rest)
            settled = len(pieces) > n + 1 and pieces[n + 1:] not in (["'"], ["’"])
            if settled or not rest:
                if pieces[:n] == before:
                    yield "".join(pieces[n:n + 1]), mass
            else:
                todo += [(written + rest, *grown) for grown in self.grow(pc + 1, stack, env, mass)]

    def accepts(self, text: str) -> bool:
        """Whether the grammar can write the whole text. `sentences` asks for one sentence at a time."""
        return self.log_prob(text) > -inf

    def ambiguous(self, seed: int, n: int) -> list[str]:
        """Those of n samples that can be written in more than one way."""
        return [text for text, log2p in self.sample(seed, n) if self.log_prob(text) - log2p > 1e-9]

    sentences, probes = sentences, probes  # long enough for files of their own


def _pick(options: list[Option], throw: int) -> Option:
    """The option on which the throw falls, each as wide as its weight."""
    for option in options:
        throw -= option.weight
        if throw < 0:
            return option
    raise AssertionError("the die has more faces than the options have weight")
