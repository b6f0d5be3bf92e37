"""The tales: they make sense and fit, no two derivations write one, counting stays far from their entropy."""
import re
import tomllib
from collections import Counter
from functools import cache
from statistics import mean

import pytest

import lmcore as lm
from lmcore.grammar import Grammar, dice
from lmcore.tokenizers import split_words

KINDS = ["pronoun", "thing", "count", "quotation", "place", "cause", "colour", "name"]
NUMBERS = "one two three four five six".split()

grammar = cache(lambda: Grammar.load("tales"))
parts = cache(lambda: lm.data.splits("tales"))
tales = cache(lambda: [text for part in parts().values() for text in part])
words = cache(lambda text: re.findall(r"[A-Za-z]+", text))
tokenizer = cache(lambda: lm.WordTokenizer.train(parts()["train"]))


def floor(n: int = 1_000) -> float:
    """Bits per byte of the first n test tales, by the probabilities they were written with."""
    bits = lm.data.log2p("tales")["test"][:n]
    return -sum(bits) / sum(len(text) + 1 for text in parts()["test"][:n])


def test_every_tale_has_60_to_140_words_and_fits_in_160_tokens():
    assert all(60 <= len(words(text)) <= 140 for text in tales())
    assert all(len(split_words(text)) < 160 for text in tales())  # one is left for the end


def longest(measure, seed: int) -> int:
    """Climb: write a tale, then try at each throw of the dice all that it could be, and keep the longest."""
    thrown = dice(seed)

    def write(throws: list[int]) -> tuple[str, list[int], list[int]]:
        played, sides = [], []

        def below(n: int) -> int:
            played.append(throws[len(played)] % n if len(played) < len(throws) else thrown(n))
            sides.append(n)
            return played[-1]
        return "".join(op for _, op, option, _, _ in grammar().derive(below) if option is None), played, sides

    best, played, sides = write([])
    i = 0
    while i < len(played):
        tries = [write([*played[:i], face, *played[i + 1:]]) for face in range(sides[i])]
        best, played, sides = max([(best, played, sides), *tries], key=lambda found: measure(found[0]))
        i += 1
    return measure(best)


@pytest.mark.parametrize("seed", range(6))
def test_even_the_longest_tale_a_search_finds_fits(seed):
    assert longest(lambda text: len(split_words(text)), seed) < 160
    assert longest(lambda text: len(words(text)), seed) <= 140


def test_no_tale_is_short_even_when_a_search_looks_for_one():
    assert -longest(lambda text: -len(words(text)), 1) >= 60


def test_the_vocabulary_is_closed_and_has_at_least_900_words():
    assert len({word.lower() for text in tales() for word in words(text)}) >= 900
    for text in parts()["val"] + parts()["test"]:
        assert tokenizer().decode(tokenizer().encode(text)) == text


def test_there_are_more_than_a_million_million_tales():
    surprise = [-bits for bits in lm.data.log2p("tales")["test"]]
    assert mean(surprise) > 40 and max(surprise) < 110  # 2 ** entropy, a lower bound of their number
    assert grammar().ambiguous(seed=3, n=100) == []


def test_the_entropy_is_low_but_not_too_low():
    assert 0.08 <= floor() <= 0.25


def test_a_tale_is_plain_text_with_closed_quotations_and_whole_sentences():
    for text in tales():
        assert re.fullmatch(r'[A-Za-z ,.?!":]+', text) and "  " not in text
        assert text.count('"') % 2 == 0 and text[0].isupper() and re.search(r'[.!?]"?$', text)
        outside, inside = text.split('"')[::2], text.split('"')[1::2]
        assert all(re.search(r"[.,?!]$", each) for each in inside if each != inside[-1])
        assert all(not piece or piece[0] in " " for piece in outside[1:])
        assert not re.search(r"[,.:?!][A-Za-z]| [,.:?!]|,\.|\.,", text)
        assert all(letter.isupper() for letter in re.findall(r"[.?!] (\w)", text))
        assert not re.search(r"\ba [aeiou]|\bA [aeiou]|\ban [^aeiou]", text)


