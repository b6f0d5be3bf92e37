"""Grammars: what they write, how probable it is, and what truly comes next."""
import math
from collections import Counter, defaultdict
from fractions import Fraction
from functools import cache
from itertools import accumulate
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lmcore import WordTokenizer
from lmcore.grammar import Grammar, dice
from lmcore.tokenizers import split_words

TOY = Path(__file__).with_name("toy.toml")
NAMES = [str(TOY), "tales", "coplas"]
seeds = st.integers(0, 2**63)
load = cache(Grammar.load)


@cache
def everything(grammar: Grammar) -> dict[str, list[Fraction]]:
    """Every text, with the probability of each of its derivations: for all that the dice can throw."""
    found, scripts = defaultdict(list), [()]
    while scripts:
        script = scripts.pop()
        throws = iter(script)
        text, probability, played = "", Fraction(1), []
        for _, op, option, total, env in grammar.derive(lambda n, throws=throws: next(throws, 0)):
            if option is None:
                text += op
                continue
            probability *= Fraction(option.weight, total)
            options = op.open(env)[1]
            if len(options) > 1:  # the dice were thrown: were they scripted?
                if len(played) >= len(script):
                    edges = accumulate(each.weight for each in options[:-1])  # the least throw of each option
                    scripts += [(*played, edge) for edge in edges]
                played.append(script[len(played)] if len(played) < len(script) else 0)
        found[text].append(probability)
    return dict(found)


def test_the_probabilities_of_all_texts_sum_to_one_and_the_forward_algorithm_finds_each():
    grammar = load(TOY)
    texts = everything(grammar)
    assert len(texts) > 1000 and sum(sum(ways) for ways in texts.values()) == 1
    for text, ways in texts.items():
        assert grammar.log_prob(text) == pytest.approx(math.log2(sum(ways)), abs=1e-12)


@st.composite
def small_grammars(draw):
    """Rules over a and b, each using only those after it: often ambiguous, never endless."""
    rules = []
    for i in range(3):
        symbols = st.sampled_from(["a", "b", "ab", "[a|]", *(f"{{r{j}}}" for j in range(i + 1, 3))])
        texts = st.lists(symbols, max_size=2).map("".join)
        texts = draw(st.lists(texts, min_size=1, max_size=2, unique=True))
        alternatives = [f'{{text="{text}", w={draw(st.integers(1, 3))}}}' for text in texts]
        rules.append(f"r{i} = [{', '.join(alternatives)}]\n")
    return Grammar('start = "s"\n[rules]\ns = "<{r0}{r1}{r2}>"\n' + "".join(rules))


@settings(deadline=None, max_examples=60)
@given(small_grammars())
def test_a_text_with_several_derivations_has_the_sum_of_their_probabilities(grammar):
    for text, ways in everything(grammar).items():
        assert grammar.log_prob(text) == pytest.approx(math.log2(sum(ways)), abs=1e-9)


@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=10)
@given(seed=seeds)
def test_every_sample_is_accepted_with_the_probability_it_was_drawn_with(name, seed):
    for text, log2p in load(name).sample(seed, 3):
        assert load(name).log_prob(text) == pytest.approx(log2p, abs=1e-9)
        assert load(name).accepts(text) and all(sound for _, sound in load(name).sentences(text))


@pytest.mark.parametrize("unit", ["char", "word"])
@pytest.mark.parametrize("name", NAMES)
@settings(deadline=None, max_examples=5)
@given(seed=seeds)
def test_next_probs_sum_to_one_and_their_product_is_the_text_s_probability(name, unit, seed):
    grammar, (text, log2p) = load(name), load(name).sample(seed, 1)[0]
    state, total = grammar.start(), 0.0
    for piece in [*(text if unit == "char" else split_words(text)), ""]:
        probs = grammar.next_probs(state, unit)
        assert sum(probs.values()) == pytest.approx(1, abs=1e-12) and min(probs.values()) > 0
        total += math.log2(probs[piece])
        state = grammar.advance(state, piece)
    assert total == pytest.approx(log2p, abs=1e-9)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, cut=st.floats(0, 1))
