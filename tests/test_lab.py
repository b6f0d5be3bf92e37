"""In a real JupyterLab, in a real browser, chapter 01 runs from the menu to its end."""
import os
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import chapter as ch
import nbformat
import pytest
import run
from browser import chromium, elsewhere
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_notebook
from playwright.sync_api import Page

CELLS = """() => {
    const panel = window.jupyterapp.shell.currentWidget;
    const code = [...panel.content.model.cells]
        .filter(c => c.type === 'code' && c.sharedModel.getSource().trim());
    return {
        cells: code.length, done: code.filter(c => c.executionCount).length,
        running: code.filter(c => c.executionState === 'running').length,
        idle: panel.sessionContext.session?.kernel?.status === 'idle',
        errors: code.flatMap(c => c.outputs.toJSON()).filter(o => o.output_type === 'error')
                    .map(o => o.ename + ': ' + o.evalue)};
}"""     # read from the model: cells off the screen are not in the page
ENDED = f"""() => {{
    const s = ({CELLS})();
    return s.idle && !s.running && (s.done === s.cells || s.errors.length);
}}"""
MINUTE = 60_000     # milliseconds
FIRST = ch.CHAPTERS / "01_bigrams.ipynb"


@contextmanager
def jupyterlab(folder: Path) -> Iterator[str]:
    """The address of a JupyterLab on a folder, with settings of its own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    home = folder / ".home"
    places = {f"JUPYTER_{name}_DIR": str(home) for name in ("CONFIG", "DATA", "RUNTIME")}
    places |= {f"JUPYTERLAB_{name}_DIR": str(home) for name in ("SETTINGS", "WORKSPACES")}
    say = ["--no-browser", "--allow-root", "--ip=127.0.0.1", f"--port={port}", "--IdentityProvider.token=",
           f"--ServerApp.root_dir={folder}", "--expose-app-in-browser", "--LabApp.news_url=",
           "--LabApp.check_for_updates_class=jupyterlab.NeverCheckForUpdate"]
    with open(folder / "server.log", "w") as log:
        server = subprocess.Popen([sys.executable, "-m", "jupyter", "lab", *say], stdout=log, stderr=log,
                                  env=os.environ | places | {"LMCORE_STRICT": "1", "OMP_NUM_THREADS": "1"})
    try:
        yield answering(f"http://127.0.0.1:{port}", server, folder / "server.log")
    finally:
        server.terminate()
        server.wait(timeout=20)


def answering(address: str, server: subprocess.Popen, log: Path) -> str:
    for _ in range(240):
        try:
            urllib.request.urlopen(f"{address}/api/status").close()
            return address
        except OSError:
            assert server.poll() is None, log.read_text()
            time.sleep(0.25)
    raise AssertionError(f"JupyterLab does not answer:\n{log.read_text()}")


def opened(page: Page, address: str, name: str) -> None:
    page.goto(f"{address}/lab/tree/{name}?reset")
    page.locator("#jp-main-statusbar").get_by_text("| Idle").wait_for(timeout=MINUTE)


def run_all(page: Page) -> dict:
    """Choose Restart Kernel and Run All Cells in the menu, wait for the end, and say how it went."""
    page.get_by_role("menuitem", name="Kernel", exact=True).click()
    page.get_by_role("menuitem", name="Restart Kernel and Run All Cells").click()
    page.locator(".jp-Dialog").get_by_role("button", name="Confirm Kernel Restart").click()
    page.wait_for_function(ENDED, timeout=5 * MINUTE, polling=250)
    return page.evaluate(CELLS)


def unrun(nb: NotebookNode) -> NotebookNode:
    """A notebook without outputs, so that what it has at the end is of this run."""
    for cell in ch.code_cells(nb):
        cell.update(outputs=[], execution_count=None)
    return nb


def counts(notebook: Path) -> list[int | None]:
    return [cell.execution_count for cell in ch.code_cells(nbformat.read(notebook, 4))]


@pytest.mark.skipif(not FIRST.exists(), reason="chapter 01 is not written yet")
def test_chapter_01_runs_from_the_menu_without_an_error(tmp_path: Path):
    nbformat.write(unrun(nbformat.read(FIRST, 4)), tmp_path / FIRST.name)
    broken = new_notebook(cells=[new_code_cell("1 / 0")], metadata={"kernelspec": run.KERNEL})
    nbformat.write(broken, tmp_path / "broken.ipynb")
    with chromium() as browser, jupyterlab(tmp_path) as address:
        page = browser.new_page(viewport={"width": 1280, "height": 1000})
        asked = elsewhere(page)
        opened(page, address, FIRST.name)
        state = run_all(page)
        page.keyboard.press("Control+s")
        page.wait_for_function("() => !window.jupyterapp.shell.currentWidget.context.model.dirty")
        opened(page, address, "broken.ipynb")
        assert run_all(page)["errors"] == ["ZeroDivisionError: division by zero"]
    assert state["errors"] == [] and state["done"] == state["cells"] > 5
    assert counts(tmp_path / FIRST.name) == list(range(1, state["cells"] + 1))
    assert asked == [], "JupyterLab asked another host"
