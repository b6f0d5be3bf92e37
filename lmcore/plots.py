"""Draw every picture that the chapters share, in one style that is legible on white and on black.

Colours keep their meaning through the book: blue train, red validation, green ours, pink reference.
Source: Okabe and Ito 2008, Color Universal Design. https://jfly.uni-koeln.de/color/
"""
from collections.abc import Callable, Mapping, Sequence

import matplotlib.pyplot as plt
import torch
from matplotlib.axes import Axes
from matplotlib.colors import PowerNorm
from matplotlib.patches import FancyBboxPatch, Rectangle
from torch import Tensor

from lmcore.autograd import Value, topological_order

INK = "#767676"                                                 # 4.5:1 on white, 3.6-4.2:1 on dark themes
BLUE, RED, GREEN, PINK = "#0072B2", "#D55E00", "#009E73", "#CC79A7"   # each at least 3:1 on both
ROLE = {"train": BLUE, "validation": RED, "ours": GREEN, "reference": PINK}
FULL, HALF, WIDE = (6.4, 3.2), (4.2, 2.8), (6.4, 2.2)           # inches
LETTERS = (5.6, 5.0)                                            # a map with a named row for every letter
SIGNS = {" ": "␣", "\n": "⏎", "\t": "⇥"}                        # what else would be invisible
STYLE = {
    "figure.figsize": FULL, "figure.dpi": 110, "savefig.dpi": 110, "figure.constrained_layout.use": True,
    "figure.facecolor": "none", "axes.facecolor": "none", "savefig.facecolor": "none",
    "font.size": 10, "axes.labelsize": 10, "axes.titlesize": 10,
    "text.color": INK, "axes.labelcolor": INK, "axes.edgecolor": INK, "xtick.color": INK, "ytick.color": INK,
    "axes.spines.top": False, "axes.spines.right": False, "axes.linewidth": 0.8,
    "axes.prop_cycle": plt.cycler(color=[BLUE, RED, GREEN, PINK]), "lines.linewidth": 2,
    "image.cmap": "viridis", "axes.grid": False,
}


def use_style() -> None:
    """Make every later figure look like the book's. Call once, in a chapter's import cell."""
    plt.rcParams.update(STYLE)


def dashed(ax: Axes, baselines: Mapping[str, float]) -> None:
    """Draw each baseline as a dashed grey line, its name written on it at the right edge.

    A name goes above its line; below, where another line is close above.
    """
    for height in baselines.values():
        ax.axhline(height, color=INK, lw=1, ls=(0, (4, 3)), zorder=0)
    low, high = ax.get_ylim()
    for name, height in baselines.items():
        above = not any(0 < other - height < 0.07 * (high - low) for other in baselines.values())
        ax.annotate(name, (1, height), xycoords=("axes fraction", "data"), xytext=(-2, 2 if above else -2),
                    textcoords="offset points", ha="right", va="bottom" if above else "top", fontsize=9)


def heat_map(table: Tensor, symbols: Sequence[str], down: str, across: str, unit: str,
             root: float = 1) -> Axes:
    """Show a table of numbers as colours, grey where it is zero, so that nothing never looks like little.

    A `root` of 0.5 spreads the colours of small numbers, as counts need.

    Shapes: table (V, V)
    """
    fig, ax = plt.subplots(figsize=LETTERS if len(symbols) > 12 else HALF)
    cmap = plt.get_cmap("viridis").with_extremes(bad=INK + "26")                      # 15 % grey
    shown = table.float().where(table > 0, torch.nan).numpy()
    image = ax.imshow(shown, cmap=cmap, norm=PowerNorm(root, 0, float(table.max())))
    names, every = [SIGNS.get(s, s) for s in symbols], range(len(symbols))
    ax.set(xticks=every, yticks=every, xticklabels=names, yticklabels=names, xlabel=across, ylabel=down)
    ax.tick_params(length=0, labelsize=8, top=True, labeltop=True)
    ax.spines[:].set_visible(False)
    fig.colorbar(image, ax=ax, label=unit, shrink=0.7, pad=0.02).outline.set_visible(False)
    return ax


