"""One function a figure: a table in, a matplotlib figure out.

Nothing here reads a file, knows pyplot or keeps a figure; ``mp_lib.figures`` saves and shows them.
"""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.colors import LogNorm
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from mp_lib.config import METHODS
from mp_lib.style import (
    BLACK,
    BLUE,
    COLUMN,
    GREEN,
    GREY,
    LIGHT,
    PAGE,
    RED,
    SKY,
    label_ends,
    look_of,
    panels,
    spread,
    styled,
)

PART_COLORS = {
    "convolutions": GREEN,
    "FiLM": SKY,
    "state-space mixers": BLUE,
    "MLPs after them": "#7FB2D6",
    "attention": RED,
    "MLPs after attention": "#EBA77F",
    "rest": LIGHT,
}
HATCH = "/////"  # attention, which the release carries and never runs
MIXER_LABELS = {method.mixer: method.label for method in METHODS.values() if method.mixer}


def row_name(method: str, attention: str = "") -> str:
    """How a method is called beside an axis."""
    name = METHODS[method].label if method in METHODS else method
    return f"{name}, no attention" if attention == "released" else name


@styled
def episodes(table: pd.DataFrame) -> Figure:
    """Length of every episode, filled where it succeeded. ``table`` has seed, success and steps."""
    figure, [[axes]] = panels(1, 1, PAGE, 1.4)
    for success, color, name in ((True, BLUE, "success"), (False, "white", "failure")):
        rows = table[table["success"] == success]
        axes.bar(rows.index + 1, rows["steps"], 0.7, color=color, edgecolor=BLUE, linewidth=0.7, label=name)
    axes.set(xlabel="episode, in the order of the seeds", ylabel="steps", xlim=(0.4, max(len(table), 10) + 0.6))
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.legend(frameon=False, loc="lower left", bbox_to_anchor=(1, 0), fontsize=7)
    return figure


# What a network is made of


@styled
def parameters_by_part(table: pd.DataFrame) -> Figure:
    """Millions of parameters of every method, and what for. ``table``: method, label, part, parameters."""
    figure, [[total, share]] = panels(1, 2, PAGE, 2.4, sharey=True, width_ratios=(1, 1.9))
    wide = table.pivot(index="label", columns="part", values="parameters")
    wide = wide.loc[table["label"].unique(), list(PART_COLORS)]
    millions, places = wide.sum(axis=1) / 1e6, np.arange(len(wide))
    total.barh(places, millions, height=0.65, color=GREY)
    for place, value in zip(places, millions, strict=True):
        total.text(value + 0.015 * millions.max(), place, f"{value:.1f}", va="center", fontsize=7)
    total.set(yticks=places, yticklabels=wide.index, xlabel="parameters (million)", xlim=(0, 1.2 * millions.max()))
    total.tick_params(left=False)
    total.invert_yaxis()
    left = np.zeros(len(wide))
    for part, color in PART_COLORS.items():
        width = 100 * wide[part].to_numpy() / wide.sum(axis=1).to_numpy()
        look = {"color": color, "hatch": HATCH if "attention" in part else None, "edgecolor": "white", "linewidth": 0.4}
        share.barh(places, width, 0.65, left, label=part, **look)
        left += width
    share.set(xlabel="share (%)", xlim=(0, 100))
    share.tick_params(left=False)
    figure.legend(*share.get_legend_handles_labels(), loc="outside upper right", ncols=4, frameon=False, fontsize=7)
    return figure


@styled
def sequence_lengths(table: pd.DataFrame) -> Figure:
    """Length of the sequence in every block. ``table``: horizon, block, length, channels."""
    figure, [[axes]] = panels(1, 1, COLUMN, 1.9)
    ends = []
    for (horizon, rows), color in zip(table.groupby("horizon"), (BLUE, RED, GREEN, BLACK), strict=False):
        axes.step(rows["block"], rows["length"], where="mid", color=color, marker="o", markersize=3.5)
        ends.append((rows["block"].iloc[-1], rows["length"].iloc[-1], f"horizon {horizon}", color))
    axes.set_yscale("log", base=2)
    lengths = sorted(table["length"].unique())
    axes.set(xlabel="block, in the order of execution", ylabel="length", yticks=lengths, yticklabels=lengths)
    axes.minorticks_off()
    axes.xaxis.set_major_locator(MaxNLocator(6, integer=True))
    label_ends(axes, ends, gap=0.1)
    return figure


