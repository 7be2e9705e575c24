"""Demonstrations written as a LeRobot data set of format 3; its source is as of ``mp_lib.exchange.lerobot``."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np

from mp_lib.data.own_tasks import kinds_in
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.exchange.conversion import MOST_FPS
from mp_lib.exchange.lerobot import DATA, INFO, OWN
from mp_lib.system.errors import InputError, shown
from mp_lib.system.extras import require
from mp_lib.system.files import writing
from mp_lib.system.folders import refuse_existing, whole_folder
from mp_lib.system.paths import from_home
from mp_lib.system.progress import track
from mp_lib.system.stopping import Stop

KEYS = {"point_cloud": "observation.pointcloud", "state": "observation.state", "action": "action"}
EPISODES = "meta/episodes/chunk-000/file-000.parquet"
FILE_BYTES = 100 << 20  # of frames in a file, LeRobot's default (data_files_size_in_mb)
FILES = 1000  # in a folder, LeRobot's default (chunks_size)
QUANTILES = {"q01": 0.01, "q10": 0.1, "q50": 0.5, "q90": 0.9, "q99": 0.99}


def export(demos: str | Path, folder: str | Path, fps: float | None = None) -> Path:
    """Write all episodes of a store as a LeRobot data set; returns its folder.

    Features are observation.pointcloud (N, 3), observation.state (S,) and action (A,), float32, the same to the bit.
    ``fps`` is frames a second, by default the store's own. Raises an InputError where neither says it, where kinds do
    not fit, or where ``folder`` is taken; nothing is left behind then, nor when Ctrl-C or SIGTERM stops it.
    """
    require("import", "pyarrow")
    target = from_home("folder", folder)
    refuse_existing(target)
    buffer = ReplayBuffer.open(demos)
    if not buffer.num_episodes:
        raise InputError(f"{buffer.path} has no episode; record one first")
    fps = buffer.attributes.get("fps") if fps is None else fps
    if isinstance(fps, bool) or not isinstance(fps, int | float) or not 0 < fps <= MOST_FPS:
        raise InputError(f"fps {shown(fps)} given; LeRobot's frames have times: say how many a second, as --fps 25")
    fps = int(fps) if fps == int(fps) else fps
    kinds, frames = kinds_in(buffer), buffer.read()
    count = track(buffer.num_episodes, f"export {buffer.path.name}")
    with Stop(), whole_folder(target) as path, writing(target), count as bar:
        (path / "meta").mkdir()
        rows = write_frames(path, buffer, frames, fps, bar.advance)
        write_meta(path, buffer, frames, fps, kinds, rows)
    return target


def write_frames(path: Path, buffer: ReplayBuffer, frames: Mapping[str, np.ndarray], fps: float, advance) -> list[dict]:
    """Write data/, a group of rows an episode; returns what meta/episodes says of each."""
    import pyarrow.parquet as parquet

    rows, file, writer, written, start = [], 0, None, 0, 0
    try:
        for episode, stop in enumerate(buffer.episode_ends.tolist()):
            indices = indices_of(episode, start, stop, fps)
            table = table_of({KEYS[key]: values[start:stop] for key, values in frames.items()} | indices)
            if writer and written + table.nbytes > FILE_BYTES:
                writer, file = writer.close(), file + 1
            place = {"chunk_index": file // FILES, "file_index": file % FILES}
            if writer is None:
                (path / DATA.format(**place)).parent.mkdir(parents=True, exist_ok=True)
                name, written = path / DATA.format(**place), 0
                writer = parquet.ParquetWriter(name, table.schema, compression="snappy", write_page_checksum=True)
            writer.write_table(table, row_group_size=len(table))
            written += table.nbytes
            rows.append(
                {"episode_index": episode, "tasks": [task_of(buffer)], "length": stop - start}
                | {f"data/{name}": index for name, index in place.items()}
                | {"dataset_from_index": start, "dataset_to_index": stop}
                | {"meta/episodes/chunk_index": 0, "meta/episodes/file_index": 0}
                | statistics_of({KEYS[key]: values[start:stop] for key, values in frames.items()} | indices, "stats/")
            )
            start = stop
            advance()
    finally:
        if writer:
            writer.close()
    return rows


def indices_of(episode: int, start: int, stop: int, fps: float) -> dict[str, np.ndarray]:
    """LeRobot's own columns of an episode's frames."""
    numbers = np.arange(stop - start)
    found = (numbers / fps, numbers, np.full_like(numbers, episode), numbers + start, np.zeros_like(numbers))
    return {key: values.astype(kind) for (key, kind), values in zip(OWN.items(), found, strict=True)}


def table_of(columns: Mapping[str, np.ndarray]):
    """A table of arrays, frames first: numbers, lists of a fixed length, or lists of lists, as LeRobot stores them."""
    import pyarrow

    arrays = {}
    for key, values in columns.items():
        flat = pyarrow.array(values.reshape(-1))
        if values.ndim == 3:
            ends = np.arange(0, values.shape[0] * values.shape[1] + 1)
            inner = pyarrow.ListArray.from_arrays((ends * values.shape[2]).astype(np.int32), flat)
            arrays[key] = pyarrow.ListArray.from_arrays(ends[:: values.shape[1]].astype(np.int32), inner)
        elif values.ndim == 2 and values.shape[1] > 1:  # a single number is no list there
            arrays[key] = pyarrow.FixedSizeListArray.from_arrays(flat, values.shape[1])
        else:
            arrays[key] = flat
    return pyarrow.table(arrays)


def write_meta(
    path: Path,
    buffer: ReplayBuffer,
    frames: Mapping[str, np.ndarray],
    fps: float,
    kinds: Mapping[str, str],
    rows: list[dict],
) -> None:
    """Write info.json, the episodes, the one task and the statistics of all frames; ``kinds`` as of ``kinds_in``."""
    import pyarrow
    import pyarrow.parquet as parquet

    indices = [
        indices_of(row["episode_index"], row["dataset_from_index"], row["dataset_to_index"], fps) for row in rows
    ]
    columns = {KEYS[key]: values for key, values in frames.items()}
    columns |= {key: np.concatenate([each[key] for each in indices]) for key in OWN}
    info = {
        "codebase_version": "v3.0",
        "robot_type": None,
        "total_episodes": buffer.num_episodes,
        "total_frames": buffer.num_frames,
        "total_tasks": 1,
        "chunks_size": FILES,
        "data_files_size_in_mb": FILE_BYTES >> 20,
        "video_files_size_in_mb": 200,
        "fps": fps,
        "splits": {"train": f"0:{buffer.num_episodes}"},
        "data_path": DATA,
        "video_path": None,
        "features": {
            KEYS[key]: feature_of(key, values, kinds.get(f"{key}_kinds", "")) for key, values in frames.items()
        }
        | {key: {"dtype": kind, "shape": [1], "names": None} for key, kind in OWN.items()},
    }
    (path / INFO).write_text(json.dumps(info, indent=4))
    statistics = {}
    for name, values in statistics_of(columns).items():
        key, _, kind = name.rpartition("/")
        statistics.setdefault(key, {})[kind] = values
    (path / "meta/stats.json").write_text(json.dumps(statistics, indent=4))
    (path / EPISODES).parent.mkdir(parents=True)
    parquet.write_table(pyarrow.Table.from_pylist(rows), path / EPISODES, write_page_checksum=True)
    parquet.write_table(tasks_of(buffer), path / "meta/tasks.parquet", write_page_checksum=True)


def feature_of(key: str, values: np.ndarray, kinds: str) -> dict:
    """What info.json says of a key; kinds stand under "info", which LeRobot leaves alone."""
    names = ["point", "axis"] if key == "point_cloud" else [f"{key}_{place}" for place in range(values.shape[1])]
    said = {"info": {"kinds": kinds}} if kinds else {}
    return {"dtype": "float32", "shape": [*values.shape[1:]], "names": names, **said}


def statistics_of(columns: Mapping[str, np.ndarray], prefix: str = "") -> dict[str, list]:
    """LeRobot's statistics of each column by "<column>/<statistic>"; of clouds by axis, over all points, (1, 3)."""
    found = {}
    for key, values in columns.items():
        cloud = values.ndim == 3
        rows = values.reshape(-1, values.shape[-1] if values.ndim > 1 else 1)
        measured = {
            "min": rows.min(0),
            "max": rows.max(0),
            "mean": rows.mean(0, np.float64),
            "std": rows.std(0, np.float64),
        }
        measured |= dict(zip(QUANTILES, np.quantile(rows, [*QUANTILES.values()], axis=0), strict=True))
        for kind, each in measured.items():
            found[f"{prefix}{key}/{kind}"] = [each.tolist()] if cloud else each.tolist()
        found[f"{prefix}{key}/count"] = [len(values)]
    return found


def tasks_of(buffer: ReplayBuffer):
    """The table of tasks, whose words are its index, as pandas writes and reads it."""
    import pyarrow

    table = pyarrow.table({"task_index": pyarrow.array([0], pyarrow.int64()), "task": [task_of(buffer)]})
    columns = [("task_index", "int64", "int64"), ("task", "unicode", "object")]
    meaning = {
        "index_columns": ["task"],
        "column_indexes": [],
        "columns": [
            {"name": name, "field_name": name, "pandas_type": kind, "numpy_type": numpy_type, "metadata": None}
            for name, kind, numpy_type in columns
        ],
    }
    return table.replace_schema_metadata({"pandas": json.dumps(meaning)})


def task_of(buffer: ReplayBuffer) -> str:
    """What a store's episodes are of."""
    return str(buffer.attributes.get("task") or buffer.path.name.split(".")[0])
