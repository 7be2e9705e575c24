"""Episodes of one task in one zarr directory, laid out as DP3 lays out its data sets.

::

    data/point_cloud (F, N, 3)   data/state (F, S)   data/action (F, A)      float32, F frames of all episodes
    meta/episode_ends (E,)                                                   int64, one past each episode's last frame
    attributes: whatever ``create`` was given, and "episodes", a row for each: {"frames", "checksum", ...}

Rewriting the attributes is the one commit point of an append: frames come first, then the ends, then
the attributes, and whatever lies beyond the episodes that the attributes list does not exist. Every
file, also the partial last chunk that an append rewrites, is replaced by a rename, so it is old or
new and never half. DP3's own data sets have no such list; there ``episode_ends`` decides. Those of DexArt keep
points on the robot apart, in ``data/imagin_robot`` (F, M, 3 or more); they are read as the last points of the clouds,
where DP3's encoder puts them.
"""

from __future__ import annotations

import copy
import hashlib
import json
import os
import shutil
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import numcodecs
import numpy as np
import zarr

from mp_lib.data.layout import KEYS, RESTORE, checked_arrays, committed_ends, load_frames, open_group, parts
from mp_lib.point_cloud import sample_farthest, without_padding
from mp_lib.system.files import writing

CHUNK_FRAMES = 100


