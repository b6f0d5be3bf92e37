"""Documents and parts: nothing lost, nothing twice, nothing moved by a shuffle; own texts read kindly."""
import random
import re
import shutil
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

import lmcore as lm
from lmcore.data import files, generated

README = (Path(__file__).resolve().parents[1] / "data/README.md").read_text(encoding="utf-8")
ANCHORS = [f"document {i}" for i in range(60)]          # enough that every part gets some
documents = st.lists(st.text(max_size=12), max_size=30).map(lambda docs: docs + ANCHORS)


def needs(name: str) -> None:
    if not lm.data.available(name):
        pytest.skip(lm.data.missing(name))


def sizes(parts: dict[str, list[str]]) -> dict[str, int]:
    return {part: len(docs) for part, docs in parts.items()}


@given(documents, st.randoms())
def test_a_shuffle_moves_no_document_to_another_part(docs, chance):
    shuffled = chance.sample(docs, len(docs))
    one, other = lm.data.splits(docs), lm.data.splits(shuffled)
    assert {part: set(one[part]) for part in one} == {part: set(other[part]) for part in other}


@given(documents)
def test_each_different_document_is_in_exactly_one_part(docs):
    spread = [doc for part in lm.data.splits(docs).values() for doc in part]
    assert len(spread) == len(set(spread)) and set(spread) == set(docs)


@given(documents, st.lists(st.text()))
def test_more_documents_leave_the_others_where_they_are(docs, more):
    before, after = lm.data.splits(docs), lm.data.splits(docs + more)
    assert all(set(before[part]) <= set(after[part]) for part in before)


@given(documents)
def test_documents_keep_their_order_within_a_part(docs):
    for part in lm.data.splits(docs).values():
        assert part == sorted(part, key=docs.index)


@given(st.text())
def test_two_shares_leave_nothing_for_a_test_part(doc):
    assert lm.data.part_of(doc, (90, 10)) in ("train", "val")


def test_parts_are_the_same_on_every_machine():
    # sha256sum begins with f4, 27, e3 and bf: 95, 15, 88 and 74 hundredths of the way to ff
    assert [lm.data.part_of(doc) for doc in ("emma", "zoë", "", "ava")] == ["test", "train", "val", "train"]


def test_a_repeat_between_parts_cut_by_the_makers_stays_in_the_later():
    parts = lm.data._without_repeats({"train": ["a", "b", "b", "c"], "test": ["c", "d"]})
    assert parts == {"train": ["a", "b"], "test": ["c", "d"]}


def test_names_are_the_whole_table_and_their_parts_near_80_10_10():
    docs = lm.data.load("names")
    assert len(docs) == 32_257 and docs[:3] == ["emma", "olivia", "ava"] and docs[-1] == "zzyzx"
    assert sizes(lm.data.splits("names")) == {"train": 23_723, "val": 2_959, "test": 3_011}


def test_the_lectures_split_has_their_numbers_of_examples():
    needs("names-2019")
    parts = lm.data.splits("names-2019", how="lecture")
    examples = {part: sum(len(name) + 1 for name in names) for part, names in parts.items()}
    assert examples == {"train": 182_625, "val": 22_655, "test": 22_866}


def test_the_lectures_shuffle_leaves_the_caller_s_list_and_chance_alone():
    docs, state = [*ANCHORS], random.getstate()
    lm.data.splits(docs, how="lecture")
    assert docs == ANCHORS and random.getstate() == state


def test_the_lectures_cut_of_shakespeare_is_at_nine_tenths():
    needs("shakespeare")
    parts = lm.data.splits("shakespeare", how="lecture")
    assert {part: len(text) for part, (text,) in parts.items()} == {"train": 1_003_854, "val": 111_540}


def test_wikipedia_is_all_four_files_cut_90_10():
    needs("wikipedia")
    assert sizes(lm.data.splits("wikipedia")) == {"train": 4_012, "val": 453}


def test_gsm8k_keeps_the_cut_of_its_makers():
    needs("gsm8k")
    assert sizes(lm.data.splits("gsm8k")) == {"train": 7_473, "test": 1_319}


def test_formulas_of_wikitext_are_no_headings():
    text = " \n = One = \n \n If \n = 1 rad / s and k = \n then . \n = = Part = = \n \n" + (
        " \n = Two = \n \n End . \n")
    assert [doc.split("\n")[0] for doc in lm.data.read.wikitext(text)] == ["= One = ", "= Two = "]


def test_records_give_the_fields_of_a_table():
    needs("blimp")
    pairs = lm.data.records("blimp")
    assert len(pairs) == 6_700 and set(pairs[0]) == {"uid", "field", "phenomenon", "pair_id", "good", "bad"}
    assert lm.data.load("blimp")[0] == pairs[0]["good"]


def test_records_of_a_plain_text_are_refused():
    with pytest.raises(ValueError, match=r"'names' is not a table; these are: .*blimp"):
        lm.data.records("names")


def test_the_readme_has_a_datasheet_for_each_set():
    sheets = set(re.findall(r"^## (\S+)$", README, re.M))
    assert sheets == {*files.registry()["sets"], *generated.SETS}


@pytest.mark.parametrize("name, row", re.findall(r"^\| `(\S+)` \| (.*) \|$", README, re.M))
def test_the_readme_counts_each_set_rightly(name, row):
    needs(name)
    docs, text = lm.data.load(name), "".join(lm.data.load(name))
    parts = sizes(lm.data.splits(name))
    counts = [f"{n:,}" for n in (len(docs), len(set(docs)), len(text), len(set(text)))]
    shares = [f"{parts[part]:,}" if part in parts else "–" for part in ("train", "val", "test")]
    assert row == " | ".join([*counts, " / ".join(shares)])


