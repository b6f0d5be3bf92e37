"""The package is read from top to bottom: a file imports only files that stand above it."""
import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parents[1] / "lmcore"
ORDER = ["check", "hints", "config", "cost", "tokenizers", "grammar", "verse", "bpe", "data", "autograd",
         "optim", "ngrams", "layers", "attention", "models", "recurrent", "minigpt", "exchange", "gpt",
         "blankfile", "evaluate", "sampling", "generate", "checkpoint", "parallel", "log", "machine",
         "learner", "train", "plan", "finetune", "plots"]
SEES_ALL = {"__init__", "__main__", "cli"}


def place(file: Path) -> str:
    """The name of a file in ORDER, or of the folder it is in."""
    return file.relative_to(PACKAGE).with_suffix("").parts[0]


def imports(source: str) -> Iterator[str]:
    """The files of the package that a source imports, inside functions too; "" for the package itself."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.ImportFrom):
            yield from package_file("." * node.level + (node.module or ""), [a.name for a in node.names])
        elif isinstance(node, ast.Import):
            for alias in node.names:
                yield from package_file(alias.name, [])


def package_file(module: str, names: list[str]) -> list[str]:
    first, *rest = module.split(".")
    if first not in ("lmcore", ""):
        return []
    return rest[:1] or names or [""]


def out_of_order(name: str, source: str) -> list[str]:
    """What a file imports that does not stand above it."""
    above = [*ORDER[:ORDER.index(name)], name]
    return [other for other in imports(source) if other not in above]


FILES = [file for file in sorted(PACKAGE.rglob("*.py")) if place(file) not in SEES_ALL]


@pytest.mark.parametrize("file", FILES, ids=lambda file: str(file.relative_to(PACKAGE)))
def test_a_file_imports_only_files_above_it(file):
    assert place(file) in ORDER, f"say in ORDER where {place(file)} stands, and in the design"
    assert out_of_order(place(file), file.read_text(encoding="utf-8")) == []


@pytest.mark.parametrize("source, wrong", [
    ("import torch\nfrom lmcore.check import same", []),
    ("from lmcore.ngrams import smooth", []),
    ("from lmcore.models import MLP", ["models"]),
    ("def f():\n    from lmcore import plots", ["plots"]),
    ("import lmcore.train", ["train"]),
    ("import lmcore as lm", [""]),
    ("from .plots import bars", ["plots"]),
])
def test_an_import_from_below_is_found(source, wrong):
    assert out_of_order("ngrams", source) == wrong


def test_files_stay_short():
    long = {str(file): n for file in PACKAGE.rglob("*.py")
            if (n := len(file.read_text(encoding="utf-8").splitlines())) >= 300}
    assert not long, f"split these into folders of the same name: {long}"
