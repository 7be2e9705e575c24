"""A LeRobot data set of format 3 (codebase_version v3.0), read without LeRobot.

::

    meta/info.json                       fps, features: {key: {dtype, shape, names, info}}
    meta/episodes/chunk-*/file-*.parquet a row an episode: length, data/chunk_index, data/file_index, tasks
    data/chunk-*/file-*.parquet          a row a frame: episode_index, frame_index, and every feature that is no video

The source for the format is LeRobot 0.6.1 (lerobot/datasets/utils.py, dataset_writer.py).
"""

from __future__ import annotations

import io
import itertools
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from mp_lib.exchange.reading import RESTORE, Entry, reading, size_of
from mp_lib.system.errors import InputError, MissingFileError, shown
from mp_lib.system.files import read_json

if TYPE_CHECKING:
    import pyarrow

INFO = "meta/info.json"
DATA = "data/chunk-{chunk_index:03d}/file-{file_index:03d}.parquet"  # the only data_path that is read
COLUMNS = ("episode_index", "length", "data/chunk_index", "data/file_index", "tasks")
OWN = {"timestamp": "float32", **dict.fromkeys(("frame_index", "episode_index", "index", "task_index"), "int64")}
OLDER = "only v3 is read: LeRobot's convert_dataset_v21_to_v30 makes it of v2.1"
LOSSY = "is a video, which loses depth's last digits; record depth as 16-bit images or arrays"
IMAGES = ("PNG", "TIFF")  # formats in which depth is whole; LeRobot writes TIFF
DEPTH_MODES = ("I;16", "I;16L", "I;16B", "I", "F")  # Pillow's names of 16 bits and more
METRES = {"m": 1.0, "mm": 1e-3}  # LeRobot's depth_unit
MOST_PIXELS = 1 << 24


class LeRobotRecording:
    """A ``Recording`` as of ``mp_lib.exchange.reading``; the frames of the file in hand stay open."""

    def __init__(self, path: Path):
        self.path = path
        if not (path / INFO).is_file():
            raise MissingFileError(f"{path} has no {INFO}; give the folder of a LeRobot data set")
        self.info = read_json(path / INFO)
        with reading(path / INFO, "what it says"):
            self.features, self.fps = check_info(path / INFO, self.info)
        self.rows = {str(row["episode_index"]): row for row in episode_rows(path)}
        self.episodes = [*self.rows]
        self.tasks = {name: row["tasks"] for name, row in self.rows.items()}
        told = {key: feature.get("info") or {} for key, feature in self.features.items()}
        self.kinds = {key: each["kinds"] for key, each in told.items() if isinstance(each.get("kinds"), str)}
        self.units = {
            key: METRES[each["depth_unit"]] for key, each in told.items() if str(each.get("depth_unit")) in METRES
        }
        self._files: dict[Path, np.ndarray] = {}

    def entries(self, episode: str) -> dict[str, Entry]:
        """As of ``Recording``."""
        length, found = self.rows[episode]["length"], {}
        for key, feature in ((key, each) for key, each in self.features.items() if key not in OWN):
            fault = LOSSY if feature["dtype"] == "video" else ""
            found[key] = Entry((length, *feature["shape"]), feature["dtype"], fault)
        return found

    def read(self, episode: str, key: str, start: int, stop: int) -> np.ndarray:
        """As of ``Recording``."""
        row = self.rows[episode]
        file = self.path / DATA.format(chunk_index=row["data/chunk_index"], file_index=row["data/file_index"])
        with reading(file, f"{key} of episode {episode}"):
            first = self.first_row(file, episode)
            column = rows_of(file, key, first + start, first + stop)
            if self.features[key]["dtype"] == "image":
                return np.stack([decoded(f"{file}: {key} of episode {episode}", each) for each in column.to_pylist()])
            return numbers_of(column, (stop - start, *self.features[key]["shape"]))

    def first_row(self, file: Path, episode: str) -> int:
        """Where an episode's frames begin in its file; an InputError unless they are there, all and in order."""
        number, length = self.rows[episode]["episode_index"], self.rows[episode]["length"]
        if file not in self._files:
            names = ("episode_index", "frame_index")
            self._files = {file: np.stack([columns_of(file, name) for name in names])}
        owner, frame = self._files[file]
        places = np.flatnonzero(owner == number)
        if (
            len(places) != length
            or not np.array_equal(frame[places], np.arange(length))
            or np.ptp(places) != length - 1
        ):
            raise InputError(
                f"{file}: episode {episode} has {len(places)} rows, not frames 0 to {length - 1} in order; {RESTORE}"
            )
        return int(places[0])


