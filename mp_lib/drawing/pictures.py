"""Figures of what is seen and done: pictures, clouds, traces, moments of an episode."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mp_lib.drawing.style import (
    BLACK,
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PAGE,
    PINK,
    RED,
    SKY,
    bare,
    label_ends,
    panels,
    styled,
)
from mp_lib.insight.episode import Watched

LINES = (BLACK, ORANGE, SKY, GREEN, BLUE, RED, PINK, GREY)
MOST_LABELS = 8  # lines of a panel that can be told apart by name


@styled
def camera_and_cloud(look: dict[str, np.ndarray]) -> Figure:
    """The camera's picture, all points it sees with the crop in colour, the crop, and the sample of it.

    ``look`` has picture (H, W, 3), seen, cropped and sampled (M, 3).
    """
    figure, axes = panels(1, 4, PAGE, 1.5)
    bare(axes[0, 0]).imshow(look["picture"])
    axes[0, 0].set_title("camera")
    axes[0, 0].set_anchor("N")
    clouds = {key: look[key][np.any(look[key] != 0, axis=1)] for key in ("seen", "cropped", "sampled")}
    near = view_of(clouds["cropped"])
    for place, (key, points) in zip(axes[0, 1:], clouds.items(), strict=True):
        if key == "seen":
            draw_points(place, points, grow(near, 2.2), color="#C4C4C4")
            draw_points(place, clouds["cropped"], grow(near, 2.2))
        else:
            draw_points(place, points, near)
        place.set_title(f"{key}: {len(points):,} points")
        place.set_anchor("N")
    return figure


def draw_points(axes: Axes, points: np.ndarray, view: dict[str, np.ndarray], color: str | None = None) -> None:
    """Points (M, 3) in a ``view_of`` some cloud, coloured by height unless ``color`` is given; far ones first."""
    shown = points[np.argsort(points @ look_from()[2])]
    size = float(np.clip(700 / max(len(points), 1), 0.5, 7))
    flat = project(shown)
    paint = {"color": color} if color else {"c": shown[:, 2], "cmap": "cividis", "norm": view["height"]}
    bare(axes).scatter(*flat.T, s=size, linewidths=0, rasterized=True, **paint)
    low, high = view["low"], view["high"]
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")


def look_from(azimuth: float = 90, elevation: float = 35) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors (right, up, toward the eye) of a view from ``azimuth`` and ``elevation`` in degrees, z up."""
    turn, rise = np.deg2rad(azimuth), np.deg2rad(elevation)
    right = np.array([-np.sin(turn), np.cos(turn), 0])
    toward = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
    return right, np.cross(toward, right), toward


def project(points: np.ndarray) -> np.ndarray:
    """Points (M, 3) on the picture plane (M, 2)."""
    return points @ np.stack(look_from()[:2], axis=1)


def view_of(points: np.ndarray) -> dict:
    """Limits of the picture plane around points (M, 3), and the range of heights that colours span."""
    flat = project(points)
    middle, half = (flat.min(0) + flat.max(0)) / 2, 0.54 * np.ptp(flat, axis=0)
    return {"low": middle - half, "high": middle + half, "height": Normalize(points[:, 2].min(), points[:, 2].max())}


def grow(view: dict, factor: float) -> dict:
    """The view from farther away."""
    middle, half = (view["low"] + view["high"]) / 2, factor * (view["high"] - view["low"]) / 2
    return view | {"low": middle - half, "high": middle + half}


