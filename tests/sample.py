"""A chapter that no check finds fault with, made here, so that each check can be shown its fault."""
import base64
import io

import chapter as ch
from nbformat import NotebookNode
from nbformat.v4 import new_code_cell, new_markdown_cell, new_notebook, new_output
from PIL import Image

WORDS = "We count how often one letter follows another and read the table row by row. "
OPENING = """# Count the pairs

Two letters make a pair. We count them.

**Question.** How many nats does a pair save?

| you need | you will build | your time |
|---|---|---|
| Python | a table | 2 hours |"""
IMPORTS = """import torch

from lmcore.plots import use_style

use_style()"""
CLOSING = """## What we know now

- The pair scores 2.45 nats per letter.

## What didn't help

Counting twice did not change the table. """ + 12 * WORDS + """

## Exercises

""" + 4 * """:::{exercise} Count again
Count the other way round.
:::

<details><summary>Solution</summary>

Turn the table.

</details>

"""
SOURCES = """## Sources

[Shannon 1948](https://example.org/shannon) measured 2.62 bits.

**Next.** How does a network learn?"""


def text(words: str) -> NotebookNode:
    return new_output("stream", name="stdout", text=words + "\n")


def picture() -> NotebookNode:
    file = io.BytesIO()
    Image.linear_gradient("L").save(file, "png")
    png = base64.b64encode(file.getvalue()).decode()
    named = "<Figure size 256x256 with 1 Axes>"
    return new_output("display_data", data={"image/png": png, "text/plain": named})


MEASURE = """total = sum(row)
score = total / 3
lm.expect("pair", score, 2.454, 0.01, "nats")
print(score)"""


def section(number: int) -> list[NotebookNode]:
    """A define, a show and a measure, as chapters have them."""
    tagged = {"tags": [ch.PICTURE], "mystnb": {"image": {"alt": "The table grows darker downwards."}}}
    seen = {"metadata": tagged, "outputs": [picture()]} if number < 4 else {"outputs": [text("1")]}
    row = [text(str([number] * 3))]
    return [new_markdown_cell(f"## 1.{number} Count letter {number}\n\n" + 5 * WORDS),
            new_code_cell(f"n{number} = {number}\n" + 14 * "n += 1\n" + "print([n] * 3)", outputs=row),
            new_markdown_cell(f"A count with a name is **term {'abcdefg'[number]}** here. " + 3 * WORDS),
            new_code_cell("show(row)", **seen),
            new_markdown_cell(5 * WORDS),
            new_code_cell(MEASURE, outputs=[text("pair 2.4541 nats · book 2.454 ± 0.010 ✓")])]


def sample_chapter() -> ch.Chapter:
    """Chapter 01, with stored outputs, counts, hash and minutes as if it had been run."""
    cells = [new_markdown_cell(OPENING), new_markdown_cell("*The model so far*\n\n`pair → table → letter`"),
             new_code_cell(ch.setup_cell(), metadata={"tags": ["setup"]}),
             new_code_cell(IMPORTS)]
    cells += [cell for number in range(6) for cell in section(number)]
    own = new_code_cell('TEXT = "names"\nprint(TEXT)', outputs=[text("names")])
    cells += [new_markdown_cell(CLOSING), new_markdown_cell("## Your own text\n\nChange one line."), own,
              new_markdown_cell(SOURCES)]
    nb = new_notebook(cells=cells)
    for count, cell in enumerate(ch.code_cells(nb), start=1):
        cell.execution_count = count
    nb.metadata["lmcore"] = {"code": ch.code_hash(nb), "minutes": 0.1}
    return ch.Chapter("01_bigrams", nb)
