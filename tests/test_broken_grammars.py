"""A malformed grammar is refused on loading, in one line that says where it is wrong and why."""
from pathlib import Path

import pytest

from lmcore.grammar import Grammar, GrammarError

SECTIONS = Path(__file__).with_name("broken_grammars.txt").read_text(encoding="utf-8").split("\n=== ")[1:]
BROKEN = dict(section.rstrip().split("\n", 1) for section in SECTIONS)
HEAD = BROKEN.pop("head")


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_grammar_is_refused_with_place_and_reason(name):
    message, body = BROKEN[name].removeprefix("!!! ").split("\n", 1)
    source = body if body.startswith(("start", "[")) else f"{HEAD}\n{body}"
    with pytest.raises(GrammarError, match=message) as error:
        Grammar(source + "\n", "broken.toml")
    assert str(error.value).startswith("broken.toml") and "\n" not in str(error.value)


def test_there_are_more_than_fifteen_of_them():
    assert len(BROKEN) > 15


def test_a_missing_file_says_what_to_give():
    with pytest.raises(FileNotFoundError, match="no grammar 'fables': give the name of one in data"):
        Grammar.load("fables")


def test_recursion_that_grows_faster_than_it_ends_is_stopped_while_writing():
    grammar = Grammar('start = "a"\n[rules]\na = [{text="x{a}{a}", w=9}, "y"]')
    with pytest.raises(GrammarError, match="line 3, rule 'a': endless recursion, 10,000 choices"):
        grammar.sample(seed=1, n=20)
