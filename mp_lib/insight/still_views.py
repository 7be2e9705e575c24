"""What a page with controls shows of an episode, as figures, for where there are no controls."""

from __future__ import annotations

import base64
import html
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mp_lib.drawing.figures import show
from mp_lib.drawing.pictures import draw_points, project, view_of
from mp_lib.drawing.style import BLACK, BLUE, PAGE, RED, bare, panels, styled
from mp_lib.insight.browsing import Browsed
from mp_lib.insight.scene import Look, Scene, Seen
from mp_lib.insight.trained import Trained
from mp_lib.point_cloud import view_axes

FAN_COLORS = (BLUE, RED)  # of the policy, and of the second one
DONE_COLOR = BLACK
NEAR = 0.08  # metres around the hand that are shown at least


@dataclass(frozen=True)
class Stills:
    """Figures of an episode: calls side by side, and how the fan of the middle one is denoised."""

    caption: str
    figures: tuple[Figure, ...] = field(repr=False)

    def __repr__(self) -> str:
        return self.caption

    def _repr_html_(self) -> str:
        shown = []
        for figure in self.figures:
            image = show(figure)
            source = f"data:image/png;base64,{base64.b64encode(image.data).decode()}"
            shown.append(f'<img src="{source}" width="{image.width}" alt="{html.escape(self.caption)}">')
        return f"<div>{'<br>'.join(shown)}<br>{html.escape(self.caption)}</div>"


def stills(scene: Scene, policies: Sequence[Trained], look: Look | None = None, count: int = 5) -> Stills:
    """``count`` evenly spread calls of an episode, fewer if it has fewer, as ``look`` has them but for the call.

    ``look`` None is a policy's usual number of denoising steps.
    """
    look = look or Look(num_inference_steps=policies[0].config.num_inference_steps)
    calls = np.unique(np.linspace(0, len(scene.browsed.calls) - 1, count).round().astype(int))
    seen = [scene.seen(replace(look, call=int(call)), policies) for call in calls]
    middle, steps = seen[len(seen) // 2].look, look.num_inference_steps
    levels = np.unique(np.linspace(0, steps, 6).round().astype(int))
    denoised = [scene.seen(replace(middle, denoised=level / steps), policies) for level in levels]
    figures = (calls_figure(scene.browsed, seen), denoising_figure(scene.browsed, denoised))
    return Stills(caption(scene.browsed, seen), figures)


def caption(browsed: Browsed, seen: Sequence[Seen]) -> str:
    """Which episode it is, and whose fans these are."""
    colors = ("blue", "orange")
    fans = [f"{color}: {len(fan.chunks)} of {fan.name}" for color, fan in zip(colors, seen[0].fans, strict=False)]
    return f"{browsed.title}. Paths of the hand, bold what is executed; {', '.join(fans)}; dashed: {browsed.doer}."


@styled
def calls_figure(browsed: Browsed, seen: Sequence[Seen]) -> Figure:
    """A column a call: the picture, the cloud with the fans, and the actions of the chunks; dashed is what was done."""
    figure, axes = panels(3, len(seen), PAGE, 3.6, height_ratios=(1, 0.85, 1), sharey="row")
    view = view_of(np.concatenate([each.points for each in seen]), axes=view_axes(*browsed.angles()))
    for (picture, cloud, actions), each in zip(axes.T, seen, strict=True):
        call = browsed.calls[each.look.call]
        bare(picture).imshow(call.picture)
        picture.set_title(f"step {call.step}")
        draw_points(cloud, each.points, view)
        draw_fans(cloud, each, view)
        draw_actions(actions, each)
    axes[2, 0].set_ylabel("action")
    figure.supxlabel("step from now; those on grey are executed")
    return figure


@styled
def denoising_figure(browsed: Browsed, seen: Sequence[Seen]) -> Figure:
    """A column a denoising step: the fans near the hand on their way out of noise."""
    figure, axes = panels(1, len(seen), PAGE, 1.6)
    paths = np.concatenate([fan.paths.reshape(-1, 3) for each in seen for fan in (*each.fans, each.done)])
    paths = paths[np.isfinite(paths).all(1)]
    box = NEAR * np.vstack([np.eye(3), -np.eye(3)])
    around = np.concatenate([paths, paths[0] + box]) if len(paths) else seen[0].points
    view = view_of(around, axes=view_axes(*browsed.angles()))
    for place, each in zip(axes[0], seen, strict=True):
        draw_points(place, each.points, view, color="#C4C4C4")
        draw_fans(place, each, view)
        steps = f"{each.look.level} of {each.look.num_inference_steps} steps"
        apart = 1000 * each.fans[0].spread()
        place.set_title(f"{steps}\n{apart:.1f} mm apart" if np.isfinite(apart) else steps)
    return figure


def draw_fans(axes: Axes, seen: Seen, view: dict) -> None:
    """The paths of all fans in a ``view_of`` the points, the executed part bold, and what was done on top."""
    for fan, color in zip((*seen.fans, seen.done), colors_of(seen), strict=True):
        for path in fan.paths if fan.paths.shape[1] else ():
            flat, dashes = project(path, view["axes"]), "--" if fan is seen.done else "-"
            axes.plot(*flat.T, dashes, color=color, linewidth=0.4, alpha=0.7)
            axes.plot(*flat[: fan.executed + 1].T, dashes, color=color, linewidth=1.1, alpha=0.7)


def draw_actions(axes: Axes, seen: Seen) -> None:
    """The chunks of all fans over their steps, all numbers in one panel; what is executed lies on grey."""
    axes.axvspan(-0.5, seen.fans[0].executed - 0.5, color="#E8E8E8", linewidth=0)
    for fan, color in zip((*seen.fans, seen.done), colors_of(seen), strict=True):
        for chunk in fan.chunks:
            look = {"linestyle": "--", "linewidth": 0.7} if fan is seen.done else {"linewidth": 0.4, "alpha": 0.6}
            axes.plot(chunk, color=color, **look)


def colors_of(seen: Seen) -> tuple[str, ...]:
    """A colour a fan, and that of what was done."""
    return *FAN_COLORS[: len(seen.fans)], DONE_COLOR
