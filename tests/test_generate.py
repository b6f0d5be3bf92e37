"""Writing: the same text with and without cache, alone and in a batch, in pieces and at once."""
import importlib
import itertools
import json
import sys

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_gpt import variants

import lmcore as lm
from lmcore import minigpt
from lmcore.generate import (
    Reader,
    beam_search,
    encoded,
    generate_file,
    interact,
    pieces,
    window_start,
)

TOK = lm.CharTokenizer.train(["abcdefghijklmnopqrstuvwxyz .,!?'-;:"])
T, V = 12, TOK.vocab_size
PROMPTS = ["abc", "", "hijklmnopqr", "z.", "ab"]


def wild(config: lm.GPTConfig | None = None, seed: int = 0, **changes) -> lm.GPT:
    """A model with large weights, so that its guesses differ from place to place; exact enough to compare."""
    torch.manual_seed(seed)
    fields = vars(config) if config else {"n_embd": 24, "n_layer": 2, "n_head": 3, "block_size": T}
    model = lm.GPT(lm.GPTConfig(**{**fields, "vocab_size": V, **changes})).double().eval()
    with torch.no_grad():
        for weight in model.parameters():
            if weight.ndim == 2:
                weight.mul_(8)
    return model


MODEL = wild()


@pytest.mark.parametrize("config", variants(), ids=str)
def test_cache_batch_and_sliding_change_nothing(config):
    model = wild(config)
    written = lm.generate(model, TOK, PROMPTS, 40, seed=5)
    assert written == lm.generate(model, TOK, PROMPTS, 40, seed=5, cache=False)
    assert written == [lm.generate(model, TOK, p, 40, seed=5 + i) for i, p in enumerate(PROMPTS)]
    assert len(set(map(len, written))) > 1 and max(map(len, written)) > 2 * T


@pytest.mark.parametrize("how", [{"temperature": 0.5}, {"top_k": 3}, {"top_p": 0.5},
                                 {"repetition_penalty": 1.8}, {"stop": ("e", ".")}])
def test_every_choice_gives_a_row_of_a_batch_what_it_gives_alone(how):
    written = lm.generate(MODEL, TOK, PROMPTS, 50, seed=9, **how)
    assert written == [lm.generate(MODEL, TOK, p, 50, seed=9 + i, **how) for i, p in enumerate(PROMPTS)]
    assert written != lm.generate(MODEL, TOK, PROMPTS, 50, seed=9)


