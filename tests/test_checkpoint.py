"""A model that was kept comes back as it was, and files that do not belong together are refused."""
import json
import os
from contextlib import suppress
from pathlib import Path

import pytest
import torch

import lmcore as lm
from lmcore import checkpoint

TOK = lm.WordTokenizer.train(["a hen sang", "a cat sang"])
CONFIG = lm.GPTConfig(vocab_size=TOK.vocab_size, block_size=8, n_embd=16, n_layer=2, n_head=2)


@pytest.mark.parametrize("tied", [True, False])
def test_a_model_comes_back_as_it_was(tmp_path, tied):
    model = lm.GPT(lm.GPTConfig(**{**vars(CONFIG), "tied": tied})).eval()
    checkpoint.save(tmp_path / "run", model, TOK)
    again, tok = checkpoint.load(tmp_path / "run")
    ids = torch.tensor([tok.encode("a hen sang")])
    assert torch.equal(again(ids), model(ids))
    assert again.config == model.config and tok.symbols == TOK.symbols


@pytest.mark.parametrize("kind", list(checkpoint.KINDS))
def test_every_kind_of_tokenizer_comes_back(tmp_path, kind):
    texts = ["a hen sang to a cat", "a cat sang to a hen"] * 20
    size = {"BPETokenizer": [260], "SentencePieceTokenizer": [270]}.get(kind, [])
    tok = checkpoint.KINDS[kind].train(texts, *size)
    checkpoint.save(tmp_path, lm.GPT(lm.GPTConfig(**{**vars(CONFIG), "vocab_size": tok.vocab_size})), tok)
    again = checkpoint.load(tmp_path)[1]
    assert type(again) is type(tok) and again.encode(texts[0]) == tok.encode(texts[0])


def test_half_the_bytes_lose_little(tmp_path):
    model = lm.GPT(CONFIG).eval()
    checkpoint.save(tmp_path, model, TOK, half=True)
    again, _ = checkpoint.load(tmp_path)
    torch.testing.assert_close(again.tokens.weight, model.tokens.weight, rtol=1e-3, atol=1e-6)
    assert again.tokens.weight.dtype == torch.float32


def test_what_is_not_there_is_named(tmp_path):
    with pytest.raises(FileNotFoundError, match=r"no trained model in .*config.json, tokenizer.json"):
        checkpoint.load(tmp_path)


def test_weights_of_another_model_are_refused(tmp_path):
    checkpoint.save(tmp_path, lm.GPT(CONFIG), TOK)
    about = json.loads((tmp_path / "config.json").read_text())
    about["model"]["n_layer"] = 3
    (tmp_path / "config.json").write_text(json.dumps(about))
    (tmp_path / checkpoint.SUMS).unlink()           # else the change itself is found
    with pytest.raises(ValueError, match="are not of the model"):
        checkpoint.load(tmp_path)


def test_a_tokenizer_of_another_size_is_refused(tmp_path):
    checkpoint.save(tmp_path, lm.GPT(CONFIG), lm.WordTokenizer.train(["a"]))
    with pytest.raises(ValueError, match="has 2 tokens, its model 5"):
        checkpoint.load(tmp_path)


@pytest.mark.parametrize("content, said", [
    ('{"tokenizer": "Telepathy", "model": {"vocab_size": 5}}', "names a tokenizer 'Telepathy'; there are"),
    ('{"model": {"vocab_size": 5}}', "is damaged, or of another program: 'tokenizer'"),
    ('{"tokenizer": "WordTokenizer", "model": {"vocab_size": 5, "wings": 2}}', "unexpected keyword.*wings"),
    ("{", "is damaged")])
def test_a_config_that_is_not_ours_is_refused_in_a_sentence(tmp_path, content, said):
    checkpoint.save(tmp_path, lm.GPT(CONFIG), TOK)
    (tmp_path / checkpoint.SUMS).unlink()
    (tmp_path / "config.json").write_text(content)
    with pytest.raises(ValueError, match=said):
        checkpoint.load(tmp_path)


def test_a_changed_file_is_found_by_its_checksum(tmp_path):
    checkpoint.save(tmp_path, lm.GPT(CONFIG), TOK)
    with open(tmp_path / "tokenizer.json", "a") as file:
        file.write(" ")
    with pytest.raises(ValueError, match=r"nothing whole is left: .*tokenizer\.json changed since"):
        checkpoint.load(tmp_path)


def test_weights_cut_short_are_found_without_checksums_too(tmp_path):
    checkpoint.save(tmp_path, lm.GPT(CONFIG), TOK)
    (tmp_path / checkpoint.SUMS).unlink()
    os.truncate(tmp_path / "model.safetensors", 1_000)
    with pytest.raises(ValueError, match=r"model\.safetensors is damaged"):
        checkpoint.load(tmp_path)


def test_saving_again_leaves_one_folder(tmp_path):
    for _ in range(2):
        checkpoint.save(tmp_path / "run", lm.GPT(CONFIG), TOK)
    assert [place.name for place in tmp_path.iterdir()] == ["run"]


@pytest.mark.parametrize("done", range(6))
def test_at_every_moment_of_writing_one_whole_folder_is_there(tmp_path, monkeypatch, done):
    """The folder is written twice; the second time ends after so many operations."""
    def end(*_: object) -> None:
        left.append(1)
        if len(left) > done:
            raise KeyboardInterrupt

    left, folder = [], tmp_path / "run"
    checkpoint.put(folder, {"a": b"old"})
    checkpoint.put(folder, {"a": b"newer"})
    for module, name in ((Path, "rename"), (checkpoint.shutil, "rmtree"), (checkpoint, "write")):
        real = getattr(module, name)
        monkeypatch.setattr(module, name, lambda *a, real=real, **k: (end(), real(*a, **k))[1])
    with suppress(KeyboardInterrupt):
        checkpoint.put(folder, {"a": b"newest"})
    assert (checkpoint.intact(folder) / "a").read_bytes() in (b"newer", b"newest")
