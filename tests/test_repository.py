"""The repository as a whole: what lies where, one name for it, nothing of the machine it was written on."""
import re
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "book/tools"))
import badges  # noqa: E402

TEXTS = {".md", ".py", ".ipynb", ".toml", ".yml", ".js", ".css", ".cff", ".cfg", ".json", ""}
TOP = {"README.md", "environment.yml", "chapters", "lmcore", "data", "tests", "book", "pyproject.toml",
       "constraints.txt", "Makefile", "LICENSE", "CITATION.cff", ".ci", ".github", ".gitignore",
       ".pre-commit-config.yaml"}


def tracked() -> list[Path]:
    done = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, text=True)
    names = done.stdout.split("\0")
    if not names[0]:
        pytest.skip("not a git checkout")
    return [ROOT / name for name in names if name and (ROOT / name).exists()]


def test_nothing_else_lies_at_the_top():
    assert {path.relative_to(ROOT).parts[0] for path in tracked()} <= TOP


def test_no_file_names_the_machine_it_was_written_on():
    foreign = re.compile(r"(?<![\w.])/(?:work|root|home/[a-z]\w*|Users/\w+)/[\w.-]")
    for path in tracked():
        if path.suffix in TEXTS:
            found = foreign.search(path.read_text(encoding="utf-8", errors="replace"))
            assert not found, f"{path.relative_to(ROOT)} holds {found[0]}"


def test_no_file_is_large():
    for path in tracked():
        limit = 4_500_000 if "runs" in path.parts else 400_000
        if path.parts[-2:] == ("19m", "model.safetensors"):     # two bytes for each of its parameters
            limit = 40_000_000
        assert path.stat().st_size <= limit, f"{path.relative_to(ROOT)} has {path.stat().st_size:,} bytes"


def test_every_stamped_place_carries_the_one_name():
    repo, ref = badges.stamped()
    owner_and_name = re.compile(r"colab\.research\.google\.com/github/([\w.-]+/[\w.-]+)/blob/([\w.-]+)/"
                                r"|git\+https://github\.com/([\w.-]+/[\w.-]+)@([\w.-]+)")
    for pattern in badges.STAMPED:
        for path in ROOT.glob(pattern):
            for found in owner_and_name.finditer(path.read_text(encoding="utf-8")):
                assert (found[1] or found[3], found[2] or found[4]) == (repo, ref), path.name


@pytest.mark.parametrize("text, wanted", [
    ("https://github.com/a/b", "https://github.com/new/name"),
    ("git+https://github.com/a/b@main\"", "git+https://github.com/new/name@v2\""),
    ("https://colab.research.google.com/github/a/b/blob/main/chapters/01.ipynb",
     "https://colab.research.google.com/github/new/name/blob/v2/chapters/01.ipynb"),
    ("https://github.com/a/bc and github.com/x/y", "https://github.com/a/bc and github.com/x/y"),
    ("git+https://github.com/a/b@mainly", "git+https://github.com/new/name@mainly"),
])
def test_restamping_changes_our_name_and_no_other(text, wanted):
    assert badges.restamp(text, ("a/b", "main"), ("new/name", "v2")) == wanted


def test_restamping_there_and_back_gives_the_same_file():
    old, new = badges.stamped(), ("somebody/fork", "v1")
    for pattern in badges.STAMPED:
        for path in ROOT.glob(pattern):
            text = path.read_text(encoding="utf-8")
            assert badges.restamp(badges.restamp(text, old, new), new, old) == text


def test_a_foreign_name_is_told_how_to_restamp():
    done = subprocess.run([sys.executable, ROOT / "book/tools/badges.py", "--check", "some/fork"],
                          capture_output=True, text=True)
    assert done.returncode == 1 and "make badges REPO=some/fork" in done.stderr


def test_the_wheel_holds_package_data_records_and_the_weights_of_tales_alone(tmp_path):
    uv = shutil.which("uv", path=str(Path(sys.prefix) / "bin")) or shutil.which("uv")
    if not uv:
        pytest.skip("uv is not installed here")
    subprocess.run([uv, "build", "--wheel", "-q", "-o", tmp_path, ROOT], check=True)
    names = zipfile.ZipFile(next(tmp_path.glob("*.whl"))).namelist()
    assert {"lmcore/__init__.py", "lmcore/data/__init__.py", "lmcore/_data/names.txt",
            "lmcore/_data/registry.toml"} <= set(names)
    assert not [n for n in names if n.startswith(("tests", "chapters", "book"))]
    records = [n for n in names if n.startswith("lmcore/_data/runs/")]
    others = [n for n in records if not n.startswith("lmcore/_data/runs/tales/")]
    assert others and all(n.count("/") == 3 and n.endswith(".json") for n in others)
    assert "lmcore/_data/runs/tales/model.safetensors" in records