def test_next_probs_are_the_shares_of_the_texts_that_go_on_so(seed, cut):
    grammar, texts = load(TOY), everything(load(TOY))
    text = grammar.sample(seed, 1)[0][0]
    words = split_words(text)[:int(cut * len(split_words(text)))]
    for unit, split, start in ("char", list, list("".join(words))), ("word", split_words, words):
        shares = Counter()
        for other, ways in texts.items():
            if split(other)[:len(start)] == start:
                shares["".join(split(other)[len(start):len(start) + 1])] += sum(ways)
        expected = {piece: float(share / shares.total()) for piece, share in shares.items()}
        assert grammar.next_probs("".join(words), unit) == pytest.approx(expected, abs=1e-12)


@settings(deadline=None, max_examples=30)
@given(seed=seeds, cuts=st.lists(st.integers(0, 150), max_size=4))
def test_text_read_in_any_slices_leads_to_the_same_place(seed, cuts):
    grammar, (text, log2p) = load(TOY), load(TOY).sample(seed, 1)[0]
    state, edges = grammar.start(), [0, *sorted(cuts), len(text)]
    for a, b in zip(edges, edges[1:], strict=False):
        state = grammar.advance(state, text[a:b])
    assert state.log2p == pytest.approx(log2p, abs=1e-12) and grammar.next_probs(state) == {"": 1.0}


@settings(deadline=None, max_examples=100)
@given(seed=seeds, where=st.floats(0, 1), letter=st.sampled_from("aeiou .,“"))
def test_a_text_with_one_character_changed_is_refused_unless_the_grammar_writes_it(seed, where, letter):
    grammar, text = load(TOY), load(TOY).sample(seed, 1)[0][0]
    i = int(where * (len(text) - 1))
    changed = text[:i] + letter + text[i + 1:]
    assert grammar.accepts(changed) == (changed in everything(grammar))
    assert not grammar.accepts(text + letter) and not grammar.accepts(text[:i])


def test_samples_are_the_same_everywhere():
    assert [dice(seed=7)(10**6) for _ in range(2)] == [dice(seed=7)(10**6)] * 2
    throw = dice(seed=0)
    assert [throw(2**64) for _ in range(3)] == [16294208416658607535, 7960286522194355700, 487617019471545679]
    texts = load(TOY).sample(seed=1, n=2)
    assert texts[0] == load(TOY).sample(seed=1, n=1)[0]
    assert texts[0][0].startswith("The old fox had a red apple, and then it was gone. Because it was for his")


def test_sampled_frequencies_match_the_weights():
    """Chi-square over all texts of the toy that are expected at least ten times. The seed is fixed."""
    grammar, n = load(TOY), 20_000
    counts = Counter(text for text, _ in grammar.sample(seed=5, n=n))
    expected = {text: float(sum(ways)) * n for text, ways in everything(grammar).items()}
    often = {text: e for text, e in expected.items() if e >= 10}
    rest = n - sum(often.values())
    chi2 = sum((counts[text] - e) ** 2 / e for text, e in often.items())
    chi2 += (n - sum(counts[text] for text in often) - rest) ** 2 / rest
    assert len(often) > 50 and abs(chi2 - len(often)) < 3.3 * math.sqrt(2 * len(often))


def test_a_variable_is_chosen_where_it_first_shows_and_remembered():
    probs = load(TOY).next_probs("One day, Ana lost a red kite. Because it was new,", "word")
    assert probs == {" she": 1.0}
    friends = load(TOY).next_probs("One day, Tom lost a red kite. Because it was new, he asked", "word")
    assert friends == pytest.approx({" Ana": 2 / 3, " the": 1 / 3})  # the hero is no friend of himself


def test_closed_alternatives_leave_their_share_to_the_open_ones():
    tail = " lost a red kite. Because it was new, she asked {} for help. {}"
    child = load(TOY).next_probs("One day, Ana" + tail.format("Tom", "He"), "word")
    assert child == {" looked": 1.0}
    animal = load(TOY).next_probs("One day, Ana" + tail.format("the old fox", "He"), "word")
    assert animal == pytest.approx({" looked": 4 / 5, " sniffed": 1 / 5})


def test_forgetting_lets_a_variable_be_chosen_anew():
    grammar = Grammar('start = "s"\n[lexicons]\nhat = ["cap", "hood"]\n[variables]\nh = "hat"\n'
                      '[rules]\ns = "{h} {h}{-h} {h}{h!}{h=cap} {h}"')
    assert set(everything(grammar)) == {f"{a} {a} {b} cap" for a in ("cap", "hood") for b in ("cap", "hood")}


