"""Figures are legible on white and on black, and what is written in them can be read."""
import io
from itertools import combinations

import matplotlib
import matplotlib.pyplot as plt
import pytest
import torch
from PIL import Image

from lmcore import plots
from lmcore.autograd import Value

matplotlib.use("Agg")

DARK = ["#14181e", "#111111", "#0d1117", "#1f1f1f"]


@pytest.fixture(autouse=True)
def house_style():
    with plt.rc_context():
        plots.use_style()
        yield
    plt.close("all")


def luminance(colour) -> float:
    """Source: WCAG 2.1, relative luminance."""
    parts = matplotlib.colors.to_rgb(colour)
    r, g, b = (c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts)
    return 0.2126 * r + 0.7152 * g + 0.0722 * b


def contrast(a, b) -> float:
    low, high = sorted([luminance(a), luminance(b)])
    return (high + 0.05) / (low + 0.05)


def boxes(ax, kind=matplotlib.text.Text) -> list:
    """The places on the canvas of all texts that are drawn."""
    ax.figure.canvas.draw()
    texts = [t for t in ax.findobj(kind) if t.get_visible() and t.get_text().strip()]
    return [t.get_window_extent() for t in texts]


@pytest.mark.parametrize("ground", ["white", *DARK])
def test_the_four_colours_and_the_ink_stand_out_from_every_page(ground):
    assert contrast(plots.INK, ground) > (4.5 if ground == "white" else 3.6)
    assert all(contrast(c, ground) >= 3 for c in (plots.BLUE, plots.RED, plots.GREEN, plots.PINK))


def test_the_page_shows_through_a_figure():
    file = io.BytesIO()
    plots.bars({"a": 1, "b": 2}, "times").figure.savefig(file)
    assert Image.open(file).getpixel((1, 1))[3] == 0


def test_zeros_are_not_coloured_and_others_are():
    table = torch.tensor([[0.0, 1e-9], [2.0, 3.0]])
    [image] = plots.heat_map(table, ["a", "b"], "down", "across", "times").images
    assert image.get_array().mask.tolist() == [[True, False], [False, False]]
    assert image.to_rgba(image.get_array())[0, 0, 3] == pytest.approx(0.15, abs=0.01)


@pytest.mark.filterwarnings("error")                            # the font has no such sign
def test_spaces_and_line_ends_can_be_seen():
    ax = plots.heat_map(torch.eye(4), [" ", "\n", "\t", "•"], "down", "across", "times")
    ax.figure.canvas.draw()
    assert [t.get_text() for t in ax.get_yticklabels()] == ["␣", "⏎", "⇥", "•"]


def test_a_root_spreads_small_numbers_but_keeps_the_scale():
    table = torch.tensor([[1.0, 25.0], [100.0, 0.0]])
    plain, spread = (plots.heat_map(table, ["a", "b"], "", "", "", root=r).images[0] for r in (1, 0.5))
    assert spread.norm(25) == pytest.approx(0.5) and plain.norm(25) == pytest.approx(0.25)
    assert spread.get_clim() == plain.get_clim() == (0, 100)


@pytest.mark.parametrize("falling, rising", [
    ([3, 2.6, 2.5], [1.5, 2.1, 2.4]), ([2.46, 2.47, 2.9], [2.45, 2.46, 2.9])])
def test_lines_carry_their_names_apart_from_each_other(falling, rising):
    ax = plots.curves([1, 2, 3], {"validation": falling, "train": rising}, "step", "nats", {"uniform": 3.3})
    ax.figure.canvas.draw()
    names = [t for t in ax.texts if t.get_text()]
    assert [t.get_text() for t in names] == ["validation", "train", "uniform"]
    assert [t.get_color() for t in names[:2]] == [plots.RED, plots.BLUE]
    extents = [t.get_window_extent() for t in names]
    assert not any(a.overlaps(b) for a, b in combinations(extents, 2))
    assert all(ax.figure.bbox.contains(x, y) for e in extents for x, y in e.corners())


