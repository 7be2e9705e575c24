"""The page: cloud and fans on the left, picture and actions on the right, controls below, and what they set going."""

from __future__ import annotations

import html
import io
import logging
from collections.abc import Iterator

import matplotlib.image
import numpy as np
from ipywidgets import HTML, HBox, Image, Layout, VBox

from mp_lib.insight.choices import Policies, Scenes
from mp_lib.insight.demonstrations import names_in
from mp_lib.insight.scene import Look, Scene, Seen
from mp_lib.insight.trained import Trained
from mp_lib.system.errors import InputError
from mp_lib.viewing.canvas import Canvas, home_of, scene_of
from mp_lib.viewing.chunk_chart import WIDTH, chart, limits_of
from mp_lib.viewing.controls import NOBODY, Controls
from mp_lib.viewing.pace import Pace

log = logging.getLogger(__name__)


class Window:
    """What ``mp_lib.view`` shows in a notebook: see there."""

    def __init__(self, policies: Policies, scenes: Scenes, number: int | None):
        """``number`` is of the episode that is shown first, as ``Scenes.first`` takes it."""
        self.policies, self.scenes = policies, scenes
        policy = policies.first
        steps, most = policy.config.num_inference_steps, policy.config.num_train_steps
        spec = policy.spec
        self.names = names_in(spec)[1]
        self.pace = Pace(self.quick, self.whole, self.failed)
        self.controls = Controls(Look(num_inference_steps=steps), most, self.names)
        self.canvas, self.number = Canvas(), 0
        self.picture = Image(format="png", layout=Layout(width=f"{WIDTH}px"))
        self.chart, self.title, self.facts = HTML(), HTML(), HTML()
        self.controls.offer(policies.names(), *(each.name for each in policies.given))
        self.controls.begin(scenes.source.numbers(policy), scenes.source.first(policy, number))
        self.chosen: tuple = ()
        self.choose()
        self.canvas.home = home_of(self.scene.browsed)
        for _ in self.whole():
            pass
        left = VBox([self.canvas, self.facts], layout=Layout(flex="1 1 auto", min_width="360px"))
        right = VBox([self.picture, self.chart], layout=Layout(flex=f"0 0 {WIDTH + 8}px"))
        below = self.controls.below(self.canvas, bool(scenes.source.numbers(policy)))
        self.box = VBox([self.title, HBox([left, right]), below])
        self.controls.watch(self.pace.ask)

    def _repr_mimebundle_(self, **how):
        return self.box._repr_mimebundle_(**how)

    def __repr__(self) -> str:
        return self.scene.browsed.title

    @property
    def scene(self) -> Scene:
        """The episode that is chosen."""
        (policy, *_), episode = self.chosen
        return self.scenes.scene(policy, episode)

    def choose(self) -> None:
        """Take the policies and the episode that the controls say; an episode that was not shown before is played."""
        controls = self.controls
        policies = self.actors()
        chosen = policies, controls.number(self.scenes.source.numbers(policies[0]))
        if chosen == self.chosen:
            return
        if not self.scenes.is_kept(policies[0], chosen[1]):
            self.canvas.busy = f"plays {self.scenes.source.noun} {chosen[1]} …"
        calls = self.scenes.scene(policies[0], chosen[1]).browsed.calls
        self.chosen = chosen
        controls.count(len(calls))

    def actors(self) -> tuple[Trained, ...]:
        """The policies that are chosen; where one cannot be had, those that were before are chosen again."""
        controls = self.controls
        names = [controls.policy.value] + [controls.other.value] * (controls.other.value != NOBODY)
        try:
            found = tuple(self.policies.named(name) for name in dict.fromkeys(names))
        except Exception:
            controls.choose(*self.names_before)
            raise
        self.names_before = controls.policy.value, controls.other.value
        return found

    def quick(self) -> bool:
        """Show what can be had at once, and say whether that is all."""
        self.choose()
        (policies, _), look, scene = self.chosen, self.controls.look(), self.scene
        whole = scene.is_kept(look, policies)
        self.show(scene.seen(look if whole else scene.sketch(look, policies), policies), whole)
        return whole

    def whole(self) -> Iterator[None]:
        """Compute all that is asked for, piece by piece, and show it."""
        (policies, _), look = self.chosen, self.controls.look()
        yield from self.scene.work(look, policies)
        self.show(self.scene.seen(look, policies), True)

    def show(self, seen: Seen, whole: bool) -> None:
        """Draw what is seen; if it is not the whole, say that more is computed."""
        browsed, self.number = self.scene.browsed, self.number + 1
        call, limits = browsed.calls[seen.look.call], limits_of(self.chosen[0][0].policy)
        self.canvas.scene = scene_of(seen, browsed, self.number, whole)
        self.canvas.busy = "" if whole else "computes the whole …"
        self.picture.value = png_of(call.picture)
        self.chart.value = chart(seen, self.names, limits, self.controls.numbers.value)
        self.title.value = f"<b>{html.escape(browsed.title)}</b>"
        self.facts.value = f'<div style="line-height: 1.3">{html.escape(facts(seen))}</div>'
        self.controls.place.value = f"step {call.step}, call {seen.look.call + 1} of {len(browsed.calls)}"

    def failed(self, error: Exception) -> None:
        """Say what went wrong; what was shown before stays."""
        said = str(error)
        if not isinstance(error, InputError):
            said = f"{type(error).__name__}: {error}"
            log.error("what the controls ask for was not done", exc_info=error)
        self.canvas.busy = ""
        self.facts.value = f'<span style="color: #d55e00">{html.escape(said)}</span>'


def facts(seen: Seen) -> str:
    """What the picture shows, in numbers."""
    look, fan = seen.look, seen.fans[0]
    told = [
        f"{np.count_nonzero(seen.won)} of {len(seen.points)} points win the encoder's features",
        f"after {look.level} of {look.num_inference_steps} denoising steps",
    ]
    off = [1000 * each.off(seen.done) for each in seen.fans]
    if np.isfinite(off).all():
        ends = " and ".join(f"{each:.1f} mm" for each in off)
        told.append(f"{ends} from what was {seen.done.name} after {fan.executed} steps")
    return "; ".join(told)


def png_of(picture: np.ndarray) -> bytes:
    """A picture (H, W, 3) uint8 as a file."""
    content = io.BytesIO()
    matplotlib.image.imsave(content, picture, format="png")
    return content.getvalue()
