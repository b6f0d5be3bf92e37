"""From any text file to tokens on disk: cleaning says what it did, nothing is lost, memory is not needed."""
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmcore as lm
from lmcore.data.cleaning import FEW, pieces

ODD = b"\xef\xbb\xbfOne\r\ntwo caf\xc3\xa9 \xff!\rthree\n\nfour\xe2\x80 five\n"


def write(path, content: bytes):
    path.write_bytes(content)
    return path


def test_cleaning_counts_what_it_did():
    text, done = lm.data.clean(ODD.decode(errors="replace"))
    assert text == "One\ntwo café �!\nthree\n\nfour� five\n"
    assert done == {"byte-order marks": 1, "line ends": 2, "unreadable": 2}
    assert lm.data.said(done).startswith("1 byte-order marks taken away, 2 unreadable")


@pytest.mark.parametrize("raw, fixed", [("cafÃ©", "café"), ("a\x00b", "ab"), ("“so”", "“so”"), ("ﬁn", "ﬁn"),
                                        ("e\u0301", "é"), ("a &amp; b", "a & b")])
def test_what_is_broken_is_mended_and_taste_is_left(raw, fixed):
    assert lm.data.clean(raw) == (fixed, {"repairs": 1} if raw != fixed else {})


def test_folding_makes_capitals_small():
    assert lm.data.clean("Árbol STRASSE", fold=True)[0] == "árbol strasse"


@given(st.text())
def test_cleaning_twice_is_cleaning_once(text):
    once = lm.data.clean(text)[0]
    assert lm.data.clean(once)[0] == once


def test_a_file_is_read_like_load_with_its_faults_mended(tmp_path):
    file = write(tmp_path / "odd.txt", ODD)
    assert list(lm.data.documents(file)) == ["One\ntwo café �!\nthree", "four� five"]
    for content in (b"one\n two \n\n\n three\n", b"a\nb\nc", b"\n\nonly\n", "añ\n\nb\n".encode()):
        write(file, content)
        assert list(lm.data.documents(file)) == lm.data.load(file)


@pytest.mark.parametrize("kind", ["cp1252", "utf-16", "utf-8-sig"])
def test_other_encodings_are_recognised(tmp_path, kind):
    file = write(tmp_path / "other.txt", "El corazón, ¿qué?\n\nÁrbol".encode(kind))
    assert list(lm.data.documents(file)) == ["El corazón, ¿qué?", "Árbol"]


def test_a_folder_is_the_texts_in_it(tmp_path):
    (tmp_path / "in").mkdir()
    for name, content in {"b.txt": b"two\nthree", "in/a.md": b"one", "c.jpg": b"\0"}.items():
        write(tmp_path / name, content)
    assert list(lm.data.documents(tmp_path)) == ["two", "three", "one"]


@pytest.mark.parametrize("content, words", [(b"", "is empty"), (b" \n\n", "is empty"), (b"PK\0", "no text")])
def test_what_is_no_text_is_said_in_one_line(tmp_path, content, words):
    with pytest.raises(ValueError, match=words):
        list(lm.data.documents(write(tmp_path / "x.txt", content)))


def test_a_wrong_name_is_answered_with_the_near_one(tmp_path):
    write(tmp_path / "book.txt", b"a")
    with pytest.raises(FileNotFoundError, match=r"did you mean book\.txt"):
        list(lm.data.documents(tmp_path / "bok.txt"))
    with pytest.raises(FileNotFoundError, match="did you mean shakespeare"):
        list(lm.data.documents("shakespear"))


@given(st.lists(st.text(st.sampled_from("ab. \n"), max_size=60), max_size=4), st.integers(3, 20))
def test_pieces_lose_nothing_but_spaces(docs, length):
    found = list(pieces(docs, length))
    assert "".join("".join(found).split()) == "".join("".join(docs).split())
    assert all(0 < len(piece) <= length for piece in found)


def test_one_long_document_can_be_divided_and_many_stay_whole():
    parts = lm.data.splits(list(lm.data.divisible(["".join(f"Tale {i} ends. " for i in range(9_000))])))
    assert min(map(len, parts.values())) > 0
    docs = [f"document {i}" for i in range(FEW)]
    assert list(lm.data.divisible(docs)) == docs


@pytest.mark.parametrize("docs, kind", [(["ab"] * 60, "char"), (["to be or not to be "] * 2_000, "word"),
                                        ([f"{i} and {i * i}" for i in range(60_000)], "bpe")])
def test_the_suggested_vocabulary_is_one_whose_tokens_are_frequent(docs, kind):
    found = lm.data.analyze(docs)
    assert found.kind.value == kind and found.distinct == len(set(docs))
    tok = lm.data.train_tokenizer(kind, docs, vocab_size=found.vocab_size.value)
    counts = sum(len(tok.encode(doc)) for doc in docs)
    assert kind == "char" or counts / tok.vocab_size > 300
    assert tok.vocab_size == found.vocab_size.value


def test_the_suggested_context_holds_nine_documents_of_ten():
    found = lm.data.analyze(["a" * 100] * 95 + ["b" * 5_000] * 5)
    assert found.context.value == found.stride.value == 128
    assert "up to 101 tokens" in found.context.reason
    long = lm.data.analyze(["a" * 5_000] * 3)
    assert (long.context.value, long.stride.value) == (512, 256)


DOCS = [f"the {i}th document, {'ñ' * (i % 7)}" for i in range(200)]


