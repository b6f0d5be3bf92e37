"""Which sentences of a text are sound, whatever stands before them."""
import re
from collections import defaultdict
from collections.abc import Iterator
from functools import cache

from lmcore.grammar.choices import Choice, Env

CLOSERS = "”’»\"')"
SENTENCE = re.compile(rf"[^\n]*?(?:[.!?…]+[{CLOSERS}]*(?=\s|$)|(?=\n)|$)")


def sentences(grammar, text: str) -> list[tuple[str, bool]]:
    """Cut a text into sentences, and say of each whether the grammar can write it somewhere.

    A sentence ends at . ! ? or … with its closing marks before a space, or where the line ends. It is
    accepted if it can stand whole between two such ends in *some* text: its words agree with one another.
    Whether they agree with the sentences before it is what `Grammar.accepts` asks of the whole text.
    """
    found = [part.strip() for part in SENTENCE.findall(text) if part.strip()]
    return [(part, _somewhere(grammar, part)) for part in found]


def _somewhere(grammar, sentence: str) -> bool:
    starts, returns = _starts(grammar)
    code, after = grammar.code, {"", "\n"}  # what may follow the sentence
    if sentence.rstrip(CLOSERS)[-1:] in tuple(".!?…"):
        after.add(" ")
    chart: list[dict] = [starts.get(sentence[0], {}), *({} for _ in sentence)]  # as in `Grammar.advance`
    for i, nodes in enumerate(chart[:-1]):
        left = sentence[i:]
        for pc, read, stack, env in nodes:
            rest = code[pc][read:]
            if rest and left.startswith(rest):
                wanted = {left[len(rest)]} if len(rest) < len(left) else after
                for node in _grow(code, returns, wanted, pc + 1, stack, env):
                    if code[node[0]][:1] in wanted:
                        chart[i + len(rest)][node] = None
            elif rest.startswith(left) and rest[len(left)] in after:
                return True
    return bool(chart[-1])


def _grow(code: list, returns: dict, wanted: set[str], pc: int, stack: tuple | None,
          env: Env) -> Iterator[tuple]:
    """As `Grammar.grow`, but nobody knows what came before: `stack` may end in None, a return to any caller.

    Of the callers only those are tried that can go on with a `wanted` character.
    """
    todo, seen = [(pc, stack, env)], set()
    while todo:
        here = pc, stack, env = todo.pop()
        if here in seen:
            continue
        seen.add(here)
        op = code[pc]
        if isinstance(op, str):
            yield pc, 0, stack, env
        elif isinstance(op, Choice):
            todo += [(o.body, (pc + 1, stack), o.bind(env)) for o in op.ways(env)[1]]
        elif stack:
            todo.append((*stack, env))
        else:
            callers = {caller for char in wanted for caller in returns[op, char]}
            todo += [(caller, None, env) for caller in callers]


@cache
def _starts(grammar) -> tuple[dict[str, dict], dict[tuple[int, str], list[int]]]:
    """Where a sentence may begin, by its first character; where bodies return to, by the next character."""
    code, unknown = grammar.code, (None,) * len(grammar.slots)
    callers: dict[int, list[int]] = defaultdict(list, {grammar.entry: [0]})
    for pc, op in enumerate(code):
        for body in dict.fromkeys(o.body for o in op.options) if isinstance(op, Choice) else ():
            callers[body].append(pc + 1)
    anyhow = {(body, ""): places for body, places in callers.items()}
    ahead = {place: list(_grow(code, anyhow, {""}, place, None, unknown))
             for places in callers.values() for place in places}
    returns: dict[tuple[int, str], list[int]] = defaultdict(list)
    for body, places in callers.items():
        for place in places:
            for char in dict.fromkeys(code[node[0]][:1] for node in ahead[place]):
                returns[body, char].append(place)
    starts: dict[str, dict] = defaultdict(dict)
    for pc, read in _edges(grammar, callers):
        for node in [(pc, read, None, unknown)] if read else _grow(code, anyhow, {""}, pc, None, unknown):
            starts[code[node[0]][node[1]:node[1] + 1]][node] = None
    return starts, returns


def _edges(grammar, callers: dict) -> list[tuple[int, int]]:
    """The places, as (index in code, characters to skip), where a sentence can have just ended.

    "start", "stop" (after a full stop) and "inside" are carried along every way that a text can go.
    """
    code, todo, edges = grammar.code, [grammar.entry], {(grammar.entry, 0): None}
    before: dict[int, set[str]] = defaultdict(set, {grammar.entry: {"start"}})
    bodies = {op for op in code if isinstance(op, int)}  # what begins a body was met where it is called
    while todo:
        pc = todo.pop()
        op, after = code[pc], before[pc]
        if isinstance(op, str):
            ways, after = [pc + 1] if pc else [], {_follow(state, pc, op, edges) for state in after}
        elif isinstance(op, Choice):
            ways = [o.body for o in op.options]
            if "start" in after:
                edges[pc, 0] = None
        else:
            ways = callers[op]
        for way in ways:
            if not after <= before[way]:
                before[way] |= after
                todo.append(way)
    return [(pc, read) for pc, read in edges if read or pc not in bodies or pc == grammar.entry]


def _follow(state: str, pc: int, text: str, edges: dict) -> str:
    """The state after a text; notes in `edges` where in it a sentence begins."""
    for read, char in enumerate(text):
        if state == "start" and not char.isspace():
            edges[pc, read] = None
        if char == "\n" or (char.isspace() and state != "inside"):
            state = "start"
        elif char not in CLOSERS or state != "stop":
            state = "stop" if char in ".!?…" else "inside"
    return state
