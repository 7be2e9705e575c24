"""LeRobot data sets of format 3: what it has written is read, and what is written is what it reads.

``tests/reference/lerobot_0_6_1`` was written by LeRobot 0.6.1, from the numbers in the .npz beside it. That LeRobot
opens what is written here, and cuts it into the same windows, was tried by hand (docs/data.md); here it is its format.
"""

import json

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mp_lib.__main__ import main
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.data.windows import ActionWindows
from mp_lib.exchange import lerobot_export
from mp_lib.exchange.conversion import Wishes, convert
from mp_lib.exchange.formats import open_recording
from mp_lib.exchange.lerobot_export import export
from tests import ROOT
from tests.exchange.layouts import ACTION, CLOUD, POINTS, STATE, joined, made_up, same, write_json, write_store

THEIRS = ROOT / "tests" / "reference" / "lerobot_0_6_1"
NAMES = {CLOUD: "observation.pointcloud", STATE: "observation.state", ACTION: "action"}
OWN = ("timestamp", "frame_index", "episode_index", "index", "task_index")


def read_all(folder, part):
    """The table of all files below a part of a data set, in their order."""
    return pa.concat_tables([pq.read_table(file) for file in sorted((folder / part).glob("chunk-*/file-*.parquet"))])


def test_what_lerobot_has_written_is_read_to_the_bit(tmp_path):
    with np.load(f"{THEIRS}.npz") as wrote:
        expected = {key: wrote[name] for key, name in NAMES.items()}
    made = convert(THEIRS, tmp_path / "arm.zarr", Wishes(points=8))
    assert same({**made.store.read(), "ends": made.store.episode_ends}, {**expected, "ends": np.array([5, 11, 18])})
    assert made.store.attributes["fps"] == 10 and made.store.attributes["task"] == "arm"  # theirs is a sentence
    unread, kinds = made.notes
    assert unread == "not read: observation.images.depth (5, 6, 8, 1) image, observation.images.rgb (5, 6, 8, 3) image"
    assert kinds.startswith("no kinds of the action are named")


def test_depth_images_that_lerobot_has_written_become_clouds(tmp_path):
    with np.load(f"{THEIRS}.npz") as wrote:
        depth = wrote["observation.images.depth"][..., 0]
    camera = {"depth": "observation.images.depth", "intrinsics": [10, 12, 4, 3]}
    file = write_json(tmp_path / "cameras.json", {"cameras": [camera]})
    found = convert(THEIRS, tmp_path / "arm.zarr", Wishes(points=48, cameras=file)).store.read()[CLOUD]
    assert np.allclose(np.sort(found[..., 2]), np.sort(depth.reshape(len(depth), -1) / 1000), atol=1e-6)


def test_export_and_import_give_the_same_frames_to_the_bit(exported, tmp_path):
    folder, store = exported
    again = convert(folder, tmp_path / "again.zarr", Wishes(points=POINTS)).store
    assert same({**again.read(), "ends": again.episode_ends}, {**store.read(), "ends": store.episode_ends})
    assert again.attributes["kinds"] == store.attributes["kinds"]
    assert (again.attributes["task"], again.attributes["fps"]) == ("my_arm", 25)


@pytest.mark.parametrize("sizes", [(1, 1), (1, 3), (7, 1)])
def test_single_numbers_are_no_lists_and_come_back(sizes, tmp_path):
    episodes = [
        {
            CLOUD: each[CLOUD],
            STATE: np.tile(each[STATE], 2)[:, : sizes[0]],
            ACTION: np.tile(each[ACTION], 2)[:, : sizes[1]],
        }
        for each in made_up()
    ]
    folder = export(write_store(tmp_path / "arm.zarr", episodes).path, tmp_path / "lerobot", 10)
    schema = pq.read_schema(folder / "data/chunk-000/file-000.parquet")
    for key, size in zip((STATE, ACTION), sizes, strict=True):
        assert (schema.field(NAMES[key]).type == pa.float32()) == (size == 1)
    again = convert(folder, tmp_path / "again.zarr", Wishes(points=POINTS)).store
    assert same({**again.read(), "ends": again.episode_ends}, joined(episodes))


