"""Registered files: found in the mirror, then the cache, then at the address; never taken unchecked."""
import hashlib
import io
import os
import re
import threading
import zipfile
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

import lmcore as lm
from lmcore.data import files, read, recipes

REGISTRY = files.registry()
MIRROR = os.environ.get("LMCORE_MIRROR")
FORMS = {"exact", "CRLF to LF", "member", "derived"}
TEXT = b"one\ntwo\n"


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


@pytest.fixture
def served(tmp_path):
    """A folder and its address."""
    folder = tmp_path / "served"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=folder)) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield folder, f"http://127.0.0.1:{server.server_port}"
        server.shutdown()


@pytest.fixture
def register(monkeypatch, tmp_path):
    """Makes a registry of one file and one set of it; cache, mirror and data folder are empty."""
    def make(**entry) -> str:
        entry = {"form": "exact", "sha256": hashlib.sha256(TEXT).hexdigest(), "bytes": len(TEXT)} | entry
        entry = {key: value for key, value in entry.items() if value is not None}
        both = {"files": {"set/file.txt": entry},
                "sets": {"set": {"files": ["set/file.txt"], "read": "lines"}}}
        monkeypatch.setattr(files, "registry", lambda: both)
        monkeypatch.setattr(lm.data, "registry", lambda: both)
        monkeypatch.setattr(lm.data.shelf, "registry", lambda: both)
        return "set/file.txt"
    monkeypatch.setattr(files, "cache_folder", lambda: tmp_path / "cache")
    monkeypatch.setattr(files, "DATA", tmp_path / "data")
    monkeypatch.setenv("LMCORE_MIRROR", str(tmp_path / "mirror"))
    return make


def put(place: Path, content: bytes) -> Path:
    place.parent.mkdir(parents=True, exist_ok=True)
    place.write_bytes(content)
    return place


def zipped(members: dict[str, bytes]) -> bytes:
    with zipfile.ZipFile(made := io.BytesIO(), "w") as archive:
        for name, content in members.items():
            archive.writestr(name, content)
    return made.getvalue()


def below(folder: Path) -> set[str]:
    return {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}


def test_the_mirror_is_asked_before_cache_and_network(register, tmp_path):
    file = register()
    mirrored = put(tmp_path / "mirror" / file, TEXT)
    put(tmp_path / "cache" / file, TEXT)
    assert lm.data.path(file) == mirrored


def test_a_wrong_file_in_the_mirror_is_named_and_not_used(register, tmp_path):
    file = register()
    wrong = put(tmp_path / "mirror" / file, b"one\ntwo?\n")
    with pytest.raises(ValueError, match=r"its sha256 is .*, the registry's") as caught:
        lm.data.load("set")
    assert str(caught.value).startswith(str(wrong)) and "\n" not in str(caught.value)


def test_a_download_is_kept_and_the_network_not_asked_again(register, served, tmp_path):
    folder, address = served
    file = register(urls=[f"{address}/a.txt"])
    source = put(folder / "a.txt", TEXT)
    assert lm.data.load("set") == ["one", "two"]
    source.unlink()
    assert lm.data.path(file) == tmp_path / "cache" / file and lm.data.available("set")


def test_a_damaged_copy_in_the_cache_is_fetched_anew(register, served, tmp_path):
    folder, address = served
    file = register(urls=[f"{address}/a.txt"])
    put(folder / "a.txt", TEXT)
    put(tmp_path / "cache" / file, TEXT[:3])
    assert lm.data.path(file).read_bytes() == TEXT


def test_a_download_with_another_sum_is_refused_and_not_kept(register, served, tmp_path):
    folder, address = served
    register(urls=[f"{address}/a.txt"])
    put(folder / "a.txt", b"something else")
    with pytest.raises(lm.data.Unavailable, match="does not match the known hash"):
        lm.data.load("set")
    assert below(tmp_path / "cache") == set()


def test_the_second_address_serves_when_the_first_does_not(register, served):
    folder, address = served
    register(urls=[f"{address}/gone.txt", f"{address}/a.txt"])
    put(folder / "a.txt", TEXT)
    assert lm.data.load("set") == ["one", "two"]


@pytest.mark.parametrize("upstream", [TEXT, TEXT.replace(b"\n", b"\r\n")], ids=["LF", "CRLF"])
def test_line_ends_are_made_lf_before_the_sum_is_compared(register, served, upstream):
    folder, address = served
    file = register(urls=[f"{address}/a.txt"], form="CRLF to LF")
    put(folder / "a.txt", upstream)
    assert lm.data.path(file).read_bytes() == TEXT


def test_a_member_is_taken_out_of_its_archive(register, served):
    folder, address = served
    archive = zipped({"top/file.txt": TEXT, "top/other.txt": b"no"})
    file = register(urls=[f"{address}/a.zip"], form="member", member="top/file.txt",
                    download_sha256=hashlib.sha256(archive).hexdigest())
    put(folder / "a.zip", archive)
    assert lm.data.path(file).read_bytes() == TEXT


def test_a_member_without_a_sum_is_believed_for_its_archive_but_not_another(register, served, tmp_path):
    folder, address = served
    archive = zipped({"file.txt": TEXT})
    file = register(urls=[f"{address}/a.zip"], form="member", member="file.txt", sha256=None,
                    download_sha256=hashlib.sha256(archive).hexdigest())
    put(folder / "a.zip", zipped({"file.txt": b"no"}))
    with pytest.raises(lm.data.Unavailable, match="known hash"):
        lm.data.path(file)
    put(folder / "a.zip", archive)
    assert lm.data.path(file).read_bytes() == TEXT and lm.data.path(file) == tmp_path / "cache" / file


