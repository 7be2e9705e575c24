"""Figures of chunks beside what was recorded: how far off they are, and a few of them. A table in, a figure out."""

from __future__ import annotations

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.ticker import MaxNLocator

from mp_lib.drawing.style import CHOSEN, GREY, LINES, PAGE, panels, styled

LOOKS = {  # of a policy, and of what learns nothing
    "policy": {"color": CHOSEN, "marker": "o", "markersize": 3.5},
    "last action again": {"color": LINES[2], "marker": "s", "markersize": 3, "linestyle": "--"},
    "nearest recorded state": {"color": LINES[4], "marker": "^", "markersize": 3.5, "linestyle": ":"},
}
MOST_NAMED = 12  # numbers whose names find room
OFF = "off by (% of range)"


@styled
def errors(table: pd.DataFrame, curve: pd.DataFrame) -> Figure:
    """How far actions are from recorded ones: over a training, over the executed steps, and by number.

    ``table`` has who, number, step (from 1 on) and share, in percent of the number's range; ``curve`` has step and
    share, of the policy.
    """
    figure, [axes] = panels(1, 3, PAGE, max(2.1, 0.9 + 0.13 * table["number"].nunique()))
    means = table.groupby("who", sort=False)["share"].mean()
    axes[0].plot(curve["step"], curve["share"], **LOOKS["policy"], linewidth=1, clip_on=False)
    axes[0].set(xlabel="step of the training", xlim=(0, 1.02 * max(1, curve["step"].max())), ylabel=OFF)
    for who, rows in table.groupby("who", sort=False):
        by_step = rows.groupby("step")["share"].mean()
        axes[1].plot(by_step.index, by_step, linewidth=1, clip_on=False, **LOOKS[who])
        look = LOOKS[who] | {"linestyle": ""}
        by_number = rows.groupby("number", sort=False)["share"].mean()
        axes[2].plot(by_number, range(len(by_number)), clip_on=False, **look)
        if who != "policy":
            level = {key: value for key, value in LOOKS[who].items() if not key.startswith("marker")}
            axes[0].axhline(means[who], linewidth=1, **level)
    axes[1].set_xlabel("step of the chunk")
    for place in axes[:2]:
        place.set_ylim(bottom=0)
        place.grid(axis="y")
        place.xaxis.set_major_locator(MaxNLocator(4, integer=True))
    name_numbers(axes[2], list(dict.fromkeys(table["number"])))
    handles = [Line2D([], [], linewidth=1, **LOOKS[who]) for who in means.index]
    figure.legend(handles, list(means.index), loc="outside upper center", ncols=len(handles))
    return figure


def name_numbers(axes: Axes, names: list[str]) -> None:
    """Numbers of an action below each other, the first on top, and from left to right how far off they are."""
    few = len(names) <= MOST_NAMED
    axes.set(ylim=(len(names) - 0.5, -0.5), xlabel=OFF, xlim=(0, None))
    axes.set(yticks=range(len(names)), yticklabels=names if few else range(1, len(names) + 1))
    axes.set_ylabel("" if few else "number of the action")
    axes.tick_params(left=False)
    axes.grid(axis="both")


@styled
def chunks(table: pd.DataFrame) -> Figure:
    """Executed parts of chunks beside what was recorded: a row a number of the action, a column a moment.

    ``table`` has moment, number, step (from 1 on), recorded and predicted, in the number's own unit.
    """
    moments, numbers = (list(dict.fromkeys(table[key])) for key in ("moment", "number"))
    height = 0.75 + 0.95 * len(numbers)
    figure, axes = panels(len(numbers), len(moments), PAGE, height, sharex=True, sharey="row")
    for (moment, number), rows in table.groupby(["moment", "number"], sort=False):
        place = axes[numbers.index(number), moments.index(moment)]
        place.plot(rows["step"], rows["recorded"], color=GREY, marker=".", markersize=4, linewidth=1, clip_on=False)
        place.plot(rows["step"], rows["predicted"], linewidth=1, clip_on=False, **LOOKS["policy"] | {"markersize": 2.5})
        place.grid(axis="y")
    for place, moment in zip(axes[0], moments, strict=True):
        place.set_title(moment)
    for place, number in zip(axes[:, 0], numbers, strict=True):
        place.set_ylabel(number.replace(" ", "\n", 1) if len(number) > 12 else number)
    axes[0, 0].xaxis.set_major_locator(MaxNLocator(4, integer=True))
    figure.supxlabel("step of the chunk")
    handles = [Line2D([], [], color=GREY, marker=".", linewidth=1), Line2D([], [], linewidth=1, **LOOKS["policy"])]
    figure.legend(handles, ["recorded", "predicted"], loc="outside upper center", ncols=2)
    return figure
