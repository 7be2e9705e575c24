"""What a policy has seen of the world: ranges of the demonstrations, which tell whether an observation is like them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mp_lib.data.layout import SLAB_BYTES
from mp_lib.data.windows import ActionWindows
from mp_lib.geometry import grippers
from mp_lib.system.files import write_arrays


def seen_in(windows: ActionWindows) -> dict[str, np.ndarray]:
    """What windows hold, float32: a cloud, ranges (low and high) of clouds, states and actions, in their own units.

    ``cloud`` (N, 3) is the first with a point; ``cloud_low`` and ``cloud_high`` (3,) bound all points, ``centre_…`` the
    middles of clouds' boxes, ``extent_…`` their sizes; ``state_…`` (S,), ``action_…`` (A,), as they are executed.
    ``open_closed`` (2, A) are those of numbers with two values alone, as grippers have; NaN for others.
    Padding is no point; where no cloud has any, all that is of clouds is left out.
    """
    frames = windows.frames.unique().cpu().numpy()
    states, actions = windows.state[frames].cpu().numpy(), windows.recorded[frames]
    low, high = boxes(windows, frames)
    whole = np.isfinite(low).all(1)  # clouds that have a point
    found, ranges = {}, {"state": states, "action": actions}
    if whole.any():
        found["cloud"] = windows.point_cloud[frames[np.argmax(whole)]].cpu().numpy()
        low, high = low[whole], high[whole]
        found |= {"cloud_low": low.min(0), "cloud_high": high.max(0)}
        ranges = {"centre": (low + high) / 2, "extent": high - low} | ranges
    for name, values in ranges.items():
        found |= {f"{name}_low": values.min(0), f"{name}_high": values.max(0)}
    found["open_closed"] = grippers.open_closed(actions)
    return {name: np.asarray(values, np.float32) for name, values in found.items()}


def boxes(windows: ActionWindows, frames: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The least and the greatest corner, (n, 3) each, of the clouds of these frames (n,); infinite where one is empty.

    As slabs, since clouds may fill half of a machine's memory.
    """
    step = max(1, SLAB_BYTES // max(1, windows.point_cloud[0].nbytes))
    corners = []
    for start in range(0, len(frames), step):
        points = windows.point_cloud[frames[start : start + step]].cpu().numpy()
        padding = ~points.any(-1, keepdims=True)
        corners.append((np.where(padding, np.inf, points).min(1), np.where(padding, -np.inf, points).max(1)))
    low, high = map(np.concatenate, zip(*corners, strict=True))
    return low, high


def save_seen(path: Path, windows: ActionWindows) -> None:
    """Write what windows hold as a file of arrays, which lies beside a policy."""
    write_arrays(path, seen_in(windows))