def test_files_are_those_of_the_written_format(exported):
    """The same files, columns and fields as LeRobot's own, but for its images."""
    folder, store = exported
    ours, theirs = (
        {file.relative_to(each).as_posix() for file in each.rglob("*") if file.is_file()} for each in (folder, THEIRS)
    )
    assert ours == theirs
    info, their_info = (json.loads((each / "meta/info.json").read_text()) for each in (folder, THEIRS))
    assert info.keys() == their_info.keys()
    images = {key for key in their_info["features"] if key.startswith("observation.images.")}
    assert info["features"].keys() == their_info["features"].keys() - images
    for key, feature in info["features"].items():
        assert feature["dtype"] == their_info["features"][key]["dtype"]
        assert len(feature["shape"]) == len(their_info["features"][key]["shape"])
    assert {key: info[key] for key in ("codebase_version", "data_path", "chunks_size")} == {
        key: their_info[key] for key in ("codebase_version", "data_path", "chunks_size")
    }
    assert (info["total_episodes"], info["total_frames"], info["total_tasks"], info["fps"]) == (3, 17, 1, 25)
    assert info["splits"] == {"train": "0:3"} and type(info["fps"]) is int
    ours, theirs = (
        {name for name in read_all(each, "meta/episodes").column_names if "images" not in name}
        for each in (folder, THEIRS)
    )
    assert ours == theirs
    stats, their_stats = (json.loads((each / "meta/stats.json").read_text()) for each in (folder, THEIRS))
    assert {key: {*each} for key, each in stats.items()} == {
        key: {*each} for key, each in their_stats.items() if key not in images
    }


def test_columns_are_of_the_kinds_that_lerobot_writes(exported):
    folder, _ = exported
    ours, theirs = (pq.read_schema(each / "data/chunk-000/file-000.parquet") for each in (folder, THEIRS))
    for name in (NAMES[CLOUD], NAMES[STATE], *OWN):
        kind, their_kind = (schema.field(name).type for schema in (ours, theirs))
        if pa.types.is_fixed_size_list(kind):
            kind, their_kind = kind.value_type, their_kind.value_type
        assert str(kind) == str(their_kind).replace("extension<", "").rstrip(">") or pa.types.is_list(kind)
    assert ours.field(NAMES[CLOUD]).type == pa.list_(pa.list_(pa.float32()))


def test_indices_say_where_everything_lies(exported):
    folder, store = exported
    rows = read_all(folder, "meta/episodes").to_pylist()
    frames = read_all(folder, "data")
    assert frames["index"].to_pylist() == [*range(store.num_frames)]
    start = 0
    for number, (row, stop) in enumerate(zip(rows, store.episode_ends.tolist(), strict=True)):
        assert (row["episode_index"], row["length"], row["tasks"]) == (number, stop - start, ["my_arm"])
        assert (row["dataset_from_index"], row["dataset_to_index"]) == (start, stop)
        place = folder / f"data/chunk-{row['data/chunk_index']:03d}/file-{row['data/file_index']:03d}.parquet"
        assert number in pq.read_table(place)["episode_index"].to_pylist()
        part = frames.slice(start, stop - start)
        assert part["frame_index"].to_pylist() == [*range(stop - start)] and {*part["task_index"].to_pylist()} == {0}
        assert np.allclose(part["timestamp"], np.arange(stop - start) / 25, atol=1e-7)
        start = stop


def test_a_task_is_the_index_of_its_table(exported):
    """LeRobot takes the words from the index that pandas gives."""
    tasks = pd.read_parquet(exported[0] / "meta/tasks.parquet")
    theirs = pd.read_parquet(THEIRS / "meta/tasks.parquet")
    assert tasks.iloc[0].name == "my_arm" and tasks["task_index"].tolist() == [0]
    assert tasks.columns.tolist() == theirs.columns.tolist() and tasks.dtypes.tolist() == theirs.dtypes.tolist()


