"""The chunks of an array as they are stored: through which codecs, which of them are there, whether they are safe.

Nothing here decompresses: what is checked is what a decompressor would have to trust.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import zarr
from zarr.codecs import ShardingCodec

from mp_lib.data.container import Folder, Zip
from mp_lib.system.errors import InputError

# Which decompress or reorder and do nothing else, by numcodecs' names and by those of zarr's format 3.
CODECS = ("zstd", "shuffle", "blosc", "zlib", "gzip", "lz4", "bz2", "lzma")
FORMAT_3 = ("bytes", "transpose", "crc32c", "zstd", "blosc", "gzip", *(f"numcodecs.{name}" for name in CODECS))
NO_CHUNK = 2**64 - 1  # offset of an inner chunk that a shard does not hold
COPY = "copy the data set again"


def codecs_of(array: zarr.Array) -> list:
    """The codecs of an array, those within shards included."""
    metadata = array.metadata
    if metadata.zarr_format == 2:
        return [codec for codec in (*(metadata.filters or ()), metadata.compressor) if codec is not None]
    found = list(metadata.codecs)
    for codec in found:  # which grows meanwhile
        found += [*codec.codecs, *codec.index_codecs] if isinstance(codec, ShardingCodec) else []
    return found


def name_of(codec) -> str:
    """What metadata call a codec."""
    if hasattr(codec, "codec_id"):
        return codec.codec_id
    return codec.to_dict()["name"]


def refuse_codecs(path: Path, key: str, array: zarr.Array) -> list[str]:
    """The names of an array's codecs; an InputError if one does more than decompress and reorder.

    One of numcodecs' codecs is pickle, which runs what it reads; none runs before an array is read.
    """
    names = [name_of(codec) for codec in codecs_of(array)]
    allowed = CODECS if array.metadata.zarr_format == 2 else (*FORMAT_3, "sharding_indexed")
    if foreign := [name for name in names if name not in allowed]:
        raise InputError(
            f"{path}: {key} is stored through {', '.join(foreign)}; nothing was read; give a store that uses "
            f"{', '.join(CODECS)} alone"
        )
    return names


def check_blosc(path: Path, files: Folder | Zip, array: zarr.Array) -> None:
    """Raise an InputError if a chunk's header does not fit: Blosc trusts its sizes with the process's memory."""
    inner = shard_of(array)
    size = int(np.prod(inner.chunk_shape if inner else array.chunks)) * array.dtype.itemsize
    for name, start, length in pieces(path, files, array):
        header = files.read(name, start, 16)
        announced = struct.unpack("<4xI4xI", header) if len(header) == 16 else None  # bytes 4 to 8 and 12 to 16
        if announced != (size, length):
            raise InputError(f"{path}: {name} is damaged: it has another header; {COPY}")


def shard_of(array: zarr.Array) -> ShardingCodec | None:
    """The codec that packs several chunks of an array into a file, if one does."""
    return next((codec for codec in codecs_of(array) if isinstance(codec, ShardingCodec)), None)


def chunk_files(files: Folder | Zip, array: zarr.Array) -> Iterator[tuple[tuple[int, ...], str | None]]:
    """Each place in the grid of an array's files, and the file that zarr reads there; None if there is none."""
    grid, within = array.shards or array.chunks, array.path.removeprefix(files.inside)
    for place in np.ndindex(*(-(-size // each) for size, each in zip(array.shape, grid, strict=True))):
        name = f"{within}/{array.metadata.encode_chunk_key(place)}"
        yield place, name if files.has(name) else None


def inner_chunks(path: Path, files: Folder | Zip, array: zarr.Array, name: str) -> np.ndarray:
    """(first byte, bytes) of each chunk in a shard, by the shard's own index, in the order of its grid; checked."""
    inner = shard_of(array)
    count = int(np.prod(array.shards)) // int(np.prod(inner.chunk_shape))
    place = files.size(name) - (16 * count + 4) if inner.index_location.value == "end" else 0
    index = files.read(name, max(0, place), 16 * count)
    known = [name_of(each) for each in inner.index_codecs] == ["bytes", "crc32c"]
    if place < 0 or len(index) != 16 * count or not known:
        raise InputError(f"{path}: {name} is damaged: it has no index of its chunks; {COPY}")
    found = np.frombuffer(index, "<u8").reshape(-1, 2)
    beyond = [start + length > files.size(name) for start, length in found.tolist() if start != NO_CHUNK]
    if any(beyond):
        raise InputError(f"{path}: {name} is damaged: its index points beyond it; {COPY}")
    return found


def pieces(path: Path, files: Folder | Zip, array: zarr.Array) -> Iterator[tuple[str, int, int]]:
    """(file, first byte, bytes) of every stored chunk."""
    for _, name in chunk_files(files, array):
        if name and shard_of(array):
            found = inner_chunks(path, files, array, name).tolist()
            yield from ((name, start, length) for start, length in found if start != NO_CHUNK)
        elif name:
            yield name, 0, files.size(name)


def holes(path: Path, files: Folder | Zip, array: zarr.Array, num_frames: int) -> list[int]:
    """The first frames of chunks, in order, that are stored nowhere, wholly or in part, so that zarr fills them in."""
    found, inner = set(), shard_of(array)
    for place, name in chunk_files(files, array):
        first = place[0] * (array.shards or array.chunks)[0]
        if name is None:
            found.add(first)
        elif inner:
            blank = inner_chunks(path, files, array, name)[:, 0] == NO_CHUNK
            shape = [whole // part for whole, part in zip(array.shards, inner.chunk_shape, strict=True)]
            rows = np.flatnonzero(blank.reshape(shape[0], -1).any(1))
            found |= {first + int(row) * inner.chunk_shape[0] for row in rows}
    return sorted(frame for frame in found if frame < num_frames)
