"""Figures of what is seen and done: pictures, clouds, traces, moments of an episode."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mp_lib.style import BLACK, BLUE, GREEN, GREY, ORANGE, PAGE, PINK, RED, SKY, bare, label_ends, panels, styled

LINES = (BLACK, ORANGE, SKY, GREEN, BLUE, RED, PINK, GREY)


@styled
def camera_and_cloud(look: dict[str, np.ndarray]) -> Figure:
    """The camera's picture, all points it sees with the crop's in colour, the crop, and the sample of it.

    ``look`` has picture (H, W, 3), seen, cropped and sampled (M, 3).
    """
    figure, axes = panels(1, 4, PAGE, 1.9, width_ratios=(1.3, 1, 1, 1))
    bare(axes[0, 0]).imshow(look["picture"])
    axes[0, 0].set_title("camera")
    box = look["cropped"].min(0), look["cropped"].max(0)
    for place, key in enumerate(("seen", "cropped", "sampled"), start=1):
        points = look[key][np.any(look[key] != 0, axis=1)]
        draw_points(axes[0, place], points, box[0][2], box[1][2], size=5 if key == "sampled" else 0.6)
        axes[0, place].set_title(f"{key}: {len(points):,} points")
    return figure


def draw_points(axes: Axes, points: np.ndarray, low: float, high: float, size: float) -> None:
    """Points (M, 3) seen from the front and a little above, coloured by height; far ones first."""
    right, up, toward = look_from(azimuth=90, elevation=35)
    order = np.argsort(points @ toward)
    shown = points[order]
    bare(axes).scatter(
        shown @ right, shown @ up, c=shown[:, 2], s=size, cmap="cividis", vmin=low, vmax=high, linewidths=0
    )
    axes.collections[-1].set_rasterized(True)
    axes.set_aspect("equal", adjustable="datalim")


def look_from(azimuth: float, elevation: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors (right, up, toward the eye) of a view from ``azimuth`` and ``elevation`` in degrees, z up."""
    turn, rise = np.deg2rad(azimuth), np.deg2rad(elevation)
    right = np.array([-np.sin(turn), np.cos(turn), 0])
    toward = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
    return right, np.cross(toward, right), toward


@styled
def traces(table: pd.DataFrame, highlight: int = 0, columns: int = 4) -> Figure:
    """Every number of state and action over the steps of all episodes, one episode in colour.

    ``table`` has episode, step and one column a number.
    """
    names = [name for name in table.columns if name not in ("episode", "step")]
    rows = -(-len(names) // columns)
    figure, axes = panels(rows, columns, PAGE, 0.35 + 1.0 * rows, sharex=True)
    for place, name in zip(axes.flat, names, strict=False):
        for episode, frame in table.groupby("episode"):
            chosen = episode == highlight
            style = {"color": BLUE, "linewidth": 1.1, "zorder": 3} if chosen else {"color": "#BBBBBB", "linewidth": 0.5}
            place.plot(frame["step"], frame[name], **style)
        place.set_title(name)
        place.yaxis.set_major_locator(MaxNLocator(3))
        place.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    for place in axes.flat[len(names) :]:
        place.remove()
    for place in axes.flat[max(0, len(names) - columns) : len(names)]:
        place.set_xlabel("step")
        place.tick_params(labelbottom=True)
    return figure


@styled
def film_strip(moments: list[dict], executed: slice) -> Figure:
    """Moments of an episode side by side: picture, cloud and the predicted actions.

    A moment has step, picture (H, W, 3), cloud (N, 3) and actions (T, A), of which ``executed`` are executed.
    """
    figure, axes = panels(3, len(moments), PAGE, 4.1, height_ratios=(1.05, 1.15, 1), sharey="row")
    clouds = np.concatenate([moment["cloud"] for moment in moments])
    clouds = clouds[np.any(clouds != 0, axis=1)]
    for column, moment in enumerate(moments):
        picture, cloud, actions = axes[:, column]
        bare(picture).imshow(moment["picture"])
        picture.set_title(f"step {moment['step']}")
        points = moment["cloud"][np.any(moment["cloud"] != 0, axis=1)]
        draw_points(cloud, points, clouds[:, 2].min(), clouds[:, 2].max(), size=2)
        draw_chunk(actions, moment["actions"], executed)
    axes[2, 0].set_ylabel("predicted action")
    names = [f"a{number}" for number in range(1, 1 + moments[0]["actions"].shape[1])]
    colors = [LINES[number % len(LINES)] for number in range(len(names))]
    ends = [
        (len(moments[-1]["actions"]) - 1, value, *rest)
        for value, *rest in zip(moments[-1]["actions"][-1], names, colors, strict=True)
    ]
    if len(names) <= 8:
        label_ends(axes[2, -1], ends, gap=0.14)
    return figure


def draw_chunk(axes: Axes, actions: np.ndarray, executed: slice) -> None:
    """A chunk of actions (T, A) over its steps; what is executed lies on grey."""
    axes.axvspan(executed.start - 0.5, executed.stop - 0.5, color="#EEEEEE", linewidth=0)
    for number, values in enumerate(actions.T):
        axes.plot(values, color=LINES[number % len(LINES)], linewidth=0.9)
    axes.set_xlabel("step of the chunk")
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
