"""What tests share: how Hypothesis searches, every written chapter, a small chapter without faults."""
import os
import sys
from pathlib import Path

import nbformat
import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT / "book" / "tools"), str(ROOT / "tests")]

import chapter as ch  # noqa: E402
from sample import sample_chapter  # noqa: E402

settings.register_profile("course", deadline=None, derandomize=os.environ.get("CI") == "true")
settings.load_profile("course")


@pytest.fixture(params=ch.paths(), ids=lambda path: path.stem)
def chapter(request: pytest.FixtureRequest) -> ch.Chapter:
    if not request.param.exists():
        pytest.fail(f"only its text is written: make run CH={request.param.stem[:2]}")
    return ch.Chapter(request.param.stem, nbformat.read(request.param, 4))


@pytest.fixture
def sample() -> ch.Chapter:
    return sample_chapter()
