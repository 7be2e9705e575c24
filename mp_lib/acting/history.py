"""The last observations of an actor: read under whatever names they come, copied, and completed for the policy."""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np

from mp_lib.acting.holding import CannotAct
from mp_lib.geometry.kinds import Layout
from mp_lib.geometry.rotations import NO_LENGTH
from mp_lib.model.arrays import as_numbers, check_count, check_size, complete_cloud
from mp_lib.point_cloud import without_padding
from mp_lib.system.errors import InputError, shown

NAMES = {  # under which an observation may hold what a policy sees: ours, DP3's, LeRobot's
    "point_cloud": ("point_cloud", "observation.point_cloud", "observation.pointcloud"),
    "state": ("state", "agent_pos", "observation.state"),
}
AXES = {"point_cloud": "(M, 3)", "state": "(S,)"}
STAMP = "stamp"


class Frame(NamedTuple):
    """One observation: ``cloud`` (M, 3) and ``state`` (S,), float32 and nobody else's, and its ``stamp``, if any."""

    cloud: np.ndarray
    state: np.ndarray
    stamp: object = None


class History:
    """The last To frames of a policy that takes clouds of ``num_points`` and states of ``state_dim`` numbers.

    ``state_kinds`` are these numbers' kinds as ``mp_lib.geometry.kinds.Layout`` reads them, empty if not known.
    ``age`` is how many actions were commanded since the newest one was added, which whoever commands them counts.
    """

    def __init__(self, num_points: int, state_dim: int, n_obs_steps: int, state_kinds: str = ""):
        self.num_points, self.sizes = num_points, {"point_cloud": 3, "state": state_dim}
        parts = Layout.parse(state_kinds, state_dim).parts if state_kinds else ()
        self.quaternions = [part.slice for part in parts if part.kind.name.startswith("quaternion")]
        self.frames: deque[Frame] = deque(maxlen=n_obs_steps)
        self.age = 0

    def read(self, observation: Mapping) -> Frame:
        """An observation as a frame, copied, since a driver may use its buffers again.

        Raises an InputError for what is none, colours and other sizes, and a CannotAct for what a camera or an arm
        may give for a moment: a state that is not finite or has a quaternion without a direction, a cloud with less
        than a quarter of the policy's points, where padding is none.
        """
        cloud, state = (self.numbers(key, observation) for key in NAMES)
        if not np.isfinite(state).all():
            raise CannotAct("bad observation", f"the state has a number that is not finite: {shown(state.tolist())}")
        if any(np.linalg.norm(state[each].astype(np.float64)) < NO_LENGTH for each in self.quaternions):
            raise CannotAct("bad observation", f"the state has a quaternion of length zero: {shown(state.tolist())}")
        try:
            check_count(len(without_padding(cloud[np.isfinite(cloud).all(1)])), self.num_points)
        except InputError as error:
            raise CannotAct("bad observation", str(error)) from error
        return Frame(cloud, state, copy.deepcopy(observation.get(STAMP)))

    def numbers(self, key: str, observation: Mapping) -> np.ndarray:
        """What an observation has under one of the names of ``key``, checked and copied."""
        names, axes = NAMES[key], AXES[key]
        found = next((name for name in names if isinstance(observation, Mapping) and name in observation), None)
        if found is None:
            raise InputError(f"the observation has no {key}; give a dict with {' or '.join(names)}, {axes}")
        values = np.array(as_numbers(key, observation[found], axes))  # a copy
        if values.ndim == axes.count(",") + 2 - axes.count(",)") and len(values) == 1:
            raise InputError(f"{found} {values.shape} has a batch axis; an actor takes {axes}: give {found}[0]")
        check_size(key, values.shape, axes, self.sizes[key])
        return values

    def add(self, frame: Frame) -> None:
        """Let a frame be the newest; the first one stands for those before it, too."""
        self.frames.extend([frame] * (1 if self.frames else self.frames.maxlen))
        self.age = 0

    def clear(self) -> None:
        """Forget all frames."""
        self.frames.clear()
        self.age = 0


def completed(frames: Sequence[Frame], num_points: int) -> tuple[np.ndarray, np.ndarray]:
    """What a policy is called with: point_cloud (To, N, 3) and state (To, S), float32."""
    done: dict[int, np.ndarray] = {}  # a first frame that is repeated is completed once
    for frame in frames:
        if id(frame) not in done:
            done[id(frame)] = complete_cloud(frame.cloud, num_points)
    return np.stack([done[id(frame)] for frame in frames]), np.stack([frame.state for frame in frames])
