"""What a recording's arrays are turned into: a row of numbers a frame, or points a frame, float32."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from mp_lib.data.layout import as_float32
from mp_lib.exchange.reading import Recording, size_of
from mp_lib.system.errors import InputError

MOST_CHANNELS = 16  # numbers a point: x, y, z, colours, normals, labels
SLAB_BYTES = 32 << 20  # of what is read of a key at once
HOMOGENEOUS = "xyzw"  # ManiSkill's clouds, whose fourth number is 0 where a pixel saw nothing


def row_size(where: str, key: str, shape: tuple[int, ...]) -> int:
    """How many numbers a frame has, of an array of this shape, frames first; axes of one are no axes.

    An InputError if it has more than one axis besides, or no number.
    """
    sizes = [size for size in shape[1:] if size != 1] or [1]
    if not shape or len(sizes) > 1 or sizes[0] == 0:
        raise InputError(f"{where}: {key} has the shape {shape}; give a row of numbers a frame, (frames, numbers)")
    size_of(where, key, shape, 4)
    return sizes[0]


def check_cloud(where: str, key: str, shape: tuple[int, ...]) -> None:
    """Raise an InputError unless an array of this shape has points in every frame, x, y, z first on the last axis."""
    if len(shape) < 3 or not 3 <= shape[-1] <= MOST_CHANNELS or 0 in shape[1:]:
        wanted = f"give points, (frames, points, 3), or with up to {MOST_CHANNELS} numbers a point, x, y, z first"
        raise InputError(f"{where}: {key} has the shape {shape}; {wanted}")


def numbers(path: Path, key: str, values: np.ndarray, start: int = 0) -> np.ndarray:
    """The same numbers as float32; an InputError for what is no number, or none that float32 can hold."""
    if values.dtype.kind not in "fiub":
        raise InputError(f"{path}: {key} is {values.dtype}; give an array of numbers")
    return as_float32(path, key, values, start)


def rows(recording: Recording, episode: str, key: str, length: int) -> np.ndarray:
    """The first ``length`` rows of a key of an episode, (length, S) float32; an InputError if one is not finite."""
    what = f"{key} of episode {episode}"
    found = numbers(recording.path, what, recording.read(episode, key, 0, length))
    found = found.reshape(length, row_size(f"{recording.path}, episode {episode}", key, found.shape))
    if not np.isfinite(found).all():
        frame = int(np.argwhere(~np.isfinite(found))[0, 0])
        raise InputError(f"{recording.path}: {what}, frame {frame}, is not finite; leave it out by --without {episode}")
    return found


def slabs(length: int, shape: tuple[int, ...], itemsize: int = 8) -> Iterator[tuple[int, int]]:
    """(start, stop) of parts of ``length`` frames, whose arrays of this shape are small enough to be read at once."""
    step = max(1, SLAB_BYTES // max(1, math.prod(shape[1:]) * itemsize))
    for start in range(0, length, step):
        yield start, min(start + step, length)


class StoredClouds:
    """Clouds that a recording has as points; its ``clouds`` and that of ``Cameras`` are called alike."""

    fixed = ()

    def __init__(self, key: str):
        self.keys = (key,)

    def check(self, where: str, shapes: dict[str, tuple[int, ...]]) -> None:
        """Raise an InputError unless the shapes of an episode's keys fit."""
        check_cloud(where, self.keys[0], shapes[self.keys[0]])

    def stored(self, shapes: dict[str, tuple[int, ...]]) -> int:
        """How many points a stored cloud of these shapes has at most."""
        return math.prod(shapes[self.keys[0]][1:-1])

    def clouds(self, recording: Recording, episode: str, length: int) -> Iterator[np.ndarray]:
        """The points (M, 3) float32 of each of an episode's first ``length`` frames."""
        (key,) = self.keys
        shape = recording.entries(episode)[key].shape
        for start, stop in slabs(length, shape):
            values = recording.read(episode, key, start, stop)
            values = values.reshape(stop - start, -1, shape[-1])
            points = numbers(recording.path, f"{key} of episode {episode}", values[..., :3], start)
            seen = (
                values[..., 3] != 0 if key.endswith(HOMOGENEOUS) and shape[-1] == 4 else np.ones(points.shape[:2], bool)
            )
            yield from (cloud[kept] for cloud, kept in zip(points, seen, strict=True))
