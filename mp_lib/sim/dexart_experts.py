"""Demonstrators of the re-created DexArt: plans in phases, which see the simulator's own numbers (``truth``).

A plan is a generator that yields one action a step. It reads what there is from a ``Sight``, which is brought up to
date before each step. Lengths are in metres, angles in radians; the palm's frame is that of ``Robot.palm_rotation``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mp_lib.interfaces import look_up
from mp_lib.sim.dexart_robot import HAND_LIMITS

UP = np.array([0.0, 0.0, 1.0])
GAIN = 6.0  # 1/s, from the error of the palm's pose to its speed
NEAR = 0.012  # the palm has arrived
PALM = 0.0111  # from the palm's frame to its surface
DROP = 0.0704  # along the fingers, from the palm's frame to their middle joints
REACH = 0.067  # from there to the middle of the tip
TIP = 0.012  # the tip's radius
LOW = 0.016  # from the knuckles up to the middle of a lever that the hand closes around
LEAN = 0.06  # of a flat hand
Plan = Iterator[np.ndarray]


class Sight(dict):
    """The truth of the present step, arrays by name."""

    def number(self, name: str) -> float:
        """One that is a single number."""
        return float(self[name])


@dataclass(frozen=True)
class Pose:
    """A pose of the palm: ``position`` (3,), where it ``faces`` (3,) and where its ``fingers`` point (3,)."""

    position: np.ndarray
    faces: np.ndarray
    fingers: np.ndarray

    def rotation(self) -> np.ndarray:
        """The axes of the palm (3, 3) as columns."""
        faces = self.faces / np.linalg.norm(self.faces)
        side = np.cross(self.fingers, faces)
        side /= np.linalg.norm(side)
        return np.stack([faces, side, np.cross(faces, side)], axis=1)


def grip(spread: float, proximal: float, medial: float, distal: float, thumb: tuple = (0.263, 0, 0, 0)) -> np.ndarray:
    """Angles of the hand (16,): three fingers alike, and the thumb."""
    return np.array([*(spread, proximal, medial, distal) * 3, *thumb])


STRAIGHT = grip(0, 0, 0, 0)
HOOK = grip(0, 0, 1.57, 0)  # fingers at right angles from their middle joints on
FIST = grip(0, 1.6, 1.7, 1.6)


class PlannedExpert:
    """Follows the plan of one of PLANS."""

    def __init__(self, task: str):
        self._sight = Sight()
        self._plan = look_up(PLANS, task, "DexArt task")(self._sight)

    def act(self, truth: dict[str, np.ndarray]) -> np.ndarray:
        """The action (22,) float32 in [-1, 1] of the plan's present phase."""
        self._sight.update(truth)
        return next(self._plan).astype(np.float32)


def toward(sight: Sight, pose: Pose, hand: np.ndarray, gain: float = GAIN) -> np.ndarray:
    """The action that moves the palm toward ``pose`` and the fingers toward the angles ``hand`` (16,)."""
    shift = gain * (pose.position - sight["palm_position"])
    shift /= max(1, np.abs(shift).max())
    error = pose.rotation() @ sight["palm_rotation"].T
    axis = np.array([error[2, 1] - error[1, 2], error[0, 2] - error[2, 0], error[1, 0] - error[0, 1]])
    sine, cosine = np.linalg.norm(axis) / 2, (np.trace(error) - 1) / 2
    turn = gain * np.arctan2(sine, cosine) * axis / max(2 * sine, 1e-9)
    turn /= max(1, np.abs(turn).max())
    low, high = HAND_LIMITS.T
    return np.concatenate([shift, turn, np.clip(2 * (hand - low) / (high - low) - 1, -1, 1)])


def go(sight: Sight, pose: Callable[[], Pose], hand: np.ndarray, most: int = 60) -> Plan:
    """Move until the palm is there, or for ``most`` steps."""
    for _ in range(most):
        yield toward(sight, pose(), hand)
        if np.linalg.norm(pose().position - sight["palm_position"]) < NEAR:
            return


def hold(sight: Sight, pose: Callable[[], Pose], hand: np.ndarray, steps: int) -> Plan:
    """Keep moving toward a pose for a number of steps."""
    for _ in range(steps):
        yield toward(sight, pose(), hand)