@styled
def gradient_reach(table: pd.DataFrame) -> Figure:
    """Share of each part's parameters that get a gradient. ``table`` as ``mp_lib.anatomy.gradient_reach``."""
    structures = list(table["structure"].unique())
    parts = [part for part in PART_COLORS if table.loc[table["part"] == part, "parameters"].any()]
    figure, axes = panels(1, len(structures), PAGE, 0.8 + 0.32 * len(parts), sharey=True)
    places = np.arange(len(parts))
    for place, structure in zip(axes[0], structures, strict=True):
        rows = table[table["structure"] == structure]
        for (horizon, group), color, shift in zip(rows.groupby("horizon"), (BLUE, RED), (-0.2, 0.2), strict=False):
            found = group.set_index("part").loc[parts]
            share = 100 * found["reached"] / found["parameters"]
            place.barh(places + shift, share, 0.38, color=color, label=f"horizon {horizon}")
            for position, value in zip(places + shift, share, strict=True):
                place.text(value + 1.5, position, percent(value), va="center", fontsize=6.5)
        place.set(title=structure, xlabel="parameters with a gradient (%)", yticks=places, yticklabels=parts)
        place.set(xlim=(0, 112), xticks=[0, 25, 50, 75, 100])
        place.tick_params(left=False)
    axes[0, 0].invert_yaxis()
    handles = axes[0, 0].get_legend_handles_labels()
    figure.legend(*handles, loc="outside upper right", ncols=2, frameon=False, fontsize=7)
    return figure


def percent(value: float) -> str:
    """A share in percent, not rounded up to 100 or down to 0."""
    return f"{value:.0f}" if value in (0, 100) or 0.5 <= value < 99.5 else f"{value:.2f}"


@styled
def mixing_matrices(table: pd.DataFrame) -> Figure:
    """A matrix a mixer, white where it is exactly zero. ``table``: mixer, to, source, weight in 0 to 1."""
    names = list(table["mixer"].unique())
    figure, axes = panels(1, len(names), PAGE, 1.75, sharey=True)
    norm = LogNorm(1e-5, 1, clip=True)
    for place, name in zip(axes[0], names, strict=True):
        wide = table[table["mixer"] == name].pivot(index="to", columns="source", values="weight").to_numpy()
        image = place.imshow(np.ma.masked_equal(wide, 0), norm=norm, cmap="cividis_r", interpolation="nearest")
        place.set(title=MIXER_LABELS.get(name, name), xlabel="from step")
        place.set(xticks=[0, len(wide) - 1], yticks=[0, len(wide) - 1])
        place.set_xticklabels([1, len(wide)])
        place.set_yticklabels([1, len(wide)])
        place.spines[:].set_visible(True)
    axes[0, 0].set_ylabel("to step")
    bar = figure.colorbar(image, ax=list(axes[0]), label="|M| / max |M|", aspect=12, pad=0.01, shrink=0.7)
    bar.ax.minorticks_off()
    return figure


# What runs have found


@styled
def loss_curves(metrics: pd.DataFrame, runs: pd.DataFrame) -> Figure:
    """Loss over steps, a panel a task and a line a run; below, success where it was measured on the way.

    ``metrics`` as ``mp_lib.results.load_metrics``, ``runs`` as ``load_runs``.
    """
    tasks = list(runs["task"].unique())
    measured = "success_rate" in metrics and metrics["success_rate"].notna().any()
    rows = 1 + measured
    figure, axes = panels(rows, len(tasks), COLUMN if len(tasks) == 1 else PAGE, 1.9 * rows, sharex=True, sharey="row")
    metrics = metrics.assign(success=100 * metrics["success_rate"]) if measured else metrics
    for column, task in enumerate(tasks):
        axes[0, column].set(title=task, yscale="log")
        axes[-1, column].set_xlabel("step")
        axes[-1, column].xaxis.set_major_locator(MaxNLocator(4, integer=True))
        ends = [
            draw_curves(place, metrics, runs[runs["task"] == task], key)
            for place, key in zip(axes[:, column], ("loss", "success"), strict=False)
        ]
    axes[0, 0].set(ylabel="loss", ylim=(metrics["loss"].min() / 1.4, metrics["loss"].max() * 1.4))
    axes[0, 0].set_xlim(0, 1.02 * max(1, metrics["step"].max()))
    plain_log(axes[0, 0].yaxis)
    if measured:
        axes[1, 0].set(ylabel="success (%)", ylim=(-3, 103))
    for place, names in zip(axes[:, -1], ends, strict=True):
        label_ends(place, names)
    return figure


def draw_curves(axes: Axes, metrics: pd.DataFrame, runs: pd.DataFrame, key: str) -> list[tuple]:
    """One line a run, and where to write each method's name."""
    ends = {}
    for run in runs.itertuples():
        rows = thinned(metrics[(metrics["folder"] == run.folder) & metrics[key].notna()][["step", key]])
        if rows.empty:
            continue
        look, kind = look_of(run.method), run.attention if METHODS[run.method].mixer else ""
        dot = look["marker"] if len(rows) == 1 else ""
        dashes = "--" if kind == "released" else "-"
        axes.plot(
            rows["step"], rows[key], marker=dot, color=look["color"], linestyle=dashes, linewidth=0.9, markersize=4
        )
        name = row_name(run.method, kind)
        ends.setdefault(name, (rows["step"].iloc[-1], rows[key].iloc[-1], name, look["color"]))
    return list(ends.values())