def test_every_baseline_has_its_dashed_line():
    ax = plots.bars({"a": 1, "b": 2}, "nats", {"uniform": 1.5, "pairs": 0.5})
    assert [line.get_ydata()[0] for line in ax.lines] == [1.5, 0.5]
    assert all(line.get_linestyle() == "--" and line.get_color() == plots.INK for line in ax.lines)


def test_names_of_close_baselines_do_not_overlap():
    ax = plots.curves([1, 2, 3], {"train": [3.3, 2.5, 1.9]}, "order", "nats", {
        "uniform": 3.3, "pairs": 2.46, "Kneser-Ney 4": 2.09, "Kneser-Ney 6": 2.03})
    extents = boxes(ax, matplotlib.text.Annotation)
    assert len(extents) == 5 and not any(a.overlaps(b) for a, b in combinations(extents, 2))


def test_dots_stand_in_their_intervals_and_say_their_values():
    ax = plots.dots({"pairs": (2.46, 2.45, 2.48), "a longer name": (3.3, 3.3, 3.3)}, "nats")
    assert [list(line.get_xdata()) for line in ax.lines] == [[2.45, 2.48], [2.46], [3.3, 3.3], [3.3]]
    assert [t.get_text() for t in ax.texts] == ["2.460", "3.300"]
    assert [t.get_text() for t in ax.get_yticklabels()] == ["pairs", "a longer name"]
    assert ax.get_ylim()[0] > ax.get_ylim()[1]                  # the first on top
    ax.figure.canvas.draw()
    extents = [t.get_window_extent() for t in [*ax.texts, *ax.get_yticklabels()]]
    assert all(ax.figure.bbox.contains(x, y) for e in extents for x, y in e.corners())


def test_pictures_with_the_same_highest_share_a_scale():
    grounds = [plots.coloured_text([[("a", 2.0), ("b", v)]], "bits", highest=6).patches[0].get_facecolor()
               for v in (1.0, 9.0)]
    assert grounds[0] == grounds[1]


def test_running_text_has_no_gaps_and_stays_small():
    line = [(letter, v / 10) for v, letter in enumerate("the end of a tale is where it began " * 2)]
    ax = plots.coloured_text([line] * 7, "bits")
    assert {p.get_width() for p in ax.patches} == {1}
    file = io.BytesIO()
    ax.figure.savefig(file)
    assert len(file.getvalue()) < 80_000


def test_letters_can_be_read_on_every_ground_of_the_scale():
    ax = plots.coloured_text([[("a", v / 40) for v in range(41)]], "nats")
    for patch, text in zip(ax.patches, ax.texts):
        assert contrast(patch.get_facecolor(), text.get_color()) >= 4.5, text.get_text()


def test_what_costs_more_is_darker():
    ax = plots.coloured_text([[("a", 0.5), ("b", 3.0)], [("c", 7.0)]], "nats")
    grounds = [luminance(p.get_facecolor()) for p in ax.patches]
    assert grounds == sorted(grounds, reverse=True)
    assert [t.get_text() for t in ax.texts] == ["a", "b", "c"]


MODEL = ["emma", "characters\n27 symbols", "pair table\n27 × 27", "draw one", "next letter"]


def test_only_new_boxes_are_green_and_data_has_no_frame():
    ax = plots.model_so_far(MODEL, new=["pair table"])
    frames = [matplotlib.colors.to_hex(p.get_edgecolor()) for p in ax.patches[:3]]
    assert frames == [plots.INK, plots.GREEN.lower(), plots.INK]