class ReplayBuffer:
    """The demonstrations of one task; made by ``create`` or ``open``."""

    def __init__(self, path: Path, shapes: dict, episode_ends: np.ndarray, checksums: list[str], attributes: dict):
        self.path = path
        self.shapes = shapes
        self.episode_ends = episode_ends
        self.checksums = checksums
        self._attributes = attributes

    @classmethod
    def create(cls, path: str | Path, shapes: dict[str, tuple[int, ...]], attributes: dict) -> ReplayBuffer:
        """Make an empty store.

        ``shapes`` is the shape of one frame for each key: point_cloud (N, 3), state (S,), action (A,);
        ``attributes`` is JSON-able provenance. Raises FileExistsError if ``path`` is taken and OSError
        if it cannot be written.
        """
        path = Path(path)
        shapes = {key: tuple(shapes[key]) for key in KEYS}
        attributes = {**json.loads(json.dumps(attributes)), "episodes": []}
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise FileExistsError(f"{path} exists already; open it, choose another path or delete it")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.partial")
            shutil.rmtree(draft, ignore_errors=True)
            _write_empty(draft, shapes, attributes)
            draft.replace(path)
        return cls(path, shapes, np.zeros(0, np.int64), [], attributes)

    @classmethod
    def open(cls, path: str | Path) -> ReplayBuffer:
        """Open a store, this package's or DP3's, and verify every frame of it.

        What an interrupted append left behind the last whole episode is dropped and logged. Raises
        FileNotFoundError if there is nothing, ValueError if it is no such store or is damaged.
        """
        path = Path(path)
        group = open_group(path)
        attributes = group.attrs.asdict()
        arrays = checked_arrays(path, group)
        ends = committed_ends(path, group, arrays, attributes.get("episodes"))
        num_frames = int(ends[-1]) if len(ends) else 0
        frames = ((key, load_frames(path, key, arrays, num_frames)) for key in KEYS)
        checksums = _checksums(_finite(path, frames), ends)
        for episode, row in enumerate(attributes.get("episodes", [])):
            if row.get("checksum") != checksums[episode]:
                found = f"checksum {checksums[episode]}, {row.get('checksum')} was recorded"
                raise ValueError(f"{path}: the frames of episode {episode} are damaged ({found}); {RESTORE}")
        shapes = {key: arrays[key].shape[1:] for key in KEYS}
        shapes["point_cloud"] = (sum(array.shape[1] for array in parts(arrays, "point_cloud")), 3)
        return cls(path, shapes, ends, checksums, attributes)

    def append(self, episode: dict[str, np.ndarray], info: dict) -> None:
        """Add one episode, all of it or, if the process dies, nothing.

        ``episode``: point_cloud (L, N, 3), state (L, S), action (L, A), finite; ``info`` is a JSON-able
        row that is kept in ``attributes["episodes"]``. One writer at a time. Raises ValueError if the
        episode does not fit, OSError if it cannot be written.
        """
        if "episodes" not in self._attributes:
            raise ValueError(
                f"{self.path} was not recorded by this package and is not edited; record into another path"
            )
        frames = self._fitting(episode)
        length = len(frames["state"])
        start, total = self.num_frames, self.num_frames + length
        ends = np.append(self.episode_ends, total)
        checksum = _checksums(frames.items(), np.array([length]))[0]
        row = {**json.loads(json.dumps(info)), "frames": length, "checksum": checksum}
        attributes = {**self._attributes, "episodes": [*self._attributes["episodes"], row]}
        began = time.time_ns()
        with writing(self.path):
            for leftover in self.path.rglob("*.partial"):  # zarr's half-written files of a killed writer
                leftover.unlink()
            group = zarr.open_group(self.path, mode="r+", zarr_format=2)
            for key, values in frames.items():
                _extend(group[f"data/{key}"], start, values)
            _extend(group["meta/episode_ends"], self.num_episodes, ends[-1:])
            _flush(self.path, began)
            group.attrs.put(attributes)
            _flush(self.path, began)
        self.episode_ends, self._attributes = ends, attributes
        self.checksums = [*self.checksums, checksum]

    @property
    def num_episodes(self) -> int:
        """Number of episodes E."""
        return len(self.episode_ends)

    @property
    def num_frames(self) -> int:
        """Number of frames F of all episodes together."""
        return int(self.episode_ends[-1]) if self.num_episodes else 0

    @property
    def attributes(self) -> dict:
        """A copy of the provenance; empty for DP3's data sets."""
        return copy.deepcopy(self._attributes)

    def read(self, num_points: int | None = None) -> dict[str, np.ndarray]:
        """Return all frames in RAM: point_cloud (F, N, 3), state (F, S), action (F, A), float32.

        With ``num_points`` every cloud is sampled down to so many farthest points; ValueError if the
        store has fewer.
        """
        stored = self.shapes["point_cloud"][0]
        if num_points is not None and not 1 <= num_points <= stored:
            remedy = f"ask for 1 to {stored} or record with more points"
            raise ValueError(f"{self.path}: num_points={num_points}, but clouds have {stored} points; {remedy}")
        arrays = checked_arrays(self.path, open_group(self.path))
        frames = {key: load_frames(self.path, key, arrays, self.num_frames) for key in KEYS}
        if num_points not in (None, stored):
            frames["point_cloud"] = _sample_down(frames["point_cloud"], num_points)
        return frames

    def check(self, spec) -> ReplayBuffer:
        """Return self if these are demonstrations of the ``TaskSpec`` ``spec``; raise ValueError if not."""
        task, state = self._attributes.get("task", spec.name), self.shapes["state"][0]
        found = f"{task} with state {self.shapes['state']} and action {self.shapes['action']}"
        known = state if state in spec.other_states else spec.state_dim
        expected = f"{spec.name} with state {(known,)} and action {(spec.action_dim,)}"
        if found != expected:
            raise ValueError(f"{self.path} holds {found}, {expected} is expected; give the demonstrations of that")
        return self

    def content_hash(self) -> str:
        """Return a hash of the frames and the recording's settings: equal where training would be the same."""
        settings = {key: self._attributes.get(key) for key in ("task", "expert", "settings")}
        text = json.dumps([settings, self.shapes, self.checksums], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def _fitting(self, episode: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
        if set(episode) != set(KEYS):
            raise ValueError(f"an episode with {sorted(episode)} was given; expected exactly {sorted(KEYS)}")
        length = len(episode["state"])
        frames = {}
        for key in KEYS:
            values, shape = np.asarray(episode[key]), (length, *self.shapes[key])
            if length == 0 or values.shape != shape:
                raise ValueError(
                    f"{key} {values.shape} was given, but {self.path} takes {shape} with one frame or more"
                )
            frames[key] = np.ascontiguousarray(values, dtype="<f4")
        return dict(_finite(self.path, frames.items()))


def _write_empty(path: Path, shapes: dict, attributes: dict) -> None:
    group = zarr.create_group(path, zarr_format=2, attributes=attributes)
    layout = {f"data/{key}": (shapes[key], "<f4") for key in KEYS} | {"meta/episode_ends": ((), "<i8")}
    for name, (shape, dtype) in layout.items():
        # Not Blosc, which reads and writes anywhere in memory where a chunk's header is damaged.
        group.create_array(
            name,
            shape=(0, *shape),
            chunks=(CHUNK_FRAMES, *shape),
            dtype=dtype,
            filters=[numcodecs.Shuffle(np.dtype(dtype).itemsize)],
            compressors=numcodecs.Zstd(level=3, checksum=True),
        )


def _flush(path: Path, since: int) -> None:
    # To the disk, so that what the attributes list is there even if the machine loses its power.
    for place in (path, *path.rglob("*")):
        if place.is_dir() or place.stat().st_mtime_ns >= since - 10**9:
            descriptor = os.open(place, os.O_RDONLY)
            try:
                os.fsync(descriptor)
            finally:
                os.close(descriptor)


def _extend(array: zarr.Array, start: int, values: np.ndarray) -> None:
    # Also cuts off what a killed append left behind `start`; frames before it are in no file that is not whole.
    array.resize((start + len(values), *array.shape[1:]))
    array[start:] = values


def _finite(path: Path, frames: Iterable[tuple[str, np.ndarray]]) -> Iterator[tuple[str, np.ndarray]]:
    for key, values in frames:
        if not np.isfinite(values).all():
            frame = int(np.argwhere(~np.isfinite(values))[0, 0])
            raise ValueError(f"{path}: {key} of frame {frame} is not finite; leave that episode out and record another")
        yield key, values


def _checksums(frames: Iterable[tuple[str, np.ndarray]], ends: np.ndarray) -> list[str]:
    """Return one blake2b of each episode's bytes, keys in the order of ``KEYS``."""
    hashes = [hashlib.blake2b(digest_size=16) for _ in ends]
    starts = ends - np.diff(ends, prepend=0)
    for key, values in frames:
        for digest, start, end in zip(hashes, starts, ends, strict=True):
            digest.update(f"{key}{values[start:end].shape}".encode())
            digest.update(values[start:end])
    return [digest.hexdigest() for digest in hashes]


def _sample_down(clouds: np.ndarray, num_points: int) -> np.ndarray:
    return np.stack([sample_farthest(without_padding(cloud), num_points) for cloud in clouds])
