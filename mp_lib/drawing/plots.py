"""One function a figure: a table in, a matplotlib figure out.

Nothing here reads a file, knows pyplot or keeps a figure; ``mp_lib.drawing.figures`` saves and shows them.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from mp_lib.drawing.style import CHOSEN, COLUMN, GREY, PAGE, kinds_in, label_ends, look_of, panels, styled
from mp_lib.presets import METHODS, NO_ATTENTION, kind_name

NAME = 0.13  # inches of a line's name
CURVES = {"loss": "loss", "success": "success (%)"}


@styled
def episodes(table: pd.DataFrame) -> Figure:
    """Length of every episode, filled where it succeeded. ``table`` has seed, success and steps."""
    figure, [[axes]] = panels(1, 1, PAGE, 1.4)
    for success, color, name in ((True, CHOSEN, "success"), (False, "white", "failure")):
        rows = table[table["success"] == success]
        axes.bar(rows.index + 1, rows["steps"], 0.7, color=color, edgecolor=CHOSEN, linewidth=0.7, label=name)
    axes.set(xlabel="episode, in the order of the seeds", ylabel="steps", xlim=(0.4, max(len(table), 10) + 0.6))
    axes.xaxis.set_major_locator(MaxNLocator(10, integer=True))
    axes.legend(loc="lower left", bbox_to_anchor=(1, 0))
    return figure


@styled
def curves(metrics: pd.DataFrame, runs: pd.DataFrame, columns: int = 3) -> Figure:
    """Loss over steps, a panel a task and a line a run; below each, success where it was measured on the way.

    ``metrics`` as ``mp_lib.study.runs.load_metrics``, ``runs`` as ``mp_lib.study.rows.load_runs``.
    """
    measured = "success_rate" in metrics and metrics["success_rate"].notna().any()
    metrics = metrics.assign(success=100 * metrics["success_rate"]) if measured else metrics
    tasks, keys = list(runs["task"].unique()), ["loss", "success"] if measured else ["loss"]
    columns = min(columns, len(tasks))
    rows = -(-len(tasks) // columns) * len(keys)
    height = max(1.6, NAME * len(kinds_in(runs)) if len(tasks) == 1 else 0)  # names of lines stand at their ends
    figure, axes = panels(rows, columns, COLUMN if columns == 1 else PAGE, 0.3 + height * rows, sharex=True)
    names: dict[str, tuple] = {}
    for number, task in enumerate(tasks):
        for k, key in enumerate(keys):
            place = axes[number // columns * len(keys) + k, number % columns]
            prepare_curves(place, metrics, key)
            place.set_title(task if k == 0 else "")
            place.set_ylabel(CURVES[key] if number % columns == 0 else "")
            ends = draw_curves(place, metrics, runs[runs["task"] == task], key)
            names |= {end[2]: end for end in ends}
            if len(tasks) == 1:
                label_ends(place, ends)
    for place in axes.flat:
        place.set_visible(place.has_data())
    figure.supxlabel("step")
    if len(tasks) > 1:
        lines = [Line2D([], [], color=color, linestyle=dashes_of(name)) for _, _, name, color in names.values()]
        figure.legend(lines, names, loc="outside right upper")
    return figure


def prepare_curves(axes: Axes, metrics: pd.DataFrame, key: str) -> None:
    """Scales and limits, alike for all panels of ``key``."""
    axes.set_xlim(0, 1.02 * max(1, metrics["step"].max()))
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.tick_params(labelbottom=True)
    if key == "loss":
        axes.set(yscale="log", ylim=(metrics["loss"].min() / 1.4, metrics["loss"].max() * 1.4))
        plain_log(axes.yaxis)
    else:
        axes.set_ylim(-3, 103)


def draw_curves(axes: Axes, metrics: pd.DataFrame, runs: pd.DataFrame, key: str) -> list[tuple]:
    """One line a run, and where to write each method's name: (x, y, name, colour)."""
    ends = {}
    for run in runs.itertuples():
        rows = thinned(metrics[(metrics["folder"] == run.folder) & metrics[key].notna()][["step", key]])
        if rows.empty:
            continue
        name, look = kind_name(run.method, run.attention), look_of(run.method)
        look = {"color": look["color"], "marker": look["marker"] if len(rows) == 1 else "", "markersize": 4}
        axes.plot(*rows.to_numpy().T, linewidth=0.9, linestyle=dashes_of(name), clip_on=len(rows) > 1, **look)
        ends.setdefault(name, (rows["step"].iloc[-1], rows[key].iloc[-1], name, look["color"]))
    return list(ends.values())


def dashes_of(name: str) -> str:
    """Dashes where attention is left out."""
    return "--" if name.endswith(NO_ATTENTION) else "-"


