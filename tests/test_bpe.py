"""BPE: merges as `tokenizers` learns them, ids as `tiktoken` gives them, and everything comes back."""
import itertools
import json
from collections import Counter

import pytest
import regex
import tiktoken
from hypothesis import given
from hypothesis import strategies as st
from tiktoken_ext import openai_public
from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

import lmcore as lm
from lmcore import bpe
from lmcore.bpe import BPETokenizer

ODD = st.text(st.characters())                                      # every code point, lone surrogates too
OLD = st.text(st.characters(exclude_categories=["Cn", "Cs"]))       # what every library's Unicode knows
FEW = st.text(st.sampled_from("aab b'0é\n"), max_size=60)           # ties and repeats in plenty
PATTERNS = pytest.mark.parametrize("pattern", ["gpt2", "gpt4"])
TALES = lm.data.splits("tales")["train"][:300]


def tales(V: int = 500, pattern: str = "gpt4") -> BPETokenizer:
    return BPETokenizer.train(TALES, V, pattern)


TOK = tales()


def peers_merges(texts: list[str], V: int, pattern: str) -> list[tuple[str, str]]:
    """What `tokenizers` learns, as pairs in GPT-2's letters."""
    peer = Tokenizer(models.BPE())
    peer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(bpe.PATTERNS[pattern]), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    peer.train_from_iterator(texts, trainers.BpeTrainer(
        vocab_size=V, special_tokens=["<end>"], show_progress=False,
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    return [tuple(pair) for pair in json.loads(peer.to_str())["model"]["merges"]]


def our_merges(tok: BPETokenizer) -> list[tuple[str, str]]:
    letters = dict(zip(bpe.BYTES, bpe.LETTERS))
    shown = ["".join(letters[byte] for byte in token) for token in tok.tokens]
    return [(shown[a], shown[b]) for a, b in tok.merges]


def tiktoken_of(tok: BPETokenizer) -> tiktoken.Encoding:
    return tiktoken.Encoding("ours", pat_str=bpe.PATTERNS[tok.pattern], special_tokens={"<end>": 0},
                             mergeable_ranks={token: i for i, token in enumerate(tok.tokens) if i})


def counted_anew(pieces: dict[bytes, int], n: int) -> list[tuple[int, int]]:
    """The merges by the definition: count all pairs of neighbours before each merge."""
    words, merges = {tuple(bpe.ID[b] for b in piece): times for piece, times in pieces.items()}, []
    while len(merges) < n:
        counts = Counter()
        for word, times in words.items():
            for pair in zip(word, word[1:]):
                counts[pair] += times
        if not counts:
            break
        merges.append(min(counts, key=lambda pair: (-counts[pair], pair)))
        words = {tuple(merged(word, merges[-1], bpe.FIRST + len(merges) - 1)): times
                 for word, times in words.items()}
    return merges


def merged(ids: tuple[int, ...], pair: tuple[int, int], new: int) -> list[int]:
    out = []
    for i in ids:
        out.append(i)
        if tuple(out[-2:]) == pair:
            out[-2:] = [new]
    return out


def test_the_textbook_s_merges_are_found():
    """"hug" 10 times, "pug" 5, "pun" 12, "bun" 4, "hugs" 5: ug, then un, then hug."""
    words = {"hug": 10, "pug": 5, "pun": 12, "bun": 4, "hugs": 5}
    tok = BPETokenizer.train([word for word, n in words.items() for _ in range(n)], 257 + 3)
    assert tok.symbols[257:] == ["ug", "un", "hug"]
    assert [tok.symbols[i] for i in tok.encode("hugun mug")] == ["hug", "un", " ", "m", "ug"]


def test_of_pairs_as_frequent_the_lower_ids_come_first():
    assert BPETokenizer.train(["cd", "ab", "ad"], 258).symbols[257:] == ["ab"]
    tok = BPETokenizer.train(["z\t", "zé"], 257 + 3, r"[\s\S]+")  # \xc3 is before \t, as in GPT-2
    assert tok.tokens[257:] == [b"z\xc3", b"z\t", "zé".encode()]


@given(texts=st.lists(FEW, max_size=6), n=st.integers(0, 40))
def test_kept_counts_learn_what_counting_anew_would(texts, n):
    pieces = Counter(piece.encode() for text in texts for piece in text.split())
    assert bpe.learn_merges(pieces, n) == counted_anew(pieces, n)


@PATTERNS
@given(texts=st.lists(FEW | OLD, min_size=1, max_size=6))
def test_merges_are_those_of_tokenizers_ties_included(pattern, texts):
    assert our_merges(BPETokenizer.train(texts, 300, pattern)) == peers_merges(texts, 300, pattern)


@PATTERNS
@pytest.mark.parametrize("name", ["tales", "coplas"])
def test_merges_of_real_texts_are_those_of_tokenizers_until_no_pair_is_left(name, pattern):
    texts = lm.data.splits(name)["train"][:300]
    tok = BPETokenizer.train(texts, 20_000, pattern)
    assert tok.vocab_size < 20_000                                  # so the rarest pairs, all ties, are in it
    assert our_merges(tok) == peers_merges(texts, 20_000, pattern)


@PATTERNS
@given(learned=st.lists(FEW, min_size=1, max_size=6), text=FEW | OLD)
def test_ids_are_those_of_tiktoken(pattern, learned, text):
    tok = BPETokenizer.train(learned, 290, pattern)
    assert tok.encode(text) == tiktoken_of(tok).encode_ordinary(text)


@PATTERNS
def test_ids_of_whole_tales_and_coplas_are_those_of_tiktoken(pattern):
    tok = tales(900, pattern)
    for text in ("\n\n".join(TALES), "\n\n".join(lm.data.splits("coplas")["val"])):
        assert tok.encode(text) == tiktoken_of(tok).encode_ordinary(text)


@given(text=ODD)
def test_any_text_comes_back(text):
    ids = TOK.encode(text)
    assert TOK.decode([TOK.end, *ids, TOK.end]) == text
    assert TOK.end not in ids


@given(data=st.binary() | ODD.map(lambda text: text.encode("utf-8", "surrogatepass")))
def test_any_bytes_come_back(data):
    assert TOK.decode_bytes(TOK.encode_bytes(data)) == data
    assert TOK.end not in TOK.encode_bytes(data)


@given(text=OLD)
def test_a_text_and_its_bytes_have_the_same_ids(text):
    assert TOK.encode_bytes(text.encode()) == TOK.encode(text)


@pytest.mark.parametrize("name", ["tales", "coplas", "shakespeare", "sonetos"])
def test_a_whole_book_comes_back(name):
    if not lm.data.available(name):
        pytest.skip(lm.data.missing(name))
    book = "\n\n".join(lm.data.load(name))[:2_000_000]
    assert TOK.decode(TOK.encode(book)) == book


def test_half_a_character_shows_as_a_sign_and_its_bytes_are_kept():
    half = TOK.encode("ñ")[:1]
    assert TOK.decode(half) == "�" and TOK.decode_bytes(half) == b"\xc3"


@pytest.mark.parametrize("text", ["<end>", "•", "<|endoftext|>", "\x00", "�"])
def test_no_text_gives_the_end(text):
    tok = BPETokenizer.train([text] * 9, 300)
    assert tok.end not in tok.encode(text)


def test_a_token_never_reaches_over_the_borders_of_the_pattern():
    for tok in tales(800, "gpt2"), tales(800):
        find = bpe.splitter(tok.pattern)
        assert all(len(find(symbol)) == 1 for symbol in tok.symbols[257:])
    assert bpe.splitter("gpt4")("I'LL pay $12345 \n\n now") == [
        "I", "'LL", " pay", " $", "123", "45", " \n\n", " now"]
    assert bpe.splitter("gpt2")("I'LL pay $12345 \n\n now") == [
        "I", "'", "LL", " pay", " $", "12345", " \n\n", " now"]


@pytest.mark.parametrize("name, theirs", [
    ("gpt2", openai_public.r50k_pat_str),
    ("gpt4", r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++"""
             r"""[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s""")])
@given(text=OLD.map(str.rstrip))      # white space at a text's end they have cut in more than one way
def test_patterns_without_possessive_marks_cut_as_those_of_tiktoken_do(name, theirs, text):
    assert bpe.splitter(name)(text) == regex.findall(theirs, text)


def test_a_long_piece_without_a_border_is_cut_in_time():
    text = "ab" * 200_000
    assert TOK.decode(TOK.encode(text)) == text


@given(texts=st.lists(ODD, min_size=1), pattern=st.sampled_from(["gpt2", "gpt4", r"[\s\S]{1,5}"]))
def test_a_saved_tokenizer_comes_back_the_same(tmp_path_factory, texts, pattern):
    path, tok = tmp_path_factory.getbasetemp() / "bpe.json", BPETokenizer.train(texts, 300, pattern)
    tok.save(path)
    again = BPETokenizer.load(path)
    assert (again.merges, again.pattern, again.tokens) == (tok.merges, tok.pattern, tok.tokens)
    assert [again.encode(text) for text in texts] == [tok.encode(text) for text in texts]


def test_a_saved_tokenizer_can_be_read_by_people(tmp_path):
    BPETokenizer.train(["the the ñ ñ"], 261, "gpt2").save(tmp_path / "bpe.json")
    saved = (tmp_path / "bpe.json").read_text(encoding="utf-8").splitlines()
    assert saved[1:4] == ['"lmcore": "BPETokenizer",', '"version": 1,', '"pattern": "gpt2",']
    assert saved[5:9] == ['"h e",', '"t he",', '"Ã ±",', '"Ġ Ã±"']


GOOD = {"lmcore": "BPETokenizer", "version": 1, "pattern": "gpt2", "merges": ["a b", "ab c"]}


@pytest.mark.parametrize("content, message", [
    (GOOD | {"lmcore": "CharTokenizer"}, "holds a CharTokenizer, version 1; wanted a BPETokenizer"),
    (GOOD | {"version": 2}, "holds a BPETokenizer, version 2"),
    (GOOD | {"merges": ["ab c"]}, "is damaged"), (GOOD | {"merges": ["a b", "a b"]}, "is damaged"),
    (GOOD | {"merges": ["a b c"]}, "is damaged"), (GOOD | {"merges": [7]}, "is damaged"),
    (GOOD | {"merges": None}, "is damaged"), (GOOD | {"pattern": "(?"}, "is damaged"),
    (GOOD | {"pattern": 3}, "is damaged"), ({}, "is damaged"),
    ({key: value for key, value in GOOD.items() if key != "pattern"}, "is damaged"),
])
def test_a_damaged_or_foreign_file_is_refused_in_one_line(content, message, tmp_path):
    (tmp_path / "bpe.json").write_text(json.dumps(content))
    with pytest.raises(ValueError, match=message) as refused:
        BPETokenizer.load(tmp_path / "bpe.json")
    assert "\n" not in str(refused.value)


def test_wrong_arguments_are_named():
    for arguments, message in [((["a"], 256), "at least 257"), (("a", 300), "a list of texts"),
                               ((["a"], 300, "(?"), "nor a pattern"), ((["ab"], 300, "a"), "leaves char"),
                               ((["a"], 300, "(a)"), "captures groups")]:
        with pytest.raises(ValueError, match=message) as refused:
            BPETokenizer.train(*arguments)
        assert "\n" not in str(refused.value)


def test_remembered_pieces_are_no_more_than_allowed(monkeypatch):
    monkeypatch.setattr(bpe, "KEPT", 10)
    tok = BPETokenizer(TOK.merges, TOK.pattern)
    assert [tok.encode(text) for text in TALES[:20]] == [TOK.encode(text) for text in TALES[:20]]
    assert len(tok._known) <= 10


def test_the_order_of_the_texts_does_not_matter():
    texts = [" ".join(words) for words in itertools.permutations(["ab", "bc", "ca", "cab"])]
    assert BPETokenizer.train(texts, 280).merges == BPETokenizer.train(texts[::-1], 280).merges
