"""Installing: conda and pip name the same things, and each failure says what to do."""
import importlib.util
import os
import re
import shutil
import subprocess
import sys
import tomllib
from itertools import chain
from pathlib import Path
from types import SimpleNamespace

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from packaging.utils import canonicalize_name
from rattler import MatchSpec

ROOT = Path(__file__).resolve().parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
EXTRAS = PROJECT["optional-dependencies"]
CONDA = {"pytorch": "torch", "matplotlib-base": "matplotlib"}


def test_conda_and_pip_name_the_same_dependencies():
    wanted = [*PROJECT["dependencies"], *EXTRAS["course"], f"python{PROJECT['requires-python']}"]
    wanted = {canonicalize_name(r.name): r.specifier for r in map(Requirement, wanted)}
    environment = yaml.safe_load((ROOT / "environment.yml").read_text(encoding="utf-8"))
    found = {}
    for line in environment["dependencies"]:
        if isinstance(line, dict) or line == "pip":
            continue
        spec = MatchSpec(line, strict=True)                 # conda's own syntax check, offline
        name, version = spec.name.normalized, str(spec.version)
        found[CONDA.get(name, name)] = SpecifierSet(version if version[0] in "<>=!~" else f"=={version}")
    assert environment["channels"] == ["conda-forge"]
    assert found == wanted


def test_every_dependency_is_pinned_for_ci():
    pins = {canonicalize_name(Requirement(line).name): Requirement(line)
            for line in (ROOT / "constraints.txt").read_text().splitlines() if line and line[0] != "#"}
    assert all(str(pin.specifier).startswith("==") for pin in pins.values())
    asked = [*PROJECT["dependencies"], *chain(*EXTRAS.values())]
    for requirement in map(Requirement, asked):
        version = str(pins[canonicalize_name(requirement.name)].specifier)[2:]
        assert requirement.specifier.contains(version), f"{requirement} is pinned to {version}"


@pytest.fixture
def install(tmp_path, monkeypatch):
    """The install script, pointed at an empty folder."""
    spec = importlib.util.spec_from_file_location("install", ROOT / "book/tools/install.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    for name, path in {"VENV": "", "STAMP": ".installed", "LOG": "install.log", "BIN": "bin"}.items():
        monkeypatch.setattr(module, name, str(tmp_path / ".venv" / path))
    return module


def test_an_old_python_is_refused_with_the_way_out(install, monkeypatch):
    monkeypatch.setattr(install, "NEEDED", (99, 0))
    with pytest.raises(SystemExit, match=r"Python 99\.0 or later is needed.*make lab PYTHON="):
        install.main(["course"])


def test_a_full_disk_is_seen_before_the_download(install, monkeypatch):
    monkeypatch.setattr(install.shutil, "disk_usage", lambda path: SimpleNamespace(free=10**8))
    with pytest.raises(SystemExit, match=r"needs 3 GB of disk and 0\.1 GB are free"):
        install.main(["course"])


def test_an_unknown_build_of_torch_is_refused(install, monkeypatch):
    monkeypatch.setenv("TORCH", "tpu")
    with pytest.raises(SystemExit, match="TORCH=auto, TORCH=cpu or TORCH=cuda"):
        install.main(["course"])


def test_without_a_network_the_message_says_so(install, monkeypatch):
    for name in [n for n in os.environ if n.startswith(("PIP_", "UV_"))]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("PIP_CONFIG_FILE", os.devnull)
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9/simple")      # a port where nothing listens
    monkeypatch.setenv("PIP_RETRIES", "0")
    with pytest.raises(SystemExit, match="the package index cannot be reached"):
        install.main(["course"])
    assert not Path(install.STAMP).exists()


def test_a_second_install_changes_nothing():
    stamp = ROOT / ".venv/.installed"
    if not stamp.exists() or Path(sys.prefix) != ROOT / ".venv":
        pytest.skip("this environment was not made by `make install`")
    base = Path(sys.base_prefix) / "bin" / f"python{sys.version_info.major}.{sys.version_info.minor}"
    before = stamp.stat().st_mtime_ns
    done = subprocess.run([base, ROOT / "book/tools/install.py"], capture_output=True, text=True, check=True)
    assert done.stdout == "" and stamp.stat().st_mtime_ns == before


@pytest.mark.skipif(shutil.which("make") is None, reason="make is not here")
def test_make_alone_lists_the_targets():
    shown = subprocess.run(["make"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    listed = set(re.findall(r"^  make (\w+)", shown, re.M))
    assert {"lab", "test", "install", "book", "run", "bench", "clean"} <= listed
