"""Prove on loading that a grammar can always go on, can always end, and asks for nothing not yet chosen."""
from collections.abc import Iterator
from itertools import product
from math import prod

from lmcore.grammar.choices import Choice, Env, GrammarError, Option, replaced

FEW = 20_000  # so many combinations of records are tried, one by one; beyond, an error waits until it happens
Code = list[str | int | Choice]


def check(code: Code, entry: int, slots: list[str]) -> None:
    """Refuse a grammar that could fail while it writes.

    Raises: GrammarError, with rule, line and reason.
    """
    choices = [op for op in dict.fromkeys(code) if isinstance(op, Choice)]
    shortest = _shortest(code, choices)
    for choice in choices:
        if _length(choice, shortest) is None:
            raise GrammarError(f"{choice.where}: endless recursion, no way through it ever ends")
    if not shortest[entry]:
        raise GrammarError(f"{code[entry].where}: can write an empty text; it must write something")
    looked: dict[int, bool] = {}
    for choice in choices:
        for option in choice.options:
            _no_loop(code, option.body, shortest, looked)
    _bound_after(code, entry, frozenset(), slots, {})
    tests = _tests(choices)
    for choice in choices:
        _never_stuck(choice, tests, len(slots))


def _ops(code: Code, body: int) -> Iterator[str | Choice]:
    while not isinstance(code[body], int):
        yield code[body]
        body += 1


def _length(op: str | Choice, shortest: dict[int, int]) -> int | None:
    if isinstance(op, str):
        return len(op)
    return min((shortest[o.body] for o in op.options if o.body in shortest), default=None)


def _shortest(code: Code, choices: list[Choice]) -> dict[int, int]:
    """The least number of characters each body writes; a body that never ends is missing."""
    bodies = [at for at, op in enumerate(code) if isinstance(op, int)]
    shortest: dict[int, int] = {}
    changed = True
    while changed:
        changed = False
        for body in {code[at] for at in bodies}:
            lengths = [_length(op, shortest) for op in _ops(code, body)]
            if None not in lengths and sum(lengths) < shortest.get(body, sum(lengths) + 1):
                shortest[body], changed = sum(lengths), True
    return shortest


def _no_loop(code: Code, body: int, shortest: dict[int, int], looked: dict[int, bool]) -> None:
    """Refuse a rule that comes back to itself before it has written a character."""
    if looked.get(body):
        return
    looked[body] = False  # being looked at
    for op in _ops(code, body):
        for option in op.options if isinstance(op, Choice) else ():
            if looked.get(option.body) is False:
                raise GrammarError(f"{op.where}: endless recursion, it comes back to itself before it has "
                                   "written anything")
            _no_loop(code, option.body, shortest, looked)
        if _length(op, shortest):
            break
    looked[body] = True


def _bound_after(code: Code, body: int, bound: frozenset, slots: list[str], known: dict) -> frozenset:
    """The variables that are certainly bound after a body, if those in `bound` were before it."""
    if (body, bound) not in known:
        known[body, bound] = frozenset(range(len(slots)))  # what a rule that calls itself may assume
        after = bound
        for op in _ops(code, body):
            if isinstance(op, Choice):
                if missing := sorted(slots[slot] for slot in op.needs - after):
                    raise GrammarError(f"{op.where}: its condition needs {missing[0]!r}, which may not be "
                                       "chosen by then")
                ways = {(option.body, _with(after, option)) for option in op.options}
                after = frozenset.intersection(*(_bound_after(code, *way, slots, known) for way in ways))
        known[body, bound] = after
    return known[body, bound]


def _with(bound: frozenset, option: Option) -> frozenset:
    if option.slot is None:
        return bound
    return bound | {option.slot} if option.record else bound - {option.slot}


def _tests(choices: list[Choice]) -> dict[int, dict]:
    """For each variable, the records it can hold, each with the test it passed, if any."""
    tests: dict[int, dict] = {}
    for option in (o for c in choices for o in c.options if o.record is not None):
        held = tests.setdefault(option.slot, {})
        held[option.record] = held.get(option.record) or option.test
    return tests


def _never_stuck(choice: Choice, tests: dict[int, dict], n: int) -> None:
    """Refuse a choice whose alternatives may all be closed, or one of which always is."""
    others = [slot for slot in choice.reads if slot != choice.slot and slot in tests]
    if not others or prod(len(tests[slot]) for slot in others) > FEW:
        return
    used: dict[int, Option] = {}
    for records in product(*(tests[slot] for slot in others)):
        env: list = [None] * n
        for slot, record in zip(others, records, strict=True):
            env[slot] = record
        if _possible(tuple(env), others, tests):
            used |= {id(option): option for option in choice.open(tuple(env))[1]}
    for number, option in enumerate(choice.options, 1):
        if choice.slot is None and id(option) not in used:
            raise GrammarError(f"{choice.where}: alternative {number} can never be chosen, for its condition "
                               "never holds")


def _possible(env: Env, slots: list[int], tests: dict[int, dict]) -> bool:
    """Whether each variable could have been chosen so beside the others."""
    for slot in slots:
        test = tests[slot][env[slot]]
        if test is not None and not test(replaced(env, slot, None)):
            return False
    return True
