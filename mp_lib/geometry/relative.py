"""Actions relative to the state at "now", from which a policy need not know where in the room its robot stands."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from mp_lib.geometry.absolute import NEAREST
from mp_lib.geometry.kinds import Layout, Part
from mp_lib.geometry.rotations import (
    matrix_of_quaternion,
    matrix_of_six,
    quaternion_of_matrix,
    quaternion_of_vector,
    six_of_matrix,
    unit,
    vector_of_quaternion,
    wrapped,
    wxyz,
    xyzw,
)
from mp_lib.system.errors import InputError

SIX = 6  # numbers of a relative rotation


def to_quaternion_from_xyzw(quaternions: np.ndarray) -> np.ndarray:
    """Unit quaternions, w first, of such with w last."""
    return unit(wxyz(quaternions))


TO_QUATERNION = {
    "rotation_vector": quaternion_of_vector,
    "quaternion": unit,
    "quaternion_xyzw": to_quaternion_from_xyzw,
}
FROM_QUATERNION = {"rotation_vector": vector_of_quaternion, "quaternion": unit, "quaternion_xyzw": xyzw}


@dataclass(frozen=True)
class Pair:
    """A part of an action, its counterpart in the state, and which numbers of the relative action it becomes."""

    action: Part
    state: Part | None  # None for what is kept
    columns: slice


def subtract(values: np.ndarray, now: np.ndarray, pair: Pair) -> np.ndarray:
    """The difference to the state."""
    return values - now


def add(values: np.ndarray, now: np.ndarray, pair: Pair) -> np.ndarray:
    """The state and the difference."""
    return now + values


def subtract_wrapped(values: np.ndarray, now: np.ndarray, pair: Pair) -> np.ndarray:
    """The difference of angles in [-pi, pi)."""
    return wrapped(values - now)


def add_wrapped(values: np.ndarray, now: np.ndarray, pair: Pair) -> np.ndarray:
    """The angle, at most half a turn from the state's: a network may predict more."""
    return now + wrapped(values)


def compose_inverse(values: np.ndarray, now: np.ndarray, pair: Pair) -> np.ndarray:
    """The rotation from the state's orientation to the action's, in the state's own axes, as six numbers."""
    start, end = (
        matrix_of_quaternion(TO_QUATERNION[part.kind.name](orientation))
        for part, orientation in ((pair.state, now), (pair.action, values))
    )
    return six_of_matrix(np.swapaxes(start, -1, -2) @ end)


def compose(values: np.ndarray, now: np.ndarray, pair: Pair) -> np.ndarray:
    """The orientation that the rotation leads to, in the action's form and as near to the state's as that allows."""
    here, wanted = pair.state.kind.name, pair.action.kind.name
    start = TO_QUATERNION[here](now)
    end = FROM_QUATERNION[wanted](quaternion_of_matrix(matrix_of_quaternion(start) @ matrix_of_six(values)))
    # The state's own rotation vector may be longer than half a turn, which its quaternion would not tell.
    return NEAREST[wanted](end, now if here == wanted else FROM_QUATERNION[wanted](start))


def keep(values: np.ndarray, now: np.ndarray, pair: Pair) -> np.ndarray:
    """The numbers as they are."""
    return values


Way = Callable[[np.ndarray, np.ndarray, Pair], np.ndarray]
ENCODE: dict[str, Way] = {"subtract": subtract, "wrap": subtract_wrapped, "compose": compose_inverse, "keep": keep}
DECODE: dict[str, Way] = {"subtract": add, "wrap": add_wrapped, "compose": compose, "keep": keep}