def reference(model, ids: list[int], n: int) -> list[int]:
    """The slow way, in a few lines: the likeliest token, read from the window anew each time."""
    row = [0, *ids]
    for _ in range(n):
        seen = row
        while len(seen) > T:
            seen = seen[T // 2:]
        row.append(int(model(torch.tensor([seen]))[0, -1].argmax()))
        if row[-1] == 0:
            break
    return row[1:]


@pytest.mark.parametrize("how", [{"temperature": 0}, {"top_k": 1}, {"top_p": 1e-9}, {"temperature": 1e-6}])
def test_greedy_by_any_name_is_the_slow_way(how):
    for seed, prompt in itertools.product(range(3), PROMPTS):
        model = wild(seed=seed)
        expected = TOK.decode(reference(model, TOK.encode(prompt), 40))
        assert lm.generate(model, TOK, prompt, 40, seed=1, **how) == expected


@given(n=st.integers(1, 300), T=st.integers(1, 50))
def test_the_window_is_never_too_long_and_at_least_half_full(n, T):
    seen = n - window_start(n, T)
    assert seen == n if n <= T else T - max(T // 2, 1) < seen <= T
    assert 0 <= window_start(n + 1, T) - window_start(n, T) <= max(T // 2, 1)


def test_the_cache_reads_each_token_once_until_the_window_slides(monkeypatch):
    read, stream = [], lm.GPT.stream
    monkeypatch.setattr(lm.GPT, "stream", lambda self, ids, *rest: (
        read.append(ids.shape[1]), stream(self, ids, *rest))[1])
    model = wild()
    with torch.no_grad():
        model.tokens.weight[0] = 0                                  # the end is never the likeliest
    lm.generate(model, TOK, "abc", 22, temperature=0)
    assert read == [4] + 8 * [1] + [7] + 5 * [1] + [7] + 5 * [1] + [7]


def test_any_model_of_ids_can_write():
    plain, full = minigpt.GPT(V, T, 24, 2, 3).eval(), lm.GPT(lm.GPTConfig(
        vocab_size=V, block_size=T, n_embd=24, n_layer=2, n_head=3)).eval()
    with torch.no_grad():
        for weight in plain.parameters():
            weight.mul_(8 if weight.ndim == 2 else 1)
    full.load_state_dict(plain.state_dict())
    assert lm.generate(plain, TOK, PROMPTS, 30, seed=2) == lm.generate(full, TOK, PROMPTS, 30, seed=2)
    recurrent = lm.GRU(V, 8, 16)
    texts = lm.generate(recurrent, TOK, PROMPTS, 200, seed=2, top_p=0.9)
    assert all(text.startswith(prompt) for text, prompt in zip(texts, PROMPTS))


def test_seeds_make_it_reproducible_and_different():
    texts = lm.generate(MODEL, TOK, [""] * 20, 30, seed=1)
    assert texts == lm.generate(MODEL, TOK, [""] * 20, 30, seed=1)
    assert len(set(texts)) > 15
    assert lm.generate(MODEL, TOK, "", 30, seed=4) == texts[3]
    assert texts[0].startswith(lm.generate(MODEL, TOK, "", 5, seed=1))


def test_a_model_in_training_writes_without_dropout_and_trains_on():
    model = wild(dropout=0.5)
    quiet = lm.generate(model, TOK, "abc", 30, seed=1)
    assert lm.generate(model.train(), TOK, "abc", 30, seed=1) == quiet
    assert model.training
    next(lm.stream(model, TOK, "abc"))
    assert model.training


def test_a_stop_token_ends_a_text_and_stays():
    texts = lm.generate(MODEL, TOK, [""] * 30, 300, seed=1, stop=("e", "."))
    assert all(text.count("e") + text.count(".") <= 1 for text in texts)
    assert any(text.endswith("e") for text in texts) and any(text.endswith(".") for text in texts)


def test_the_stream_joined_is_the_text_and_comes_as_it_is_written(monkeypatch):
    read, logits = [], Reader.logits
    monkeypatch.setattr(Reader, "logits", lambda self, rows: (read.append(1), logits(self, rows))[1])
    found = lm.stream(MODEL, TOK, "abc", 30, seed=1)
    assert [next(found) for _ in range(4)][:3] == ["a", "b", "c"] and len(read) == 1
    expected = lm.generate(MODEL, TOK, "abc", 30, seed=1)
    assert "".join(lm.stream(MODEL, TOK, "abc", 30, seed=1)) == expected


BYTES = lm.BPETokenizer([])                                         # every byte a token
WORDS = lm.WordTokenizer.train(["one two, three.", "two one"])


@given(st.text())
@settings(deadline=None)
def test_a_piece_never_holds_a_part_of_a_character(text):
    found = list(pieces(BYTES, BYTES.encode(text)))
    assert "".join(found) == text
    assert len(found) >= len(text) - text.count("�")               # as soon as it is known


@given(st.lists(st.sampled_from(BYTES.encode("aé€🙂") + [0, 200])))
@settings(deadline=None)
def test_pieces_of_what_is_no_text_join_to_what_decoding_shows(ids):
    assert "".join(pieces(BYTES, ids)) == BYTES.decode(ids)


def test_words_come_with_their_spaces():
    assert list(pieces(WORDS, WORDS.encode("two, one."))) == ["two", ",", " one", "."]


def test_sentencepiece_keeps_its_spaces():
    tok = lm.SentencePieceTokenizer.train(["one two three four five six"], 280, "bpe", normalise="nmt_nfkc")
    assert "".join(pieces(tok, tok.encode("two one three"))) == "two one three"


def brute_force(model, ids: list[int], n: int) -> dict[tuple[int, ...], float]:
    """The log-probability of every continuation that ends, or is n tokens long."""
    found = {}
    for length in range(1, n + 1):
        for new in itertools.product(range(model.config.vocab_size), repeat=length):
            if 0 not in new[:-1] and (new[-1] == 0 or length == n):
                found[new] = float(model.log_probs([*ids, *new])[len(ids):].sum())
    return found


@pytest.mark.parametrize("power", [0.0, 0.6, 1.0])
def test_a_wide_beam_finds_the_best_of_all_texts(power):
    tok = lm.CharTokenizer.train(["abc"])
    model = wild(vocab_size=4, seed=1)
    all_texts = brute_force(model, tok.encode("ab"), 4)
    scores = sorted(((total / len(new)**power, new) for new, total in all_texts.items()), reverse=True)
    found = beam_search(model, tok, "ab", beams=len(scores), n=5, max_tokens=4, length_power=power)
    assert [text for text, _ in found] == ["ab" + tok.decode(new) for _, new in scores[:5]]
    assert [score for _, score in found] == pytest.approx([score for score, _ in scores[:5]], abs=1e-5)


def test_a_beam_of_one_is_greedy_also_where_the_window_slides():
    for seed, prompt in itertools.product(range(4), PROMPTS):
        model = wild(seed=seed)
        (text, _), = beam_search(model, TOK, prompt, beams=1, max_tokens=40)
        assert text == lm.generate(model, TOK, prompt, 40, temperature=0)


def test_beams_are_sorted_different_and_scored_by_the_model():
    found = beam_search(MODEL, TOK, "abc", beams=6, n=6, max_tokens=8)
    assert len({text for text, _ in found}) == 6
    assert [score for _, score in found] == sorted((score for _, score in found), reverse=True)
    text, score = found[0]
    ids = TOK.encode(text) + ([0] if len(text) < 11 else [])
    assert score == pytest.approx(float(MODEL.log_probs(ids)[3:].mean()), abs=1e-5)


def test_a_file_gives_a_file_whatever_the_batch(tmp_path):
    source = tmp_path / "prompts.txt"
    source.write_text("\n".join(PROMPTS) + "\n", encoding="utf-8")
    written = []
    for batch in (1, 2, 32):
        assert generate_file(MODEL, TOK, source, tmp_path / "texts.jsonl", batch=batch, seed=3,
                             max_tokens=20, top_p=0.9) == len(PROMPTS)
        lines = (tmp_path / "texts.jsonl").read_text(encoding="utf-8").splitlines()
        written.append([json.loads(line) for line in lines])
    assert written[0] == written[1] == written[2]
    texts = lm.generate(MODEL, TOK, PROMPTS, 20, seed=3, top_p=0.9)
    assert written[0] == [{"prompt": p, "text": t} for p, t in zip(PROMPTS, texts)]


def test_a_bad_line_is_told_before_anything_is_written(tmp_path):
    source = tmp_path / "prompts.txt"
    source.write_text("abc\nABC\n", encoding="utf-8")
    with pytest.raises(ValueError, match="'A' is not among"):
        generate_file(MODEL, TOK, source, tmp_path / "texts.jsonl")
    assert not (tmp_path / "texts.jsonl").exists()


def test_interaction_goes_on_after_a_mistake_until_the_empty_answer(capsys):
    answers = iter(["abc", "Abc", "abc", ""])
    interact(MODEL, TOK, lambda question: next(answers), seed=7, max_tokens=9)
    first, mistake, again = capsys.readouterr().out.splitlines()
    assert first == lm.generate(MODEL, TOK, "abc", 9, seed=7)
    assert "'A' is not among" in mistake
    assert again == lm.generate(MODEL, TOK, "abc", 9, seed=9)


@pytest.mark.parametrize("call, line", [
    (lambda: lm.generate(MODEL, TOK, []), "no prompt: give a text"),
    (lambda: lm.generate(MODEL, TOK, "é"), "'é' is not among the 35 symbols"),
    (lambda: lm.generate(MODEL, TOK, "abcdefghijkl"),
     "'abcdefghijkl' has 13 tokens with the mark of its start, and this model sees 12: shorten it"),
    (lambda: lm.generate(MODEL, TOK, "a", top_p=0), r"top_p must be in \(0, 1\]"),
    (lambda: lm.stream(MODEL, TOK, "a", temperature=-1), "temperature must be at least 0"),
    (lambda: lm.generate(MODEL, TOK, "a", stop="no"), "stop must be a single token, and 'no' is 2"),
    (lambda: beam_search(MODEL, TOK, "a", beams=2, n=3), "got beams=2, n=3"),
    (lambda: beam_search(MODEL, TOK, "a", beams=0), "beams must be at least 1")])
def test_a_bad_argument_gets_one_line_at_once(call, line):
    with pytest.raises(ValueError, match=line) as error:
        call()
    assert "\n" not in str(error.value)


def test_a_choice_that_does_not_exist_is_refused():
    with pytest.raises(TypeError, match="topk"):
        lm.generate(MODEL, TOK, "a", topk=3)


def test_an_exact_fit_is_no_mistake():
    assert len(encoded(MODEL, TOK, ["abcdefghijk"])[0]) == T
    assert lm.generate(MODEL, TOK, "abcdefghijk", 3, seed=1).startswith("abcdefghijk")


@pytest.mark.parametrize("first", ["lmcore.generate", "lmcore.sampling"])
def test_the_name_generate_is_the_function_whatever_is_imported_first(first, monkeypatch):
    monkeypatch.delitem(sys.modules, "lmcore.generate")
    monkeypatch.delitem(vars(lm), "generate")
    importlib.import_module(first)
    assert lm.generate is importlib.import_module("lmcore.generate").generate
    assert lm.generate.__name__ == "generate"