def test_statistics_are_those_of_the_frames(exported):
    folder, store = exported
    stats = json.loads((folder / "meta/stats.json").read_text())
    for key, values in store.read().items():
        rows = values.reshape(-1, values.shape[-1]).astype(np.float64)
        found = stats[NAMES[key]]
        for name, expected in {
            "min": rows.min(0),
            "max": rows.max(0),
            "mean": rows.mean(0),
            "std": rows.std(0),
        }.items():
            assert np.allclose(np.squeeze(found[name]), expected, atol=1e-6)
        assert np.allclose(np.squeeze(found["q50"]), np.median(rows, 0), atol=1e-6) and found["count"] == [17]
    assert np.shape(stats[NAMES[CLOUD]]["min"]) == (1, 3)  # an axis: points have no places


def test_windows_by_lerobots_rule_are_ours(exported):
    """Its rule (dataset_reader.py, _get_query_indices): now plus each step, held at the ends of the episode."""
    folder, store = exported
    frames, (horizon, n_obs, n_action) = read_all(folder, "data"), (4, 2, 3)
    ours = ActionWindows(store.read(), store.episode_ends, horizon=horizon, n_obs_steps=n_obs, n_action_steps=n_action)
    steps, places = np.arange(1 - n_obs, 1 - n_obs + horizon), []
    for row in read_all(folder, "meta/episodes").to_pylist():
        first, end = row["dataset_from_index"], row["dataset_to_index"]
        nows = range(first, end - horizon + n_action + n_obs - 1)
        places += [(now + steps).clip(first, end - 1) for now in nows]
    assert np.array_equal(ours.frames, places)
    batch = ours.batch(range(len(ours)))
    for key, name, span in (
        ("actions", "action", horizon),
        ("state", NAMES[STATE], n_obs),
        (CLOUD, NAMES[CLOUD], n_obs),
    ):
        column = np.array(frames[name].to_pylist(), np.float32)
        assert np.array_equal(batch[key], column[np.array(places)[:, :span]])


def test_frames_are_spread_over_files_that_stay_small(tmp_path, monkeypatch):
    episodes = made_up([4] * 7)
    store = write_store(tmp_path / "arm.zarr", episodes)
    monkeypatch.setattr(lerobot_export, "FILE_BYTES", 1500)
    monkeypatch.setattr(lerobot_export, "FILES", 3)
    folder = export(store.path, tmp_path / "lerobot", 10)
    files = [file.relative_to(folder).as_posix() for file in sorted((folder / "data").rglob("*.parquet"))]
    assert files == [f"data/chunk-{number // 3:03d}/file-{number % 3:03d}.parquet" for number in range(len(files))]
    assert len(files) > 3
    again = convert(folder, tmp_path / "again.zarr", Wishes(points=POINTS)).store
    assert same({**again.read(), "ends": again.episode_ends}, joined(episodes))


def test_a_store_of_others_is_exported(tmp_path):
    from tests.data.test_official_stores import make_official_store

    clouds = np.random.default_rng(1).normal(size=(150, 8, 6)).astype(np.float32)
    make_official_store(tmp_path / "official.zarr", data__point_cloud=clouds)
    store = ReplayBuffer.open(tmp_path / "official.zarr")
    again = convert(export(store.path, tmp_path / "lerobot", 10), tmp_path / "again.zarr", Wishes(points=8)).store
    assert same({**again.read(), "ends": again.episode_ends}, {**store.read(), "ends": store.episode_ends})
    assert again.attributes["task"] == "official"


def test_the_verb_exports_and_says_what_it_lacks(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    write_store(tmp_path / "arm.zarr", made_up())
    for given, said in (
        (["--to", "lerobot"], "say how many a second, as --fps 25"),
        (["--to", "lerobot", "--fps", "0"], "fps 0.0 given"),
        (["--to", "rlds"], "unknown target 'rlds'; choose one of: "),
    ):
        assert main(["export", "arm.zarr", "out", *given]) == 2
        (line,) = capsys.readouterr().err.splitlines()
        assert said in line and not (tmp_path / "out").exists()
    assert main(["export", "arm.zarr", "out", "--to", "lerobot", "--fps", "12.5"]) == 0
    assert open_recording(tmp_path / "out").fps == 12.5
    capsys.readouterr()
    assert main(["export", "arm.zarr", "out", "--to", "lerobot", "--fps", "12.5"]) == 2
    assert "exists already" in capsys.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["arm.zarr", "out"]
