"""Point clouds without a camera: choosing points of them, padding, drawing."""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mp_lib.system.compiler import build
from mp_lib.system.errors import InputError, is_count

LEVELS = 5  # how often a cloud is split in two before its points are chosen


def sample_farthest(points: np.ndarray, num_points: int) -> np.ndarray:
    """Return ``num_points`` of ``points`` (M, 3) that cover them evenly; all of them and zeros if M is too small.

    Points that are not finite are left out. Equal clouds give equal samples: nothing is drawn at random. Raises an
    InputError for what is no cloud of real numbers, and for a ``num_points`` that is no whole number from 1 on.
    """
    try:
        points = np.asarray(points)
    except ValueError as error:
        raise InputError(f"points are no array of numbers ({error}); give a cloud (M, 3)") from error
    if points.dtype.kind not in "fiub" or points.ndim != 2 or points.shape[1] != 3:
        raise InputError(f"points are {points.dtype} {points.shape}; give a cloud of numbers, (M, 3)")
    if not is_count(num_points):
        raise InputError(f"num_points {num_points!r} given; it must be a whole number from 1 on")
    points = points[np.isfinite(points).all(1)]
    if len(points) > num_points:
        return points[farthest_indices(points, num_points)]
    return np.concatenate([points, np.zeros((num_points - len(points), 3), points.dtype)])


def farthest_indices(points: np.ndarray, count: int) -> np.ndarray:
    """Which ``count`` of finite ``points`` (M, 3) farthest point sampling chooses, in the order of its choice.

    Each is the point farthest from those before it in float32; the first, and which of several equally far ones, are
    those that come first in ``split_order``. That is the order of fpsample's ``bucket_fps_kdline_sampling`` with h = 5
    (versions 0.3.3 and 1.0.2), found by trying, so that clouds are those that it has given.

    In C where a compiler is found, else in NumPy, which gives the same to the bit.
    """
    points = np.ascontiguousarray(points, np.float32)
    if points.ndim != 2 or points.shape[1] != 3 or not is_count(count) or count > len(points):
        raise InputError(f"{count} of points {points.shape} were asked for; give (M, 3), and 1 to M of them")
    library = build(Path(__file__).with_suffix(".c"), "-ffp-contract=off")
    return farthest_in_numpy(points, count) if library is None else farthest_in_c(library, points, count)


def farthest_in_c(library: ctypes.CDLL, points: np.ndarray, count: int) -> np.ndarray:
    """``farthest_indices`` by the compiled point_cloud.c, which looks only at boxes that the last point changes."""
    chosen = np.empty(count, np.int32)
    given, result = (ctypes.c_void_p(each.ctypes.data) for each in (points, chosen))
    if library.farthest_points(ctypes.c_long(len(points)), given, ctypes.c_long(count), result):
        raise MemoryError(f"no memory to choose {count} of {len(points)} points")
    return chosen


def farthest_in_numpy(points: np.ndarray, count: int) -> np.ndarray:
    """``farthest_indices`` of float32 points, in NumPy."""
    order = split_order(points)
    axes, distances = np.ascontiguousarray(points[order].T), np.full(len(order), np.inf, np.float32)
    place, chosen = 0, np.empty(count, np.int64)
    squares, sums = np.empty_like(axes), np.empty_like(distances)
    for k in range(count):
        chosen[k] = place
        np.subtract(axes, axes[:, place, None], out=squares)
        np.multiply(squares, squares, out=squares)
        np.add(squares[0], squares[1], out=sums)  # in this order, since it decides the last bit
        np.add(sums, squares[2], out=sums)
        np.minimum(distances, sums, out=distances)
        place = distances.argmax()
    return order[chosen]


def split_order(points: np.ndarray) -> np.ndarray:
    """The indices of ``points`` (M, 3), LEVELS times split at the mean of the axis along which they extend most.

    A split swaps, from both ends inwards, points that lie on the wrong side of the mean; each side has one at least.
    """
    order, ranges = np.arange(len(points)), [(0, len(points))]
    for _ in range(LEVELS):
        ranges = [part for each in ranges for part in split(points, order, *each)]
    return order