def test_a_derived_file_is_made_by_its_recipe(register, served):
    folder, address = served
    file = register(urls=[f"{address}/a.zip"], form="derived", recipe="sonetos",
                    sha256=hashlib.sha256(b"one\n\n\ntwo\n").hexdigest())
    sonnets = "top/txt/18th/per-sonnet/disco"
    put(folder / "a.zip", zipped({f"{sonnets}2.txt": b"two", f"{sonnets}1.txt": b"one\n"}))
    assert lm.data.path(file).read_bytes() == b"one\n\n\ntwo\n"


def test_an_archive_writes_nothing_outside_its_place(register, served, tmp_path):
    folder, address = served
    evil = {"../../../evil.txt": b"evil", str(tmp_path / "evil.txt"): b"evil", "..\\evil.txt": b"evil"}
    put(folder / "a.zip", zipped({**evil, "file.txt": TEXT}))
    before = below(tmp_path)
    file = register(urls=[f"{address}/a.zip"], form="member", member="file.txt")
    lm.data.path(file)
    assert below(tmp_path) - before == {"cache/set/file.txt", "cache/downloads/a.zip"}


def test_a_broken_archive_is_named_and_not_kept(register, served, tmp_path):
    folder, address = served
    register(urls=[f"{address}/a.zip"], form="member", member="file.txt")
    put(folder / "a.zip", zipped({"file.txt": TEXT})[:30])
    with pytest.raises(lm.data.Unavailable, match="not a zip file"):
        lm.data.load("set")
    assert below(tmp_path / "cache") == set()


def test_a_file_saved_by_hand_where_the_message_says_is_found(register, tmp_path):
    file = register(urls=["http://127.0.0.1:9/a.zip"], form="member", member="file.txt")
    said = re.search(r"save (\S+) as (\S+);", lm.data.missing("set"))
    put(Path(said[2]), zipped({"file.txt": TEXT}))
    assert said[1] == "http://127.0.0.1:9/a.zip" and lm.data.path(file).read_bytes() == TEXT


def test_without_mirror_and_network_one_line_says_three_ways(register):
    file = register(urls=["http://127.0.0.1:9/a.txt"])
    assert not lm.data.available("set")
    with pytest.raises(lm.data.Unavailable) as caught:
        lm.data.load("set")
    for line in (str(caught.value), lm.data.missing("set")):
        assert all(way in line for way in ("(1) connect", "(2) save http", "(3) set LMCORE_MIRROR", file))
        assert "\n" not in line
    assert lm.data.missing("set").startswith("Skipped: ")


def test_a_file_that_no_address_serves_says_what_to_take_instead(register):
    register(form="derived", instead="names")
    with pytest.raises(lm.data.Unavailable, match=r"\(1\) take 'names' in its place; \(2\) copy the file to"):
        lm.data.load("set")


def test_nothing_is_missing_when_all_is_there(register, tmp_path):
    put(tmp_path / "mirror" / register(), TEXT)
    assert lm.data.missing("set") == ""


def test_unknown_names_are_answered_with_the_near_ones():
    with pytest.raises(ValueError, match=r"no registered file 'sonetos\.tx'; did you mean sonetos\.txt"):
        lm.data.path("sonetos.tx")
    with pytest.raises(ValueError, match=r"no registered set 'sonnetos'; did you mean sonetos\?"):
        lm.data.missing("sonnetos")


@pytest.mark.parametrize("file", list(REGISTRY["files"]))
def test_every_file_is_registered_in_full(file):
    entry = REGISTRY["files"][file]
    assert entry["form"] in FORMS and entry["licence"] and entry["what"]
    assert re.fullmatch("[0-9a-f]{64}", entry.get("sha256") or entry["download_sha256"])
    assert all(url.startswith("https://") for url in entry.get("urls", []))
    assert entry.get("urls") or entry["instead"] in REGISTRY["sets"]
    assert not Path(file).is_absolute() and ".." not in Path(file).parts
    if entry["form"] == "derived" and "urls" in entry:
        assert callable(getattr(recipes, entry["recipe"]))


@pytest.mark.parametrize("name", list(REGISTRY["sets"]))
def test_every_set_is_made_of_registered_files(name):
    entry = REGISTRY["sets"][name]
    assert set(lm.data.shelf.files_of(name)) <= set(REGISTRY["files"]) and entry["what"]
    assert "text" in entry or callable(getattr(read, entry["read"]))


@pytest.mark.skipif(not MIRROR, reason="LMCORE_MIRROR is not set")
def test_every_file_of_the_mirror_is_the_registered_one():
    held = [file for file in REGISTRY["files"] if (Path(MIRROR) / file).is_file()]
    assert held, f"the mirror {MIRROR} holds no registered file"
    for file in held:
        assert lm.data.path(file).stat().st_size == REGISTRY["files"][file]["bytes"]


@pytest.mark.skipif(not (MIRROR and Path(MIRROR, "SOURCES.md").is_file()),
                    reason="no SOURCES.md in the mirror")
def test_the_registry_agrees_with_what_the_mirror_says_of_its_files():
    rows = re.findall(r"^\| (\S+) \| (\d+) \| ([0-9a-f]{64}) \| (\S+)[^|]* \| ([^|]+) \| ([^|]+) \|",
                      (Path(MIRROR) / "SOURCES.md").read_text(encoding="utf-8"), re.M)
    assert len(rows) > 20
    for file, size, total, _, licence, form in rows:
        ours = [REGISTRY["files"][file][key] for key in ("bytes", "sha256", "licence", "form")]
        assert ours == [int(size), total, licence, form]
