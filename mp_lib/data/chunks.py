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


def pieces(path: Path, files: Folder | Zip, array: zarr.Array) -> Iterator[tuple[str, int, int]]:
    """(file, first byte, bytes) of every stored chunk; of those within shards by the shards' own index."""
    inner = shard_of(array)
    for name in files.names(array.path):
        if Path(name).name in (".zarray", ".zattrs", "zarr.json"):
            continue
        if inner is None:
            yield name, 0, files.size(name)
            continue
        count = int(np.prod(array.shards)) // int(np.prod(inner.chunk_shape))
        place = files.size(name) - (16 * count + 4) if inner.index_location.value == "end" else 0
        index = files.read(name, max(0, place), 16 * count)
        if (
            place < 0
            or len(index) != 16 * count
            or [name_of(each) for each in inner.index_codecs] != ["bytes", "crc32c"]
        ):
            raise InputError(f"{path}: {name} is damaged: it has no index of its chunks; {COPY}")
        for start, length in np.frombuffer(index, "<u8").reshape(-1, 2).tolist():
            if start != NO_CHUNK:
                if start + length > files.size(name):
                    raise InputError(f"{path}: {name} is damaged: its index points beyond it; {COPY}")
                yield name, start, length


def is_stored(files: Folder | Zip, array: zarr.Array, frame: int) -> bool:
    """Whether a file holds a frame of an array, or zarr fills it in."""
    grid = array.shards or array.chunks
    first = array.metadata.encode_chunk_key((frame // grid[0], *(0 for _ in grid[1:])))
    return f"{array.path}/{first}" in {*files.names(array.path)}
