"""Figures of what is seen and done: pictures, clouds, traces, moments of an episode."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.colors import Normalize
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mp_lib.drawing.style import CHOSEN, PAGE, bare, grid, panels, styled
from mp_lib.point_cloud import view_axes, without_padding

Axes3 = tuple[np.ndarray, np.ndarray, np.ndarray]  # right, up, toward the eye
USUAL_AZIMUTH = 90  # of ``view_axes``
FRAME_DPI = 160  # of a film's frames, so that words can be read at half their size


def first_look(look: dict[str, np.ndarray]) -> Figure:
    """What there is to see of a demonstration: camera and cloud, or clouds alone."""
    return camera_and_cloud(look) if "picture" in look else clouds_in_turn(look)


@styled
def clouds_in_turn(clouds: dict[str, np.ndarray]) -> Figure:
    """Clouds (N, 3) by name, side by side in one view."""
    points = {name: without_padding(cloud) for name, cloud in clouds.items()}
    view = view_of(np.concatenate([*points.values()]))
    figure, axes = panels(1, len(points), PAGE, 1.5)
    for place, (name, cloud) in zip(axes[0], points.items(), strict=True):
        draw_points(place, cloud, view)
        place.set_title(f"{name}: {len(cloud):,} points")
        place.set_anchor("N")
    return figure


@styled
def camera_and_cloud(look: dict[str, np.ndarray]) -> Figure:
    """The camera's picture, all points it sees with the crop in colour, the crop, and the sample of it.

    ``look`` has picture (H, W, 3), seen, cropped and sampled (M, 3).
    """
    figure, axes = panels(1, 4, PAGE, 1.5)
    bare(axes[0, 0]).imshow(look["picture"])
    axes[0, 0].set_title("camera")
    axes[0, 0].set_anchor("N")
    clouds = {key: without_padding(look[key]) for key in ("seen", "cropped", "sampled")}
    near, far = view_of(clouds["cropped"]), view_of(clouds["cropped"], farther=2.2)
    for place, (key, points) in zip(axes[0, 1:], clouds.items(), strict=True):
        if key == "seen":
            draw_points(place, points, far, color="#C4C4C4")
            draw_points(place, clouds["cropped"], far)
        else:
            draw_points(place, points, near)
        place.set_title(f"{key}: {len(points):,} points")
        place.set_anchor("N")
    return figure


def draw_points(
    axes: Axes, points: np.ndarray, view: dict[str, np.ndarray], color: str | None = None, size: float | None = None
) -> None:
    """Points (M, 3) in a ``view_of`` some cloud, coloured by height unless ``color`` is given; far ones first.

    ``size`` is in square points, None: by their number.
    """
    shown = points[np.argsort(points @ view["axes"][2])]
    size = size or float(np.clip(700 / max(len(points), 1), 0.5, 7))
    flat = project(shown, view["axes"])
    paint = {"color": color} if color else {"c": shown[:, 2], "cmap": "cividis", "norm": view["height"]}
    bare(axes).scatter(*flat.T, s=size, linewidths=0, rasterized=True, **paint)
    low, high = view["low"], view["high"]
    axes.set(xlim=(low[0], high[0]), ylim=(low[1], high[1]), aspect="equal")


def project(points: np.ndarray, axes: Axes3) -> np.ndarray:
    """Points (M, 3) on the picture plane (M, 2)."""
    return points @ np.stack(axes[:2], axis=1)


def turning(cloud: np.ndarray, width: int, height: int, frames: int = 100) -> Iterator[np.ndarray]:
    """A cloud (N, 3) that turns once about the vertical: frames (H, W, 3) uint8 of ``width`` x ``height`` pixels."""
    points = without_padding(cloud)
    points = points - (points.min(0) + points.max(0)) / 2
    radius = np.linalg.norm(points, axis=1).max()
    heights = Normalize(points[:, 2].min(), points[:, 2].max())
    view = {"low": np.full(2, -radius), "high": np.full(2, radius), "height": heights}
    for turned in np.linspace(0, 360, frames, endpoint=False):
        seen = view | {"axes": view_axes(azimuth=USUAL_AZIMUTH + turned)}
        yield frame(lambda axes, seen=seen: draw_points(axes, points, seen, size=9), width, height)


@styled
def frame(draw: Callable[[Axes], None], width: int, height: int) -> np.ndarray:
    """What ``draw`` puts on axes that fill a picture of so many pixels: (H, W, 3) uint8."""
    figure, [[axes]] = panels(1, 1, width / FRAME_DPI, height / FRAME_DPI)
    figure.set_dpi(FRAME_DPI)
    draw(axes)
    canvas = FigureCanvasAgg(figure)
    canvas.draw()
    return np.asarray(canvas.buffer_rgba())[..., :3].copy()


def view_of(points: np.ndarray, farther: float = 1, axes: Axes3 | None = None) -> dict:
    """Limits of the picture plane around points (M, 3), so many times as wide, and the heights that colours span.

    ``axes`` are as ``view_axes`` gives them.
    """
    axes = view_axes() if axes is None else axes
    flat = project(points, axes)
    middle, half = (flat.min(0) + flat.max(0)) / 2, 0.54 * farther * np.ptp(flat, axis=0)
    heights = Normalize(points[:, 2].min(), points[:, 2].max())
    return {"axes": axes, "low": middle - half, "high": middle + half, "height": heights}


@styled
def traces(table: pd.DataFrame, highlight: int = 0, columns: int = 5) -> Figure:
    """Every number of state and action over the steps of all episodes, one episode in colour.

    ``table`` has episode, step and one column a number.
    """
    names = [name for name in table.columns if name not in ("episode", "step")]
    figure, places = grid(names, columns, 0.3, 1.0)
    for name, place in places.items():
        for episode, frame in table.groupby("episode"):
            chosen = episode == highlight
            style = (
                {"color": CHOSEN, "linewidth": 1.1, "zorder": 3} if chosen else {"color": "#AAAAAA", "linewidth": 0.5}
            )
            place.plot(frame["step"], frame[name], **style)
        place.set_title(name)
        low, high = place.get_ylim()
        if high - low < 0.05:  # a number that never changes
            place.set_ylim((low + high) / 2 - 0.05, (low + high) / 2 + 0.05)
        place.yaxis.set_major_locator(MaxNLocator(3))
        place.xaxis.set_major_locator(MaxNLocator(3, integer=True))
    for place in list(places.values())[-columns:]:
        place.tick_params(labelbottom=True)
    figure.supxlabel("step")
    return figure