def test_capitals_and_articles_follow_the_word():
    grammar = Grammar('start = "s"\n[lexicons]\nfruit = ["apple", "pear"]\n'
                      '[rules]\ns = "{Thing} {A fruit} {a fruit}"\nthing = ["“it”", "[so|{fruit}]"]')
    firsts = {text.rsplit(" ", 4)[0] for text in everything(grammar)}
    assert firsts == {"“It”", "So", "Apple", "Pear"}
    assert {text.split(" ", 1)[1] for text in everything(grammar)} == {
        f"{a} {b}" for a in ("An apple", "A pear") for b in ("an apple", "a pear")}


@pytest.mark.parametrize("text, sound", [
    ("One day, Ana lost a red kite.", True),
    ("One day, Ana lost an red kite.", False),
    ("day, Ana lost a red kite.", False),
    ("Because it was for his aunt, he asked Ana for help.", True),
    ("Because it was for her aunt, he asked Ana for help.", False),
    ("He looked behind the door and smiled. That makes four.”", True),
    ("That makes five.”", False),
    ("“Here are two red pears,” said Ana, “and one more from my own little tree.", True),
    ("So the red kite came", False)])
def test_a_sentence_is_sound_if_it_can_stand_somewhere(text, sound):
    assert all(ok for _, ok in load(TOY).sentences(text)) == sound


def test_sentences_are_judged_one_by_one():
    text = "One day, Ana lost a red kite. He flew away. So the orange apple came home."
    assert [ok for _, ok in load(TOY).sentences(text)] == [True, False, True]
    assert not load(TOY).accepts(text)


@pytest.mark.parametrize("name, kind", [(name, kind) for name in NAMES for kind in load(name).probe_kinds])
def test_probes_come_in_pairs_with_one_answer_right_and_one_refused(name, kind):
    grammar = load(name)
    probes = grammar.probes(kind, 20, seed=3)
    assert len(probes) >= 4
    for a, b in zip(probes[::2], probes[1::2], strict=True):
        assert (a.right, a.wrong) == (b.wrong, b.right) and a.right != a.wrong
    for prefix, right, wrong, distance in probes:
        assert grammar.read(prefix + right).nodes and not grammar.read(prefix + wrong).nodes
        assert 20 <= distance <= min(400, len(prefix)) and not prefix.endswith(" ")


def test_the_distance_of_a_probe_reaches_back_to_what_tells():
    for prefix, right, _, distance in load(TOY).probes("thing", 40, seed=3):
        told = "was new" if right == " kite" else " aunt"  # the reason comes after the thing, and tells it
        assert distance == len(prefix) - (prefix.rindex(told) + len(told))


def test_an_unknown_kind_of_probe_names_the_known_ones():
    with pytest.raises(ValueError, match="no probes of kind 'rhyme'; this grammar has count, pronoun, thing"):
        load(TOY).probes("rhyme", 4, seed=1)


def test_an_ambiguous_text_is_found():
    grammar = Grammar('start = "s"\n[rules]\ns = "{x}{x}"\nx = ["a", "aa"]')
    assert set(grammar.ambiguous(seed=1, n=50)) == {"aaa"}
    assert load(TOY).ambiguous(seed=1, n=200) == []


def test_impossible_text_has_no_next_symbol_and_a_wrong_unit_is_refused():
    assert load(TOY).log_prob("Once upon a time") == -math.inf
    with pytest.raises(ValueError, match="cannot write 'Once upon'"):
        load(TOY).next_probs("Once upon")
    with pytest.raises(ValueError, match='"char" or "word", got \'byte\''):
        load(TOY).next_probs("", unit="byte")


def test_long_texts_keep_their_probability():
    grammar = Grammar('start = "s"\n[rules]\ns = ["{b}{s}", "."]\nb = ["0", "1"]')
    assert grammar.log_prob("01" * 1000 + ".") == pytest.approx(-4001, abs=1e-6)


def test_the_words_of_next_probs_are_those_of_the_word_tokenizer():
    texts = list(everything(load(TOY)))
    words = set(WordTokenizer.train(texts).symbols[1:])
    assert {word for text in texts[:50] for i in range(len(split_words(text)))
            for word in load(TOY).next_probs("".join(split_words(text)[:i]), "word")} - {""} <= words
