"""Depth images of pinhole cameras -> points in one frame.

A file of cameras is JSON::

    {"cameras": [{"depth": "obs/depth_front",            the key of its images, (frames, height, width)
                  "intrinsics": [fx, fy, cx, cy],        pixels; or a matrix 3 x 3, or the name of a key that has either
                  "extrinsics": [[...], ...],            4 x 4 (or 3 x 4) camera to world; or the name of a key
                  "direction": "camera_to_world",        or world_to_camera
                  "axes": "opencv",                      x right, y down, z forward; or opengl: y up, z backward
                  "depth_scale": 0.001}],                metres a unit; else of the file, 0.001 or 1
     "crop": {"low": [x, y, z], "high": [x, y, z]}}      metres, in the world's frame

All but ``depth`` and ``intrinsics`` may be left out; without extrinsics the world is the camera. Depth is along the
optical axis; 0, less, and what is not finite is nothing seen. The middle of the first pixel is (0, 0).
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mp_lib.exchange.reading import Recording
from mp_lib.exchange.shapes import slabs
from mp_lib.interfaces import look_up
from mp_lib.system.errors import InputError, MissingFileError, shown
from mp_lib.system.files import read_json

FIELDS = ("depth", "intrinsics", "extrinsics", "direction", "axes", "depth_scale")
AXES = {"opencv": np.diag([1.0, 1, 1, 1]), "opengl": np.diag([1.0, -1, -1, 1])}  # to OpenCV's
DIRECTIONS = {"camera_to_world": lambda matrices: matrices, "world_to_camera": np.linalg.inv}
MILLIMETRES = 0.001  # metres, what whole numbers of depth cameras count
SKEW = 1e-3  # of fx: as much of it is no mistake
RIGID = 1e-3  # how far a rotation may be from one: matrices are written with a few digits


@dataclass(frozen=True)
class Camera:
    """A pinhole camera; ``intrinsics`` and ``extrinsics`` are numbers, or the key of an episode that has them."""

    depth: str
    intrinsics: str | np.ndarray
    extrinsics: str | np.ndarray
    direction: str = "camera_to_world"
    axes: str = "opencv"
    depth_scale: float | None = None

    @property
    def fixed(self) -> tuple[str, ...]:
        """The keys that say where it is and what it is."""
        return tuple(value for value in (self.intrinsics, self.extrinsics) if isinstance(value, str))

    def points(self, recording: Recording, episode: str, start: int, stop: int) -> Iterator[np.ndarray]:
        """What it sees in some frames of an episode: (M, 3) float64 metres in the world, of each."""
        where = f"{recording.path}, episode {episode}"
        depth = recording.read(episode, self.depth, start, stop)
        if depth.dtype.kind not in "fiu" or depth.dtype.itemsize < 2:
            raise InputError(f"{where}: {self.depth} is {depth.dtype}; depth has 16 bits or more")
        depth = depth.reshape(stop - start, *image_shape(where, self.depth, depth.shape))
        usual = 1.0 if depth.dtype.kind == "f" else MILLIMETRES
        scale = self.depth_scale or recording.units.get(self.depth, usual)
        lenses = self.numbers(recording, episode, self.intrinsics, start, stop, read_intrinsics)
        poses = self.numbers(recording, episode, self.extrinsics, start, stop, read_extrinsics)
        poses = DIRECTIONS[self.direction](poses) @ AXES[self.axes]
        rows, columns = np.indices(depth.shape[1:])
        for image, (fx, fy, cx, cy), pose in zip(depth, lenses, poses, strict=True):
            metres = image.astype(np.float64) * scale
            seen = np.isfinite(metres) & (metres > 0)
            z = metres[seen]
            points = np.stack([(columns[seen] - cx) / fx * z, (rows[seen] - cy) / fy * z, z], axis=1)
            yield points @ pose[:3, :3].T + pose[:3, 3]

    def numbers(self, recording: Recording, episode: str, given, start: int, stop: int, read) -> np.ndarray:
        """Intrinsics (frames, 4) or poses (frames, 4, 4) of some frames, which are given once or a row a frame."""
        values, axes = given, 2 if read is read_extrinsics else 1
        if isinstance(given, str):
            where, shape = f"{recording.path}, episode {episode}: {given}", recording.entries(episode)[given].shape
            values = read(where, recording.read(episode, given, 0, shape[0]))
            if values.ndim > axes and len(values) < stop:
                raise InputError(
                    f"{where} has {len(values)} rows, but there are {stop} frames or more; give one a frame"
                )
        part = values[start:stop] if values.ndim > axes else values
        return np.broadcast_to(part, (stop - start, *values.shape[-axes:]))


class Cameras:
    """Clouds of depth images: those of all cameras joined, frame by frame."""

    def __init__(self, cameras: tuple[Camera, ...]):
        self.cameras = cameras
        self.keys = tuple(camera.depth for camera in cameras)
        self.fixed = tuple(key for camera in cameras for key in camera.fixed)

    @classmethod
    def usual(cls) -> Cameras:
        """One camera, whose images, intrinsics and extrinsics episodes have under these names."""
        return cls((Camera("depth", "intrinsics", "extrinsics"),))

    def check(self, where: str, shapes: dict[str, tuple[int, ...]]) -> None:
        """Raise an InputError unless the shapes of an episode's keys are those of depth images."""
        for key in self.keys:
            image_shape(where, key, shapes[key])

    def stored(self, shapes: dict[str, tuple[int, ...]]) -> int:
        """0: no cloud is stored."""
        return 0

    def clouds(self, recording: Recording, episode: str, length: int) -> Iterator[np.ndarray]:
        """The points (M, 3) float64 of each of an episode's first ``length`` frames."""
        entries = recording.entries(episode)
        widest = max((entries[key].shape for key in self.keys), key=math.prod)
        for start, stop in slabs(length, (length, len(self.keys), *widest[1:])):
            seen = [camera.points(recording, episode, start, stop) for camera in self.cameras]
            for parts in zip(*seen, strict=True):
                yield np.concatenate(parts)


