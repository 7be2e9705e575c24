"""Figures of what a network is made of and mixes: a table of ``mp_lib.insight`` in, a figure out."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import LogNorm, Normalize
from matplotlib.figure import Figure
from matplotlib.image import AxesImage
from matplotlib.ticker import MaxNLocator

from mp_lib.drawing.style import BY_HORIZON, COLUMN, GREY, LIGHT, PAGE, PART_COLORS, label_ends, look_of, panels, styled
from mp_lib.presets import METHODS

HATCH = "/////"  # attention, which the release carries and never runs
SPREAD = 0.1  # a matrix whose least entry is more than this share of its largest is even
MIXER_LABELS = {method.mixer: method.label for method in METHODS.values() if method.mixer} | {"attention": "attention"}


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
    figure.legend(*share.get_legend_handles_labels(), loc="outside upper right", ncols=4)
    return figure


@styled
def sequence_lengths(table: pd.DataFrame) -> Figure:
    """Length of the sequence in every block. ``table``: horizon, block, length, channels."""
    figure, [[axes]] = panels(1, 1, COLUMN, 1.9)
    ends = []
    for (horizon, rows), color in zip(table.groupby("horizon"), BY_HORIZON, strict=False):
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
    """Share of each part's parameters that get a gradient. ``table`` as ``mp_lib.insight.anatomy.gradient_reach``."""
    structures = list(table["structure"].unique())
    parts = [part for part in PART_COLORS if table.loc[table["part"] == part, "parameters"].any()]
    figure, axes = panels(1, len(structures), PAGE, 0.8 + 0.32 * len(parts), sharey=True)
    places = np.arange(len(parts))
    for place, structure in zip(axes[0], structures, strict=True):
        rows = table[table["structure"] == structure]
        for (horizon, group), color, shift in zip(rows.groupby("horizon"), BY_HORIZON, (-0.2, 0.2), strict=False):
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
    figure.legend(*handles, loc="outside upper right", ncols=2)
    return figure


def percent(value: float) -> str:
    """A share in percent, not rounded up to 100 or down to 0."""
    return f"{value:.0f}" if value in (0, 100) or 0.5 <= value < 99.5 else f"{value:.2f}"


@styled
def mixing_matrices(table: pd.DataFrame) -> Figure:
    """A matrix a mixer, white where it is exactly zero. ``table``: mixer, to, source, weight in 0 to 1.

    One whose entries are all of one size, as attention's are, has a linear scale of its own: it would be one dark
    square.
    """
    pictures = {name: square(rows, "weight") for name, rows in table.groupby("mixer", sort=False)}
    figure, axes = panels(1, len(pictures), PAGE, 1.75, sharey=True)
    axes[0, 0].set_ylabel("to step")
    places = dict(zip(pictures, axes[0], strict=True))
    even = [name for name, wide in pictures.items() if wide.min() > SPREAD]
    scales = {"|M| / max |M|": ([name for name in pictures if name not in even], LogNorm(1e-5, 1, clip=True))}
    scales |= {f"of {MIXER_LABELS[name]}": ([name], Normalize(pictures[name].min(), 1)) for name in even}
    for label, (names, norm) in scales.items():
        for name in names:
            image = over_steps(places[name], np.ma.masked_equal(pictures[name], 0), norm=norm)
            places[name].set(title=MIXER_LABELS[name], xlabel="from step")
        if names:
            there = [places[name] for name in names]
            bar = figure.colorbar(
                image, ax=there, label=label, aspect=12, pad=0.01 * len(pictures) / len(names), shrink=0.7
            )
            bar.ax.minorticks_off()
    return figure


def square(table: pd.DataFrame, column: str) -> np.ndarray:
    """A column of the rows (to, source, ...) of one picture as an array (to, source)."""
    return table.pivot(index="to", columns="source", values=column).to_numpy()


def over_steps(place: Axes, wide: np.ndarray, **options) -> AxesImage:
    """A picture (to, from) of a sequence's steps, counted from 1."""
    image = place.imshow(wide, cmap="cividis_r", interpolation="nearest", **options)
    ends, names = [0, len(wide) - 1], [1, len(wide)]
    place.set(xticks=ends, xticklabels=names, yticks=ends, yticklabels=names)
    place.spines[:].set_visible(True)
    return image


@styled
def receptive_fields(table: pd.DataFrame) -> Figure:
    """A picture a method, and a curve over the distance. ``table``: method, label, to, source, share of a row."""
    names = dict(zip(table["method"], table["label"], strict=True))
    figure, axes = panels(2, -(-(len(names) + 1) // 2), PAGE, 3.7)
    *places, last = axes.flat
    for place in places[len(names) :]:
        place.remove()
    norm = Normalize(0, 100 * table["share"].max())
    for number, (place, (name, label)) in enumerate(zip(places, names.items(), strict=False)):
        rows = table[table["method"] == name]
        image = over_steps(place, 100 * square(rows, "share"), norm=norm)
        place.set_title(label, color=look_of(name)["color"])
        curve = rows.groupby(rows["source"] - rows["to"])["share"].mean() * 100
        look = look_of(name) | {"markersize": 3, "markevery": (number, len(names))}
        last.plot(curve.index, curve, linewidth=0.9, **look)
    for place in axes[-1, :-1]:
        place.set_xlabel("from step")
    for place in axes[:, 0]:
        place.set_ylabel("to step")
    last.axvline(0, color=LIGHT, linewidth=0.6, zorder=0)
    last.set(title="mean of all rows", xlabel="from step − to step", ylim=(0, None))
    last.set_box_aspect(1)
    shown = [*places[: len(names)], last]
    figure.colorbar(image, ax=shown, label="share of a row (%)", aspect=25, pad=0.01, shrink=0.8)
    return figure