@pytest.mark.parametrize("kind", ["char", "word", "bpe", "sentencepiece"])
def test_prepared_parts_come_back_as_the_documents_of_splits(tmp_path, kind):
    tok = lm.data.train_tokenizer(kind, DOCS, vocab_size=300)
    about = lm.data.prepare_parts(iter(DOCS + DOCS), tok, tmp_path)
    parts, again = lm.data.prepared(tmp_path)
    for part, docs in lm.data.splits(DOCS).items():
        assert list(lm.data.decoded(parts[part], again)) == docs
        assert about[part]["documents"] == len(docs)
        assert about[part]["bytes"] == sum(len(doc.encode()) + 1 for doc in docs)
        assert lm.data.tokens(parts[part], again, verify=True).dtype == np.uint16


def test_a_large_vocabulary_takes_four_bytes(tmp_path):
    docs = [" ".join(f"w{i}" for i in range(70_000))]
    tok = lm.WordTokenizer.train(docs)
    lm.data.prepare(docs, tok, tmp_path / "x.bin")
    ids = lm.data.tokens(tmp_path / "x.bin", tok)
    assert ids.dtype == np.uint32 and ids.tolist() == [*tok.encode(docs[0]), tok.end]


def test_damaged_token_files_are_named(tmp_path):
    tok, file = lm.CharTokenizer.train(DOCS), tmp_path / "x.bin"
    with pytest.raises(FileNotFoundError, match="lmcore prepare"):
        lm.data.tokens(file)
    lm.data.prepare(DOCS, tok, file)
    with pytest.raises(ValueError, match="another tokenizer"):
        lm.data.tokens(file, lm.CharTokenizer.train(["abc"]))
    content = file.read_bytes()
    file.write_bytes(content[:40] + b"\1" + content[41:])
    with pytest.raises(ValueError, match="has changed since"):
        lm.data.tokens(file, tok, verify=True)
    file.write_bytes(content[:-1])
    with pytest.raises(ValueError, match="prepare it again"):
        lm.data.tokens(file)


def test_what_is_cut_short_leaves_no_token_file(tmp_path):
    tok = lm.CharTokenizer.train(["ab"])
    with pytest.raises(ValueError, match="not among"):
        lm.data.prepare(["ab", "xyz"], tok, tmp_path / "x.bin")
    assert list(tmp_path.iterdir()) == []


def test_a_tokenizer_is_loaded_whatever_its_kind(tmp_path):
    for kind in ("char", "word", "bpe", "sentencepiece"):
        tok = lm.data.train_tokenizer(kind, DOCS, vocab_size=300)
        tok.save(tmp_path / kind)
        assert lm.data.load_tokenizer(tmp_path / kind).encode(DOCS[9]) == tok.encode(DOCS[9])
    with pytest.raises(ValueError, match="damaged"):
        lm.data.load_tokenizer(write(tmp_path / "bad", b"{}"))


LIMITED = """
import re, resource, sys
import lmcore as lm
tok = lm.data.train_tokenizer("char", ["a story, of ñandúes.\\n0123456789 "])
lm.data.prepare_parts([str(i) for i in range(99)], tok, sys.argv[2])
used = int(re.search(r"VmData:\\s+(\\d+)", open("/proc/self/status").read())[1]) << 10
resource.setrlimit(resource.RLIMIT_DATA, (used + (24 << 20),) * 2)
try:
    bytearray(48 << 20)
    sys.exit("the limit does not hold")
except MemoryError:
    print(lm.data.prepare_parts(lm.data.documents(sys.argv[1]), tok, sys.argv[2])["train"]["documents"])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="needs Linux's limits of memory")
def test_a_corpus_larger_than_memory_is_prepared(tmp_path):
    with open(tmp_path / "big.txt", "w") as out:
        out.writelines(f"a story of ñandúes {i}\n" + 40 * "a day, a story. " + "\n\n" for i in range(48_000))
    assert (tmp_path / "big.txt").stat().st_size > 30e6
    done = subprocess.run([sys.executable, "-c", LIMITED, tmp_path / "big.txt", tmp_path / "prepared"],
                          capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert abs(int(done.stdout) - 0.8 * 48_000) < 500


def test_a_tokenizer_is_the_one_asked_for_or_the_one_suggested(tmp_path):
    read = lambda: iter(DOCS)
    chosen = lambda *asked: type(lm.data.tokenizer_for(read, *asked)[0]).__name__
    assert chosen() == "CharTokenizer" and chosen("word") == "WordTokenizer"
    assert chosen(None, 300) == "BPETokenizer" and chosen(None, None, 2) == "WordTokenizer"
    lm.WordTokenizer.train(["a b"]).save(tmp_path / "own.json")
    assert chosen(str(tmp_path / "own.json")) == "WordTokenizer"
    for asked, words in ((("char", 9), "leave vocab_size out"), (("bpe", 300, 2), "min_count is for words")):
        with pytest.raises(ValueError, match=words):
            chosen(*asked)
    with pytest.raises(FileNotFoundError, match="give char, word, bpe"):
        chosen("letters")


def test_the_shelf_knows_every_set():
    assert set(lm.data.names()) >= {"tales", "names", "shakespeare"}
    assert lm.data.state("names") == "here" and lm.data.state("coplas") == "written"
    assert all(lm.data.described(name) for name in lm.data.names())
    with pytest.raises(ValueError, match="did you mean names"):
        lm.data.state("namse")