@pytest.mark.parametrize("again", ["", "write it down, ask again"])
def test_names_fit_into_their_boxes_and_the_figure(again):
    ax = plots.model_so_far(MODEL, new=["pair table"], again=again)
    frames = [p for p in ax.patches if isinstance(p, matplotlib.patches.FancyBboxPatch)]
    extents = boxes(ax)
    assert len(frames) == 3 and len(extents) == 7 + bool(again)
    inside = [e for e in extents if any(f.get_window_extent().fully_overlaps(e) for f in frames)]
    assert len(inside) == 5                                     # three names, two notes
    assert all(f.get_window_extent().containsx(e.x0) and f.get_window_extent().containsx(e.x1)
               for e in inside for f in frames if f.get_window_extent().fully_overlaps(e))
    assert all(ax.figure.bbox.contains(x, y) for e in extents for x, y in e.corners())


def test_each_layer_has_its_hill_where_its_numbers_are():
    layers = [torch.full((9,), -0.5), torch.full((9,), 0.5)]
    left, right = plots.ridges({"one": layers, "two": layers[:1]}, -1, 1, "value")
    assert left.get_yticks().tolist() == [1, 2] and len(right.collections) == 1
    for hill, middle, row in zip(left.collections, (-0.5, 0.5), (1, 2)):
        corners = hill.get_paths()[0].vertices
        top = corners[corners[:, 1] > row + 0.5]
        assert top[:, 1].max() < row + 1 and abs(top[:, 0].mean() - middle) < 0.1


def test_figures_of_a_real_table_stay_small():
    table = torch.rand(27, 27, generator=torch.Generator().manual_seed(0))
    file = io.BytesIO()
    plots.heat_map(table, list("•abcdefghijklmnopqrstuvwxyz"), "down", "across", "times").figure.savefig(file)
    assert len(file.getvalue()) < 60_000


def test_blocks_show_every_entry_and_mark_the_listed_ones():
    table = torch.arange(6).view(2, 3)
    ax = plots.blocks({"X": table, "row": table[1]}, marked=[4])
    shown = [t.get_text() for t in ax.texts]
    assert shown == [*"012345", "X", *"345", "row"]
    frames = [matplotlib.colors.to_hex(p.get_edgecolor()) for p in ax.patches]
    assert [i for i, frame in enumerate(frames) if frame == plots.GREEN.lower()] == [4, 7]


def test_a_graph_has_a_box_for_every_number_and_an_arrow_for_every_parent_from_left_to_right():
    a = Value(1.0)
    b = a * a
    y = (a + b).tanh()
    y.backward()
    ax = plots.graph(y, {a: "a", y: "y ="})
    texts, arrows = ([t for t in ax.texts if bool(t.get_text()) == named] for named in (True, False))
    assert sorted(t.get_text().split("\n")[0] for t in texts) == ["+", "a", "y = tanh", "×"]
    assert next(t for t in texts if t.get_text()[0] == "a").get_text().endswith(f"grad {a.grad:.3g}")
    assert len(arrows) == 5 and all(t.xyann[0] < t.xy[0] for t in arrows)


def test_a_border_runs_where_the_score_is_nought():
    _, ax = plt.subplots()
    points, sides = torch.tensor([[0.0, 0.0], [1.0, 2.0], [2.0, 0.0]]), torch.tensor([-1.0, 1.0, 1.0])
    plots.border(ax, points, sides, lambda at: at[:, 0] - 0.5)
    filled, hollow, _, line = ax.collections
    assert (len(filled.get_offsets()), len(hollow.get_offsets())) == (2, 1)
    assert abs(line.get_paths()[0].vertices[:, 0] - 0.5).max() < 1e-3


def test_tokens_are_written_whole_on_grounds_unlike_their_neighbours_and_rows_are_cut():
    ax = plots.token_strips([["The", " ", "cat\n", "s"], [" dog"]], width=6)
    assert "".join(t.get_text() for t in ax.texts) == "The ca dog"
    assert [patch.get_width() for patch in ax.patches] == [3, 1, 2, 0, 4]
    assert len({patch.get_facecolor() for patch in ax.patches[:3]}) == 3
