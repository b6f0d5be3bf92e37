"""Run chapters from top to bottom, store outputs, keep the text in step: run.py [--sync] [NN ...].

Of a chapter's two faces, chapters/NN_name.ipynb and chapters/text/NN_name.md, the one that was edited wins.
Which one that was is read from a hash of their last agreement, kept in the notebook, not from file times.
"""
import argparse
import math
import os
import time
from pathlib import Path

import chapter as ch
import jupytext
import nbformat
from jupytext.combine import combine_inputs_with_outputs
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError, CellTimeoutError
from nbformat import NotebookNode

KERNEL = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
LANGUAGE = {"name": "python", "pygments_lexer": "ipython3"}
STRICT = {"OMP_NUM_THREADS": "1", "LMCORE_STRICT": "1", "WANDB_MODE": "disabled"}
CELL_SECONDS = 600


def joined(path: Path, keep: str = "") -> NotebookNode:
    """The chapter as last edited: the text's or the notebook's cells, with the notebook's ids and outputs.

    Raises: SystemExit if both were edited since they last agreed, because then only a person can choose.
    """
    twin = ch.twin_of(path)
    nb = nbformat.read(path, 4) if path.exists() else None
    text = jupytext.read(twin, fmt="md:myst") if twin.exists() else None
    if text is None or nb is None:
        return nb or text
    ours, theirs = ch.digest(ch.inputs(nb)), ch.digest(ch.inputs(text))
    agreed = nb.metadata.get("lmcore", {}).get("inputs")
    if ours == theirs or keep == "notebook" or (theirs == agreed and not keep):
        return nb
    if keep != "text" and ours != agreed:
        raise SystemExit(f"{path.stem}: both the notebook and the text were edited; say which to keep: "
                         f"run.py {path.stem[:2]} --keep text (or: notebook)")
    metadata = nb.metadata
    nb = combine_inputs_with_outputs(text, nb, fmt="md:myst")
    nb.metadata = metadata
    return nb


def stamp(nb: NotebookNode) -> None:
    """Give the cell tagged setup the one text that all chapters share; an author need not write it."""
    for cell in ch.code_cells(nb):
        if "setup" in ch.tags(cell):
            cell.source = ch.setup_cell()


def execute(nb: NotebookNode, where: Path) -> float:
    """Run all cells of nb in a fresh kernel, in place, one thread, claims strict.

    Units: returns minutes.
    """
    start = time.perf_counter()
    NotebookClient(nb, timeout=CELL_SECONDS, kernel_name="python3", record_timing=False,
                   coalesce_streams=True, extra_arguments=["--log-level=ERROR"],
                   resources={"metadata": {"path": str(where)}}).execute(env=os.environ | STRICT)
    return (time.perf_counter() - start) / 60


def record(nb: NotebookNode, minutes: float) -> None:
    """Store in the notebook what was run and how long it took.

    A time that is hardly longer stays as it was; a shorter one is believed, for other work only adds to it.
    """
    old = nb.metadata.get("lmcore", {}).get("minutes", 0)
    if not -0.1 <= minutes - old <= max(0.1, old / 4):
        old = math.ceil(10 * minutes) / 10
    nb.metadata["lmcore"] = {"code": ch.code_hash(nb), "minutes": max(old, 0.1)}


def retag(nb: NotebookNode) -> None:
    """Tag the cells whose outputs differ from run to run; a picture's tag goes when the picture goes."""
    for cell in ch.code_cells(nb):
        tags = (set(ch.tags(cell)) - {ch.PICTURE}) | ch.volatile_tags(cell)
        cell.metadata["tags"] = sorted(tags)


def write(nb: NotebookNode, path: Path) -> None:
    """Write notebook and twin, with no metadata but the chapter's own."""
    for cell in nb.cells:
        cell.source = cell.source.rstrip()
        cell.metadata = {k: cell.metadata[k] for k in ch.KEPT if cell.metadata.get(k)}
    own = dict(nb.metadata.get("lmcore", {}), inputs=ch.digest(ch.inputs(nb)))
    nb.metadata = {"jupytext": {"default_lexer": "ipython3"}, "kernelspec": KERNEL, "language_info": LANGUAGE,
                   "lmcore": own}
    nb = nbformat.from_dict(nb)
    for place, text in (path, nbformat.writes(nb) + "\n"), (ch.twin_of(path), ch.twin_text(nb)):
        if not place.exists() or place.read_text() != text:
            place.write_text(text)


def run(path: Path, keep: str = "") -> str:
    """Run one chapter and store it; return a line of report. On an error nothing is stored.

    Raises: SystemExit naming the cell that failed, or the data that a cell needs and this machine has not.
    """
    nb = joined(path, keep)
    stamp(nb)
    if missing := sorted(filter(None, ch.missing_data(ch.code_cells(nb)))):
        raise SystemExit(f"{path.stem}: {missing[0]} cannot be had; set LMCORE_MIRROR or go online")
    try:
        minutes = execute(nb, path.parent)
    except (CellExecutionError, CellTimeoutError) as error:
        raise SystemExit(f"{path.stem}: a cell failed, so nothing was stored\n{error}") from None
    retag(nb)
    record(nb, minutes)
    write(nb, path)
    cells, claims = len(ch.code_cells(nb)), len(ch.claims(nb))
    return f"{path.stem}: {cells} code cells, {claims} claims, {60 * minutes:.0f} s"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("numbers", nargs="*", metavar="NN", help="chapters to run; all if none is given")
    parser.add_argument("--sync", action="store_true", help="join text and notebook without running")
    parser.add_argument("--keep", choices=["text", "notebook"], default="",
                        help="which side wins if both changed")
    args = parser.parse_args()
    for path in ch.paths(args.numbers):
        if args.sync:
            write(joined(path, args.keep), path)
        else:
            print(run(path, args.keep), flush=True)


if __name__ == "__main__":
    main()
