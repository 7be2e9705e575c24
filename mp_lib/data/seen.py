"""What a policy has seen of the world: ranges of the demonstrations, which tell whether an observation is like them."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from mp_lib.data.windows import ActionWindows
from mp_lib.geometry import grippers
from mp_lib.geometry.kinds import Layout
from mp_lib.system.files import write_arrays


def seen_in(windows: ActionWindows, layout: Layout | None) -> dict[str, np.ndarray]:
    """What windows hold, float32: a cloud, ranges (low and high) of clouds, states and actions, in their own units.

    ``cloud`` (N, 3) is the first; ``cloud_low`` and ``cloud_high`` (3,) bound all points, ``centre_…`` the middles of
    clouds' boxes, ``extent_…`` their sizes; ``state_…`` (S,), ``action_…`` (A,), of actions as they are executed.
    ``open_closed`` (2, A) are those of grippers that are only open or closed, which ``layout`` tells; NaN for others.
    Padding is no point.
    """
    frames = windows.frames.unique().cpu().numpy()
    clouds, states = windows.point_cloud.cpu().numpy()[frames], windows.state.cpu().numpy()[frames]
    actions = windows.recorded[frames]
    padding = ~clouds.any(-1, keepdims=True)
    low, high = (np.where(padding, far, clouds) for far in (np.inf, -np.inf))
    low, high = low.min(1), high.max(1)
    whole = np.isfinite(low).all(1)  # clouds that have a point
    found = {"cloud": clouds[np.argmax(whole)], "cloud_low": low[whole].min(0), "cloud_high": high[whole].max(0)}
    low, high = low[whole], high[whole]
    ranges = {"centre": (low + high) / 2, "extent": high - low, "state": states, "action": actions}
    for name, values in ranges.items():
        found |= {f"{name}_low": values.min(0), f"{name}_high": values.max(0)}
    found["open_closed"] = grippers.open_closed(actions, layout) if layout else np.full((2, actions.shape[1]), np.nan)
    return {name: np.asarray(values, np.float32) for name, values in found.items()}


def save_seen(path: Path, windows: ActionWindows, layout: Layout | None) -> None:
    """Write what windows hold as a file of arrays, which lies beside a policy."""
    write_arrays(path, seen_in(windows, layout))