def bars(values: Mapping[str, float], unit: str, baselines: Mapping[str, float] | None = None) -> Axes:
    """Draw one bar for each name, in the order given."""
    _, ax = plt.subplots(figsize=WIDE)
    ax.bar([SIGNS.get(name, name) for name in values], list(values.values()), color=GREEN, width=0.7)
    ax.set_ylabel(unit)
    ax.tick_params(axis="x", length=0)
    dashed(ax, baselines or {})
    return ax


def curves(x: Sequence[float], lines: Mapping[str, Sequence[float]], x_label: str, y_label: str,
           baselines: Mapping[str, float] | None = None) -> Axes:
    """Draw one line for each name and write the name on it, where the lines are farthest apart.

    Shapes: x (N,), each line (N,)
    """
    _, ax = plt.subplots()
    for name, y in lines.items():
        line, = ax.plot(x, y, marker="o", ms=4, color=ROLE.get(name.split()[0]))
        others = [other for label, other in lines.items() if label != name] or [[min(y)] * len(y)]
        gap = [min((y[i] - other[i] for other in others), key=abs) for i in range(len(x))]
        edge = len(x) // 4 if len(x) > 15 else 1        # room for the name
        at = max(range(len(x))[edge:-edge] or range(len(x)), key=lambda i: abs(gap[i]))
        above, rises = gap[at] > 0, y[min(at + 1, len(x) - 1)] > y[at]
        ax.annotate(name, (x[at], y[at]), xytext=(-6 if above == rises else 6, 6 if above else -6),
                    textcoords="offset points", ha="right" if above == rises else "left",
                    va="bottom" if above else "top", color=line.get_color(), weight="bold")
    ax.set(xlabel=x_label, ylabel=y_label)
    ax.margins(y=0.1)
    dashed(ax, baselines or {})
    return ax


def dots(scores: Mapping[str, tuple[float, float, float]], unit: str) -> Axes:
    """Draw one row for each name: a dot at its value, a bar from low to high, the value in figures.

    Scores are (value, low, high), as from `evaluate`.
    """
    _, ax = plt.subplots(figsize=(6.4, 0.6 + 0.27 * len(scores)))
    for row, (value, low, high) in enumerate(scores.values()):
        ax.plot([low, high], [row, row], color=GREEN, lw=6, alpha=0.4, solid_capstyle="butt")
        ax.plot(value, row, "o", color=GREEN, ms=4)
        ax.annotate(f"{value:.3f}", (max(value, high), row), xytext=(9, 0), textcoords="offset points",
                    va="center", fontsize=9)
    ax.set(xlabel=unit, ylim=(len(scores) - 0.4, -0.6))
    ax.set_yticks(range(len(scores)), list(scores))
    ax.tick_params(axis="y", length=0)
    ax.margins(x=0.15)
    return ax


def coloured_text(lines: Sequence[Sequence[tuple[str, float]]], unit: str, highest: float = 0) -> Axes:
    """Write lines of (symbol, value) pairs, each symbol on a ground as dark as its value is high.

    Pictures with the same `highest` share one scale; what is above it is as dark as can be.
    """
    longest = max(map(len, lines))
    size, tall, wide = (10, 0.34, 0.94) if longest < 40 else (7.5, 0.25, 1)      # letters, or running text
    fig, ax = plt.subplots(figsize=(6.4, 0.5 + tall * len(lines)))
    highest = highest or max(value for line in lines for _, value in line)
    scale = plt.cm.ScalarMappable(plt.Normalize(0, highest), "viridis_r")
    for row, line in enumerate(lines):
        for place, (symbol, value) in enumerate(line):
            ground = scale.to_rgba(value)
            ink = "black" if sum(ground[:3]) > 1.22 else "white"
            ax.add_patch(Rectangle((place, row), wide, 0.86, color=ground, lw=0))
            ax.text(place + wide / 2, row + 0.43, SIGNS.get(symbol, symbol), color=ink, size=size,
                    ha="center", va="center", family="monospace")
    ax.set(xlim=(0, longest), ylim=(len(lines), 0))
    ax.axis("off")
    fig.colorbar(scale, ax=ax, label=unit, aspect=8, pad=0.02).outline.set_visible(False)
    return ax


