"""A Chromium for the tests: $CHROMIUM, one on the PATH, or Playwright's own; CI installs one."""
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

NAMES = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable", "chrome")
QUIET = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-sync",
         "--disable-background-networking", "--disable-component-update", "--force-color-profile=srgb"]
INSTALL = [sys.executable, "-m", "playwright", "install", "chromium"]


def found() -> str | None:
    """The path of a browser that is on this machine."""
    named = os.environ.get("CHROMIUM")
    if named and not shutil.which(named):
        pytest.fail(f"CHROMIUM={named} is no program")
    with sync_playwright() as playwright:
        own = playwright.chromium.executable_path
    places = [named, *map(shutil.which, NAMES), own if Path(own).exists() else None]
    return next(filter(None, places), None)


def install() -> None:
    """Try Playwright's browser, then Debian's."""
    if subprocess.run(INSTALL).returncode and shutil.which("apt-get") and os.geteuid() == 0:
        subprocess.run("apt-get update -q && apt-get install -qy chromium", shell=True)


@cache
def executable() -> str | None:
    """The path of a browser, installed first if there is none and CI=true."""
    if not found() and os.environ.get("CI") == "true":
        install()
    return found()


@contextmanager
def chromium() -> Iterator[Browser]:
    """A running browser. Without one the test is skipped, saying how to get one; in CI it fails."""
    path = executable()
    if path is None:
        say = f"no browser: run `{' '.join(['.venv/bin/python', *INSTALL[1:]])}`, or set CHROMIUM"
        (pytest.fail if os.environ.get("CI") == "true" else pytest.skip)(say)
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=path, args=QUIET)
        yield browser
        browser.close()


def elsewhere(page: Page) -> list[str]:
    """Every address on another host that the page asks for from now on; the list grows meanwhile."""
    asked = []
    local = ("http://127.0.0.1", "ws://127.0.0.1", "http://localhost", "data:", "blob:", "file:", "about:")
    page.on("request", lambda request: request.url.startswith(local) or asked.append(request.url))
    return asked
