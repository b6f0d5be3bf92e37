"""A page for each student: what each check said, and the answers it was said of. It loads nothing."""
import re
from html import escape
from typing import NamedTuple

from nbformat import NotebookNode

CSS = """:root { color-scheme: light dark } body { font: 1rem/1.5 system-ui, sans-serif; max-width: 46rem;
margin: 2rem auto; padding: 0 1rem } pre { overflow-x: auto; padding: .6rem; border: 1px solid #767676;
border-radius: 4px } table { border-collapse: collapse; width: 100% } th, td { text-align: left;
vertical-align: top; padding: .3rem .8rem .3rem 0; border-bottom: 1px solid #767676 }"""


class Row(NamedTuple):
    """What became of one exercise."""

    title: str
    points: float
    of: float               # the most points
    said: list[str]         # by its checks
    answer: str             # of the student


def said(cell: NotebookNode) -> str:
    """What a check cell said: its hint or error, else ✓."""
    for out in cell.outputs:
        if out.output_type == "error":
            if out.ename == "Hint":
                return out.evalue
            if out.ename in ("CellTimeoutError", "KeyboardInterrupt"):      # the limit interrupts
                return "no answer before the time limit: a loop that does not end?"
            if out.ename == "NotImplementedError":
                return "not answered yet"
            return re.sub(r"\x1b\[[\d;]*m", "", f"{out.ename}: {out.evalue}")[:500]
    return "✓"


def page(student: str, title: str, rows: list[Row], note: str = "") -> str:
    """The page of one student, a row an exercise."""
    total, most = sum(row.points for row in rows), sum(row.of for row in rows)
    table = "\n".join(f"<tr><th scope='row'>{escape(row.title)}</th><td>{row.points:g} of {row.of:g}</td>"
                      f"<td>{'<br>'.join(map(escape, row.said))}</td></tr>" for row in rows)
    answers = "\n".join(f"<h2>{escape(row.title)}</h2>\n<pre>{escape(row.answer)}</pre>" for row in rows)
    return f"""<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<title>{escape(student)}: {escape(title)}</title><style>{CSS}</style>
<h1>{escape(title)}</h1>
<p><strong>{escape(student)}</strong>, {total:g} of {most:g} points. {escape(note)}</p>
<table><tr><th>exercise</th><th>points</th><th>the check, then the hidden tests</th></tr>
{table}</table>
{answers}
</html>
"""
