"""Recordings as .npz files, one an episode, with any names of arrays; nothing is unpickled."""

from __future__ import annotations

import zipfile
from pathlib import Path

import numpy as np
from numpy.lib import format as npy

from mp_lib.exchange.reading import RESTORE, Entry, files_of, reading, size_of
from mp_lib.system.errors import InputError

ENDINGS = (".npz",)
HEADERS = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}
MOST_DEFLATED = 1032  # times smaller than itself at most is what deflate makes of a file (zlib's technical details)
OBJECTS = "holds Python objects, which are not unpickled; save it as an array of numbers"


class NpzRecording:
    """A ``Recording`` as of ``mp_lib.exchange.reading``; arrays of the episode in hand stay in memory."""

    fps, tasks, kinds, units = None, {}, {}, {}

    def __init__(self, path: Path):
        self.path, self.files = path, files_of(path, ENDINGS)
        self.episodes = [*self.files]
        self._held: tuple[str, dict[str, np.ndarray]] = ("", {})

    def entries(self, episode: str) -> dict[str, Entry]:
        """As of ``Recording``."""
        file, found = self.files[episode], {}
        with reading(file, "the list of arrays"), zipfile.ZipFile(file) as archive:
            for member in archive.infolist():
                key, ending, rest = member.filename.rpartition(".npy")
                if not ending or rest:  # of which NumPy knows nothing
                    continue
                with archive.open(member) as content:
                    version = npy.read_magic(content)
                    shape, _, dtype = HEADERS[version](content) if version in HEADERS else ((), False, np.dtype("V"))
                fault = OBJECTS if dtype.hasobject else "" if version in HEADERS else f"is of version {version} of .npy"
                found[key] = Entry(shape, str(dtype), fault)
        return found

    def read(self, episode: str, key: str, start: int, stop: int) -> np.ndarray:
        """As of ``Recording``."""
        if self._held[0] != episode:
            self._held = (episode, {})
        held = self._held[1]
        if key not in held:
            with reading(self.files[episode], key), zipfile.ZipFile(self.files[episode]) as archive:
                held[key] = whole(self.files[episode], archive, key)
        return held[key][start:stop]


def whole(path: Path, archive: zipfile.ZipFile, key: str) -> np.ndarray:
    """An array of an open .npz, whose size is that of its file and whose checksum holds."""
    member = archive.getinfo(f"{key}.npy")
    with archive.open(member) as content:
        shape, by_columns, dtype = header(content)
        size = size_of(path, key, shape, dtype.itemsize)
        if size != member.file_size - content.tell() or member.file_size > MOST_DEFLATED * (member.compress_size + 64):
            raise InputError(f"{path}: {key} {shape} {dtype} does not fit its {member.file_size} bytes; {RESTORE}")
        found = content.read(size + 1)  # to the end, where the checksum is compared
    return np.frombuffer(found, dtype).reshape(shape, order="F" if by_columns else "C")


def header(content) -> tuple[tuple[int, ...], bool, np.dtype]:
    """Shape, whether by columns, and dtype of an open .npy file, which is read up to its numbers."""
    version = npy.read_magic(content)
    if version not in HEADERS:
        raise ValueError(f"version {version} of the .npy format is not read")
    return HEADERS[version](content)
