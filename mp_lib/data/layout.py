"""The layout of demonstrations in zarr: read where a store has it, and refused in one line where it has not."""

from __future__ import annotations

import contextlib
import errno
import logging
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr

log = logging.getLogger(__name__)

KEYS = ("point_cloud", "state", "action")
IMAGINED = "imagin_robot"
RANKS = {"point_cloud": 3, "state": 2, "action": 2, IMAGINED: 3}
CODECS = ("zstd", "shuffle", "blosc", "zlib", "gzip", "lz4", "bz2", "lzma")  # which decompress and do nothing else
LAYOUT = "data/point_cloud (F,N,3), data/state (F,S), data/action (F,A) and meta/episode_ends (E,)"
PASSING = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE)  # errors of the machine, not of the data
RESTORE = "restore it from a copy, or delete it and record it again"


@contextlib.contextmanager
def parsing(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Let an error in the block be a ValueError that names the store, ``what`` was read of it, and the remedy.

    What is no fault of the data, a missing permission or an error of the machine, stays an OSError.
    """
    try:
        yield
    except PermissionError:
        raise
    except Exception as error:  # on broken bytes zarr and its codecs raise whatever their parsers raise
        if isinstance(error, OSError) and error.errno in PASSING:
            raise OSError(error.errno, f"{path}: {what} cannot be read now ({error.strerror}); try again") from error
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{path}: {what} cannot be read ({found}); {remedy}") from error


def open_group(path: Path) -> zarr.Group:
    """The zarr group at ``path``; FileNotFoundError if there is nothing, ValueError if that is no group."""
    if not path.exists():
        raise FileNotFoundError(f"no demonstrations at {path}; record them first or correct the path")
    with parsing(path, "the group", f"give a zarr directory with {LAYOUT}"):
        # Consolidated metadata would be a second, unchecked description of the arrays.
        return zarr.open_group(path, mode="r", zarr_format=2, use_consolidated=False)


def checked_arrays(path: Path, group: zarr.Group) -> dict[str, zarr.Array]:
    """The arrays of a store by key, with episode_ends; a ValueError if one is missing, or is not what it should be.

    Of their frames nothing is read yet.
    """
    names = {key: f"data/{key}" for key in KEYS} | {"episode_ends": "meta/episode_ends"}
    with parsing(path, "the metadata of an array", RESTORE):
        arrays = {key: group.get(name) for key, name in names.items()}
        imagined = group.get(f"data/{IMAGINED}")
    missing = [names[key] for key, array in arrays.items() if not isinstance(array, zarr.Array)]
    if missing:
        raise ValueError(f"{path}: has no array {', '.join(missing)}; give a store with {LAYOUT}")
    if isinstance(imagined, zarr.Array):
        arrays[IMAGINED] = imagined
    for key, array in arrays.items():
        _refuse_codecs(path, key, array)
    for key in [key for key in RANKS if key in arrays]:
        shape, kind, rank = arrays[key].shape, arrays[key].dtype.kind, RANKS[key]
        if len(shape) != rank or kind != "f" or (rank == 3 and shape[-1] < 3):
            raise ValueError(f"{path}: {key} is {arrays[key].dtype} {shape}; give floats, {LAYOUT}")
    return arrays


def _refuse_codecs(path: Path, key: str, array: zarr.Array) -> None:
    # One of numcodecs' codecs is pickle, which runs what it reads; none runs before an array is read.
    metadata = array.metadata
    names = [codec.codec_id for codec in (*(metadata.filters or ()), metadata.compressor) if codec is not None]
    if foreign := [name for name in names if name not in CODECS]:
        raise ValueError(
            f"{path}: {key} is stored through {', '.join(foreign)}; nothing was read; give a store that uses "
            f"{', '.join(CODECS)} alone"
        )
    if array.dtype.kind not in "fiu":
        raise ValueError(f"{path}: {key} is {array.dtype}; give numbers, {LAYOUT}")
    if "blosc" in names:
        _check_blosc_headers(path, array)


def _check_blosc_headers(path: Path, array: zarr.Array) -> None:
    # Blosc trusts the sizes in a chunk's header (bytes 4 to 8 and 12 to 16) with the process's memory.
    size = int(np.prod(array.chunks)) * array.dtype.itemsize
    for chunk in (path / array.path).rglob("*"):
        if chunk.name.startswith(".") or not chunk.is_file():
            continue
        with open(chunk, "rb") as file:
            header = file.read(16)
        announced = struct.unpack("<4xI4xI", header) if len(header) == 16 else None
        if announced != (size, chunk.stat().st_size):
            raise ValueError(f"{path}: {array.path}/{chunk.name} is damaged: it has another header; {RESTORE}")


def parts(arrays: dict[str, zarr.Array], key: str) -> list[zarr.Array]:
    """The arrays that together make up what is stored as ``key``."""
    return [arrays[name] for name in (key, *([IMAGINED] if key == "point_cloud" else [])) if name in arrays]


def committed_ends(path: Path, group: zarr.Group, arrays: dict, rows: list[dict] | None) -> np.ndarray:
    """Return the ends (E,) of the episodes that are wholly there."""
    with parsing(path, "episode_ends", RESTORE):
        found = arrays["episode_ends"][:].astype(np.int64)
    lengths = [array.shape[0] for key in KEYS for array in parts(arrays, key)]
    length = min(lengths)
    if rows is None:
        ends = found[: int(np.sum(found <= length))]
        if not len(ends):
            raise ValueError(f"{path}: no whole episode among {length} frames, episode_ends {found}; {RESTORE}")
        _refuse_missing_chunks(path, arrays)
    else:
        with parsing(path, 'the attribute "episodes"', RESTORE):
            ends = np.cumsum([row["frames"] for row in rows], dtype=np.int64)
    if not np.array_equal(found[: len(ends)], ends) or np.any(np.diff(ends, prepend=0) <= 0) or np.any(ends > length):
        raise ValueError(f"{path}: episode_ends {found} do not rise or do not fit {length} frames; {RESTORE}")
    surplus = max(lengths) - (ends[-1] if len(ends) else 0)
    if surplus or len(found) > len(ends):
        log.warning("%s: dropped %d frames behind the last whole episode (%d)", path, surplus, len(ends))
    return ends


def _refuse_missing_chunks(path: Path, arrays: dict) -> None:
    # zarr reads a chunk whose file is missing as zeros; where there are no checksums nothing else would tell.
    for key in [key for key in RANKS if key in arrays]:
        there, expected = arrays[key].nchunks_initialized, arrays[key].nchunks
        if there < expected:
            raise ValueError(f"{path}: {key} has {there} of {expected} chunk files; copy the data set again")


def load_frames(path: Path, key: str, arrays: dict[str, zarr.Array], num_frames: int) -> np.ndarray:
    """Return the first ``num_frames`` frames, float32; colours and labels behind xyz are left out."""
    with parsing(path, key, RESTORE):
        values = [array[:num_frames] for array in parts(arrays, key)]
    if key == "point_cloud":
        values = [points[..., :3] for points in values]
    whole = values[0] if len(values) == 1 else np.concatenate(values, axis=1)
    return np.ascontiguousarray(whole, dtype="<f4")
