"""Probes: two ways to go on, one of them impossible, told apart only by a place further back."""
from collections import defaultdict
from collections.abc import Callable, Iterator
from itertools import chain, zip_longest
from typing import NamedTuple

from lmcore.grammar.choices import Choice, Env, GrammarError, Option, Record, replaced
from lmcore.grammar.dice import dice

BANDS = (20, 50, 100, 200, 401)     # probes are spread evenly over these distances, in characters
Step = tuple[Choice, Option, Env]   # a choice that was made, and the variables as they were


class Probe(NamedTuple):
    """`prefix + right` can be written, `prefix + wrong` cannot; what tells ends `distance` before them."""
    prefix: str
    right: str
    wrong: str
    distance: int


class Site(NamedTuple):
    """A place marked `?kind`, in a text as it was written."""
    prefix: str
    right: str
    slot: int
    values: dict[str, list[Record]]         # the texts that could stand here, and the records they belong to
    written: list[tuple[int, list[Step]]]   # each piece of the prefix: its end, the choices that led to it


def probes(grammar, kind: str, n: int, seed: int) -> list[Probe]:
    """n minimal pairs from the places marked `?kind`, at distances from 20 to 400 characters.

    They come two by two with the same two answers, each right once: who looks only at the answers is right
    half of the time. Fewer than n if 50 n texts do not hold enough.
    Raises: GrammarError if no place has this kind.
    """
    if kind not in grammar.probe_kinds:
        known = ", ".join(grammar.probe_kinds) or "none"
        raise GrammarError(f"no probes of kind {kind!r}; this grammar has {known}")
    shown = [op for op in grammar.code if isinstance(op, Choice) and op.slot is not None]
    near = {c.slot: c.needs | {other.slot for other in shown if c.slot in other.needs} for c in shown}
    below, pairs = dice(seed), [[] for _ in BANDS[1:]]
    waiting: dict[int, list[Site]] = defaultdict(list)
    for _ in range(50 * n):
        if all(2 * len(pairs) * len(found) >= n for found in pairs):
            break
        for site in _sites(grammar, kind, below):
            others = sorted(site.values.keys() - {site.right})
            band = _band(_distance(site, others[below(len(others))], near))
            if 0 <= band < len(pairs) and 2 * len(pairs) * len(pairs[band]) < 2 * n:
                for other in waiting[band][-20:]:
                    if pair := _pair(grammar, site, other, band, near):
                        pairs[band].append(pair)
                        waiting[band].remove(other)
                        break
                else:
                    waiting[band].append(site)
    evenly = filter(None, chain.from_iterable(zip_longest(*pairs)))
    return list(chain.from_iterable(evenly))[:n - n % 2]


def _sites(grammar, kind: str, below: Callable[[int], int]) -> Iterator[Site]:
    """The places of one new text that are marked `?kind` and whose answer is settled by what came before."""
    text, written, led = "", [], []
    for depth, op, option, _, env in grammar.derive(below):
        if option is None:
            text += op
            written.append((len(text), led[:depth]))
            continue
        led[depth:] = [(op, option, env)]
        if op.probe == kind and len({o.body for o in op.open(env)[1]}) == 1:
            values: dict[str, list[Record]] = {}
            for each in op.options:
                values.setdefault(grammar.code[each.body], []).append(each.record)
            if len(values) > 1:
                yield Site(text, grammar.code[option.body], op.slot, values, list(written))


def _distance(site: Site, wrong: str, near: dict[int, set[int]]) -> int:
    """Characters since the last piece that could not stand if `wrong` were the answer; 0 if there is none."""
    others = site.values[wrong]
    for end, led in reversed(site.written):
        if any(_tells(*step, site.slot, others, near) for step in led):
            return len(site.prefix) - end
    return 0


def _tells(choice: Choice, option: Option, env: Env, slot: int, others: list[Record], near: dict) -> bool:
    """Whether this choice would have been another for every one of the other records, or may depend on it."""
    if choice.slot in near[slot]:
        return True
    if slot not in choice.reads:
        return False
    return all(option.body != o.body for other in others for o in choice.ways(replaced(env, slot, other))[1])


def _band(distance: int) -> int:
    return sum(distance >= edge for edge in BANDS) - 1


def _pair(grammar, site: Site, waiting: Site, band: int, near: dict) -> tuple[Probe, Probe] | None:
    """Both sites as probes, each with the other's answer as the wrong one; None if that makes no pair."""
    if site.right == waiting.right or waiting.right not in site.values or site.right not in waiting.values:
        return None
    space = " " * site.prefix.endswith(" ")  # goes with the word after it, as in `split_words`
    if waiting.prefix.endswith(" ") != bool(space):
        return None
    made = []
    for here, wrong in (site, waiting.right), (waiting, site.right):
        distance = _distance(here, wrong, near) - len(space)
        probe = Probe(here.prefix.removesuffix(" "), space + here.right, space + wrong, distance)
        if _band(distance) != band or grammar.advance(grammar.read(probe.prefix), probe.wrong).nodes:
            return None
        made.append(probe)
    return made[0], made[1]