def token_strips(rows: Sequence[Sequence[str]], width: int = 84) -> Axes:
    """Write rows of tokens, each on a ground unlike its neighbours'; a row is cut at `width` letters."""
    fig, ax = plt.subplots(figsize=(6.4, 0.2 + 0.27 * len(rows)))
    for row, tokens in enumerate(rows):
        place = 0
        for i, token in enumerate(tokens):
            shown = token.replace("\n", "⏎")[:max(0, width - place)]
            colour = (BLUE, PINK, GREEN, RED)[i % 4]
            ax.add_patch(Rectangle((place, row), len(shown), 0.84, color=colour, lw=0))
            for letter in shown:
                ax.text(place + 0.5, row + 0.42, letter, color="white" if colour == BLUE else "black",
                        size=8.5, ha="center", va="center", family="monospace")
                place += 1
    ax.set(xlim=(0, width), ylim=(len(rows), 0))
    ax.axis("off")
    return ax


def model_so_far(boxes: Sequence[str], new: Sequence[str] = (), again: str = "") -> Axes:
    """Draw the model as boxes in a row. Data enters and leaves without a frame; what is new is green.

    A box is "name" or "name\\nnote". `again` labels an arrow from the last box back to the first.
    """
    _, ax = plt.subplots(figsize=(6.4, 1.5 if again else 1.1))
    step = 6.4 / len(boxes)
    for i, text in enumerate(boxes):
        name, _, note = text.partition("\n")
        middle = (i + 0.5) * step
        colour, width = (GREEN, 2) if name in new else (INK, 1)
        if 0 < i < len(boxes) - 1:
            ax.add_patch(FancyBboxPatch((middle - 0.4 * step, 0.25), 0.8 * step, 0.6, fc="none", ec=colour,
                                        lw=width, boxstyle="round,pad=0,rounding_size=0.08"))
        ax.text(middle, 0.64 if note else 0.55, name, color=colour, ha="center", va="center", weight="bold")
        ax.text(middle, 0.4, note, color=colour, ha="center", va="center", fontsize=8)
        if i:
            ax.annotate("", (i * step + 0.1 * step, 0.55), (i * step - 0.1 * step, 0.55),
                        arrowprops={"arrowstyle": "->", "color": INK, "shrinkA": 0, "shrinkB": 0})
    if again:
        ax.annotate("", (0.5 * step, 0.2), (6.4 - 0.5 * step, 0.2), arrowprops={
            "arrowstyle": "->", "color": INK, "connectionstyle": "bar,armA=0,armB=0,fraction=-0.04"})
        ax.text(3.2, -0.12, again, ha="center", va="top", fontsize=9)
    ax.set(xlim=(0, 6.4), ylim=(-0.35 if again else 0.1, 1))
    ax.axis("off")
    return ax


def blocks(tensors: Mapping[str, Tensor], marked: Sequence[float] = ()) -> Axes:
    """Draw tensors as boxes side by side, an entry in each; the entries listed in `marked` are green.

    Shapes: each of tensors (N,) or (N, C)
    """
    _, ax = plt.subplots(figsize=WIDE)
    left, height = 0.0, 1
    for name, tensor in tensors.items():
        rows = tensor.reshape(-1, tensor.shape[-1]).tolist()
        for i, row in enumerate(rows):
            for j, entry in enumerate(row):
                colour, width = (GREEN, 2) if entry in marked else (INK, 1)
                ax.add_patch(Rectangle((left + j, i), 0.88, 0.84, fc="none", ec=colour, lw=width))
                ax.text(left + j + 0.44, i + 0.42, f"{entry:g}", color=colour, ha="center", va="center")
        ax.text(left + len(row) / 2 - 0.06, -0.15, name, ha="center", va="bottom", weight="bold")
        left, height = left + len(row) + 1.2, max(height, len(rows))
    ax.set(xlim=(-0.8, left - 0.4), ylim=(height, -0.9), aspect="equal")
    ax.axis("off")
    return ax