def split(points: np.ndarray, order: np.ndarray, start: int, end: int) -> list[tuple[int, int]]:
    """Split the places ``start`` to ``end`` of an order in place; returns their two ranges, or that of a single one."""
    if end - start == 1:
        return [(start, end)]
    here = points[order[start:end]]
    values = here[:, np.argmax(here.max(0) - here.min(0))]
    mean = np.add.accumulate(values)[-1] / np.float32(len(values))  # one after the other; a plain sum goes by pairs
    below = values < mean
    left = int(below.sum())
    wrong = start + np.flatnonzero(~below[:left]), start + left + np.flatnonzero(below[left:])[::-1]
    order[np.concatenate(wrong)] = order[np.concatenate(wrong[::-1])]
    middle = start + min(max(left, 1), len(values) - 1)
    return [(start, middle), (middle, end)]


def without_padding(points: np.ndarray) -> np.ndarray:
    """Return those of ``points`` (M, 3) that are not the zeros which fill a cloud up."""
    return points[np.any(points != 0, axis=1)]


def view_axes(azimuth: float = 90, elevation: float = 35) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Unit vectors (right, up, toward the eye) of a view from ``azimuth`` and ``elevation`` in degrees, z up.

    They are counted from the x axis and from the ground.
    """
    turn, rise = np.deg2rad(azimuth), np.deg2rad(elevation)
    right = np.array([-np.sin(turn), np.cos(turn), 0])
    toward = np.array([np.cos(turn) * np.cos(rise), np.sin(turn) * np.cos(rise), np.sin(rise)])
    return right, np.cross(toward, right), toward


def draw_cloud(points: np.ndarray, size: int = 256, azimuth: float = 90, elevation: float = 35) -> np.ndarray:
    """Draw ``points`` (N, 3) as squares on white, near ones orange and far ones blue: (size, size, 3) uint8.

    The view is that of ``view_axes``. Zero padding is left out.
    """

    def colors_of(nearness: np.ndarray) -> np.ndarray:
        return nearness * [240, 120, 20] + (1 - nearness) * [30, 80, 200]

    return draw_points(without_padding(points), colors_of, size, azimuth, elevation)


def draw_clouds(
    clouds: Sequence[np.ndarray], colors: Sequence, size: int = 256, azimuth: float = 90, elevation: float = 35
) -> np.ndarray:
    """Draw several clouds (N, 3) in one frame as ``draw_cloud`` draws one, each in a colour, three numbers to 255."""
    clouds = [without_padding(points) for points in clouds]
    painted = np.concatenate([np.tile(color, (len(points), 1)) for points, color in zip(clouds, colors, strict=True)])
    return draw_points(np.concatenate(clouds), lambda nearness: painted, size, azimuth, elevation)


def draw_points(points: np.ndarray, colors_of: Callable, size: int, azimuth: float, elevation: float) -> np.ndarray:
    """Draw points (N, 3) in the colours (N, 3) that ``colors_of`` has for their nearness (N, 1), from 0 to 1."""
    picture = np.full((size, size, 3), 255, np.uint8)
    if len(points) == 0:
        return picture
    right, up, toward = view_axes(azimuth, elevation)
    seen = points @ np.stack([right, -up, toward], axis=1)
    low, span = seen.min(0), np.maximum(np.ptp(seen, axis=0), 1e-9)
    side = max(1, size // 64)
    scale = 0.9 * (size - side) / span[:2].max()
    corners = ((seen[:, :2] - low[:2] - span[:2] / 2) * scale + (size - side) / 2).astype(int)
    nearness = (seen[:, 2:] - low[2]) / span[2]
    colors = colors_of(nearness).astype(np.uint8)
    for k in np.argsort(nearness[:, 0]):
        column, row = corners[k]
        picture[row : row + side, column : column + side] = colors[k]
    return picture
