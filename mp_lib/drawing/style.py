"""One look for all figures: sizes, fonts, and one colour and marker a method.

Those of methods are of Okabe and Ito's palette (jfly.uni-koeln.de/color), which colour-blind readers tell apart;
markers say the same again for those who print in black. A colour means one thing on all figures of a page: parts of a
network, horizons and the numbers of an action have others, these of Paul Tol's muted scheme (personal.sron.nl/~pault).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import matplotlib.style
import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mp_lib.presets import METHODS

COLUMN, PAGE = 3.4, 7.0  # inches: one column and the full width of a two-column page
BLACK, ORANGE, SKY, GREEN, YELLOW, BLUE, RED, PINK = (
    "#000000 #E69F00 #56B4E9 #009E73 #F0E442 #0072B2 #D55E00 #CC79A7".split()  # noqa: SIM905
)
GREY, LIGHT = "#777777", "#DDDDDD"
# For whatever is no method.
LINES = ("#332288", "#CC6677", "#117733", "#88CCEE", "#999933", "#882255", "#44AA99", "#DDCC77")
CHOSEN = "#6A3D9A"  # one episode among others
PALETTE = (
    *(BLACK, GREY, GREEN, ORANGE, RED, PINK, BLUE),  # the paper's seven
    *(SKY, "#8C564B", "#6F4BA8", "#9A9A2E", "#12706B", "#B0305C", "#5C7A29"),  # those beyond it
)
COLORS = dict(zip(METHODS, PALETTE, strict=False))
PART_COLORS = {
    "convolutions": "#8C6D31",
    "FiLM": "#D9C08C",
    "state-space mixers": "#4B5D94",
    "MLPs after them": "#A3AED2",
    "attention": "#8A3B5B",
    "MLPs after attention": "#CF9DB3",
    "rest": LIGHT,
}
BY_HORIZON = ("#A8C686", "#6B8F4E", "#3F5E2B", "#1F3312")  # colours of horizons, in their order
LEADER = {"arrowstyle": "-", "relpos": (0, 0.5), "linewidth": 0.4, "shrinkA": 1, "shrinkB": 3}
MARKERS = dict(zip(METHODS, "s^voDPX*ph<>8d", strict=False))
STYLE = {
    "font.size": 7.5,
    "axes.titlesize": 8,
    "axes.labelsize": 7.5,
    "figure.labelsize": 7.5,
    "legend.frameon": False,
    "legend.fontsize": 7,
    "legend.title_fontsize": 7,
    "axes.titlelocation": "left",
    "axes.titlepad": 4,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.linewidth": 0.6,
    "axes.axisbelow": True,
    "axes.edgecolor": "#444444",
    "xtick.labelsize": 7,
    "ytick.labelsize": 7,
    "xtick.major.width": 0.6,
    "ytick.major.width": 0.6,
    "xtick.major.size": 2.5,
    "ytick.major.size": 2.5,
    "lines.linewidth": 1.2,
    "hatch.linewidth": 0.5,
    "grid.color": LIGHT,
    "grid.linewidth": 0.5,
    "figure.constrained_layout.use": True,
    # Type 42 embeds whole outlines, so that text stays text; journals refuse matplotlib's default, type 3.
    "pdf.fonttype": 42,
    "ps.fonttype": 42,
}


def in_style():
    """A block in which figures are drawn and saved in this style, whatever the user's own matplotlibrc says."""
    return matplotlib.style.context(["default", STYLE])


def styled(draw: Callable[..., Figure]) -> Callable[..., Figure]:
    """Draw in this style."""
    return in_style()(draw)


def panels(rows: int, columns: int, width: float, height: float, **options) -> tuple[Figure, np.ndarray]:
    """A figure of ``width`` x ``height`` inches and its axes (rows, columns); pyplot never hears of it."""
    figure = Figure(figsize=(width, height))
    return figure, figure.subplots(rows, columns, squeeze=False, **options)


def grid(names: Sequence[str], columns: int, head: float, height: float, **options) -> tuple[Figure, dict[str, Axes]]:
    """A figure with a panel a name, at most ``columns`` in a row, and its axes by name; the x axis is common to all.

    It is ``head`` inches high and ``height`` more a row, and a page wide, or a column if a row has a single panel.
    """
    columns = min(columns, len(names))
    rows = -(-len(names) // columns)
    width = COLUMN if columns == 1 else PAGE
    figure, axes = panels(rows, columns, width, head + rows * height, sharex=True, **options)
    for place in axes.flat[len(names) :]:
        place.set_visible(False)
    return figure, dict(zip(names, axes.flat, strict=False))


def bare(axes: Axes) -> Axes:
    """Take away ticks and frame."""
    axes.set(xticks=[], yticks=[])
    axes.spines[:].set_visible(False)
    return axes


def look_of(method: str, attention: str = "paper") -> dict:
    """Marker and colours of a method; hollow where attention is left out."""
    color = COLORS.get(method, GREY)
    face = "white" if attention == "released" else color
    return {"color": color, "marker": MARKERS.get(method, "o"), "markerfacecolor": face, "markersize": 5}


def kinds_in(table: pd.DataFrame) -> list[tuple[str, str]]:
    """The pairs (method, attention) of a table, in its order."""
    return list(dict.fromkeys(zip(table["method"], table["attention"], strict=True)))


def spread(values: Sequence[float], gap: float) -> np.ndarray:
    """Move values apart until neighbours are at least ``gap`` away from each other; their order stays."""
    values = np.asarray(values, float)
    order = np.argsort(values, kind="stable")
    # Blocks of touching labels, each around the mean of what its members wanted.
    blocks: list[list[float]] = []
    for value in values[order]:
        block = [value]
        while blocks and np.mean(block) - np.mean(blocks[-1]) < gap * len(blocks[-1] + block) / 2:
            block = blocks.pop() + block
        blocks.append(block)
    placed = [np.mean(block) + gap * (np.arange(len(block)) - (len(block) - 1) / 2) for block in blocks]
    moved = np.empty_like(values)
    moved[order] = np.concatenate(placed) if placed else []
    return moved


TOP = 0.97  # of a panel, above which its title stands


def label_ends(axes: Axes, ends: Sequence[tuple[float, float, str, str]], gap: float = 0.085) -> None:
    """Write names to the right of the axes, beside (x, y), in a colour each, apart from each other.

    ``ends`` are (x, y, name, colour) in data units; ``gap`` is the least distance as a share of the height, or what
    there is room for.
    """
    if not ends:
        return
    axes.figure.draw_without_rendering()
    to_axes = axes.transAxes.inverted()
    places = np.array([to_axes.transform(axes.transData.transform(end[:2])) for end in ends])
    heights = spread(places[:, 1], min(gap, 1 / len(ends)))
    heights -= max(0, heights.max() - TOP)
    for (_, _, name, color), (x, y), height in zip(ends, places, heights, strict=True):
        axes.annotate(
            name,
            xy=(x, y),
            xytext=(1.06, height),
            xycoords="axes fraction",
            textcoords="axes fraction",
            color=color,
            va="center",
            fontsize=7,
            annotation_clip=False,
            arrowprops=LEADER | {"color": color},
        )
