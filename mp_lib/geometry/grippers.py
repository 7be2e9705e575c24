"""Grippers that are only open or closed in the demonstrations, and the same when a policy acts."""

from __future__ import annotations

import numpy as np

from mp_lib.geometry.kinds import Layout

SAME = 0.01  # of a gripper's range: a recorded value as close as this to one of two is that one


def open_closed(actions: np.ndarray) -> np.ndarray:
    """The two values, lower first, (2, A), of each number that has no others in demonstrations (N, A); else NaN.

    Which of the numbers are a gripper's is told when a policy acts, or not at all.
    """
    actions = np.asarray(actions, np.float64)
    found = np.full((2, actions.shape[1]), np.nan)
    if not len(actions):
        return found
    low, high = actions.min(axis=0), actions.max(axis=0)
    apart = np.minimum(actions - low, high - actions).max(axis=0)
    two = (high > low) & (apart <= SAME * (high - low))
    found[:, two] = low[two], high[two]
    return found


def snap_grippers(actions: np.ndarray, layout: Layout, open_closed: np.ndarray | None) -> np.ndarray:
    """Actions (..., A) whose grippers have the nearer of two values (2, A); where these are NaN, or None, as they are.

    A NaN among the actions stays one, for whoever refuses these. The type is that of the actions.
    """
    actions = layout.checked(actions)
    if open_closed is None:
        return actions.copy()
    low, high = layout.checked(open_closed)
    near = np.where(np.abs(actions - low) <= np.abs(actions - high), low, high)
    chosen = gripper_columns(layout) & np.isfinite(low + high) & ~np.isnan(actions)
    return np.where(chosen, near, actions).astype(actions.dtype)


def gripper_columns(layout: Layout) -> np.ndarray:
    """Which of the numbers are a gripper's, (A,) of truth values."""
    columns = np.zeros(layout.size, bool)
    for part in layout.parts:
        columns[part.slice] = part.kind.name == "gripper"
    return columns
