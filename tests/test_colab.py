"""As on Colab: a notebook alone in an empty folder, where lmcore is not installed, sets itself up and runs.

The repository is reached by a local git address. The environment is made once from constraints.txt and kept
under .cache; each test lays an empty one over it, so that what a notebook installs is seen and thrown away.
"""
import hashlib
import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import chapter as ch
import install
import nbformat
import pytest
import run

WRITTEN = [p for p in ch.paths() if p.exists()]
COLAB = ["ipykernel", "nbclient", "pip", "hatchling"]       # hatchling: to build lmcore without the network
RUN = """import sys, nbformat, nbclient
nb = nbformat.read(sys.argv[1], 4)
nbclient.NotebookClient(nb, timeout=600, kernel_name="python3", coalesce_streams=True).execute()
nbformat.write(nb, sys.argv[1])"""


def call(*command: str | Path, **kwargs) -> str:
    done = subprocess.run(command, text=True, capture_output=True, **kwargs)
    assert done.returncode == 0, f"{command[:3]} failed:\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout


@pytest.fixture(scope="module")
def base() -> Path:
    """The site-packages of an environment with what Colab has, or soon would: all that lmcore asks for."""
    pins = ch.ROOT / "constraints.txt"
    asked = tomllib.loads((ch.ROOT / "pyproject.toml").read_text())["project"]["dependencies"]
    key = hashlib.sha256(f"{pins.read_text()}{asked}{COLAB}{sys.version}".encode()).hexdigest()[:12]
    home = ch.ROOT / ".cache" / f"colab-{key}"
    if not (home / "ready").exists():
        shutil.rmtree(home, ignore_errors=True)
        call(sys.executable, "-m", "uv", "venv", "-q", home, "--python", sys.executable)
        options, env = install.torch_source("cpu")
        call(sys.executable, "-m", "uv", "pip", "install", "-q", "--python", home, "-c", pins, *options,
             *asked, *COLAB, env=os.environ | env)
        (home / "ready").touch()
    return site_packages(home)


def site_packages(environment: Path) -> Path:
    return next(environment.glob("lib/python*/site-packages"))


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The git address of a repository with this tree's files as they are now, committed or not."""
    there = tmp_path_factory.mktemp("repository")
    files = call("git", "ls-files", "-co", "--exclude-standard", "-z", cwd=ch.ROOT).split("\0")
    for name in filter(None, files):
        if (ch.ROOT / name).is_file():
            (there / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ch.ROOT / name, there / name)
    call("git", "init", "-q", "-b", "main", cwd=there)
    call("git", "add", "-A", cwd=there)
    who = ["-c", "user.name=test", "-c", "user.email=test@example.org"]
    call("git", *who, "commit", "-qm", "all", cwd=there)
    return f"git+file://{there}@main"


def run_alone(nb: nbformat.NotebookNode, folder: Path, base: Path, source: str) -> nbformat.NotebookNode:
    """The notebook as it is after a run in its own empty folder and its own environment."""
    environment, alone = folder / "environment", folder / "alone"
    alone.mkdir()
    call(sys.executable, "-m", "uv", "venv", "-q", environment, "--python", sys.executable)
    (site_packages(environment) / "base.pth").write_text(str(base))
    nbformat.write(nb, alone / "chapter.ipynb")
    env = {k: v for k, v in os.environ.items() if k != "PYTHONPATH"}
    env |= run.STRICT | {"LMCORE_SOURCE": source, "PIP_NO_BUILD_ISOLATION": "0"}    # 0: pip's way to say no
    call(environment / "bin/python", "-c", RUN, "chapter.ipynb", cwd=alone, env=env)
    return nbformat.read(alone / "chapter.ipynb", 4)


def installed(folder: Path) -> set[str]:
    """What the notebook installed over what was there."""
    return {p.name.split("-")[0] for p in site_packages(folder / "environment").glob("*.dist-info")}


@pytest.mark.parametrize("path", [p for p in WRITTEN if p.stem == "01_bigrams"], ids=lambda p: p.stem)
def test_chapter_01_runs_to_its_end_alone(path: Path, tmp_path: Path, base: Path, source: str):
    stored = nbformat.read(path, 4)
    nb = run_alone(stored, tmp_path, base, source)
    assert [m["name"] for m in ch.claims(nb)] == [m["name"] for m in ch.claims(stored)]
    assert installed(tmp_path) == {"lmcore"}, "and torch, above all, stays as it is"


def test_another_chapter_sets_itself_up_alone(tmp_path: Path, base: Path, source: str):
    nb = nbformat.read(WRITTEN[-1], 4)          # any one: a rule of chapters gives all the same set-up cell
    nb.cells = [c for c in nb.cells if "setup" in ch.tags(c)]
    nb.cells.append(nbformat.v4.new_code_cell("print(lm.__file__, len(lm.data.load('names')))"))
    out = run_alone(nb, tmp_path, base, source).cells[-1].outputs[0].text
    assert str(tmp_path) in out and int(out.split()[-1]) > 30_000
    assert installed(tmp_path) == {"lmcore"}