class Relative:
    """The way from a robot's actions to what a network predicts, and back.

    Positions and joints are told as differences to the state, in its frame; angles as differences in [-pi, pi);
    orientations as the rotation from the state's, R_now^T R_action, in six numbers; grippers, velocities and steps as
    they are. The n-th part of a kind in the action goes with the n-th of that kind in the state; of orientations the
    n-th, in whatever form.

    Args:
        state: the kinds of a state's S numbers.
        action: the kinds of an action's A numbers.

    Raises:
        InputError: a part of the action has no counterpart in the state, or one of another size.
    """

    def __init__(self, state: Layout, action: Layout):
        self.state, self.action = state, action
        self._pairs = tuple(paired(state, action))

    @property
    def size(self) -> int:
        """A', how many numbers the network predicts a step."""
        return self._pairs[-1].columns.stop

    def encode(self, actions: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Actions (..., T, A) relative to states (..., S), as (..., T, A') of the actions' type, computed in float64.

        An InputError if the layouts name other numbers of numbers, or a quaternion is zero.
        """
        actions = self.action.checked(actions, axes=2)
        return self._through(ENCODE, actions, [pair.action.slice for pair in self._pairs], now)

    def decode(self, relative: np.ndarray, now: np.ndarray) -> np.ndarray:
        """Relative actions (..., T, A') as actions (..., T, A) at states (..., S), of the relative ones' type.

        What a network predicts of a rotation is made one first. Of equal forms the one nearest to the state is given.
        An InputError if there are other numbers of numbers, or a quaternion of the state is zero.
        """
        relative = np.asarray(relative)
        if relative.ndim < 2 or relative.shape[-1] != self.size:
            wanted = f"(..., T, {self.size}), the relative form of {self.action.text!r}"
            raise InputError(f"relative actions of shape {relative.shape} given; they must be {wanted}")
        return self._through(DECODE, relative, [pair.columns for pair in self._pairs], now)

    def _through(self, ways: dict[str, Way], values: np.ndarray, columns: list[slice], now: np.ndarray) -> np.ndarray:
        """Each part of the values on its way, side by side again."""
        now = self.state.checked(now).astype(np.float64)[..., None, :]
        leading = np.broadcast_shapes(values.shape[:-1], now.shape[:-1])
        pieces = []
        for pair, own in zip(self._pairs, columns, strict=True):
            here = now[..., pair.state.slice] if pair.state else now
            piece = ways[pair.action.kind.relative](values[..., own].astype(np.float64), here, pair)
            pieces.append(np.broadcast_to(piece, leading + piece.shape[-1:]))
        return np.concatenate(pieces, axis=-1).astype(values.dtype if values.dtype.kind == "f" else np.float64)


@functools.cache
def relative_of(actions: str, state_kinds: str, action_kinds: str) -> Relative | None:
    """How actions are told relative to the state, or None where they are absolute.

    An InputError where nobody has said what the numbers of states and actions are: where a pose is among them, a plain
    difference would be wrong, and numbers do not tell.
    """
    if actions == "absolute":
        return None
    if not (state_kinds and action_kinds):
        raise InputError(
            "actions relative given, but the demonstrations do not say what their numbers are; import them with kinds: "
            '--state-kinds "position:3 quaternion:4" --action-kinds "position:3 quaternion:4 gripper:1"'
        )
    return Relative(Layout.parse(state_kinds), Layout.parse(action_kinds))


def paired(state: Layout, action: Layout) -> Iterator[Pair]:
    """Each part of the action with its counterpart in the state; an InputError where there is none that fits."""
    seen: dict[str, int] = {}
    start = 0
    for part in action.parts:
        family = part.kind.family
        seen[family] = number = seen.get(family, 0) + 1
        counterpart = None if part.kind.relative == "keep" else counterpart_of(part, number, state)
        stop = start + (SIX if part.kind.relative == "compose" else part.size)
        yield Pair(part, counterpart, slice(start, stop))
        start = stop


def counterpart_of(part: Part, number: int, state: Layout) -> Part:
    """The part of the state that the ``number``-th part of its family in the action, from 1 on, is relative to."""
    found = [other for other in state.parts if other.kind.family == part.kind.family]
    here = f"{part.text} is number {number} of {part.kind.family} in the action"
    help_ = "name it in the state's kinds, or train with actions='absolute'"
    if len(found) < number:
        raise InputError(f"{here}, and the state {state.text!r} has {len(found)} of these to subtract; {help_}")
    other = found[number - 1]
    if part.kind.relative != "compose" and other.size != part.size:
        raise InputError(f"{here}, and its counterpart in the state is {other.text}; they must be of one size: {help_}")
    return other
