"""Figures of success: by task, by condition, against size and cost. A table in, a matplotlib figure out."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, NullLocator

from mp_lib.config import METHODS
from mp_lib.drawing.plots import plain_log, row_name
from mp_lib.drawing.style import BLACK, COLUMN, GREY, PAGE, label_ends, look_of, panels, spread, styled

PUBLISHED = {"color": BLACK, "marker": "|", "linestyle": "", "markersize": 9, "markeredgewidth": 1.2}
PEERS = "*ph8<>^v"  # markers
RUN = {"linestyle": "", "marker": ".", "markersize": 4.5, "markeredgewidth": 0, "alpha": 0.7, "clip_on": False}


def rates_of(row) -> list[float]:
    """The single runs' rates of a row of ``mp_lib.study.tables``; none for one run."""
    rates = [float(rate) for rate in str(row.by_run).split()]
    return rates if len(rates) > 1 else []


@styled
def by_task(table: pd.DataFrame, columns: int = 3) -> Figure:
    """Success of every method with its interval, a panel a task; small dots are single trainings.

    ``table`` as ``mp_lib.study.tables.success_table``; published rates, where comparable, are ticks.
    """
    tasks = list(table["task"].unique())
    names = list(dict.fromkeys(zip(table["method"], table["attention"], strict=True)))
    columns = min(columns, len(tasks))
    rows = -(-len(tasks) // columns)
    height = 0.55 + rows * (0.35 + 0.21 * len(names))
    figure, axes = panels(rows, columns, COLUMN if columns == 1 else PAGE, height, sharex=True, sharey=True)
    for place, task in zip(axes.flat, tasks, strict=False):
        draw_rows(place, table[table["task"] == task], names)
        place.set(title=task)
        place.tick_params(left=False, labelbottom=True)
    for place in axes.flat[len(tasks) :]:
        place.set_visible(False)
    figure.supxlabel("success (%)", fontsize=7.5)
    marks = {"here, 95 % interval": Line2D([], [], color=GREY, marker="o", markersize=5)}
    if any(rates_of(row) for row in table.itertuples()):
        marks["one training"] = Line2D([], [], color=GREY, **RUN)
    if table.loc[table["comparable"], "published"].notna().any():
        marks["published"] = Line2D([], [], **PUBLISHED)
    style = {"ncols": 3, "frameon": False, "fontsize": 6.5, "handlelength": 1.2, "columnspacing": 1}
    figure.legend(marks.values(), marks, loc="outside upper right", **style)
    return figure


def draw_rows(axes: Axes, table: pd.DataFrame, names: list[tuple[str, str]]) -> None:
    """A row a method: interval, mean, single trainings, published rate."""
    for row in table.itertuples():
        position, look = names.index((row.method, row.attention)), look_of(row.method, row.attention)
        axes.plot([row.low, row.high], [position] * 2, color=look["color"], linewidth=1.4, solid_capstyle="butt")
        axes.plot([row.ours], [position], linestyle="", clip_on=False, zorder=3, **look)
        if rates := rates_of(row):
            axes.plot(rates, [position + 0.3] * len(rates), color=look["color"], zorder=2, **RUN)
        if pd.notna(row.published) and row.comparable:
            axes.plot([row.published], [position], zorder=4, **PUBLISHED)
    axes.set(xlim=(0, 100), xticks=[0, 25, 50, 75, 100], ylim=(len(names) - 0.3, -0.6))
    axes.set(yticks=range(len(names)), yticklabels=[row_name(*name) for name in names])
    axes.grid(axis="x")


@styled
def by_seed(runs: pd.DataFrame, columns: int = 3) -> Figure:
    """Every training with Wilson's interval, a panel a task; the seeds of a method lie below each other.

    ``runs`` as ``mp_lib.study.rows.load_runs``.
    """
    tasks, seeds = list(runs["task"].unique()), sorted(runs["seed"].unique())
    bare = runs["method"].map(lambda name: METHODS[name].mixer is None)
    kinds = list(zip(runs["method"], runs["attention"].mask(bare, ""), strict=True))
    names = list(dict.fromkeys(kinds))
    columns = min(columns, len(tasks))
    rows = -(-len(tasks) // columns)
    height = 0.6 + rows * (0.35 + (0.12 + 0.08 * len(seeds)) * len(names))
    figure, axes = panels(rows, columns, COLUMN if columns == 1 else PAGE, height, sharex=True, sharey=True)
    offsets = dict(zip(seeds, 0.7 * (np.arange(len(seeds)) + 0.5) / len(seeds) - 0.35, strict=True))
    for run, kind in zip(runs.itertuples(), kinds, strict=True):
        place = axes.flat[tasks.index(run.task)]
        position, look = names.index(kind) + offsets[run.seed], look_of(*kind)
        place.plot([100 * run.low, 100 * run.high], [position] * 2, color=look["color"], linewidth=0.9, alpha=0.6)
        shade = 1 - 0.3 * seeds.index(run.seed) / max(1, len(seeds) - 1)
        place.plot([100 * run.success_rate], [position], linestyle="", alpha=shade, **look | {"markersize": 3.5})
    for place, task in zip(axes.flat, tasks, strict=False):
        place.set(title=task, xlim=(-2, 102), xticks=[0, 25, 50, 75, 100], ylim=(len(names) - 0.4, -0.6))
        place.set(yticks=range(len(names)), yticklabels=[row_name(*name) for name in names])
        place.tick_params(left=False, labelbottom=True)
        place.grid(axis="x")
    for place in axes.flat[len(tasks) :]:
        place.set_visible(False)
    told = ", ".join(f"seed {seed}" for seed in seeds)
    figure.supxlabel(f"success (%); from top to bottom: {told}" if len(seeds) > 1 else "success (%)", fontsize=7.5)
    return figure


@styled
def of_methods(table: pd.DataFrame, varied: str = "") -> Figure:
    """Success of every method with its interval; small dots are single trainings. ``table`` as ``method_table``."""
    names = list(dict.fromkeys(zip(table["method"], table["attention"], strict=True)))
    figure, [[axes]] = panels(1, 1, COLUMN, 0.6 + 0.22 * len(names))
    draw_rows(axes, table.assign(published=None, comparable=False), names)
    axes.tick_params(left=False)
    axes.set_xlabel("success (%)")
    return figure


@styled
def by_condition(table: pd.DataFrame, varied: str) -> Figure:
    """Success over what is ``varied``, a line a method with its intervals; small dots are single trainings.

    ``table`` as ``method_table`` with the column value.
    """
    figure, [[axes]] = panels(1, 1, COLUMN, 2.3)
    kinds = list(dict.fromkeys(zip(table["method"], table["attention"], strict=True)))
    ends = []
    for number, (method, attention) in enumerate(kinds):
        rows = table[(table["method"] == method) & (table["attention"] == attention)].sort_values("value")
        look, aside = look_of(method, attention), 1.035 ** (number - (len(kinds) - 1) / 2)
        places = rows["value"] * aside
        axes.plot(places, rows["ours"], linewidth=1, zorder=3, clip_on=False, **look)
        axes.vlines(places, rows["low"], rows["high"], color=look["color"], linewidth=0.9, alpha=0.5)
        for place, row in zip(places, rows.itertuples(), strict=True):
            if rates := rates_of(row):
                axes.plot([place] * len(rates), rates, color=look["color"], **RUN)
        if len(rows):
            ends.append((places.iloc[-1], rows["ours"].iloc[-1], row_name(method, attention), look["color"]))
    axes.set(xscale="log", xlabel=varied, ylabel="success (%)", ylim=(-3, 103), xticks=sorted(table["value"].unique()))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.grid(axis="y")
    label_ends(axes, ends)
    return figure


@styled
def by_size(table: pd.DataFrame, varied: str) -> Figure:
    """Success against parameters, a line a method and depth over its widths. ``table`` as ``method_table`` with arm."""
    figure, [[axes]] = panels(1, 1, COLUMN, 2.3)
    for (method, depth), rows in table.assign(depth=table["value"]).groupby(["method", "depth"], sort=False):
        rows, look = rows.sort_values("parameters"), look_of(method, "" if depth > 1 else "released")
        millions, name = rows["parameters"] / 1e6, f"{METHODS[method].label}, {depth:.0f}"
        dashes = "-" if depth > 1 else "--"
        axes.plot(millions, rows["ours"], linestyle=dashes, linewidth=1, zorder=3, label=name, **look)
        axes.vlines(millions, rows["low"], rows["high"], color=look["color"], linewidth=0.9, alpha=0.5)
    axes.set(xscale="log", xlabel="parameters of the policy (million)", ylabel="success (%)", ylim=(-3, 103))
    plain_log(axes.xaxis)
    axes.grid(axis="y")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7, title="blocks a level")
    axes.get_legend().get_title().set_fontsize(7)
    return figure


@styled
def against_cost(table: pd.DataFrame, peers: pd.DataFrame, axis: str) -> Figure:
    """Success against a cost: our methods with intervals, published policies as grey marks.

    ``table`` as ``method_table`` with the column cost; ``peers`` has method, cost and success. Methods of nearly
    the same cost are moved apart a little.
    """
    figure, [[axes]] = panels(1, 1, COLUMN, 2.5)
    places = 10 ** spread(np.log10(table["cost"]), gap=0.03)
    for row, place in zip(table.itertuples(), places, strict=True):
        look = look_of(row.method, row.attention)
        axes.plot([place] * 2, [row.low, row.high], color=look["color"], linewidth=1, alpha=0.7)
        axes.plot([place], [row.ours], linestyle="", zorder=3, label=row_name(row.method, row.attention), **look)
    for row, marker in zip(peers.itertuples(), PEERS, strict=False):
        look = {"color": "#999999", "marker": marker, "linestyle": "", "markersize": 5, "zorder": 2}
        axes.plot([row.cost], [row.success], label=f"{row.method}, published", **look)
    costs = [*places, *peers["cost"]]
    axes.set(xscale="log", xlabel=axis, ylabel="success (%)", ylim=(-3, 106), yticks=[0, 25, 50, 75, 100])
    axes.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
    plain_log(axes.xaxis)
    axes.grid(axis="y")
    axes.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5), fontsize=7, handletextpad=0.2)
    return figure


DRAWN = {"methods": of_methods, "conditions": by_condition, "sizes": by_size}  # Design.drawn
