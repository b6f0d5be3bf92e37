"""The models that come with the course: each opens by its name, is small, and is what its record says."""
import importlib.util
import json
from dataclasses import replace
from pathlib import Path

import pytest

import lmcore as lm
from lmcore import checkpoint

ROOT = Path(__file__).resolve().parents[1]
RUNS = ROOT / "data/runs"
STUDY = importlib.util.spec_from_file_location("models_study", ROOT / "tests/studies/models.py")
study = importlib.util.module_from_spec(STUDY)
STUDY.loader.exec_module(study)
every_model = pytest.mark.parametrize("name", study.MODELS)


def texts(name: str) -> tuple[dict[str, list[str]], checkpoint.Tokenizer]:
    if not lm.data.available(name):
        pytest.skip(lm.data.missing(name))
    return study.texts(name)


@every_model
def test_a_kept_model_is_small_whole_and_opens_by_its_name(name):
    model, tok = checkpoint.load(name)
    record = json.loads((RUNS / f"{name}.json").read_text(encoding="utf-8"))
    assert record["parameters"] == model.n_params and record["model"]["vocab_size"] == tok.vocab_size
    assert sum(file.stat().st_size for file in (RUNS / name).iterdir()) < 4e6
    assert checkpoint.damage(RUNS / name) == ""


@every_model
def test_a_kept_model_scores_as_its_record_says(name):
    parts, _ = texts(name)
    model, tok = checkpoint.load(name)
    record = json.loads((RUNS / f"{name}.json").read_text(encoding="utf-8"))["validation"]
    some = [doc[:20_000] for doc in parts["val"][:40]]
    low, high = lm.evaluate(model, some, tok).bits_per_byte_interval if len(some) > 1 else (
        lm.evaluate(model, some, tok).bits_per_byte + d for d in (-0.15, 0.15))
    assert low < record["bits_per_byte"] < high


@every_model
def test_the_study_begins_as_recorded(name, tmp_path):
    """In float32 and uncompiled, so that it runs everywhere: the first steps have the same mean loss."""
    parts, tok = texts(name)
    config = lm.TrainConfig(**study.MUON, log_every=study.FIRST, **study.MODELS[name]["train"])
    config = replace(config, compile=False, precision="float32")
    run = lm.fit(study.untrained(name, tok), {"train": parts["train"]}, tok, config, tmp_path / "run",
                 until=study.FIRST)
    recorded = json.loads((RUNS / f"{name}.json").read_text(encoding="utf-8"))["mean loss of the first steps"]
    assert abs(run.history[0]["loss"] - recorded) < 0.02


def test_the_model_of_nineteen_million_opens_from_its_registered_files():
    places = [lm.data.path(f"runs/19m/{name}") for name in checkpoint.FILES]
    model, tok = checkpoint.load(places[0].parent)
    record = json.loads((RUNS / "19m.json").read_text(encoding="utf-8"))
    assert model.n_params == 19_804_416 and tok.vocab_size == record["config"]["model"]["vocab_size"]
    assert checkpoint.damage(RUNS / "19m") == ""