def thinned(rows: pd.DataFrame, most: int = 150) -> pd.DataFrame:
    """Means of neighbouring rows, so that at most ``most`` are left."""
    return rows.groupby(np.arange(len(rows)) // -(-max(len(rows), 1) // most)).mean()


def plain_log(axis: Axis) -> None:
    """Ticks of a logarithmic axis at 1, 2 and 5, written as plain numbers."""
    axis.set_major_locator(LogLocator(subs=(1, 2, 5)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


@styled
def success(table: pd.DataFrame, columns: int = 3) -> Figure:
    """Success rate of every method with its interval, a panel a task; published rates as open rings.

    ``table`` as ``mp_lib.results.success_table``.
    """
    tasks = list(table["task"].unique())
    names = list(dict.fromkeys(zip(table["method"], table["attention"], strict=True)))
    columns = min(columns, len(tasks))
    rows = -(-len(tasks) // columns)
    height = 0.55 + rows * (0.35 + 0.19 * len(names))
    figure, axes = panels(rows, columns, COLUMN if columns == 1 else PAGE, height, sharex=True, sharey=True)
    for place, task in zip(axes.flat, tasks, strict=False):
        for row in table[table["task"] == task].itertuples():
            position = names.index((row.method, row.attention))
            look = look_of(row.method, row.attention)
            place.plot([row.low, row.high], [position] * 2, color=look["color"], linewidth=1.4, solid_capstyle="butt")
            place.plot([row.ours], [position], linestyle="", clip_on=False, zorder=3, **look)
            if pd.notna(row.published):
                place.plot([row.published], [position], "|", color=BLACK, markersize=9, markeredgewidth=1.2, zorder=4)
        place.set(title=task, xlim=(0, 100), xticks=[0, 25, 50, 75, 100], ylim=(len(names) - 0.4, -0.6))
        place.set(yticks=range(len(names)), yticklabels=[row_name(*name) for name in names])
        place.grid(axis="x")
        place.tick_params(left=False)
    for place in axes.flat[len(tasks) :]:
        place.remove()
    for place in axes.flat[max(0, len(tasks) - columns) : len(tasks)]:
        place.set_xlabel("success (%)")
        place.tick_params(labelbottom=True)
    return figure


@styled
def success_by_parameters(table: pd.DataFrame) -> Figure:
    """Success over all common tasks against the parameters that run. ``table`` as ``mp_lib.results.method_table``.

    Methods of nearly the same size are moved apart a little.
    """
    figure, [[axes]] = panels(1, 1, COLUMN, 2.2)
    places = 10 ** spread(np.log10(table["parameters"] / 1e6), gap=0.05)
    for row, place in zip(table.itertuples(), places, strict=True):
        look = look_of(row.method, row.attention)
        axes.plot([place] * 2, [row.low, row.high], color=look["color"], linewidth=1, alpha=0.7)
        axes.plot([place], [row.ours], linestyle="", zorder=3, label=row_name(row.method, row.attention), **look)
    axes.set(xscale="log", xlabel="parameters that run (million)", ylabel="success (%)", ylim=(-3, 103))
    axes.set_xlim(places.min() / 1.3, places.max() * 1.3)
    plain_log(axes.xaxis)
    axes.grid(axis="y")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7, handletextpad=0.2)
    return figure


@styled
def costs(table: pd.DataFrame) -> Figure:
    """What each method costs as a share of DP3's, a panel a quantity.

    ``table``: method, attention, quantity, share, text (written behind the bar).
    """
    quantities = list(table["quantity"].unique())
    names = list(dict.fromkeys(zip(table["method"], table["attention"], strict=True)))
    figure, axes = panels(1, len(quantities), PAGE, 0.75 + 0.18 * len(names), sharey=True)
    for place, quantity in zip(axes[0], quantities, strict=True):
        rows = table[table["quantity"] == quantity]
        place.axvline(1, color="#CCCCCC", linewidth=0.6, zorder=0)
        for row in rows.itertuples():
            position, color = names.index((row.method, row.attention)), look_of(row.method)["color"]
            face = "white" if row.attention == "released" else color
            place.barh(position, row.share, 0.6, color=face, edgecolor=color, linewidth=0.8)
            place.text(row.share + 0.04 * rows["share"].max(), position, row.text, va="center", fontsize=6.5)
        place.set_title(quantity.replace(", ", "\n"))
        place.set(xlim=(0, 1.5 * rows["share"].max()), xticks=[0, 1])
        place.set(yticks=range(len(names)), yticklabels=[row_name(*name) for name in names])
        place.tick_params(left=False)
    axes[0, 0].invert_yaxis()
    figure.supxlabel("as a share of DP3", fontsize=7.5)
    return figure
