"""CHANGES: what can be otherwise than where a policy was trained, each an environment in front of the task's own.

Of strength 0 an environment is as it was, to the bit. What is drawn comes from the environment seed, the name of the
change and the step of the episode, and not from the strength: a stronger change moves the same points farther, or drops
more of them.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import partial
from numbers import Real

import numpy as np

from mp_lib.interfaces import AS_USUAL, Branch, Environment, Obs, Start, TaskSpec, look_up
from mp_lib.system.errors import InputError, shown


class Changed:
    """An environment that does what ``env`` does, but for what a subclass changes with this ``strength``."""

    def __init__(self, env: Environment, name: str, strength: float):
        self._env, self._name, self._strength = env, name, strength

    def __getattr__(self, name: str):
        if name == "_env":  # of a copy that has nothing yet, whose methods are asked for all the same
            raise AttributeError(name)
        return getattr(self._env, name)


class OtherStart(Changed):
    """Episodes begin otherwise: the change is a field of ``Start``."""

    def reset(self, seed: int, start: Start = AS_USUAL) -> None:
        """As of ``Environment``."""
        self._env.reset(seed, replace(start, **{self._name: self._strength}))


class OtherPoints(Changed):
    """Clouds are otherwise: a subclass has ``_alter``, from points (M, 3) that are no padding to as many others."""

    def reset(self, seed: int, start: Start = AS_USUAL) -> None:
        """As of ``Environment``."""
        self._seed, self._step = seed, 0
        self._env.reset(seed, start)

    def step(self, action: np.ndarray) -> bool:
        """As of ``Environment``."""
        self._step += 1
        return self._env.step(action)

    def observe(self) -> Obs:
        """As of ``Environment``; at one step the same, however often it is asked for."""
        obs = self._env.observe()
        cloud, rng = obs.point_cloud.copy(), np.random.default_rng([self._seed, self._step, *self._name.encode()])
        seen = np.any(cloud != 0, axis=1)
        cloud[seen] = self._alter(cloud[seen], rng)
        return replace(obs, point_cloud=cloud)


class FewerPoints(OtherPoints):
    """The strength is the percentage of points that become padding, as where a camera sees too few."""

    def _alter(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        missing = rng.permutation(len(points))[: round(self._strength / 100 * len(points))]
        points[missing] = 0
        return points


class NoisyPoints(OtherPoints):
    """The strength is the standard deviation, in millimetres, of what is added along each axis of each point."""

    def _alter(self, points: np.ndarray, rng: np.random.Generator) -> np.ndarray:
        return points + self._strength / 1000 * rng.standard_normal(points.shape)


class LateActions(Changed):
    """Each action is executed ``strength`` steps later; before the first one comes an action of zeros."""

    def reset(self, seed: int, start: Start = AS_USUAL) -> None:
        """As of ``Environment``."""
        self._waiting: deque[np.ndarray] = deque()
        self._env.reset(seed, start)

    def step(self, action: np.ndarray) -> bool:
        """As of ``Environment``."""
        return self._env.step(self._due(self._waiting, action))

    def branch(self) -> Branch:
        """As of ``Environment``; what waits here waits there, too."""
        return self._late(self._env.branch(), self._waiting.copy())

    def _late(self, branch: Branch, waiting: deque[np.ndarray]) -> Branch:
        return Branch(
            lambda action: branch.step(self._due(waiting, action)),
            branch.hand,
            lambda: self._late(branch.branch(), waiting.copy()),
        )

    def _due(self, waiting: deque[np.ndarray], action: np.ndarray) -> np.ndarray:
        waiting.append(action)
        return waiting.popleft() if len(waiting) > self._strength else np.zeros_like(action)


@dataclass(frozen=True)
class Change:
    """A row of CHANGES: its ``title``, what is ``done``, and how strongly, in which unit; ``make`` does it.

    ``lacks`` says of a task why it has no such change; it is empty where it has.
    """

    title: str
    done: str
    unit: str
    strengths: tuple[float, float, float]
    make: Callable[..., Environment]
    lacks: Callable[[TaskSpec], str] = lambda spec: ""


def _places_nothing(spec: TaskSpec) -> str:
    return "" if spec.placed else "nothing is placed there within a range that could be wider"


# Strengths: on drawer-open the first hardly shows, and the last costs policies of the scale quick much; of points it
# leaves as few as a cloud needs that is given without padding (``mp_lib.model.arrays.LEAST_POINTS``).
CHANGES: dict[str, Change] = {
    "points_dropped": Change(
        "points dropped",
        "points of each cloud become padding, others at each look",
        "% of points",
        (25, 50, 75),
        FewerPoints,
    ),
    "points_noisy": Change(
        "noise on points",
        "normal noise of this deviation is added along each axis of each point, anew at each look",
        "mm",
        (20, 50, 100),
        NoisyPoints,
    ),
    "camera_turned": Change(
        "the camera turned",
        "the camera stands further round the workspace, and its points are taken for what it saw where it stood",
        "degrees",
        (10, 20, 40),
        OtherStart,
    ),
    "object_shifted": Change(
        "the object shifted",
        "the ranges in which things are placed are wider, about their middles",
        "% wider",
        (50, 100, 200),
        OtherStart,
        _places_nothing,
    ),
    "actions_delayed": Change(
        "actions delayed",
        "each action is executed so many steps later, and zeros before the first",
        "steps",
        (4, 8, 16),
        LateActions,
    ),
}


@dataclass(frozen=True)
class Disturbance:
    """One of CHANGES at one strength, 0 or above; an InputError for what is none."""

    change: str
    strength: float

    def __post_init__(self):
        look_up(CHANGES, self.change, "change")
        if not (isinstance(self.strength, Real) and math.isfinite(self.strength) and self.strength >= 0):
            raise InputError(f"strength {shown(self.strength)} of {self.change} given; it must be 0 or above")

    def __str__(self) -> str:
        return f"{self.change}={self.strength:g}"

    def check(self, spec: TaskSpec) -> None:
        """Raise an InputError where the task has no such change."""
        if reason := CHANGES[self.change].lacks(spec):
            raise InputError(f"{spec.name} has no {self.change}: {reason}")

    def of(self, spec: TaskSpec) -> TaskSpec:
        """The task under it; an InputError where the task has no such change."""
        self.check(spec)
        return replace(spec, make_env=partial(disturbed, spec.make_env, self))

    def around(self, env: Environment) -> Environment:
        """An environment of the task under it."""
        return CHANGES[self.change].make(env, self.change, self.strength)


def disturbed(make_env: Callable[..., Environment], disturbance: Disturbance, **options) -> Environment:
    """An environment with something in front of it; a function of a module, so that processes can be handed it."""
    return disturbance.around(make_env(**options))