class Lid:
    """A lid's geometry: which way it opens, and where a point of it is at an angle."""

    def __init__(self, sight: Sight):
        self.front = -sight["object_rotation"][:, 0]  # from the hinge toward the robot
        self.hinge, self.length = sight["part_position"].copy(), sight.number("length")
        self.half = sight.number("lid") / 2

    def along(self, angle: float) -> np.ndarray:
        """From the hinge to the edge."""
        return np.cos(angle) * self.front + np.sin(angle) * UP

    def inward(self, angle: float) -> np.ndarray:
        """Out of the side that lies down when it is shut."""
        return np.sin(angle) * self.front - np.cos(angle) * UP

    def hook(self, angle: float, depth: float, gap: float = 0.0) -> Pose:
        """Bent fingers under a lid at ``angle``, their tips ``depth`` behind its edge and ``gap`` below it."""
        away = self.half + TIP + gap
        tip = self.hinge + (self.length - depth) * self.along(angle) + away * self.inward(angle)
        return Pose(tip + DROP * UP + REACH * self.front, -self.front, -UP)

    def press(self, angle: float, gap: float = 0.0) -> Pose:
        """The flat hand on the inner side of a lid at ``angle``, ``gap`` before it, knuckles 60 mm below its edge.

        It leans a little, the palm first, which the fingers make up for by bending.
        """
        along, inward = self.along(angle), self.inward(angle)
        place = self.hinge + max(self.length - 0.06, 0.165) * along + (self.half + PALM + gap) * inward
        return Pose(place, -inward - LEAN * along, LEAN * inward - along)


def open_lid(sight: Sight) -> Plan:
    """Hook the fingers under the lid, lift it, then push it up with the flat hand."""
    lid, start = Lid(sight), sight.number("hinge")
    yield from go(sight, lambda: lid.hook(start, -0.03, 0.004), HOOK)
    yield from go(sight, lambda: lid.hook(start, 0.035, 0.004), HOOK, 30)
    for _ in range(80):
        angle = sight.number("hinge")
        if angle > 1.0:
            break
        yield toward(sight, lid.hook(angle + 0.25, 0.035), HOOK)
    stay = sight.number("hinge")
    yield from go(sight, lambda: lid.press(stay, 0.09), STRAIGHT, 30)
    bend = 0.3
    while True:
        palm, *fingers = sight["touches"]
        bend = np.clip(bend + 0.02 * (sum(fingers) < 2) - 0.02 * (not palm), 0, 0.8)
        pose = lid.press(min(sight.number("hinge") + 0.2, sight.number("goal") + 0.06))
        yield toward(sight, pose, grip(0, bend, bend, bend / 2))


def turn_lever(sight: Sight) -> Plan:
    """Come to the lever from the side, close the hand around it, and swing it with the palm."""
    axis, reach, radius = sight["part_position"].copy(), sight.number("reach"), sight.number("radius")
    outward = sight["part_rotation"][:, 0].copy()

    def behind(angle: float, gap: float, above: float = 0.0) -> Pose:
        out = np.cos(angle) * outward + np.sin(angle) * np.cross(UP, outward)
        along = np.cross(UP, out)  # the way the lever moves
        place = axis + 0.8 * reach * out - (PALM + radius + gap) * along + (above - LOW) * UP
        return Pose(place, along, -UP)

    yield from go(sight, lambda: behind(0, 0.07, 0.08), STRAIGHT)
    yield from go(sight, lambda: behind(0, 0.05), STRAIGHT, 30)
    yield from go(sight, lambda: behind(sight.number("hinge"), -0.005), STRAIGHT, 20)
    yield from hold(sight, lambda: behind(sight.number("hinge"), -0.005), FIST, 12)
    while True:
        yield toward(sight, behind(min(sight.number("hinge") + 0.1, sight.number("stop") + 0.12), -0.005), FIST)


def lift_bucket(sight: Sight) -> Plan:
    """Lower straight fingers behind the handle's grip, bend them under it, and lift."""
    front = -sight["object_rotation"][:, 0]

    def grasp(gap: float, above: float) -> Pose:
        crest = sight["part_position"] + sight.number("arch") * sight["part_rotation"][:, 2]
        place = crest + (PALM + sight.number("grip") + gap) * front + (above + 0.03) * UP
        return Pose(place, -front, -UP)

    yield from go(sight, lambda: grasp(0.05, 0.05), STRAIGHT)
    yield from go(sight, lambda: grasp(0.03, 0.0), STRAIGHT, 30)
    yield from go(sight, lambda: grasp(0.004, 0.0), STRAIGHT, 20)
    here = grasp(0.0, 0.0)
    yield from hold(sight, lambda: here, grip(0, 0.4, 1.6, 0.9), 20)
    top = Pose(here.position + 0.34 * UP, here.faces, here.fingers)
    while True:
        yield toward(sight, top, grip(0, 0.4, 1.6, 0.7), 2.0)


PLANS: dict[str, Callable[[Sight], Plan]] = {
    "laptop": open_lid,
    "toilet": open_lid,
    "faucet": turn_lever,
    "bucket": lift_bucket,
}
