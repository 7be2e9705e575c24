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
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import numcodecs
import numpy as np
import zarr

from mp_lib.data.frames import checked_slabs, checksums_of
from mp_lib.data.layout import KEYS, MARK, RESTORE, SLAB_BYTES, Layout, is_ours, parsing
from mp_lib.point_cloud import sample_farthest, without_padding
from mp_lib.system.errors import InputError, is_count
from mp_lib.system.files import writing
from mp_lib.system.paths import from_home
from mp_lib.system.progress import track

CHUNK_FRAMES = 100


class ReplayBuffer:
    """The demonstrations of one task; made by ``create`` or ``open``."""

    def __init__(self, path: Path, shapes: dict, episode_ends: np.ndarray, checksums: list[str], attributes: dict):
        self.path = path
        self.shapes = shapes
        self.episode_ends = episode_ends
        self.checksums = checksums
        self._attributes = attributes
        self.notes: list[str] = []  # in one line each what reading has left out
        self._layout: Layout | None = None  # as it was opened and verified
        self.chosen: tuple[int, ...] | None = None  # which episodes are trained on; None: all

    @classmethod
    def create(cls, path: str | Path, shapes: dict[str, tuple[int, ...]], attributes: dict) -> ReplayBuffer:
        """Make an empty store.

        ``shapes`` is the shape of one frame for each key: point_cloud (N, 3), state (S,), action (A,);
        ``attributes`` is JSON-able provenance. Raises FileExistsError if ``path`` is taken and OSError
        if it cannot be written.
        """
        path = Path(path)
        shapes = {key: tuple(shapes[key]) for key in KEYS}
        attributes = {**json.loads(json.dumps(attributes)), "layout": MARK, "episodes": []}
        if path.exists() and not (path.is_dir() and not any(path.iterdir())):
            raise FileExistsError(f"{path} exists already; open it, choose another path or move it away")
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            draft = path.with_name(f".{path.name}.partial")
            shutil.rmtree(draft, ignore_errors=True)
            _write_empty(draft, shapes, attributes)
            draft.replace(path)
        return cls(path, shapes, np.zeros(0, np.int64), [], attributes)

    @classmethod
    def open(cls, path: str | Path) -> ReplayBuffer:
        """Open a store, this package's, DP3's or another in its layout, and verify every frame of it.

        What an interrupted append left behind the last whole episode is dropped and logged; what reading leaves out
        (colours, empty takes, points that are no numbers) is logged and kept in ``notes``. Raises FileNotFoundError if
        there is nothing, an InputError if it is no such store or is damaged, by frame where it can be told.
        """
        path = from_home("path", path)
        layout = Layout.open(path)
        attributes = layout.attributes
        ours = is_ours(attributes)
        ends = layout.ends(attributes["episodes"] if ours else None)
        checksums = checksums_of(((key, checked_slabs(layout, key, ends)) for key in KEYS), layout.shapes(), ends)
        for episode, row in enumerate(attributes["episodes"] if ours else []):
            if row["checksum"] != checksums[episode]:
                found = f"checksum {checksums[episode]}, {row['checksum']} was recorded"
                raise InputError(f"{path}: the frames of episode {episode} are damaged ({found}); {RESTORE}")
        buffer = cls(path, layout.shapes(), ends, checksums, attributes if ours else {})
        buffer.notes, buffer._layout = layout.notes, layout
        return buffer

    def append(self, episode: dict[str, np.ndarray], info: dict) -> None:
        """Add one episode, all of it or, if the process dies, nothing.

        ``episode``: point_cloud (L, N, 3), state (L, S), action (L, A), finite; ``info`` is a JSON-able
        row that is kept in ``attributes["episodes"]``. One writer at a time. Raises ValueError if the
        episode does not fit, OSError if it cannot be written.
        """
        if not self._attributes:
            raise InputError(
                f"{self.path} was not recorded by this package and is not edited; record into another path"
            )
        frames = self._fitting(episode)
        length = len(frames["state"])
        start, total = self.num_frames, self.num_frames + length
        ends = np.append(self.episode_ends, total)
        parts = ((key, [(0, values)]) for key, values in frames.items())
        checksum = checksums_of(parts, self.shapes, np.array([length]))[0]
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
        self.episode_ends, self._attributes, self._layout = ends, attributes, None
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
        """A copy of the provenance; empty for stores of others, whose attributes say nothing here."""
        return copy.deepcopy(self._attributes)

    def read(self, num_points: int | None = None, keys: Sequence[str] = KEYS) -> dict[str, np.ndarray]:
        """Return all frames in RAM, of those keys: point_cloud (F, N, 3), state (F, S), action (F, A), float32.

        With ``num_points`` every cloud is sampled down to so many farthest points; ValueError if the
        store has fewer.
        """
        stored = self.shapes["point_cloud"][0]
        if num_points is not None and not (is_count(num_points) and num_points <= stored):
            remedy = f'ask for 1 to {stored}, in 03_train by overrides={{"num_points": {stored}}}'
            raise InputError(f"{self.path}: num_points={num_points!r}, but clouds have {stored} points; {remedy}")
        layout, found = self._layout or Layout.open(self.path), {}
        shapes = self.shapes | {"point_cloud": (num_points or stored, 3)}
        with track(len(keys) * self.num_frames, f"read {self.path.name}") if self.is_large() else nullcontext() as bar:
            for key in keys:
                with parsing(self.path, key, RESTORE):
                    found[key] = np.empty((self.num_frames, *shapes[key]), "<f4")
                # What has been found finite when it was opened is not looked at twice.
                clean = self._layout and not (layout.spoiled and key == "point_cloud")
                parts = (layout, key, self.episode_ends, found[key])
                for start, frames in layout.slabs(key, self.num_frames, found[key]) if clean else checked_slabs(*parts):
                    if frames.base is not found[key]:
                        sampled = frames if frames.shape[1:] == shapes[key] else _sample_down(frames, num_points)
                        found[key][start : start + len(frames)] = sampled
                    if bar:
                        bar.advance(len(frames))
        return found

    def is_large(self) -> bool:
        """Whether reading it takes so long that one wants to see how far it is."""
        return self.num_frames * sum(4 * int(np.prod(shape)) for shape in self.shapes.values()) > 4 * SLAB_BYTES

    def check(self, spec) -> ReplayBuffer:
        """Return self if these are demonstrations of the ``TaskSpec`` ``spec``; raise ValueError if not."""
        task, state = self._attributes.get("task", spec.name), self.shapes["state"][0]
        found = f"{task} with state {self.shapes['state']} and action {self.shapes['action']}"
        known = state if state in spec.other_states else spec.state_dim
        expected = f"{spec.name} with state {(known,)} and action {(spec.action_dim,)}"
        if found != expected:
            raise InputError(f"{self.path} holds {found}, {expected} is expected; give the demonstrations of that")
        return self

    def choose(self, num_demos: int | None = None, demo_episodes: Sequence[int] | None = None) -> ReplayBuffer:
        """The same store with those episodes alone to be trained on: the first ``num_demos``, or ``demo_episodes``.

        An InputError says how many there are if it has fewer.
        """
        there = f"{self.path} has {self.num_episodes} episodes"
        if num_demos is not None and (type(num_demos) is not int or not 1 <= num_demos <= self.num_episodes):
            raise InputError(f"{there}, num_demos {num_demos} given; give 1 to {self.num_episodes}")
        given = range(num_demos or self.num_episodes) if demo_episodes is None else list(demo_episodes)
        if demo_episodes is not None and num_demos not in (None, len(given)):
            raise InputError(f"num_demos {num_demos} and demo_episodes {given} given; give one of them")
        known = all(type(each) is int and 0 <= each < self.num_episodes for each in given)
        if not known or not len(given) or len({*given}) < len(given):
            raise InputError(
                f"{there}, {given!s:.80} were asked for; choose each once, from 0 to {self.num_episodes - 1}"
            )
        found = copy.copy(self)
        found.chosen = None if len(given) == self.num_episodes else tuple(given)
        return found

    @property
    def demo_episodes(self) -> tuple[int, ...]:
        """Which episodes are trained on."""
        return tuple(range(self.num_episodes)) if self.chosen is None else self.chosen

    @property
    def num_demos(self) -> int:
        """How many episodes are trained on."""
        return len(self.demo_episodes)

    def content_hash(self) -> str:
        """Return a hash of what a training depends on: frames trained on, the recording's settings, kinds if told."""
        settings = {key: self._attributes.get(key) for key in ("task", "expert", "settings")}
        if kinds := self._attributes.get("kinds"):  # where none are told, runs keep the hash that they were made with
            settings["kinds"] = kinds
        checksums = [self.checksums[episode] for episode in self.demo_episodes]
        text = json.dumps([settings, self.shapes, checksums], sort_keys=True)
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
            if not np.isfinite(frames[key]).all():
                frame = int(np.argwhere(~np.isfinite(frames[key]))[0, 0])
                raise ValueError(f"{key} of frame {frame} is not finite; leave that episode out and record another")
        return frames


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


def _sample_down(clouds: np.ndarray, num_points: int) -> np.ndarray:
    return np.stack([sample_farthest(without_padding(cloud), num_points) for cloud in clouds])