def graph(root: Value, names: Mapping[Value, str]) -> Axes:
    """Draw a number and all it was made from, left to right: each with its name or sign, value and grad."""
    order, column, at = topological_order(root), {root: 0}, {}
    for value in reversed(order):
        for parent in value.parents:
            column[parent] = max(column.get(parent, 0), column[value] + 1)
    _, ax = plt.subplots()
    for depth in set(column.values()):
        rows = [value for value in order if column[value] == depth]
        at |= {value: (-depth, (len(rows) - 1) / 2 - i) for i, value in enumerate(rows)}
    for value, (x, y) in at.items():
        colour = INK if value.parents else GREEN
        made = f"{names.get(value, '')} {value.op}".strip()
        ax.text(x, y, f"{made}\n{value.data:.3g}\ngrad {value.grad:.3g}".strip(), color=colour, ha="center",
                va="center", fontsize=9, bbox={"fc": "none", "ec": colour})
        for parent in value.parents:
            ax.annotate("", (x, y), at[parent], arrowprops={
                "arrowstyle": "->", "color": INK, "shrinkA": 32, "shrinkB": 32})
    ax.set(xlim=(-max(column.values()) - 0.5, 0.5), ylim=(min(y for _, y in at.values()) - 0.5,
                                                        max(y for _, y in at.values()) + 0.5))
    ax.axis("off")
    return ax


def border(ax: Axes, points: Tensor, sides: Tensor, score: Callable[[Tensor], Tensor]) -> None:
    """Draw points, filled where their side is above 0, on a ground shaded where `score` is above 0.

    Shapes: points (N, 2), sides (N,); score takes (M, 2) and gives (M,)
    """
    for ours, face in (sides > 0, INK), (sides <= 0, "none"):
        ax.scatter(*points[ours].T, s=18, fc=face, ec=INK, zorder=2)
    (left, bottom), (right, top) = points.amin(0) - 0.4, points.amax(0) + 0.4
    x, y = torch.meshgrid(torch.linspace(left, right, 120), torch.linspace(bottom, top, 120), indexing="xy")
    height = score(torch.stack([x, y], -1).view(-1, 2)).detach().view(120, 120)
    ax.contourf(x, y, height, [0, float("inf")], colors=[GREEN + "33"])
    ax.contour(x, y, height, [0], colors=[GREEN])


def ridges(panels: Mapping[str, Sequence[Tensor]], low: float, high: float, label: str) -> list[Axes]:
    """Draw in each panel a row of hills, one a layer, the first at the bottom: how its numbers are spread.

    Hills are equally high; `low` and `high` are the ends of the axis that `label` names.

    Shapes: each of panels a list of tensors of any shape
    """
    fig, axes = plt.subplots(1, len(panels), figsize=WIDE, sharex=True, sharey=True, squeeze=False)
    for ax, (name, layers) in zip(axes[0], panels.items()):
        for row, values in enumerate(layers, 1):
            heights = torch.histc(values.detach().float(), 40, low, high)
            places = torch.linspace(low, high, 41)[:-1] + (high - low) / 80
            top = row + 0.85 * heights / heights.max().clamp(min=1)
            ax.fill_between(places, row, top, step="mid", color=GREEN, lw=0)
        ax.set_title(name, color=INK, fontsize=9)
        ax.tick_params(axis="y", length=0)
    axes[0, 0].set(ylabel="layer", yticks=range(1, 1 + max(map(len, panels.values()))))
    fig.supxlabel(label, color=INK, fontsize=10)
    return list(axes[0])
