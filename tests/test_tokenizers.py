"""Tokenizers: whatever was trained on comes back, and what was not is named."""
import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmcore as lm
from lmcore.tokenizers import split_words

KINDS = [lm.CharTokenizer, lm.WordTokenizer]
ODD = st.text(st.characters())                  # every code point, lone surrogates too
TEXTS = ["Ana said, “I don't know.” ¿Señor?", "e\u0301 é 👩‍🚀 \u200b \t\r\n  \x00 • \ud800", ""]


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(ODD))
def test_decoding_what_was_encoded_gives_it_back(kind, texts):
    tok = kind.train(texts)
    for text in texts:
        ids = tok.encode(text)
        assert tok.decode([tok.end, *ids, tok.end]) == text
        assert all(tok.end < i < tok.vocab_size for i in ids)


@pytest.mark.parametrize("kind", KINDS)
@given(texts=st.lists(ODD))
def test_the_order_of_the_texts_does_not_matter(kind, texts):
    assert kind.train(texts).symbols == kind.train(iter(texts[::-1])).symbols


def test_names_have_27_symbols_in_alphabetical_order():
    tok = lm.CharTokenizer.train(["zebra", "quickly", "jumps", "vex", "fowl", "hung", "dt"])
    assert tok.vocab_size == 27
    assert "".join(tok.symbols) == "•abcdefghijklmnopqrstuvwxyz"
    assert tok.encode("dab") == [4, 1, 2]


def test_words_keep_the_space_before_them():
    assert split_words('Sam\'s cat said, "Hi, I don\'t know."\n\nThe  end') == [
        "Sam's", " cat", " said", ",", ' "', "Hi", ",", " I", " don't", " know", '."', "\n", "\n",
        "The", " ", " end"]


@pytest.mark.parametrize("kind, unknown", [(lm.CharTokenizer, "'ñ'"), (lm.WordTokenizer, "' niño'")])
def test_an_unknown_symbol_is_named(kind, unknown):
    with pytest.raises(ValueError, match=f"{unknown} is not among the . symbols of this tokenizer"):
        kind.train(["the nino"]).encode("the niño")


@pytest.mark.parametrize("kind", KINDS)
def test_a_saved_tokenizer_comes_back_the_same(kind, tmp_path):
    tok = kind.train(TEXTS)
    tok.save(tmp_path / "tok.json")
    again = kind.load(tmp_path / "tok.json")
    assert again.symbols == tok.symbols
    assert [again.encode(text) for text in TEXTS] == [tok.encode(text) for text in TEXTS]


def test_a_saved_tokenizer_can_be_read_by_people(tmp_path):
    lm.CharTokenizer.train(["año"]).save(tmp_path / "tok.json")
    saved = (tmp_path / "tok.json").read_text(encoding="utf-8")
    assert saved.split() == ["{", '"lmcore":', '"CharTokenizer",', '"version":', "1,", '"symbols":', "[",
                             '"•",', '"a",', '"o",', '"ñ"', "]", "}"]


GOOD = {"lmcore": "CharTokenizer", "version": 1, "symbols": ["•", "a"]}


@pytest.mark.parametrize("content, message", [
    (json.dumps(GOOD)[:-3], "is damaged, or is not a tokenizer"),
    ("", "is damaged"),
    ("[1, 2]", "is damaged"),
    ("\x00\x01", "is damaged"),
    (json.dumps(GOOD | {"symbols": ["•", "a", "a"]}), "is damaged"),
    (json.dumps(GOOD | {"symbols": ["a"]}), "is damaged"),
    (json.dumps(GOOD | {"symbols": ["•", 7]}), "is damaged"),
    (json.dumps(GOOD | {"symbols": None}), "is damaged"),
    (json.dumps(GOOD | {"version": 2}), "holds a CharTokenizer, version 2; wanted a CharTokenizer"),
    (json.dumps(GOOD | {"lmcore": "WordTokenizer"}), "holds a WordTokenizer, version 1; wanted"),
])
def test_a_damaged_or_foreign_file_is_refused_in_one_line(content, message, tmp_path):
    (tmp_path / "tok.json").write_text(content)
    with pytest.raises(ValueError, match=message) as refused:
        lm.CharTokenizer.load(tmp_path / "tok.json")
    assert "\n" not in str(refused.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "tok.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is damaged"):
        lm.WordTokenizer.load(tmp_path / "tok.json")
