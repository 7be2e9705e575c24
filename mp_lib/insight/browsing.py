"""An episode, call by call, so that one can go back and forth in it and ask at each call what a policy would do."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np

from mp_lib.insight.playing import Play, of_episode
from mp_lib.insight.trained import Trained
from mp_lib.interfaces import Branch, Obs
from mp_lib.point_cloud import without_padding
from mp_lib.system.progress import track


@dataclass(frozen=True)
class Call:
    """A moment at which a policy is asked: the ``step`` of the episode, and the last To observations.

    ``done`` (n, A) is what was done then, whoever has chosen it: n is T - To + 1, or less before the end of a
    demonstration. ``picture`` (H, W, 3) is for people. ``hand`` (3,) is in the world, and ``branch`` the simulation as
    it was, to be branched and never stepped itself; both are None where there is no simulation.
    """

    step: int
    history: list[Obs]
    done: np.ndarray
    picture: np.ndarray
    hand: np.ndarray | None
    branch: Branch | None


@dataclass(frozen=True)
class Browsed:
    """The calls of an episode; ``title`` says which it is, ``doer`` who acted in it, ``eye`` where the camera is.

    ``to_world`` and ``eye`` are those of the task's environments.
    """

    title: str
    doer: str
    calls: list[Call] = field(repr=False)
    to_world: Callable[[np.ndarray], np.ndarray] = field(repr=False)
    eye: np.ndarray = field(repr=False)

    def middle(self) -> np.ndarray:
        """The middle (3,) of the first cloud in the world."""
        return self.to_world(without_padding(self.calls[0].history[-1].point_cloud)).mean(0)

    def angles(self) -> tuple[float, float]:
        """Azimuth and elevation, as ``mp_lib.point_cloud.view_axes`` has them, from which the camera sees the cloud."""
        x, y, z = self.eye - self.middle()
        return float(np.rad2deg(np.arctan2(y, x))), float(np.rad2deg(np.arctan2(z, np.hypot(x, y))))


def played(policy: Trained, seed: int) -> Browsed:
    """Play the episode of an environment seed once and keep what browsing it takes; some MB."""
    calls, first = [], policy.config.n_obs_steps - 1
    with Play(policy, seed) as stage, track(policy.spec.max_steps, f"play {policy.task}") as progress:
        env = stage.environment
        for moment in stage.moments():
            seen = env.render(), env.hand(), env.branch()
            calls.append(Call(moment.step, moment.history, moment.chunk[first:], *seen))
            progress.advance(policy.config.n_action_steps)
    return Browsed(of_episode(policy, stage.ended), "done in this episode", calls, env.to_world, env.eye())
