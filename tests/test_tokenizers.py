"""Tokenizers: whatever was trained on comes back, and what was not is named."""
import io
import json
from functools import cache

import pytest
import sentencepiece
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


def test_words_may_be_lower_case_without_punctuation_and_rare_ones_unknown():
    texts = ['The cat saw "the cat".', "The dog ran."]
    tok = lm.WordTokenizer.train(texts, lower=True, punctuation=False, min_count=2)
    assert tok.symbols == ["•", " <unk>", "<pad>", " cat", "the"]
    assert tok.encode("THE cat, the CAT!") == [4, 3, tok.unk, 3]        # "the" is known, " the" is not
    assert tok.decode([tok.bos, 4, 3, tok.unk, tok.eos, tok.pad]) == "the cat <unk>"
    assert (tok.bos, tok.eos, tok.unk, tok.pad) == (tok.end, tok.end, 1, 2)


def test_without_a_least_number_there_is_no_unknown_word_and_ids_are_as_ever():
    tok = lm.WordTokenizer.train(["a b"])
    assert (tok.symbols, tok.unk, tok.pad) == (["•", " b", "a"], None, None)


@given(text=ODD)
def test_an_open_vocabulary_encodes_every_text_and_no_text_gives_a_special(text):
    known = lm.WordTokenizer.train([text, "<pad> <unk> •"], min_count=1)
    assert known.decode(known.encode(text)) == text
    assert not {known.end, known.unk, known.pad} & {*known.encode(text), *known.encode("<pad> <unk> •")}
    assert set(lm.WordTokenizer.train(["a"], min_count=1).encode(text)) <= {1, 3}


def test_settings_of_words_are_saved_and_files_from_before_can_be_read(tmp_path):
    tok = lm.WordTokenizer.train(["Ana, ana"], lower=True, punctuation=False, min_count=1)
    tok.save(tmp_path / "tok.json")
    assert vars(lm.WordTokenizer.load(tmp_path / "tok.json")) == vars(tok)
    (tmp_path / "old.json").write_text('{"lmcore": "WordTokenizer", "version": 1, "symbols": ["•", "A"]}')
    assert lm.WordTokenizer.load(tmp_path / "old.json").encode("A") == [1]


@cache
def pieces(kind: str = "unigram", **settings) -> lm.SentencePieceTokenizer:
    return lm.SentencePieceTokenizer.train(lm.data.splits("tales")["train"][:200], 700, kind, **settings)


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
@given(text=st.text(st.characters(exclude_characters="▁", exclude_categories=["Cs"])))
def test_sentencepiece_gives_any_text_back_but_its_own_sign_for_a_space(kind, text):
    tok = pieces(kind)
    assert tok.decode([tok.end, *tok.encode(text), tok.end]) == text
    assert tok.end not in tok.encode(text) and tok.vocab_size == 700


@pytest.mark.parametrize("kind", ["unigram", "bpe"])
def test_sentencepiece_gives_a_whole_book_back(kind):
    book = "\n\n".join(lm.data.splits("coplas")["train"][:5000])
    assert pieces(kind).decode(pieces(kind).encode(book)) == book


@pytest.mark.parametrize("text", ["<end>", "•", "<s>", "<0x41>"])
def test_sentencepiece_s_specials_never_come_from_text(text):
    assert pieces().decode(pieces().encode(text)) == text
    assert pieces().end not in pieces().encode(text)


def test_normalised_pieces_lose_what_normalisation_takes():
    tok = pieces(normalise="nmt_nfkc")
    assert tok.decode(tok.encode("  the  ﬁsh ２\n")) == "the fish 2"


def test_a_saved_sentencepiece_comes_back_and_others_are_refused(tmp_path):
    tok, path = pieces(), tmp_path / "tok.model"
    tok.save(path)
    assert lm.SentencePieceTokenizer.load(path).encode("A tale.") == tok.encode("A tale.")
    path.write_bytes(tok.model[:500])
    with pytest.raises(ValueError, match="is damaged"):
        lm.SentencePieceTokenizer.load(path)
    lm.CharTokenizer.train(["a"]).save(path)
    with pytest.raises(ValueError, match="is damaged"):
        lm.SentencePieceTokenizer.load(path)
    theirs = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(["a b c"] * 9), model_writer=theirs,
                                             vocab_size=8, minloglevel=2)
    path.write_bytes(theirs.getvalue())
    with pytest.raises(ValueError, match="without <end> as id 0"):
        lm.SentencePieceTokenizer.load(path)


@pytest.mark.parametrize("arguments", [(100,), (10**6,), (700, "wordpiece")])
def test_what_sentencepiece_cannot_train_is_said_in_one_line(arguments):
    with pytest.raises(ValueError, match="SentencePiece: ") as refused:
        lm.SentencePieceTokenizer.train(["a tale of two cities"] * 20, *arguments)
    assert "\n" not in str(refused.value)


def test_bytes_that_are_no_text_are_refused(tmp_path):
    (tmp_path / "tok.json").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ValueError, match="is damaged"):
        lm.WordTokenizer.load(tmp_path / "tok.json")
