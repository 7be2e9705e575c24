"""Figures of an episode: moments of it side by side, and how a chunk of actions was denoised."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from mp_lib.drawing.pictures import draw_points, frame, view_of
from mp_lib.drawing.style import LINES, PAGE, bare, label_ends, panels, styled
from mp_lib.insight.episode import Watched
from mp_lib.point_cloud import without_padding

MOST_LABELS = 8  # lines of a panel that can be told apart by name
HELD, HELD_LAST = 10, 50  # frames of a film for which a denoising step stands, and its end


@styled
def film_strip(watched: Watched) -> Figure:
    """Moments of an episode side by side: picture, cloud and predicted actions, of which those on grey are executed."""
    figure, axes = panels(3, len(watched.steps), PAGE, 3.5, height_ratios=(1, 0.85, 1.1), sharey="row")
    view = view_of(without_padding(watched.clouds.reshape(-1, 3)))
    for column, step in enumerate(watched.steps):
        picture, cloud, actions = axes[:, column]
        bare(picture).imshow(watched.pictures[column])
        picture.set_title(f"step {step}")
        draw_points(cloud, without_padding(watched.clouds[column]), view)
        draw_chunk(actions, watched.chunks[column], watched.executed)
    axes[2, 0].set_ylabel("predicted action")
    figure.supxlabel("step of the chunk; those on grey are executed")
    name_actions(axes[2, -1], watched.chunks[-1], watched.names)
    return figure


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
        place.set_title(f"{steps}\nnoise {100 * watched.levels[index]:.0f} %")
    axes[0, 0].set_ylabel("action")
    figure.supxlabel("step of the chunk; those on grey are executed")
    name_actions(axes[0, -1], watched.noisy[-1], watched.names)
    return figure


def denoising_in_time(watched: Watched, width: int, height: int) -> Iterator[np.ndarray]:
    """The same step after step, as frames (H, W, 3) uint8 of ``width`` x ``height`` pixels."""
    low, high = watched.noisy.min(), watched.noisy.max()
    last = len(watched.noisy) - 1

    def draw(axes: Axes, index: int) -> None:
        for values in watched.noisy[-1].T:
            axes.plot(values, color="#BBBBBB", linewidth=1.6)
        draw_chunk(axes, watched.noisy[index], watched.executed)
        axes.set(ylim=(low - 0.05, high + 0.05), xlabel="step of the chunk", ylabel="action")
        axes.set_title(f"after {index} of {last} steps, noise {100 * watched.levels[index]:.0f} %")

    for index in range(last + 1):
        shown = frame(lambda axes, index=index: draw(axes, index), width, height)
        yield from [shown] * (HELD_LAST if index == last else HELD)


def draw_chunk(axes: Axes, actions: np.ndarray, executed: tuple[int, int]) -> None:
    """A chunk of actions (T, A) over its steps; what is executed lies on grey."""
    axes.axvspan(executed[0] - 0.5, executed[1] - 0.5, color="#E8E8E8", linewidth=0)
    for number, values in enumerate(actions.T):
        axes.plot(values, color=LINES[number % len(LINES)], linewidth=0.9)
    axes.xaxis.set_major_locator(MaxNLocator(4, integer=True))