def test_every_plot_ends_in_a_moral_and_is_told_as_often_as_the_others():
    lessons = morals()
    texts = map(str.lower, tales()[:4_000])
    found = Counter(lesson.of for text in texts for lesson in lessons if str(lesson) in text)
    assert len(found) >= 12 and min(found.values()) > max(found.values()) / 2 and found.total() >= 4_000


def morals() -> list:
    return [option.record for op in grammar().code for option in getattr(op, "options", ())
            if hasattr(option.record, "of")]


def test_sums_are_right():
    pattern = re.compile(r"(\w+) (and|minus) (\w+) (?:make|is) (\w+)")
    sums = [match for text in tales()[:4_000] for match in pattern.findall(text)]
    value = {word: i + 1 for i, word in enumerate(NUMBERS)}
    sums = [(value.get(a.lower()), sign, value.get(b), value.get(c)) for a, sign, b, c in sums]
    sums = [each for each in sums if None not in each]
    assert len(sums) > 500
    assert all(a + b == c if sign == "and" else a - b == c for a, sign, b, c in sums)


def test_the_lost_thing_comes_back_in_its_colour():
    lost = [re.search(r"(?:her|his|their|Her|His|Their) (\w+ \w+)( was gone|\.)", text)
            for text in tales()[:4_000] if "looked under every stone" in text]
    assert len(lost) > 50
    for match in filter(None, lost):
        assert f"he {match[1]}" in match.string[match.end():]


def test_two_heroes_have_two_names_and_one_has_one():
    manners = "|".join(tomllib.loads(grammar().source)["lexicons"]["manner"])
    for text in tales()[:4_000]:
        two = re.search(rf"\b[Tt]wo ({manners}) ", text)
        assert bool(two) == bool(re.search(r"\b[A-Z]\w+ and [A-Z]", text))


probes = cache(lambda kind: grammar().probes(kind, 100, seed=7))


@pytest.mark.parametrize("kind", KINDS)
def test_the_words_near_a_probe_do_not_give_it_away(kind):
    right = [guess(probe) for probe in probes(kind) if far(probe)]
    assert len(probes(kind)) == 100 and len(right) > 80
    assert 0.4 <= mean(right) <= 0.6


def test_all_probes_together_are_guessed_as_by_a_coin_and_stand_at_20_to_400_characters():
    found = [probe for kind in KINDS for probe in probes(kind)]
    assert 0.45 <= mean(guess(probe) for probe in found if far(probe)) <= 0.55
    bands = Counter(sum(probe.distance >= edge for edge in (20, 50, 100, 200, 401)) for probe in found)
    assert set(bands) == {1, 2, 3, 4} and min(bands.values()) > 100


@cache
def kneser_ney(order: int) -> lm.KneserNey:
    return lm.KneserNey(order, discount=0.8).fit(parts()["train"], tokenizer())


def far(probe) -> bool:
    """Is what tells out of a 6-gram's sight?"""
    return len(split_words(probe.prefix[len(probe.prefix) - probe.distance:])) >= 5


def guess(probe) -> bool:
    """Does a 6-gram find the right one of the two likelier?"""
    before = len(tokenizer().encode(probe.prefix))
    right, wrong = (kneser_ney(6).log_probs(tokenizer().encode(probe.prefix + answer))[before:].sum()
                    for answer in (probe.right, probe.wrong))
    return bool(right > wrong)


@pytest.mark.parametrize("order", [6, 8, 12])
def test_counting_words_stays_far_above_the_entropy(order):
    score = lm.evaluate(kneser_ney(order), parts()["test"][:300], tokenizer())
    assert score.bits_per_byte > floor(300) + 0.06