def check_info(path: Path, info: dict) -> tuple[dict[str, dict], float]:
    """The features and the frames a second that info.json tells; an InputError if it is of another format."""
    version = info.get("codebase_version")
    if not isinstance(version, str) or not version.startswith("v3."):
        raise InputError(f"{path}: codebase_version is {shown(version)}; {OLDER}")
    if info.get("data_path", DATA) != DATA:
        raise InputError(f"{path}: data_path is {shown(info['data_path'])}; {DATA} is read")
    features, fps = info.get("features"), info.get("fps")
    if not isinstance(features, dict) or not all(is_feature(each) for each in features.values()):
        raise InputError(f"{path}: features are no list of kinds and shapes; {RESTORE}")
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps < 1e6:
        raise InputError(f"{path}: fps is {shown(fps)}; {RESTORE}")
    return features, fps


def is_feature(feature) -> bool:
    """Whether it tells a kind and a shape, as features of info.json do, and further facts, if any, by name."""
    if not isinstance(feature, dict) or not isinstance(feature.get("dtype"), str):
        return False
    if not isinstance(feature.get("info") or {}, dict):
        return False
    shape = feature.get("shape")
    return isinstance(shape, list) and all(type(size) is int and size >= 0 for size in shape)


def episode_rows(path: Path) -> list[dict]:
    """A row of COLUMNS for every episode, in order, ``tasks`` a list of words.

    An InputError if they are not 0, 1, 2, ... or do not say where they lie, or if tasks are something else.
    """
    import pyarrow.parquet as parquet

    files, rows = sorted((path / "meta/episodes").glob("chunk-*/file-*.parquet")), []
    if not files:
        raise InputError(f"{path} has no meta/episodes/chunk-*/file-*.parquet; copy it again")
    for file in files:
        with (
            reading(file, "the list of episodes"),
            parquet.ParquetFile(file, page_checksum_verification=True) as content,
        ):
            names = [name for name in COLUMNS if name in content.schema_arrow.names]
            rows += content.read(columns=names).to_pylist()
    wanted = COLUMNS[:-1]
    good = [all(type(row.get(name)) is int and 0 <= row[name] < 2**31 for name in wanted) for row in rows]
    if not all(good) or [row["episode_index"] for row in rows] != [*range(len(rows))]:
        raise InputError(f"{path}: meta/episodes does not say of episodes 0, 1, ... where they lie; {RESTORE}")
    for row in rows:
        tasks = row["tasks"] = row.get("tasks") or []
        if not isinstance(tasks, list) or not all(isinstance(task, str) for task in tasks):
            where = f"{path}: meta/episodes, episode {row['episode_index']}"
            raise InputError(f"{where}: tasks is {shown(tasks)}, no list of words; {RESTORE}")
    return rows


def columns_of(file: Path, name: str) -> np.ndarray:
    """A column of whole numbers."""
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(file, page_checksum_verification=True) as content:
        return numbers_of(content.read(columns=[name]).column(name), (content.metadata.num_rows,))


def rows_of(file: Path, key: str, start: int, stop: int) -> pyarrow.ChunkedArray:
    """Some rows of a column, of which only the groups that they lie in are read."""
    import pyarrow.parquet as parquet

    with parquet.ParquetFile(file, page_checksum_verification=True) as content:
        counts = [content.metadata.row_group(each).num_rows for each in range(content.num_row_groups)]
        ends = [*itertools.accumulate(counts)]
        groups = [each for each, end in enumerate(ends) if end > start and end - counts[each] < stop]
        skipped = ends[groups[0]] - counts[groups[0]]
        return content.read_row_groups(groups, columns=[key]).column(key).slice(start - skipped, stop - start)


def numbers_of(column: pyarrow.ChunkedArray, shape: tuple[int, ...]) -> np.ndarray:
    """A column of numbers, or of lists of them, as an array of this shape; a ValueError if it has another."""
    import pyarrow
    from pyarrow import compute

    size_of("the data set", "a column", shape, 8)
    parts = []
    for chunk in column.chunks:
        values = chunk.storage if isinstance(chunk, pyarrow.ExtensionArray) else chunk
        while pyarrow.types.is_nested(values.type):
            lengths = compute.list_value_length(values)
            if lengths.null_count:
                raise ValueError(f"{lengths.null_count} of its rows are missing")
            if compute.count_distinct(lengths).as_py() > 1:
                raise ValueError("its rows have several lengths")
            values = values.flatten()
        if values.null_count:
            raise ValueError(f"{values.null_count} of its numbers are missing")
        parts.append(values.to_numpy(zero_copy_only=False))
    return np.concatenate(parts).reshape(shape)


def decoded(where: str, image: dict) -> np.ndarray:
    """Depth (height, width) of an image as LeRobot stores it, {"bytes", "path"}."""
    from PIL import Image

    content = image["bytes"] if isinstance(image, dict) else None
    if not content:
        raise InputError(f"{where} has an image outside of the data set's files; copy it with its images embedded")
    with Image.open(io.BytesIO(content), formats=[*IMAGES]) as picture:
        if picture.width * picture.height > MOST_PIXELS:
            raise InputError(f"{where} is said to have {picture.width} x {picture.height} pixels; {RESTORE}")
        if picture.mode not in DEPTH_MODES:
            raise InputError(f"{where} has {picture.mode} of 8 bits, which is no depth; give 16-bit grey PNG or TIFF")
        return np.array(picture)