def read_cameras(path: Path) -> tuple[Cameras, tuple[np.ndarray, np.ndarray] | None]:
    """The cameras of a file and its crop box (low (3,), high (3,)), None where it has none.

    Raises a MissingFileError if there is none, and an InputError that names the camera and the field that cannot be.
    """
    if not path.is_file():
        raise MissingFileError(f"no cameras at {path}; give a file such as docs/data.md shows")
    found = read_json(path)
    rows = found.get("cameras")
    if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
        raise InputError(f"{path}: cameras is {shown(rows)}; it is a list of cameras, each with {', '.join(FIELDS)}")
    if unknown := [name for name in found if name not in ("cameras", "crop")]:
        raise InputError(f"{path} has {', '.join(unknown)}; it has cameras, and crop")
    cameras = tuple(read_camera(f"{path}, camera {place}", row) for place, row in enumerate(rows))
    return Cameras(cameras), read_crop(f"{path}: crop", found["crop"]) if found.get("crop") is not None else None


def read_camera(where: str, row: dict) -> Camera:
    """The camera that a row of a file tells."""
    if unknown := [name for name in row if name not in FIELDS]:
        raise InputError(f"{where} has {', '.join(unknown)}; its fields are: {', '.join(FIELDS)}")
    if not isinstance(row.get("depth"), str) or "intrinsics" not in row:
        raise InputError(f"{where} needs depth, the key of its images, and intrinsics [fx, fy, cx, cy]")
    chosen = {name: row[name] for name in ("direction", "axes", "depth_scale") if name in row}
    look_up(DIRECTIONS, chosen.get("direction", "camera_to_world"), f"direction of {where}")
    look_up(AXES, chosen.get("axes", "opencv"), f"axes of {where}")
    scale = chosen.get("depth_scale", 1)
    if isinstance(scale, bool) or not isinstance(scale, int | float) or not 0 < scale < math.inf:
        raise InputError(f"{where}: depth_scale is {shown(scale)}; it is metres a unit, such as 0.001")
    lens, pose = row["intrinsics"], row.get("extrinsics", np.eye(4).tolist())
    lens = lens if isinstance(lens, str) else read_intrinsics(f"{where}: intrinsics", lens)
    pose = pose if isinstance(pose, str) else read_extrinsics(f"{where}: extrinsics", pose)
    return Camera(row["depth"], lens, pose, **chosen)


