"""What lies at a path that should hold demonstrations: zarr of format 2 or 3 in a folder or a zip, or something else.

Opening reads metadata alone. What is no store is told apart, each kind in a line of its own.
"""

from __future__ import annotations

import functools
import json
import re
import zipfile
from pathlib import Path

import zarr
from zarr.storage import ZipStore

from mp_lib.system.errors import InputError, MissingFileError

LAYOUT = "data/point_cloud (F,N,3), data/state (F,S), data/action (F,A) and meta/episode_ends (E,)"
MARKS = {".zgroup": 2, "zarr.json": 3}  # of a zarr group, and the format that each is of
ENDS = re.compile(r"(?!__MACOSX/)((?:.*/)?)meta/episode_ends/.*[^/]")  # files of an array that every store has once
PARTS = ("data/point_cloud", "data/action", "meta/episode_ends")
HIDDEN = "some programs leave files out whose names begin with a dot; copy it again with them (cp -a, rsync -a, zip -r)"
HDF5 = b"\x89HDF\r\n\x1a\n"
MOST_INFLATED = 1 << 30  # bytes of one file in a zip


class Folder:
    """The files of a store in a folder."""

    inside = ""  # the store is the folder

    def __init__(self, path: Path):
        self.path = path

    def holds_any(self, prefix: str) -> bool:
        """Whether there are files below a prefix."""
        return any(file.is_file() for file in (self.path / prefix).rglob("*"))

    def has(self, name: str) -> bool:
        """Whether there is a file of that name, relative to the store."""
        return (self.path / name).is_file()

    def size(self, name: str) -> int:
        """A file's bytes."""
        return (self.path / name).stat().st_size

    def read(self, name: str, start: int, count: int) -> bytes:
        """A part of a file."""
        with open(self.path / name, "rb") as file:
            file.seek(start)
            return file.read(count)


class Zip:
    """The files of a store in a zip, below ``inside`` in it."""

    def __init__(self, path: Path, inside: str = ""):
        self.path, self.inside = path, inside

    @functools.cached_property
    def archive(self) -> zipfile.ZipFile:
        """The zip, open."""
        return zipfile.ZipFile(self.path)

    def holds_any(self, prefix: str) -> bool:
        return any(name.startswith(f"{self.inside}{prefix}/") and name[-1] != "/" for name in self.archive.namelist())

    def has(self, name: str) -> bool:
        return self.inside + name in self.archive.NameToInfo

    def size(self, name: str) -> int:
        return self.archive.getinfo(self.inside + name).file_size

    def read(self, name: str, start: int, count: int) -> bytes:
        with self.archive.open(self.inside + name) as file:
            file.seek(start)
            return file.read(count)


def open_store(path: Path) -> tuple[zarr.Group, Folder | Zip]:
    """The zarr group at a path, and its files.

    Raises a MissingFileError if there is nothing, an InputError that says what is there if it is no such group.
    """
    if path.is_dir():
        files = Folder(path)
        return open_group(path, format_of(files)), files
    if not path.exists():
        raise MissingFileError(f"no demonstrations at {path}; record them first or correct the path")
    with open(path, "rb") as file:
        head = file.read(8)
    if head == HDF5:
        raise InputError(
            f"{path} is an HDF5 file; demonstrations are read from zarr, of which one is made by: "
            f"python -m mp_lib import {path} my_task.zarr"
        )
    if not zipfile.is_zipfile(path):
        what = f"zarr directory or zip with {LAYOUT}, or copy the zip again if it was cut short"
        raise InputError(f"{path} is a file that is neither a whole zip of zarr's nor HDF5; give a {what}")
    files = Zip(path, find_in_zip(path))
    number = format_of(files)
    return open_group(ZipStore(path, mode="r"), number, files.inside.rstrip("/")), files


def format_of(files: Folder | Zip) -> int:
    """Which format of zarr a store is of; an InputError if it has no mark of a group, or one that is damaged."""
    formats = [number for mark, number in MARKS.items() if files.has(mark)]
    if not formats and any(map(files.holds_any, PARTS)):
        raise InputError(f"{files.path} has the folders of a store, but {what_is_lost(files, '.zgroup')}")
    if not formats:
        raise InputError(f"{files.path} {what_a_folder_is(files.path)}")
    check_metadata(files, *MARKS, ".zattrs")
    return formats[-1]


def what_is_lost(files: Folder | Zip, name: str) -> str:
    """That a file of metadata is missing, called ``name`` in format 2, and what to do."""
    of_3 = any(files.has(f"{part}/zarr.json") or files.holds_any(f"{part}/c") for part in PARTS)
    return f"its {'zarr.json' if of_3 else name} is missing: {'copy it again' if of_3 else HIDDEN}"


def check_metadata(files: Folder | Zip, *names: str) -> None:
    """Raise an InputError if one of these files is there and holds no JSON object, or does not say its format."""
    for name in filter(files.has, names):
        try:
            found = json.loads(files.read(name, 0, files.size(name)))
        except (ValueError, RecursionError) as error:
            raise InputError(f"{files.path}: {name} is damaged ({error}); restore it from a copy") from error
        if not isinstance(found, dict) or not (name.endswith(".zattrs") or "zarr_format" in found):
            raise InputError(f"{files.path}: {name} is damaged (it says {found!s:.40}); restore it from a copy")


def open_group(place: Path | ZipStore, number: int, inside: str = "") -> zarr.Group:
    """The group of a zarr format in a folder or an open zip."""
    # Consolidated metadata would be a second, unchecked description of the arrays.
    return zarr.open_group(place, mode="r", path=inside or None, zarr_format=number, use_consolidated=False)


def what_a_folder_is(path: Path) -> str:
    """What a folder without the mark of a zarr group is, and what to do."""
    inner = [each for each in sorted(path.iterdir()) if is_store(each)]
    if len(inner) == 1:
        return f"is a folder around a store; give {inner[0]}"
    if inner:
        return f"holds {len(inner)} stores; give one of: {', '.join(str(each) for each in inner)}"
    return f"is a folder without a zarr group; give a zarr directory with {LAYOUT}"


def is_store(path: Path) -> bool:
    """Whether a path looks like a zarr group with demonstrations in it."""
    if path.is_dir():
        return any((path / mark).is_file() for mark in MARKS) and (path / "meta").is_dir()
    return path.suffix == ".zip" and zipfile.is_zipfile(path)


def find_in_zip(path: Path) -> str:
    """Where in a zip the store lies, with a slash behind unless that is the top."""
    with zipfile.ZipFile(path) as archive:
        large = [each.filename for each in archive.infolist() if each.file_size > MOST_INFLATED]
        if large:
            raise InputError(f"{path}: {large[0]} would take more than {MOST_INFLATED >> 30} GiB; nothing was read")
        names = archive.namelist()
    places = {found[1] for name in names if (found := ENDS.fullmatch(name))}
    if len(places) != 1:
        raise InputError(
            f"{path} is a zip with {len(places)} stores in it; zip one with its hidden files (zip -r), with {LAYOUT}"
        )
    return places.pop()
