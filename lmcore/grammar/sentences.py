"""Which sentences of a text are sound, whatever stands before them."""
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from lmcore.grammar.reading import Choice, Env

CLOSERS = "”’»\"')"
SENTENCE = re.compile(rf"[^\n]*?(?:[.!?…]+[{CLOSERS}]*(?=\s|$)|(?=\n)|$)")


def sentences(grammar, text: str) -> list[tuple[str, bool]]:
    """Cut a text into sentences, and say of each whether the grammar can write it somewhere.

    A sentence ends at . ! ? or … with its closing marks before a space, or where the line ends. It is accepted
    if it can stand whole between two such ends in *some* text: its words agree with one another. Whether they
    agree with the sentences before it is what `Grammar.accepts` asks of the whole text.
    """
    found = [part.strip() for part in SENTENCE.findall(text) if part.strip()]
    return [(part, _somewhere(grammar, part)) for part in found]


def _somewhere(grammar, sentence: str) -> bool:
    starts, callers = _starts(grammar)
    env: Env = (None,) * len(grammar.slots)
    chart: list[set] = [set() for _ in range(len(sentence) + 1)]
    for pc, read in starts:
        chart[0].update([(pc, read, None, env)] if read else _grow(grammar, callers, pc, None, env))
    for i in range(len(sentence)):
        left = sentence[i:]
        for pc, read, stack, env in chart[i]:
            rest = grammar.code[pc][read:]
            if rest and left.startswith(rest):
                chart[i + len(rest)].update(_grow(grammar, callers, pc + 1, stack, env))
            elif rest.startswith(left):
                chart[-1].add((pc, read + len(left), stack, env))
    after = {grammar.code[pc][read:read + 1] for pc, read, _, _ in chart[-1]}
    whole = sentence.rstrip(CLOSERS)[-1:] in tuple(".!?…")
    return bool(after & ({"", "\n", " "} if whole else {"", "\n"}))


def _grow(grammar, callers: dict, pc: int, stack: tuple | None, env: Env) -> Iterator[tuple]:
    """As `Grammar.grow`, where nobody knows what came before: `stack` may end in None, a return to any caller."""
    todo, seen = [(pc, stack, env)], set()
    while todo:
        here = pc, stack, env = todo.pop()
        if here in seen:
            continue
        seen.add(here)
        op = grammar.code[pc]
        if isinstance(op, str):
            yield pc, 0, stack, env
        elif isinstance(op, Choice):
            todo += [(o.body, (pc + 1, stack), o.bind(env)) for o in op.options if o.allowed(env)]
        elif stack:
            todo.append((*stack, env))
        else:
            todo += [(caller, None, env) for caller in callers[op]]


@cache
def _starts(grammar) -> tuple[list[tuple[int, int]], dict[int, list[int]]]:
    """Where a sentence may begin: (place in code, characters to skip); and where each body returns to."""
    code = grammar.code
    callers: dict[int, list[int]] = defaultdict(list, {grammar.entry: [0]})
    for pc, op in enumerate(code):
        for body in dict.fromkeys(o.body for o in op.options) if isinstance(op, Choice) else ():
            callers[body].append(pc + 1)
    before: dict[int, set[str]] = defaultdict(set, {grammar.entry: {"start"}})
    todo, starts = [grammar.entry], {(grammar.entry, 0): None}
    entries = {op for op in code if isinstance(op, int)}
    while todo:  # carry "start", "stop" (after a full stop) and "inside" along every way
        pc = todo.pop()
        op, after = code[pc], before[pc]
        if isinstance(op, str):
            ways, after = [pc + 1] if pc else [], {_follow(state, pc, op, starts) for state in after}
        else:
            ways = [o.body for o in op.options] if isinstance(op, Choice) else callers[op]
        if pc not in entries and "start" in before[pc] and isinstance(op, Choice):
            starts[pc, 0] = None
        for way in ways:
            if not after <= before[way]:
                before[way] |= after
                todo.append(way)
    return [(pc, read) for pc, read in starts if read or pc not in entries or pc == grammar.entry], callers


def _follow(state: str, pc: int, text: str, starts: dict) -> str:
    for read, char in enumerate(text):
        if state == "start" and not char.isspace():
            starts[pc, read] = None
        if char == "\n" or char.isspace() and state != "inside":
            state = "start"
        elif not (char in CLOSERS and state == "stop"):
            state = "stop" if char in ".!?…" else "inside"
    return state
