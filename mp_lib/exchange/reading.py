"""What every reader of recordings keeps to: sizes checked first, errors in one line, episodes in order."""

from __future__ import annotations

import contextlib
import math
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

import numpy as np

from mp_lib.system.errors import InputError
from mp_lib.system.files import PASSING

MOST_BYTES = 1 << 33  # of one array of an episode; more is what a damaged header says
RESTORE = "restore it from a copy, or take it out of the folder"


@dataclass(frozen=True)
class Entry:
    """What lies under a key of an episode, of which nothing has been read: its shape, frames first, and its kind.

    ``fault`` says why it cannot be read, such as "is a video".
    """

    shape: tuple[int, ...]
    dtype: str
    fault: str = ""

    def __str__(self) -> str:
        return f"{self.shape} {self.dtype}"


class Recording(Protocol):
    """Episodes at a path. Opening reads metadata alone; ``episodes`` are their names, in order.

    ``fps`` is None and the rest is empty where the files do not say it: ``tasks`` has those of an episode, in any
    words, ``kinds`` what the numbers under a key are, as ``mp_lib.geometry.kinds.Layout`` reads it, ``units`` how many
    metres a number of depth is under a key.
    """

    path: Path
    episodes: list[str]
    fps: float | None
    tasks: Mapping[str, Sequence[str]]
    kinds: dict[str, str]
    units: dict[str, float]

    def entries(self, episode: str) -> Mapping[str, Entry]:
        """What there is in an episode, by key; an InputError if that is damaged."""

    def read(self, episode: str, key: str, start: int, stop: int) -> np.ndarray:
        """Some frames of what ``entries`` names, as numbers of any kind; an InputError if they are damaged."""


@contextlib.contextmanager
def reading(path: Path, what: str, remedy: str = RESTORE) -> Iterator[None]:
    """Let whatever the parsers of broken bytes raise be an InputError that names the file and what was read of it.

    A missing permission and an error of the machine stay OSErrors. No memory left is an InputError, too, since sizes
    are the file's.
    """
    try:
        yield
    except (PermissionError, InputError):
        raise
    except Exception as error:
        if isinstance(error, OSError) and error.errno in PASSING:
            raise OSError(error.errno, f"{path}: {what} cannot be read now ({error.strerror}); try again") from error
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path}: {what} cannot be read ({found:.150}); {remedy}") from error


def in_order(names: list[str]) -> list[str]:
    """Names sorted as people count: ep2 before ep10."""
    return sorted(names, key=lambda name: re.sub(r"\d+", lambda digits: digits[0].zfill(20), name))


def size_of(where: Path | str, key: str, shape: tuple[int, ...], itemsize: int) -> int:
    """The bytes of an array; an InputError if they are more than an episode has."""
    size = math.prod(shape) * itemsize
    if min(shape, default=0) < 0 or size > MOST_BYTES:
        raise InputError(
            f"{where}: {key} {shape} would take more than {MOST_BYTES >> 30} GiB, so its header is damaged; {RESTORE}"
        )
    return size


def files_of(path: Path, endings: tuple[str, ...]) -> dict[str, Path]:
    """The files at a path by their names without an ending: itself, or those of the folder that end so, in order."""
    if path.is_file():
        return {path.stem: path}
    files = [path / name for name in in_order([each.name for each in path.iterdir() if is_file_of(each, endings)])]
    found = {file.stem: file for file in files}
    if len(found) < len(files):
        raise InputError(f"{path}: files of one name but for the ending are one episode twice; take one of them out")
    return found


def is_file_of(path: Path, endings: tuple[str, ...]) -> bool:
    """Whether it is a file with one of these endings, and none that an operating system hides."""
    return path.name.lower().endswith(endings) and path.name[0] != "." and path.is_file()
