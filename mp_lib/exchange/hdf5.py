"""Recordings in HDF5: robomimic's data/demo_N, ManiSkill's traj_N, or a file an episode.

Only what lies in the file itself is read: data in other files are refused by name, and so are soft and external links,
since either may lead into another file, and filters that HDF5 would load from a library of its own.
"""

from __future__ import annotations

import math
import posixpath
import re
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mp_lib.exchange.reading import RESTORE, Entry, files_of, in_order, reading, size_of
from mp_lib.system.errors import InputError

if TYPE_CHECKING:
    import h5py

ENDINGS = (".h5", ".hdf5", ".hdf")
NUMBERED = re.compile(r"(.*?)[_-]?\d+")  # an episode's group, such as demo_0, traj_0, episode-3
FILTERS = {1: "gzip", 2: "shuffle", 3: "fletcher32", 4: "szip", 5: "nbit", 6: "scaleoffset", 32000: "lzf"}
DEEPEST = 16  # groups within groups
MOST_KEYS = 10_000  # of an episode
LINKS = "links are not read: copy what it leads to in its place"
OUTSIDE = "only what lies in the file itself is read: h5repack, or copy it into one file"


class Hdf5Recording:
    """A ``Recording`` as of ``mp_lib.exchange.reading``."""

    fps, tasks, kinds, units = None, {}, {}, {}

    def __init__(self, path: Path):
        self.path, files = path, files_of(path, ENDINGS)
        self.places: dict[str, tuple[Path, str]] = {}
        for stem, file in files.items():
            with reading(file, "the list of episodes"), open_file(file) as content:
                groups = episode_groups(content)
            names = {group: posixpath.basename(group) or stem for group in groups}
            prefix = f"{stem}/" if len(files) > 1 and groups != ["/"] else ""
            self.places |= {prefix + names[group]: (file, group) for group in groups}
        self.episodes = [*self.places]

    def entries(self, episode: str) -> dict[str, Entry]:
        """As of ``Recording``."""
        file, group = self.places[episode]
        with reading(file, f"the group {group}"), open_file(file) as content:
            if group != "/" and not lies_in(content, group):
                raise InputError(f"{file}: {group} is a link; {LINKS}, or leave it out by --without {episode}")
            return dict(walk(content[group]))

    def read(self, episode: str, key: str, start: int, stop: int) -> np.ndarray:
        """As of ``Recording``."""
        file, group = self.places[episode]
        name = posixpath.join(group, key)
        with reading(file, name), open_file(file) as content:
            array = content[name]
            size_of(file, name, (stop - start, *array.shape[1:]), array.dtype.itemsize)
            check_whole(file, name, array)
            return np.asarray(array[start:stop])


def open_file(path: Path) -> h5py.File:
    """An HDF5 file to be read, without a lock, which some network file systems refuse."""
    import h5py

    return h5py.File(path, "r", locking=False)


def episode_groups(content: h5py.File) -> list[str]:
    """The groups of a file that are episodes, else its top.

    They are numbered, and nothing else stands in the group "data", or at the top, which they stand in. One that is a
    link is an episode, too, which ``entries`` refuses.
    """
    import h5py

    for place in ["/data", "/"] if lies_in(content, "data") else ["/"]:
        group = content[place]
        names = [*group] if isinstance(group, h5py.Group) else []
        found = [NUMBERED.fullmatch(name) for name in names]
        if not names or not all(found) or len({each[1] for each in found}) > 1:
            continue
        if all(not lies_in(group, name) or group.get(name, getclass=True) is h5py.Group for name in names):
            return [posixpath.join(place, name) for name in in_order(names)]
    return ["/"]


def lies_in(group: h5py.Group, name: str) -> bool:
    """Whether a name in a group is there and no soft or external link, which to ask for more is to follow."""
    import h5py

    return isinstance(group.get(name, getlink=True), h5py.HardLink)


def walk(top: h5py.Group) -> Iterator[tuple[str, Entry]]:
    """(key, entry) of what lies in a group and its groups; what is a link has a fault.

    An InputError if that is more than an episode holds. All that is met counts, however often: a group may stand in
    many others, so that a small file has paths without end.
    """
    import h5py

    groups, met = [(top, "", 0)], 0
    for group, prefix, depth in groups:
        met += len(group)
        if depth > DEEPEST or met > MOST_KEYS:
            raise InputError(f"{top.file.filename}: {top.name} holds more than an episode does; {RESTORE}")
        for name in group:
            link, key = group.get(name, getlink=True), prefix + name
            if not isinstance(link, h5py.HardLink):
                where = getattr(link, "filename", "") or getattr(link, "path", "")
                yield key, Entry((), "link", f"is a link to {where}; {LINKS}")
                continue
            item = group[name]
            if isinstance(item, h5py.Group):
                groups.append((item, f"{key}/", depth + 1))
            elif isinstance(item, h5py.Dataset):
                yield key, Entry(item.shape or (), str(item.dtype), fault_of(item))


def fault_of(array: h5py.Dataset) -> str:
    """Why a data set is not read; "" if it is."""
    if array.external or (array.is_virtual and any(each.file_name != "." for each in array.virtual_sources())):
        return f"takes its numbers from another file; {OUTSIDE}"
    settings = array.id.get_create_plist()
    filters = [settings.get_filter(place)[0] for place in range(settings.get_nfilters())]
    if unknown := [number for number in filters if number not in FILTERS]:
        return f"is stored by filter {unknown[0]}; h5repack with one of: {', '.join(FILTERS.values())}"
    if array.dtype.kind not in "fiub":
        return f"is {array.dtype}; give an array of numbers"
    return "" if array.shape is not None else "is empty"


def check_whole(path: Path, name: str, array: h5py.Dataset) -> None:
    """Raise an InputError for one of whose frames some are stored nowhere, which HDF5 would read as zeros."""
    size = math.prod(array.shape) * array.dtype.itemsize
    if array.chunks:
        expected = math.prod(-(-length // each) for length, each in zip(array.shape, array.chunks, strict=True))
        there = array.id.get_num_chunks()
    else:
        expected, there = size, size if array.is_virtual else array.id.get_storage_size()
    if size and there < expected:
        raise InputError(f"{path}: {name} {array.shape} has frames that are stored nowhere; {RESTORE}")
