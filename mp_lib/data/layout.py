"""The layout of demonstrations in zarr: read where a store has it, and refused in one line where it has not."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import zarr
from zarr.buffer.cpu import NDBuffer

from mp_lib.data.chunks import check_blosc, holes, refuse_codecs
from mp_lib.data.container import LAYOUT, Folder, Zip, check_metadata, open_store, what_is_lost
from mp_lib.system.errors import InputError, one_line
from mp_lib.system.files import PASSING

log = logging.getLogger(__name__)

MARK = "mp_lib 1"  # in the attributes of stores of this package
KEYS = ("point_cloud", "state", "action")
IMAGINED = "imagin_robot"
RANKS = {"point_cloud": 3, "state": 2, "action": 2, IMAGINED: 3}
OTHER_NAMES = {"state": ("agent_pos",)}  # under which others store the same
RESTORE = "restore it from a copy"
SLAB_BYTES = 32 << 20  # of what is read at once
EXACT = 1 << 24  # up to which float32 holds every whole number


@contextlib.contextmanager
def parsing(path: Path, what: str, remedy: str) -> Iterator[None]:
    """Let an error in the block be an InputError that names the store, ``what`` was read of it, and the remedy.

    What is no fault of the data, a missing permission or an error of the machine, stays an OSError or a MemoryError.
    """
    try:
        yield
    except (PermissionError, FileNotFoundError, InputError):
        raise
    except MemoryError as error:
        raise MemoryError(f"{path}: no memory left for {what}; ask for a smaller num_points or num_demos") from error
    except Exception as error:  # on broken bytes zarr and its codecs raise whatever their parsers raise
        if isinstance(error, OSError) and error.errno in PASSING:
            raise OSError(error.errno, f"{path}: {what} cannot be read now ({error.strerror}); try again") from error
        found = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path}: {what} cannot be read ({found}); {remedy}") from error


@dataclass
class Layout:
    """A store's arrays by key, with episode_ends, its attributes, and ``notes``: a line each of what reading left out.

    Of the frames nothing is read yet.
    """

    path: Path
    arrays: dict[str, zarr.Array]
    files: Folder | Zip
    attributes: dict
    notes: list[str] = field(default_factory=list)
    spoiled: bool = False  # whether points that are not finite were found

    @classmethod
    def open(cls, path: Path) -> Layout:
        """The layout of the store at ``path``.

        FileNotFoundError if there is nothing, an InputError if that is no store, or has an array that is missing or not
        what it should be.
        """
        with parsing(path, "the group", f"give a zarr directory with {LAYOUT}"):
            group, files = open_store(path)
        found = cls(path, {}, files, group.attrs.asdict())
        found.find_arrays(group)
        for key, array in found.arrays.items():
            found.check_numbers(key, array)
            if any(name.endswith("blosc") for name in refuse_codecs(path, key, array)):
                with parsing(path, key, RESTORE):
                    check_blosc(path, files, array)
        return found

    def find_arrays(self, group: zarr.Group) -> None:
        """Take the arrays that the layout names."""
        names = {key: f"data/{key}" for key in KEYS} | {"episode_ends": "meta/episode_ends"}
        others = [f"data/{name}" for name in (IMAGINED, *sum(OTHER_NAMES.values(), ()))]
        with parsing(self.path, "the metadata of an array", RESTORE):
            for name in (*names.values(), *others):
                check_metadata(self.files, *(f"{name}/{file}" for file in (".zarray", ".zattrs", "zarr.json")))
            found = {key: group.get(name) for key, name in (names | {IMAGINED: f"data/{IMAGINED}"}).items()}
            for key, others in OTHER_NAMES.items():
                found[key] = next(filter(None, [found[key], *(group.get(f"data/{name}") for name in others)]), None)
        self.arrays = {key: array for key, array in found.items() if isinstance(array, zarr.Array)}
        missing = [name for key, name in names.items() if key not in self.arrays]
        if lost := [name for name in missing if self.files.holds_any(name)]:
            known = [f"{name}/{file}" for name in lost for file in (".zarray", "zarr.json")]
            if damaged := [*filter(self.files.has, known)]:
                raise InputError(f"{self.path}: {damaged[0]} describes no array; {RESTORE}")
            what = what_is_lost(self.files, ".zarray")
            raise InputError(f"{self.path}: {', '.join(lost)} has chunks, but {what}")
        if missing:
            raise InputError(f"{self.path}: has no array {', '.join(missing)}; give a store with {LAYOUT}")

    def check_numbers(self, key: str, array: zarr.Array) -> None:
        """Refuse what is no array of numbers of the right rank."""
        if array.dtype.kind not in "fiub":
            raise InputError(f"{self.path}: {key} is {array.dtype}; give numbers, {LAYOUT}")
        if 0 in array.shape[1:]:
            raise InputError(f"{self.path}: {key} has the shape {array.shape}, which holds nothing; {LAYOUT}")
        rank = RANKS.get(key)
        if rank and (len(array.shape) != rank or (rank == 3 and array.shape[-1] < 3)):
            raise InputError(
                f"{self.path}: {key} has the shape {array.shape}; {rank} axes are needed, the frames first"
                f"{' and x, y, z last' if rank == 3 else ''}: {LAYOUT}"
            )
        if rank == 3 and array.shape[-1] > 3 and key == "point_cloud":
            self.note(f"colours and labels behind x, y, z are left out ({array.shape[-1]} numbers a point)")

    def note(self, text: str) -> None:
        """Say what is left out, in the log and in the data set's facts."""
        if text not in self.notes:
            self.notes.append(text)
            log.warning("%s: %s", one_line(self.path), text)

    def parts(self, key: str) -> list[zarr.Array]:
        """The arrays that together make up what is stored as ``key``."""
        return [
            self.arrays[name] for name in (key, *([IMAGINED] if key == "point_cloud" else [])) if name in self.arrays
        ]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """The shape of one frame of each key."""
        found = {key: self.arrays[key].shape[1:] for key in KEYS}
        return found | {"point_cloud": (sum(array.shape[1] for array in self.parts("point_cloud")), 3)}

    def slabs(self, key: str, num_frames: int, into: np.ndarray | None = None) -> Iterator[tuple[int, np.ndarray]]:
        """(first frame, frames) of the first ``num_frames``, float32, in parts of whole chunks.

        Numbers of any kind are read; an InputError by frame where float32 cannot hold one. Where ``into``, an array of
        all these frames, is of the kind and shape that is stored, they are read there, and parts are views of it.
        """
        arrays = self.parts(key)
        step = max((array.shards or array.chunks)[0] for array in arrays)
        each = sum(int(np.prod(array.shape[1:])) * array.dtype.itemsize for array in arrays)
        step *= max(1, SLAB_BYTES // max(1, each * step))
        there = into is not None and len(arrays) == 1
        there = there and arrays[0].dtype == into.dtype and arrays[0].shape[1:] == into.shape[1:]
        for start in range(0, num_frames, step):
            stop = min(start + step, num_frames)
            with parsing(self.path, key, RESTORE):
                if there:
                    arrays[0].get_basic_selection(slice(start, stop), out=NDBuffer(into[start:stop]))
                    yield start, into[start:stop]
                    continue
                values = [array[start:stop] for array in arrays]
            if key == "point_cloud":
                values = [points[..., :3] for points in values]
            whole = values[0] if len(values) == 1 else np.concatenate(values, axis=1)
            yield start, as_float32(self.path, key, whole, start)

    def ends(self, rows: list[dict] | None) -> np.ndarray:
        """The ends (E,) of the episodes that are wholly there and have a frame; ``rows`` list those of our stores."""
        found = self.stored_ends()
        lengths = {key: min(array.shape[0] for array in self.parts(key)) for key in KEYS}
        length = min(lengths.values())
        if rows is None:
            ends = self.foreign_ends(found, length)
        else:
            with parsing(self.path, 'the attribute "episodes"', RESTORE):
                ends = np.cumsum([row["frames"] for row in rows], dtype=np.int64)
            rise = np.all(np.diff(ends, prepend=0) > 0) and not np.any(ends > length)
            if not np.array_equal(found[: len(ends)], ends) or not rise:
                raise InputError(
                    f"{self.path}: episode_ends {found} do not rise or do not fit {length} frames; {RESTORE}"
                )
        most = max(array.shape[0] for key in KEYS for array in self.parts(key))
        surplus = most - (ends[-1] if len(ends) else 0)
        if surplus or (rows is not None and len(found) > len(ends)):
            self.note(f"dropped {surplus} frames behind the last whole episode ({len(ends)})")
        return ends

    def stored_ends(self) -> np.ndarray:
        """episode_ends (E,) as whole numbers; an InputError if they are none, or neither a row nor a column."""
        with parsing(self.path, "episode_ends", RESTORE):
            found = np.asarray(self.arrays["episode_ends"][...])
        whole = found.dtype.kind in "iuf" and bool(np.all(np.abs(found - np.round(found)) == 0)) and found.ndim
        if not whole or found.size != max(found.shape) or np.any(np.abs(found) > EXACT**2):
            raise InputError(
                f"{self.path}: episode_ends {found.dtype} {found.shape} {found.tolist()!s:.60} are not whole "
                "numbers in a row; give one past each episode's last frame, (E,)"
            )
        return found.reshape(-1).astype(np.int64)

    def foreign_ends(self, found: np.ndarray, length: int) -> np.ndarray:
        """Those ends of a store of others that lie within its frames, without empty takes."""
        if np.any(np.diff(found, prepend=0) < 0):
            raise InputError(
                f"{self.path}: episode_ends {found} fall; give one past each episode's last frame, in order"
            )
        empty = np.flatnonzero(np.diff(found, prepend=0) == 0)
        if len(empty):
            self.note(f"skipped {len(empty)} empty takes: {', '.join(map(str, empty))}")
        whole = np.delete(found, empty)
        ends = whole[whole <= length]
        if not len(ends):
            raise InputError(
                f"{self.path}: no whole episode among {length} frames, episode_ends {found}; copy it again"
            )
        if len(ends) < len(whole):
            self.note(f"dropped {len(whole) - len(ends)} takes that end behind the {length} frames that are there")
        self.check_holes(int(ends[-1]))
        return ends

    def check_holes(self, num_frames: int) -> None:
        """Note frames that no file holds, which zarr fills in; an InputError if that is not by zeros."""
        for key in (*KEYS, IMAGINED):
            array = self.arrays.get(key)
            with parsing(self.path, f"the chunks of {key}", RESTORE):
                found = [] if array is None else holes(self.path, self.files, array, num_frames)
            if not found:
                continue
            place = f"{key} from frame {found[0]} on" + (f" and {len(found) - 1} more chunks" if found[1:] else "")
            if array.fill_value:  # NaN, too
                raise InputError(
                    f"{self.path}: {place} is stored nowhere (zarr reads {array.fill_value}); copy it again"
                )
            self.note(
                f"{place} is stored nowhere, which zarr reads as zeros: nothing moved there, or it was lost in copying"
            )


def as_float32(path: Path, key: str, values: np.ndarray, start: int) -> np.ndarray:
    """The same numbers as float32; an InputError that names the frame of one that would not be the same."""
    with np.errstate(over="ignore"):
        found = np.ascontiguousarray(values, dtype="<f4")
    wrong = np.abs(values.astype(np.float64)) > EXACT if values.dtype.kind in "iu" else np.zeros(0, bool)
    if values.dtype.kind == "f" and values.dtype.itemsize > 4:
        wrong = np.isinf(found) & np.isfinite(values)
    if wrong.any():
        frame = start + int(np.argwhere(wrong)[0, 0])
        raise InputError(
            f"{path}: {key} of frame {frame} has {values.dtype} numbers that float32 cannot hold; "
            f"store them in units in which they lie within {EXACT}"
        )
    return found


def is_ours(attributes: dict) -> bool:
    """Whether a store's attributes are those of this package: by its mark, or by rows with frames and checksum.

    Attributes that somebody else has given are left alone, whatever their names.
    """
    rows = attributes.get("episodes")
    if not isinstance(rows, list) or not all(isinstance(attributes.get(key, ""), str) for key in ("task", "expert")):
        return False
    if not all(isinstance(row, dict) and {"frames", "checksum"} <= {*row} for row in rows):
        return False
    return attributes.get("layout") == MARK or bool(rows) or {"task", "expert", "settings"} <= {*attributes}
