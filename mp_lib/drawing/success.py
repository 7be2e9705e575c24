"""Figures of success: by task, by condition, against size and cost. A table in, a matplotlib figure out."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from mp_lib.drawing.plots import plain_log
from mp_lib.drawing.style import BLACK, COLUMN, GREY, PAGE, grid, kinds_in, label_ends, look_of, panels, spread, styled
from mp_lib.presets import METHODS, kind_name

PUBLISHED = {"color": BLACK, "marker": "|", "linestyle": "", "markersize": 9, "markeredgewidth": 1.2}
TICKS = [0, 25, 50, 75, 100]  # of success in percent
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
    names = kinds_in(table)
    figure, places = grid(table["task"].unique(), columns, 0.55, 0.35 + 0.21 * len(names), sharey=True)
    for task, place in places.items():
        draw_rows(place, table[table["task"] == task], names)
        place.set(title=task if columns <= 3 else task.replace("_", "_\n", 1))  # narrow panels
    figure.supxlabel("success (%)")
    marks = {"here, 95 % interval": Line2D([], [], color=GREY, marker="o", markersize=5)}
    if any(rates_of(row) for row in table.itertuples()):
        marks["one training"] = Line2D([], [], color=GREY, **RUN)
    if table.loc[table["comparable"], "published"].notna().any():
        marks["published"] = Line2D([], [], **PUBLISHED)
    style = {"ncols": 3, "fontsize": 6.5, "handlelength": 1.2, "columnspacing": 1}
    figure.legend(marks.values(), marks, loc="outside upper right", **style)
    return figure


def overall(table: pd.DataFrame, pooled: pd.DataFrame) -> Figure:
    """Success of every method in one panel: on the only task there is, else over those that all methods have.

    ``table`` as of ``by_task``, ``pooled`` as ``mp_lib.study.tables.method_table``.
    """
    return by_task(table) if table["task"].nunique() == 1 else of_methods(pooled)


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
    list_methods(axes, names)


def list_methods(axes: Axes, names: list[tuple[str, str]]) -> None:
    """Methods below each other, and their success from left to right."""
    axes.set(xlim=(0, 100), xticks=TICKS, ylim=(len(names) - 0.3, -0.6))
    axes.set(yticks=range(len(names)), yticklabels=[kind_name(*name) for name in names])
    axes.tick_params(left=False, labelbottom=True)
    axes.grid(axis="x")


@styled
def by_seed(runs: pd.DataFrame, columns: int = 3) -> Figure:
    """Every training with Wilson's interval, a panel a task; the seeds of a method lie below each other.

    ``runs`` as ``mp_lib.study.rows.load_runs``.
    """
    names, seeds = kinds_in(runs), sorted(runs["seed"].unique())
    height = 0.35 + (0.12 + 0.08 * len(seeds)) * len(names)
    figure, places = grid(runs["task"].unique(), columns, 0.6, height, sharey=True)
    offsets = dict(zip(seeds, 0.7 * (np.arange(len(seeds)) + 0.5) / len(seeds) - 0.35, strict=True))
    for run in runs.itertuples():
        place, look = places[run.task], look_of(run.method, run.attention)
        position = names.index((run.method, run.attention)) + offsets[run.seed]
        place.plot([100 * run.low, 100 * run.high], [position] * 2, color=look["color"], linewidth=0.9, alpha=0.6)
        shade = 1 - 0.3 * seeds.index(run.seed) / max(1, len(seeds) - 1)
        place.plot([100 * run.success_rate], [position], linestyle="", alpha=shade, **look | {"markersize": 3.5})
    for task, place in places.items():
        list_methods(place, names)
        place.set(title=task, xlim=(-2, 102), ylim=(len(names) - 0.4, -0.6))
    told = ", ".join(f"seed {seed}" for seed in seeds)
    figure.supxlabel(f"success (%); from top to bottom: {told}" if len(seeds) > 1 else "success (%)")
    return figure


@styled
def of_methods(table: pd.DataFrame, varied: str = "") -> Figure:
    """Success of every method with its interval; small dots are single trainings. ``table`` as ``method_table``."""
    names = kinds_in(table)
    figure, [[axes]] = panels(1, 1, COLUMN, 0.6 + 0.22 * len(names))
    draw_rows(axes, table.assign(published=None, comparable=False), names)
    axes.set_xlabel("success (%)")
    return figure


@styled
def by_condition(table: pd.DataFrame, varied: str) -> Figure:
    """Success over what is ``varied``, a line a method with its intervals; small dots are single trainings.

    ``table`` as ``method_table`` with the column value.
    """
    figure, [[axes]] = panels(1, 1, COLUMN, 2.3)
    names, ends = kinds_in(table), []
    for number, (method, attention) in enumerate(names):
        rows = table[(table["method"] == method) & (table["attention"] == attention)].sort_values("value")
        look, aside = look_of(method, attention), 1.035 ** (number - (len(names) - 1) / 2)
        places = rows["value"] * aside
        draw_line(axes, places, rows, clip_on=False, **look)
        for place, row in zip(places, rows.itertuples(), strict=True):
            if rates := rates_of(row):
                axes.plot([place] * len(rates), rates, color=look["color"], **RUN)
        ends.append((places.iloc[-1], rows["ours"].iloc[-1], kind_name(method, attention), look["color"]))
    success_over(axes, varied, sorted(table["value"].unique()))
    label_ends(axes, ends)
    return figure


@styled
def by_strength(table: pd.DataFrame, columns: int = 3) -> Figure:
    """Success over the strength of a change, a panel a change and a line a policy with its intervals.

    ``table`` as ``mp_lib.insight.robustness.what_if``; at 0 nothing is changed.
    """
    changes, names = list(dict.fromkeys(table["change"])), list(dict.fromkeys(table["policy"]))
    columns = min(columns, len(changes))
    rows = -(-len(changes) // columns)
    figure, axes = panels(rows, columns, COLUMN if columns == 1 else PAGE, 0.3 + 1.9 * rows, sharey=True)
    for place in axes.flat[len(changes) :]:
        place.set_visible(False)
    for place, change in zip(axes.flat, changes, strict=False):
        shown = table[table["change"] == change]
        for number, (name, line) in enumerate(shown.groupby("policy", sort=False)):
            aside = 0.03 * shown["strength"].max() * (number - (len(names) - 1) / 2)
            look = look_of(line["method"].iloc[0], line["attention"].iloc[0])
            draw_line(place, line["strength"] + aside, line, clip_on=False, label=name, **look)
        place.set(title=shown["title"].iloc[0], xlabel=shown["unit"].iloc[0], xticks=sorted({*shown["strength"]}))
        place.set(ylim=(-3, 103), yticks=TICKS)
        place.grid(axis="y")
    figure.supylabel("success (%)")
    figure.legend(*axes[0, 0].get_legend_handles_labels(), loc="outside right upper")
    return figure


@styled
def by_size(table: pd.DataFrame, varied: str) -> Figure:
    """Success against parameters, a line a method and depth over its widths. ``table`` as ``method_table`` with arm."""
    figure, [[axes]] = panels(1, 1, COLUMN, 2.3)
    for (method, depth), rows in table.groupby(["method", "value"], sort=False):
        rows, look = rows.sort_values("parameters"), look_of(method, "" if depth > 1 else "released")
        named = {"linestyle": "-" if depth > 1 else "--", "label": f"{METHODS[method].label}, {depth:.0f}"}
        draw_line(axes, rows["parameters"] / 1e6, rows, **named, **look)
    success_over(axes, "parameters of the policy (million)")
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), title="blocks a level")
    return figure


def draw_line(axes: Axes, places: pd.Series, rows: pd.DataFrame, **look) -> None:
    """The success of ``rows`` with its intervals at ``places``, joined."""
    axes.plot(places, rows["ours"], linewidth=1, zorder=3, **look)
    axes.vlines(places, rows["low"], rows["high"], color=look["color"], linewidth=0.9, alpha=0.5)


def success_over(axes: Axes, label: str, ticks: Sequence[float] = ()) -> None:
    """Success upwards, over a logarithmic axis of this label."""
    axes.set(xscale="log", xlabel=label, ylabel="success (%)", ylim=(-3, 103))
    plain_log(axes.xaxis, ticks)
    axes.grid(axis="y")


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
        axes.plot([place], [row.ours], linestyle="", zorder=3, label=kind_name(row.method, row.attention), **look)
    for row, marker in zip(peers.itertuples(), PEERS, strict=False):
        look = {"color": "#999999", "marker": marker, "linestyle": "", "markersize": 5, "zorder": 2}
        axes.plot([row.cost], [row.success], label=f"{row.method}, published", **look)
    costs = [*places, *peers["cost"]]
    axes.set_xlim(min(costs) / 1.6, max(costs) * 1.6)
    success_over(axes, axis)
    axes.set(ylim=(-3, 106), yticks=TICKS)
    axes.legend(loc="center left", bbox_to_anchor=(1, 0.5), handletextpad=0.2)
    return figure


@styled
def by_signal(table: pd.DataFrame, columns: int = 3) -> Figure:
    """Success of single trainings over the object's signal in the first features, a panel a task.

    ``table`` has task, method, start, signal and success; hollow marks start as released, full ones otherwise.
    """
    tasks = list(dict.fromkeys(table["task"]))
    figure, axes = grid(tasks, min(columns, len(tasks)), 0.5, 2.0, sharey=True)
    for task, place in axes.items():
        for (method, start), rows in table[table["task"] == task].groupby(["method", "start"], sort=False):
            look = look_of(method, "released" if start == "released" else "paper")
            place.plot(rows["signal"], rows["success"], linestyle="", clip_on=False, **look)
        place.set(title=task, xscale="log", ylim=(-3, 103), yticks=TICKS)
        plain_log(place.xaxis)
    figure.supxlabel("deviation of the cloud's features between demonstrations, before training")
    figure.supylabel("success (%)")
    methods = list(dict.fromkeys(table["method"]))
    handles = [Line2D([], [], linestyle="", **look_of(method)) for method in methods]
    figure.legend(handles, [kind_name(method) for method in methods], loc="outside right upper")
    return figure


DRAWN = {"methods": of_methods, "conditions": by_condition, "sizes": by_size}  # Design.drawn
