"""One page that shows a trained policy at work: its film, and where it would go from a moment of it."""

from __future__ import annotations

import base64
import html
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from mp_lib.config import EXPLORING_SEEDS
from mp_lib.drawing.figures import picture_bytes
from mp_lib.drawing.pictures import Axes3, draw_points, project, view_of
from mp_lib.drawing.style import ORANGE, PAGE, bare, panels, styled
from mp_lib.insight.playing import Moment, Play, Played, film_html
from mp_lib.insight.predicted_path import predicted_path
from mp_lib.insight.trained import Trained
from mp_lib.interfaces import Environment
from mp_lib.point_cloud import without_padding
from mp_lib.system.files import write_atomically
from mp_lib.system.paths import root
from mp_lib.system.progress import track

SAMPLES, DPI = 16, 150
MOST_LOOKS = 8  # each costs as much as two policy calls
NEAR = 0.35  # metres
HTML = """<!DOCTYPE html>
<html lang="en"><head><meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="default-src 'none'; img-src data:; media-src data:;
style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'">
<title>{title}</title>
<style>
body {{ font: 16px/1.5 system-ui, sans-serif; color: #222; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }}
img, video {{ max-width: 100%; }} td {{ padding: .15rem .8rem .15rem 0; vertical-align: top; }}
</style></head><body>
<h1>{title}</h1><p>{said}</p>{film}<p>{explained}</p><img alt="{explained}" src="data:image/png;base64,{picture}">
<h2>The policy</h2>{policy}</body></html>
"""


@dataclass(frozen=True)
class Look:
    """A moment with the camera's picture, and cloud (M, 3) and paths (samples, T, 3) of the hand in the world."""

    moment: Moment
    picture: np.ndarray
    cloud: np.ndarray
    paths: np.ndarray

    @property
    def extent(self) -> float:
        """How far the hand would go, in metres; a diverging path goes nowhere."""
        return float(np.nan_to_num(np.ptp(self.paths, axis=1)).max())


def show(policy: Trained, seed: int = EXPLORING_SEEDS) -> tuple[Played, Path]:
    """Play an episode and write the page data/reports/demo.html; returns both."""
    moments, looks = [], []
    with Play(policy, seed, filmed=True) as stage, track(policy.spec.max_steps, f"play {policy.task}") as progress:
        for moment in stage.moments():
            moments.append(moment)
            if len(looks) < MOST_LOOKS:
                looks.append(look(policy, stage.environment, moment))
            progress.advance(policy.config.n_action_steps)
    ended = stage.ended
    played = Played(policy, ended.seed, ended.success, ended.steps, moments, ended.film)
    return played, write_page(played, max(looks, key=lambda look: look.extent))


def look(policy: Trained, env: Environment, moment: Moment) -> Look:
    """What there is to see of a moment of an episode."""
    cloud = env.to_world(without_padding(moment.history[-1].point_cloud))
    return Look(moment, env.render(), cloud, predicted_path(policy.policy, env, moment.history, SAMPLES))


@styled
def fan(look: Look, executed: int) -> Figure:
    """The camera's picture, the cloud with the paths, and both once more from near."""
    figure, axes = panels(1, 3, PAGE, 2.2)
    bare(axes[0, 0]).imshow(look.picture)
    axes[0, 0].set_title(f"camera, step {look.moment.step}")
    ends = look.paths[np.isfinite(look.paths).all(axis=2)]
    near = look.cloud[np.linalg.norm(look.cloud - ends.mean(axis=0), axis=1) < NEAR]
    for place, points, title in ((axes[0, 1], look.cloud, "what the policy sees"), (axes[0, 2], near, "near the hand")):
        view = view_of(np.concatenate([points, ends]))
        draw_points(place, points, view)
        draw_paths(place, look.paths, executed, view["axes"])
        place.set_title(title)
    return figure


def draw_paths(axes: Axes, paths: np.ndarray, executed: int, view: Axes3, color: str = ORANGE) -> None:
    """Paths (samples, T, 3) from a ``view``, of which the first ``executed`` steps are bold."""
    for path in paths:
        flat = project(path[np.isfinite(path).all(axis=1)], view)
        axes.plot(*flat.T, color=color, linewidth=0.6, alpha=0.6)
        axes.plot(*flat[:executed].T, color=color, linewidth=1.6)


def write_page(played: Played, look: Look) -> Path:
    """The page of an episode with a look at a moment of it."""
    policy, executed = played.policy, played.policy.config.n_action_steps
    explained = (
        f"Step {look.moment.step}: the camera's picture, and in the cloud that the policy sees {SAMPLES} paths of the "
        f"hand that it predicts, each from noise of its own. It executes the bold part of one, {executed} steps, and "
        "looks again."
    )
    page = HTML.format(
        title=html.escape(f"{policy.method} on {policy.task}"),
        said=html.escape(repr(played)),
        film=film_html(played.film, f"film of {played!r}", 640),
        explained=explained,
        picture=base64.b64encode(picture_bytes(fan(look, executed), "png", DPI)).decode(),
        policy=policy._repr_html_(),
    )
    path = root() / "data" / "reports" / "demo.html"
    write_atomically(path, page.encode())
    return path
