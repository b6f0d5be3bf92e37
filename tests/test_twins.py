"""A chapter's notebook and its text say the same, and `run.py` keeps it so."""
import subprocess
import sys
from pathlib import Path

import chapter as ch
import jupytext
import nbformat
import pytest
import run

TEXT = """---
kernelspec:
  display_name: Python 3 (ipykernel)
  language: python
  name: python3
---

# Count

A line of prose.

```{code-cell} ipython3
:tags: [setup]

SETUP
```

```{code-cell} ipython3
from IPython.display import Image, display

print("loss 2.4541 nats · book 2.454 ± 0.010 ✓")
```

```{code-cell} ipython3
display({"image/png": "AAAA", "text/plain": "a picture"}, raw=True)
```

```{code-cell} ipython3
print("took 3.2 s")
```
"""


def agree(path: Path) -> bool:
    return ch.inputs(nbformat.read(path, 4)) == ch.inputs(jupytext.read(ch.twin_of(path), fmt="md:myst"))


def test_notebook_and_text_agree(chapter: ch.Chapter):
    twin = ch.CHAPTERS / "text" / f"{chapter.stem}.md"
    assert twin.exists(), f"no text: make sync CH={chapter.number}"
    assert agree(ch.CHAPTERS / f"{chapter.stem}.ipynb"), f"they differ: make sync CH={chapter.number}"


def test_the_metadata_holds_nothing_of_a_machine_or_a_time(chapter: ch.Chapter):
    assert set(chapter.nb.metadata) == {"jupytext", "kernelspec", "language_info", "lmcore"}
    assert chapter.nb.metadata.kernelspec == run.KERNEL and chapter.nb.metadata.language_info == run.LANGUAGE
    assert {key for cell in chapter.nb.cells for key in cell.metadata} <= set(ch.KEPT)


@pytest.fixture(scope="module")
def ran(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, str, str]:
    """A chapter that was written as text and run twice: its path, and what each run stored."""
    path = tmp_path_factory.mktemp("chapters") / "01_count.ipynb"
    ch.twin_of(path).parent.mkdir()
    ch.twin_of(path).write_text(TEXT)
    stored = []
    for _ in range(2):
        run.run(path)
        stored.append(path.read_text() + ch.twin_of(path).read_text())
    return path, *stored


@pytest.fixture
def pair(ran: tuple, tmp_path: Path) -> Path:
    """A fresh copy of that chapter, to be edited."""
    path = tmp_path / "01_count.ipynb"
    ch.twin_of(path).parent.mkdir()
    path.write_bytes(ran[0].read_bytes())
    ch.twin_of(path).write_bytes(ch.twin_of(ran[0]).read_bytes())
    return path


def edit(file: Path, old: str = "A line", new: str = "Another line") -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def test_a_second_run_changes_nothing(ran: tuple):
    assert ran[1] == ran[2]


def test_a_run_stores_outputs_counts_tags_and_a_record(ran: tuple):
    nb = nbformat.read(ran[0], 4)
    code = ch.code_cells(nb)
    assert [c.execution_count for c in code] == [1, 2, 3, 4]
    assert [ch.tags(c) for c in code] == [["setup"], [], [ch.PICTURE], [ch.IGNORE]]
    assert code[0].source == ch.setup_cell()
    assert nb.metadata.lmcore.code == ch.code_hash(nb) and nb.metadata.lmcore.minutes > 0


def test_jupyterlab_s_own_sync_finds_nothing_to_do(pair: Path):
    (pair.parent.parent / "pyproject.toml").write_bytes((ch.ROOT / "pyproject.toml").read_bytes())
    home = pair.parent.parent / "chapters"
    pair.parent.rename(home)
    before = (home / pair.name).read_text(), ch.twin_of(home / pair.name).read_text()
    subprocess.run([sys.executable, "-m", "jupytext", "--sync", str(home / pair.name)], check=True)
    assert before == ((home / pair.name).read_text(), ch.twin_of(home / pair.name).read_text())


@pytest.mark.parametrize("edited", ["text", "notebook"])
def test_the_side_that_was_edited_wins(pair: Path, edited: str):
    edit(pair if edited == "notebook" else ch.twin_of(pair))
    assert not agree(pair)
    run.write(run.joined(pair), pair)
    assert agree(pair)
    assert "Another line" in pair.read_text() and "Another line" in ch.twin_of(pair).read_text()


def test_ids_and_outputs_survive_an_edit_of_the_text(pair: Path):
    before = nbformat.read(pair, 4)
    edit(ch.twin_of(pair))
    after = run.joined(pair)
    assert [c.id for c in after.cells] == [c.id for c in before.cells]
    assert [c.get("outputs") for c in after.cells] == [c.get("outputs") for c in before.cells]


def test_two_edits_are_left_to_a_person(pair: Path):
    edit(pair)
    edit(ch.twin_of(pair), new="A third line")
    with pytest.raises(SystemExit, match="--keep text"):
        run.joined(pair)
    assert "A third line" in run.joined(pair, keep="text").cells[0].source
    assert "Another line" in run.joined(pair, keep="notebook").cells[0].source


def test_old_outputs_under_new_code_are_known_as_stale(pair: Path):
    edit(ch.twin_of(pair), "took 3.2", "took 3.3")
    run.write(run.joined(pair), pair)
    nb = nbformat.read(pair, 4)
    assert nb.metadata.lmcore.code != ch.code_hash(nb)


def test_a_cell_that_fails_stores_nothing(pair: Path):
    edit(ch.twin_of(pair), 'print("took 3.2 s")', "1 / 0")
    before = pair.read_text()
    with pytest.raises(SystemExit, match="ZeroDivisionError"):
        run.run(pair)
    assert pair.read_text() == before


def test_another_name_of_the_repository_needs_no_new_run(pair: Path, monkeypatch: pytest.MonkeyPatch):
    nb = nbformat.read(pair, 4)
    monkeypatch.setattr(ch, "repository", lambda: ("https://github.com/me/fork", "v1"))
    ch.code_cells(nb)[0].source = ch.setup_cell()           # as `make badges` does
    assert nb.metadata.lmcore.code == ch.code_hash(nb)
    assert nb.metadata.lmcore.inputs == ch.digest(ch.inputs(nb))