def thinned(rows: pd.DataFrame, most: int = 150) -> pd.DataFrame:
    """Means of neighbouring rows, so that at most ``most`` are left."""
    return rows.groupby(np.arange(len(rows)) // -(-max(len(rows), 1) // most)).mean()


def plain_log(axis: Axis, ticks: Sequence[float] = ()) -> None:
    """Ticks of a logarithmic axis as plain numbers; by its limits at 1, 2 and 5 or at 1 alone, if none are given."""
    low, high = axis.get_view_interval()
    if len(ticks):
        axis.set_ticks(ticks)
    else:
        axis.set_major_locator(LogLocator(subs=(1, 2, 5) if high < 60 * low else (1,)))
    axis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:g}"))
    axis.set_minor_locator(NullLocator())


@styled
def costs(table: pd.DataFrame) -> Figure:
    """What each method costs as a share of DP3's, a panel a quantity.

    ``table``: method, attention, quantity, share, text (written behind the bar), share_eager (a tick, where known).
    """
    quantities = list(table["quantity"].unique())
    names = kinds_in(table)
    figure, axes = panels(1, len(quantities), PAGE, 0.75 + 0.18 * len(names), sharey=True)
    for place, quantity in zip(axes[0], quantities, strict=True):
        rows = table[table["quantity"] == quantity]
        place.axvline(1, color="#CCCCCC", linewidth=0.6, zorder=0)
        for row in rows.itertuples():
            position, color = names.index((row.method, row.attention)), look_of(row.method)["color"]
            face = "white" if row.attention == "released" else color
            place.barh(position, row.share, 0.6, color=face, edgecolor=color, linewidth=0.8)
            place.plot(row.share_eager, position, "|k", markersize=5, markeredgewidth=1)
            place.text(row.share + 0.04 * rows["share"].max(), position, row.text, va="center", fontsize=6.5)
        place.set_title(quantity.replace(", ", "\n"))
        place.set(xlim=(0, 1.5 * rows["share"].max()), xticks=[0, 1])
        place.set(yticks=range(len(names)), yticklabels=[kind_name(*name) for name in names])
        place.tick_params(left=False)
    axes[0, 0].invert_yaxis()
    ticks = "; ticks: of DP3 in eager PyTorch" if table["share_eager"].notna().any() else ""
    figure.supxlabel(f"as a share of DP3{ticks}")
    return figure


@styled
def latency_by_length(table: pd.DataFrame, labels: dict[str, str]) -> Figure:
    """Time of one denoiser call against the horizon, a panel a backend and structure; dotted, its products alone.

    ``table`` has method, attention, horizon, backend and median_seconds, as ``efficiency.read_table``; ``labels``
    are the backends to draw and their titles.
    """
    structures = {"paper": "", "released": NO_ATTENTION}
    figure, axes = panels(len(structures), len(labels), PAGE, 4.6, sharex=True, sharey=True)
    for row, (attention, ending) in zip(axes, structures.items(), strict=True):
        for place, (backend, title) in zip(row, labels.items(), strict=True):
            rows = table[table["attention"].isin(["", attention])].sort_values("horizon")
            place.set_title(f"{title}{ending}")
            if rows.empty:  # a logarithmic axis cannot be
                place.text(0.5, 0.5, "not measured yet", transform=place.transAxes, color=GREY, ha="center")
                continue
            draw_latencies(place, rows[rows["backend"] == backend], rows[rows["backend"] == "matrix_products"])
            place.set(xscale="log", yscale="log")
            plain_log(place.xaxis, sorted(table["horizon"].unique()))
            plain_log(place.yaxis)
            place.grid(axis="y")
    figure.supxlabel("horizon: the sequence length of the outermost blocks")
    figure.supylabel("one denoiser call (ms)")
    handles, names = axes[0, 0].get_legend_handles_labels()
    floor = Line2D([], [], color=GREY, linestyle=":", linewidth=0.9)
    names.append("its matrix\nproducts alone")
    figure.legend([*handles, floor], names, loc="outside right center", fontsize=7.5)
    return figure


def draw_latencies(axes: Axes, timed: pd.DataFrame, floors: pd.DataFrame) -> None:
    """A line a method, and a dotted one for its floor."""
    for method in METHODS:
        rows, look = timed[timed["method"] == method], look_of(method)
        floor = floors[floors["method"] == method]
        axes.plot(floor["horizon"], 1e3 * floor["median_seconds"], color=look["color"], linestyle=":", linewidth=0.9)
        style = {"color": look["color"], "marker": look["marker"], "markersize": 3.5, "linewidth": 1}
        axes.plot(rows["horizon"], 1e3 * rows["median_seconds"], label=METHODS[method].label, **style)
