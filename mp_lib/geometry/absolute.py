"""Absolute actions, of whose equal forms the one near the last command is chosen: q or -q, whole turns more or less."""

from __future__ import annotations

import numpy as np

from mp_lib.geometry.kinds import Layout
from mp_lib.geometry.rotations import nearest_angle, nearest_quaternion, nearest_vector

NEAREST = {  # of the kinds that have several forms of one thing
    "angle": nearest_angle,
    "rotation_vector": nearest_vector,
    "quaternion": nearest_quaternion,
    "quaternion_xyzw": nearest_quaternion,
}


def nearest(actions: np.ndarray, last: np.ndarray, layout: Layout) -> np.ndarray:
    """The same actions (..., T, A), each in the form nearest to the one before, the first to the last command (..., A).

    A robot that is told q and then -q, or pi and then -pi, may go the long way round. Nothing is normalised; other
    kinds stay as they are. An InputError if the layout names another number of numbers.
    """
    actions, last = layout.checked(actions, axes=2), layout.checked(last)
    leading = np.broadcast_shapes(actions.shape[:-2], last.shape[:-1])
    chosen = np.broadcast_to(actions, leading + actions.shape[-2:]).astype(np.float64)
    for part in layout.parts:
        if part.kind.name in NEAREST:
            before = np.asarray(last[..., part.slice], np.float64)
            for step in range(chosen.shape[-2]):
                before = NEAREST[part.kind.name](chosen[..., step, part.slice], before)
                chosen[..., step, part.slice] = before
    return chosen.astype(actions.dtype if actions.dtype.kind == "f" else np.float64)