# A reader's own text

@pytest.mark.parametrize("content, docs", [
    (b"one\ntwo\nthree", ["one", "two", "three"]),
    (b"one\r\n two \r\n", ["one", "two"]),
    (b"\xef\xbb\xbfone\ntwo\n", ["one", "two"]),
    (b"\n\nfirst\nverse\n\nsecond\n  verse\n \t\n\nthird\n", ["first\nverse", "second\n  verse", "third"]),
    ("ñandú\ntoé".encode(), ["ñandú", "toé"]),
], ids=["lines", "windows", "marked", "blocks", "letters"])
def test_an_own_text_is_read_by_lines_or_by_blocks(tmp_path, content, docs):
    file = tmp_path / "my.txt"
    file.write_bytes(content)
    assert lm.data.load(file) == lm.data.load(str(file)) == docs
    assert lm.data.available(file)


@pytest.mark.parametrize("content, message", [
    (b"", "my.txt is empty; put one document on each line"),
    (b" \n\n\t\n", "my.txt is empty"),
    ("one\ntwo ñ".encode("latin-1"), "byte 8, in line 2, is 0xf1.*WINDOWS-1252"),
    ("one\ntwo".encode("utf-16"), "byte 0, in line 1, is 0xff.*iconv -f UTF-16 -t UTF-8 my.txt"),
], ids=["empty", "blank", "latin-1", "utf-16"])
def test_an_unreadable_own_text_says_what_to_do(tmp_path, content, message):
    file = tmp_path / "my.txt"
    file.write_bytes(content)
    with pytest.raises(ValueError, match=message) as caught:
        lm.data.load(file)
    assert "\n" not in str(caught.value)


def test_a_missing_text_names_what_is_near(tmp_path):
    (tmp_path / "poems.txt").touch()
    with pytest.raises(FileNotFoundError, match=r"did you mean poems\.txt\?"):
        lm.data.load(tmp_path / "poem.txt")
    with pytest.raises(FileNotFoundError, match=r"did you mean names"):
        lm.data.load("nmaes")
    assert not lm.data.available("nmaes")


def test_a_folder_is_refused(tmp_path):
    with pytest.raises(IsADirectoryError, match="is a folder; give one text file"):
        lm.data.load(tmp_path)


def test_too_short_a_text_is_refused_when_split():
    with pytest.raises(ValueError, match="no document falls into"):
        lm.data.splits(["only", "three", "lines"])


def test_an_unknown_way_to_split_is_refused():
    with pytest.raises(ValueError, match='how is "hash" or "lecture"'):
        lm.data.splits("names", how="random")


# Generated sets

class Dice:
    """A grammar of so many texts, each as likely as the others, which draws with repeats."""

    def __init__(self, texts: int):
        self.texts = texts

    def sample(self, seed: int, n: int) -> list[tuple[str, float]]:
        return [(f"text {random.Random(f'{seed} {i}').randrange(self.texts)}", -1.0) for i in range(n)]


WRITTEN = [name for name in generated.SETS if lm.data.available(name)]


@pytest.fixture(scope="module", params=WRITTEN)
def written(request) -> tuple[str, dict, dict]:
    return request.param, lm.data.splits(request.param), lm.data.log2p(request.param)


def test_generated_sets_have_their_sizes_and_no_text_twice(written):
    name, parts, _ = written
    assert sizes(parts) == {"train": 20_000, "val": 1_000, "test": 1_000}
    docs = lm.data.load(name)
    assert docs == [doc for part in parts.values() for doc in part] and len(set(docs)) == 22_000


def test_each_generated_text_has_the_probability_its_grammar_gives_it(written):
    name, parts, bits = written
    grammar = lm.Grammar.load(name)
    for part in parts:
        assert len(bits[part]) == len(parts[part])
        for text, log2p in list(zip(parts[part], bits[part]))[::400]:
            assert log2p == pytest.approx(grammar.log_prob(text), abs=1e-9)


def test_a_set_is_written_once_and_anew_when_its_grammar_changes(monkeypatch, tmp_path):
    monkeypatch.setattr(generated, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(generated, "DATA", tmp_path)
    monkeypatch.setattr(generated, "SIZES", {"test": 1, "val": 1, "train": 4})
    shutil.copy(files.DATA / "tales.toml", tmp_path)
    first = generated.parts("tales")
    kept = generated.cache_file("tales")
    wrote = kept.stat().st_mtime_ns
    assert generated.parts("tales") == first and kept.stat().st_mtime_ns == wrote
    with (tmp_path / "tales.toml").open("a") as grammar:
        grammar.write("\n# changed\n")
    assert generated.cache_file("tales") != kept


@given(st.integers(1, 40), st.integers(0, 10), st.integers(1, 9))
def test_drawn_texts_are_new_and_different(n, known, seed):
    seen = {f"text {i}" for i in range(known)}
    drawn = [text for text, _ in generated.draw(Dice(10_000), seed, n, seen)]
    assert len(drawn) == len(set(drawn)) == n and len(seen) == known + n


def test_a_grammar_with_too_few_texts_is_refused():
    with pytest.raises(ValueError, match="too few texts: 3 different ones found, 4 asked for"):
        generated.draw(Dice(3), 1, 4, set())


def test_probabilities_are_known_of_generated_sets_only():
    with pytest.raises(ValueError, match="only tales, coplas have known probabilities, got 'names'"):
        lm.data.log2p("names")