@styled
def traces(table: pd.DataFrame, highlight: int = 0, columns: int = 5) -> Figure:
    """Every number of state and action over the steps of all episodes, one episode in colour.

    ``table`` has episode, step and one column a number.
    """
    names = [name for name in table.columns if name not in ("episode", "step")]
    rows = -(-len(names) // columns)
    figure, axes = panels(rows, columns, PAGE, 0.3 + 1.0 * rows, sharex=True)
    for place, name in zip(axes.flat, names, strict=False):
        for episode, frame in table.groupby("episode"):
            chosen = episode == highlight
            style = {"color": BLUE, "linewidth": 1.1, "zorder": 3} if chosen else {"color": "#AAAAAA", "linewidth": 0.5}
            place.plot(frame["step"], frame[name], **style)
        place.set_title(name)
        low, high = place.get_ylim()
        if high - low < 0.05:  # a number that never changes
            place.set_ylim((low + high) / 2 - 0.05, (low + high) / 2 + 0.05)
        place.yaxis.set_major_locator(MaxNLocator(3))
        place.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    for place in axes.flat[len(names) :]:
        place.set_visible(False)
    for place in axes.flat[max(0, len(names) - columns) : len(names)]:
        place.tick_params(labelbottom=True)
    figure.supxlabel("step", fontsize=7.5)
    return figure


@styled
def film_strip(watched: Watched) -> Figure:
    """Moments of an episode side by side: picture, cloud and predicted actions, of which those on grey are executed."""
    figure, axes = panels(3, len(watched.steps), PAGE, 3.5, height_ratios=(1, 0.85, 1.1), sharey="row")
    view = view_of(seen_points(watched.clouds.reshape(-1, 3)))
    for column, step in enumerate(watched.steps):
        picture, cloud, actions = axes[:, column]
        bare(picture).imshow(watched.pictures[column])
        picture.set_title(f"step {step}")
        draw_points(cloud, seen_points(watched.clouds[column]), view)
        draw_chunk(actions, watched.chunks[column], watched.executed)
    axes[2, 0].set_ylabel("predicted action")
    figure.supxlabel("step of the chunk; those on grey are executed", fontsize=7.5)
    name_actions(axes[2, -1], watched.chunks[-1], watched.names)
    return figure


def seen_points(cloud: np.ndarray) -> np.ndarray:
    """A cloud (N, 3) without its padding."""
    return cloud[np.any(cloud != 0, axis=1)]


def name_actions(axes: Axes, chunk: np.ndarray, names: Sequence[str]) -> None:
    """Write the names of a chunk's numbers behind their lines, if they are few enough to be told apart."""
    if chunk.shape[1] <= MOST_LABELS:
        ends = zip(chunk[-1], names, LINES, strict=False)
        label_ends(axes, [(len(chunk) - 1, value, name, color) for value, name, color in ends], gap=0.14)


@styled
def denoising(watched: Watched, columns: int = 6) -> Figure:
    """An action chunk on its way from noise, a panel a denoising step; grey is where it ends."""
    chosen = np.unique(np.linspace(0, len(watched.noisy) - 1, columns).round().astype(int))
    figure, axes = panels(1, len(chosen), PAGE, 1.7, sharey=True)
    for place, index in zip(axes[0], chosen, strict=True):
        for values in watched.noisy[-1].T:
            place.plot(values, color="#BBBBBB", linewidth=1.6)
        draw_chunk(place, watched.noisy[index], watched.executed)
        steps = f"after {index} of {len(watched.noisy) - 1}" if index else "noise"
        place.set_title(f"{steps}\nnoise {watched.levels[index]:.0%}".replace("%", " %"))
    axes[0, 0].set_ylabel("action")
    figure.supxlabel("step of the chunk; those on grey are executed", fontsize=7.5)
    name_actions(axes[0, -1], watched.noisy[-1], watched.names)
    return figure


def draw_chunk(axes: Axes, actions: np.ndarray, executed: tuple[int, int]) -> None:
    """A chunk of actions (T, A) over its steps; what is executed lies on grey."""
    axes.axvspan(executed[0] - 0.5, executed[1] - 0.5, color="#E8E8E8", linewidth=0)
    for number, values in enumerate(actions.T):
        axes.plot(values, color=LINES[number % len(LINES)], linewidth=0.9)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
