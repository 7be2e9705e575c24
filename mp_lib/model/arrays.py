"""What a policy is called with as NumPy has it: numbers, sizes, and clouds of the policy's number of points."""

from __future__ import annotations

import numpy as np

from mp_lib.point_cloud import sample_farthest, without_padding
from mp_lib.system.errors import InputError

LEAST_POINTS = 0.25  # of a policy's number, below which a cloud is not filled up but refused


def as_numbers(key: str, values, axes: str) -> np.ndarray:
    """Numbers as float32, a view where they are; an InputError, which tells the ``axes``, for what are none."""
    try:
        values = np.asarray(values)
    except (ValueError, TypeError, RuntimeError) as error:
        raise InputError(f"{key} is no array of numbers ({str(error).splitlines()[0]}); give {axes}") from error
    if values.dtype.kind not in "fiub":
        raise InputError(f"{key} is {values.dtype}; give numbers, {axes}")
    with np.errstate(over="ignore"):  # what is not finite then is left out or refused
        return np.ascontiguousarray(values, dtype=np.float32)


def check_size(key: str, shape: tuple[int, ...], axes: str, size: int) -> None:
    """Refuse colours and other sizes of the last axis by their names, and another number of ``axes``."""
    if len(shape) != axes.count(",") + 1 - axes.count(",)"):
        raise InputError(f"{key} has the shape {shape}; the policy takes {axes}")
    if key == "point_cloud" and shape[-1] > size:
        raise InputError(f"{key} {shape} has colours; the policy sees x, y, z alone: give {key}[..., :3]")
    if shape[-1] != size:
        raise InputError(f"{key} has the shape {shape}; the policy takes {axes} with {size} numbers last")


def check_count(fewest: int, num_points: int) -> None:
    """Raise an InputError if a cloud has less than a quarter of the points that a policy was trained on."""
    if fewest < LEAST_POINTS * num_points:
        raise InputError(
            f"a cloud has {fewest} points, the policy was trained on {num_points}; give a quarter of them at least, "
            "cropped as in the demonstrations"
        )


def complete_cloud(points: np.ndarray, num_points: int) -> np.ndarray:
    """A cloud (M, 3), without points that are not finite, of ``num_points`` points as in training.

    There padding that a cloud has is no point to choose.
    """
    whole = bool(np.isfinite(points).all())
    if len(points) == num_points and whole:
        return points
    points = points if whole else points[np.isfinite(points).all(1)]
    return sample_farthest(without_padding(points), num_points)
