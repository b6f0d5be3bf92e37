"""Every figure of a chapter exists, is not blank, and has words for who cannot see it."""
import base64
import io
import re
from collections.abc import Iterator

import chapter as ch
import pytest
from PIL import Image


def bad_figures(chapter: ch.Chapter) -> Iterator[str]:
    for cell in ch.code_cells(chapter.nb):
        where = cell.source[:40]
        for out in cell.outputs:
            data = out.get("data", {})
            if "<Figure size" in str(data.get("text/plain", "")) and "image/png" not in data:
                yield f"a figure without its picture: {where}"
            if "image/png" in data and (why := blank(base64.b64decode(data["image/png"]))):
                yield f"{why}: {where}"
        alt = cell.metadata.get("mystnb", {}).get("image", {}).get("alt", "")
        if ch.pictures(cell) and len(alt.split()) < 4:
            yield f"no words for who cannot see it, in mystnb.image.alt: {where}"
    for cell in chapter.nb.cells:
        if cell.cell_type == "markdown" and re.search(r"!\[\s*\]\(|<img (?![^>]*alt=\"[^\"])", cell.source):
            yield f"no alt text: {cell.source[:40]}"
        if cell.cell_type == "markdown" and re.search(r"!\[[^\]]*\]\((?!data:|attachment:)", cell.source):
            yield f"a picture in another file, which the notebook alone has not: {cell.source[:40]}"


def blank(png: bytes) -> str:
    """Why a picture is no picture, "" if it is one. Each picture is laid on white, as the page does."""
    try:
        image = Image.open(io.BytesIO(png)).convert("RGBA")
    except OSError:
        return "not a picture"
    page = Image.new("RGBA", image.size, "white")
    low, high = Image.alpha_composite(page, image).convert("L").getextrema()
    return "" if min(image.size) > 100 and high - low > 50 else f"blank or tiny, {image.size}"


def test_the_figures_of_a_chapter_can_be_seen_and_read_aloud(chapter: ch.Chapter):
    found = list(bad_figures(chapter))
    assert not found, "\n".join(found)


def png(color: str, size: tuple[int, int] = (300, 200)) -> str:
    file = io.BytesIO()
    Image.new("RGBA", size, color).save(file, "png")
    return base64.b64encode(file.getvalue()).decode()


FIGURE = 7      # the sample's first picture


@pytest.mark.parametrize("fault", [
    lambda cell: cell.metadata.pop("mystnb"),
    lambda cell: cell.metadata.mystnb.image.update(alt="A figure"),
    lambda cell: cell.outputs[0].data.pop("image/png"),
    lambda cell: cell.outputs[0].data.update({"image/png": png("white")}),
    lambda cell: cell.outputs[0].data.update({"image/png": png("#00000000")}),
    lambda cell: cell.outputs[0].data.update({"image/png": base64.b64encode(b"no picture").decode()}),
    lambda cell: cell.update(cell_type="markdown", source="![](data:image/png;base64,AAAA)"),
    lambda cell: cell.update(cell_type="markdown", source="![The table](table.png)"),
], ids=["no alt", "an empty alt", "no picture", "white", "transparent", "no PNG", "markdown", "another file"])
def test_a_figure_that_says_nothing_is_found(sample: ch.Chapter, fault):
    assert not list(bad_figures(sample))
    fault(sample.nb.cells[FIGURE])
    assert list(bad_figures(sample))