def read_crop(where: str, given) -> tuple[np.ndarray, np.ndarray]:
    """A box as (low (3,), high (3,)); an InputError if it is none."""
    corners = [given.get(name) for name in ("low", "high")] if isinstance(given, dict) else given
    low, high = array_of(where, corners, ((2, 3),))
    if not (low < high).all():
        raise InputError(f"{where} from {low.tolist()} to {high.tolist()}; low is below high, in all of x, y, z")
    return low, high


def read_intrinsics(where: str, given) -> np.ndarray:
    """fx, fy, cx, cy in pixels: (4,), or (frames, 4); of such numbers, or of matrices (3, 3)."""
    found = array_of(where, given, ((4,), (3, 3), (None, 4), (None, 3, 3)))
    if found.shape[-2:] == (3, 3):
        skewed = np.abs(found[..., 0, 1]) > SKEW * np.abs(found[..., 0, 0])
        if (found[..., 2, :] != (0, 0, 1)).any() or found[..., 1, 0].any() or skewed.any():
            raise InputError(f"{where} is {shown(given)}; give rows fx 0 cx, 0 fy cy, 0 0 1; transposed?")
        found = found[..., [0, 1, 0, 1], [0, 1, 2, 2]]
    if not (found[..., :2] > 0).all():
        raise InputError(f"{where}: focal lengths are {shown(found[..., :2].tolist())}; they are more than 0 pixels")
    return found


def read_extrinsics(where: str, given) -> np.ndarray:
    """Rigid motions as matrices: (4, 4), or (frames, 4, 4); the last row may be missing."""
    found = array_of(where, given, ((4, 4), (3, 4), (None, 4, 4), (None, 3, 4)))
    last = np.broadcast_to([0.0, 0, 0, 1], (*found.shape[:-2], 1, 4))
    turn = found[..., :3, :3]
    rigid = np.abs(turn @ turn.swapaxes(-1, -2) - np.eye(3)).max(initial=0) < RIGID and (np.linalg.det(turn) > 0).all()
    if not rigid or not np.array_equal(found[..., 3:, :], last[..., : found.shape[-2] - 3, :]):
        raise InputError(f"{where} is {shown(given)}; give a rotation, a place in metres, and (0, 0, 0, 1) below")
    return np.concatenate([found[..., :3, :], last], axis=-2)


def array_of(where: str, given, shapes: tuple[tuple[int | None, ...], ...]) -> np.ndarray:
    """Finite numbers float64 of one of these shapes, None standing for any length; else an InputError."""
    try:
        found = np.asarray(given)
    except ValueError:  # rows of several lengths
        found = np.asarray("")
    fits = any(
        len(found.shape) == len(shape) and all(b in (None, a) for a, b in zip(found.shape, shape, strict=True))
        for shape in shapes
    )
    if found.dtype.kind not in "fiu" or not fits or not np.isfinite(found).all():
        allowed = " or ".join(str(shape).replace("None", "frames") for shape in shapes)
        raise InputError(f"{where} is {shown(given)}; give finite numbers, {allowed}")
    return found.astype(np.float64)


def image_shape(where: str, key: str, shape: tuple[int, ...]) -> tuple[int, int]:
    """Height and width of images of this shape, frames first; an InputError if it is not that of depth images."""
    sizes = [*shape[1:]]
    while len(sizes) > 2 and 1 in (sizes[0], sizes[-1]):
        sizes.remove(1)
    if len(sizes) != 2 or 0 in sizes:
        raise InputError(f"{where}: {key} has the shape {shape}; give depth images, (frames, height, width)")
    return sizes[0], sizes[1]
