"""Find a registered file: in the course itself, in a mirror, in the cache, at its address; always checked.

The registry is data/registry.toml. A file is looked for in the course's own data folder, then in the
folder named by LMCORE_MIRROR, then in the cache, then it is fetched. Its sha256 is compared each time (a
member of an archive of known sum may go without).
"""
import difflib
import hashlib
import os
import sys
import tempfile
import tomllib
import zipfile
from functools import cache
from pathlib import Path

import pooch

from lmcore.data import recipes

HERE = Path(__file__).parents[1]                        # the package
DATA = HERE / "_data" if (HERE / "_data").is_dir() else HERE.parent / "data"    # in a wheel, in a checkout


class Unavailable(RuntimeError):
    """A registered file that neither mirror, cache nor network can give; the message says how to get it."""


@cache
def registry() -> dict:
    """data/registry.toml as a dictionary: `sets`, what `load` knows, and `files`, what they are made of."""
    return tomllib.loads((DATA / "registry.toml").read_text(encoding="utf-8"))


def near(name: str, known: list[str]) -> str:
    """'; did you mean X?' for a name that is close to a known one, else nothing."""
    close = difflib.get_close_matches(name, known, n=2)
    return f"; did you mean {' or '.join(close)}?" if close else ""


def path(file: str) -> Path:
    """Where a registered file lies on this machine; it is fetched if need be.

    Raises: Unavailable if it is nowhere to be had; ValueError for an unknown name or a damaged copy.
    """
    if file not in registry()["files"]:
        raise ValueError(f"no registered file {file!r}{near(file, list(registry()['files']))}")
    return find(file) or fetch(file)


def find(file: str) -> Path | None:
    """The file where it already lies on this machine, or None.

    Raises: ValueError if the course's own copy, or the mirror's, has another sha256 than the registry.
    """
    expected = registry()["files"][file].get("sha256")
    mirror = os.environ.get("LMCORE_MIRROR")
    for folder in [DATA] + ([Path(mirror).expanduser()] if mirror else []):
        if (folder / file).is_file():
            found = sha256((folder / file).read_bytes())
            if expected and found != expected:
                raise ValueError(f"{folder / file} is not the registered file: its sha256 is {found}, the "
                                 f"registry's {expected}; put the right file there or take this one away")
            return folder / file
    kept = cache_folder() / file
    return kept if kept.is_file() and expected in (None, sha256(kept.read_bytes())) else None


def fetch(file: str) -> Path:
    """Download a file into the cache in its registered form.

    Raises: Unavailable if no address gives the registered bytes.
    """
    trouble = "no public address serves it in this form"
    for url in registry()["files"][file].get("urls", []):
        print(f"fetching {file}{size(file)} from {url}", file=sys.stderr)
        try:
            return write(cache_folder() / file, obtain(file, url))
        except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
            trouble = str(error).splitlines()[0][:200]
    raise Unavailable(f"{ways(file)} (Tried just now: {trouble}.)")


def obtain(file: str, url: str) -> bytes:
    """The bytes of a file from what a url gives: as they are, with LF line ends, or out of an archive.

    Archives are only read, never unpacked, so nothing in them can be written anywhere.

    Raises: OSError if the download fails; ValueError if what comes of it has another sha256.
    """
    entry, place = registry()["files"][file], download_place(file, url)
    known = entry["sha256"] if entry["form"] == "exact" else entry.get("download_sha256")
    pooch.get_logger().setLevel("WARNING")
    pooch.retrieve(url, known, fname=place.name, path=place.parent,
                   downloader=pooch.HTTPDownloader(timeout=30))
    try:
        content = bring_to_form(place, entry)
        if sha256(content) != entry.get("sha256", sha256(content)):
            raise ValueError(f"what {url} gives has another sha256 than registered")
        return content
    except Exception:
        place.unlink()                                  # so that the next try fetches it anew
        raise


def bring_to_form(download: Path, entry: dict) -> bytes:
    """The bytes whose sum the registry holds, made from what was downloaded."""
    if entry["form"] == "exact":
        return download.read_bytes()
    if entry["form"] == "CRLF to LF":
        return download.read_bytes().replace(b"\r\n", b"\n")
    with zipfile.ZipFile(download) as archive:
        if entry["form"] == "member":
            return archive.read(entry["member"])
        return getattr(recipes, entry["recipe"])(archive)


def ways(file: str) -> str:
    """One line: the three ways to get a file that is not here."""
    entry, now = registry()["files"][file], os.environ.get("LMCORE_MIRROR") or "not set"
    if "urls" in entry:
        url = entry["urls"][0]
        first = "connect to the network and run this again"
        second = f"save {url} as {download_place(file, url)}"
    else:
        first = f"take {entry['instead']!r} in its place"
        second = f"copy the file to {cache_folder() / file}"
    return (f"{file}{size(file)} is not on this machine. Three ways: (1) {first}; (2) {second}; "
            f"(3) set LMCORE_MIRROR (now {now}) to a folder that holds {file}.")


def size(file: str) -> str:
    count = registry()["files"][file].get("bytes")
    return f" ({count / 1e6:.1f} MB)" if count else ""


def cache_folder() -> Path:
    """Where downloads and generated sets are kept between runs: the system's place for caches."""
    return Path(pooch.os_cache("lmcore"))


def download_place(file: str, url: str) -> Path:
    """Where the bytes of a url go: to their own place, or, if they need work first, among the downloads."""
    exact = registry()["files"][file]["form"] == "exact"
    return cache_folder() / file if exact else cache_folder() / "downloads" / url.rpartition("/")[2]


def write(target: Path, content: bytes) -> Path:
    """Write a file whole or not at all."""
    if not (target.is_file() and target.read_bytes() == content):
        target.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=target.parent, delete=False) as part:
            part.write(content)
        os.replace(part.name, target)
    return target


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
