"""What was appended comes back to the bit, or opening refuses it; a killed append leaves whole episodes."""

import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import zarr

from mp_lib.data.layout import KEYS
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.system.errors import InputError

SHAPES = {"point_cloud": (40, 3), "state": (5,), "action": (2,)}
ATTRIBUTES = {"task": "toy", "expert": "none", "settings": {"num_points": 40}, "versions": {"numpy": "1"}}
LENGTHS = (30, 130, 1, 99, 240)  # within a chunk of 100 frames, over one, up to the end of one, over two


def make_episode(number: int) -> dict[str, np.ndarray]:
    rng, length = np.random.default_rng(number), LENGTHS[number % len(LENGTHS)]
    return {key: rng.normal(size=(length, *shape)).astype(np.float32) for key, shape in SHAPES.items()}


def make_store(path: Path, num_episodes: int = len(LENGTHS), **attributes) -> ReplayBuffer:
    buffer = ReplayBuffer.create(path, SHAPES, ATTRIBUTES | attributes)
    for number in range(num_episodes):
        buffer.append(make_episode(number), {"seed": number})
    return buffer


def assert_holds(buffer: ReplayBuffer, num_episodes: int) -> None:
    expected = [make_episode(number) for number in range(num_episodes)]
    assert buffer.num_episodes == num_episodes
    assert [row["seed"] for row in buffer.attributes["episodes"]] == list(range(num_episodes))
    frames = buffer.read()
    for key in KEYS:
        joined = np.concatenate([np.zeros((0, *SHAPES[key]), np.float32), *(episode[key] for episode in expected)])
        assert frames[key].dtype == np.float32
        np.testing.assert_array_equal(frames[key], joined)


def chunk_files(path: Path, key: str) -> list[Path]:
    return sorted(file for file in (path / "data" / key).iterdir() if not file.name.startswith("."))


def test_a_reopened_store_holds_what_was_appended(tmp_path):
    written = make_store(tmp_path / "a.zarr")
    opened = ReplayBuffer.open(tmp_path / "a.zarr")
    for buffer in (written, opened):
        assert_holds(buffer, len(LENGTHS))
    assert opened.content_hash() == written.content_hash()
    assert opened.attributes["settings"] == ATTRIBUTES["settings"]
    np.testing.assert_array_equal(opened.episode_ends, np.cumsum(LENGTHS))


def test_a_new_store_is_empty_and_takes_no_taken_path(tmp_path):
    make_store(tmp_path / "a.zarr", 0)
    assert_holds(ReplayBuffer.open(tmp_path / "a.zarr"), 0)
    with pytest.raises(FileExistsError, match="a.zarr exists already"):
        make_store(tmp_path / "a.zarr", 0)


def test_content_hash_tells_contents_and_settings_apart_but_not_versions(tmp_path):
    stores = {
        "same": {"versions": {"numpy": "2"}},
        "settings": {"settings": {"num_points": 41}},
        "task": {"task": "other"},
        "kinds": {"kinds": {"action": "step:2"}},
        "kinds corrected": {"kinds": {"action": "position:2"}},
        "no kinds": {"kinds": {}},
    }
    reference = make_store(tmp_path / "reference", 2).content_hash()
    hashes = {name: make_store(tmp_path / name, 2, **changed).content_hash() for name, changed in stores.items()}
    hashes["shorter"] = make_store(tmp_path / "shorter", 1).content_hash()
    assert {name for name, value in hashes.items() if value == reference} == {"same", "no kinds"}
    assert len(set(hashes.values())) == len(hashes) - 1


def test_content_hash_of_a_store_without_kinds_is_what_it_always_was(tmp_path):
    """Finished runs are found by it."""
    buffer = ReplayBuffer.create(tmp_path / "a.zarr", SHAPES, ATTRIBUTES)
    buffer.append({key: np.ones((3, *shape)) for key, shape in SHAPES.items()}, {})
    assert buffer.content_hash() == "3881259180a47446f93f2026efa149ae"


class Snapshots:
    """Copies a folder before every rename and removal in it: every state that a kill can leave behind."""

    def __init__(self, watched: Path, copies: Path):
        self.watched, self.copies, self.active, self.lock, self.taken = watched, copies, True, threading.RLock(), []
        sys.addaudithook(self.hook)

    def hook(self, event, arguments):
        if self.active and event in ("os.rename", "os.remove") and str(arguments[0]).startswith(str(self.watched)):
            with self.lock:
                copy = self.copies / str(len(self.taken))
                shutil.copytree(self.watched, copy, ignore=shutil.ignore_patterns("*.partial"))
                self.taken.append(copy)


@pytest.mark.parametrize("num_before", [0, 1, 4])
def test_every_state_within_an_append_is_all_or_nothing_and_can_go_on(tmp_path, num_before):
    buffer = make_store(tmp_path / "a.zarr", num_before)
    snapshots = Snapshots(buffer.path, tmp_path / "copies")
    buffer.append(make_episode(num_before), {"seed": num_before})
    snapshots.active = False
    assert len(snapshots.taken) >= 8  # four arrays with metadata and chunks, and the attributes
    committed = []
    for copy in snapshots.taken:
        reopened = ReplayBuffer.open(copy)
        committed.append(reopened.num_episodes)
        assert_holds(reopened, committed[-1])
        reopened.append(make_episode(committed[-1]), {"seed": committed[-1]})
        assert_holds(ReplayBuffer.open(copy), committed[-1] + 1)
    assert {num_before} <= {*committed} <= {num_before, num_before + 1}


APPEND_FOR_EVER = """
import itertools, sys
sys.path.insert(0, sys.argv[2])
from tests.data.test_replay_buffer import ReplayBuffer, make_episode
buffer = ReplayBuffer.open(sys.argv[1])
print("ready", flush=True)
for number in itertools.count(buffer.num_episodes):
    buffer.append(make_episode(number), {"seed": number})
"""


def kill_while_appending(path: Path, after: float) -> None:
    command = [sys.executable, "-c", APPEND_FOR_EVER, str(path), str(Path(__file__).parents[2])]
    with subprocess.Popen(command, stdout=subprocess.PIPE, start_new_session=True) as process:
        assert process.stdout.readline() == b"ready\n"
        time.sleep(after)
        os.killpg(process.pid, signal.SIGKILL)


@pytest.mark.parametrize("kills", [2, pytest.param(25, marks=pytest.mark.slow)])
def test_a_killed_recorder_leaves_whole_episodes(tmp_path, kills):
    path, moments, had = make_store(tmp_path / "a.zarr", 1).path, random.Random(0), 1
    for _ in range(kills):
        kill_while_appending(path, moments.uniform(0.05, 0.4))
        buffer = ReplayBuffer.open(path)
        assert buffer.num_episodes >= had
        assert_holds(buffer, had := buffer.num_episodes)
    assert had > 1


def test_what_lies_behind_the_last_episode_is_dropped_and_logged(tmp_path, caplog):
    path = make_store(tmp_path / "a.zarr", 2).path
    zarr.open_group(path)["data/state"].resize((500, 5))
    assert_holds(ReplayBuffer.open(path), 2)
    assert "dropped 340 frames" in caplog.text


def test_no_flipped_bit_of_a_chunk_is_ever_read(tmp_path):
    path = make_store(tmp_path / "a.zarr", 2).path
    file, refused, tries = chunk_files(path, "point_cloud")[0], 0, 0
    original = file.read_bytes()
    for offset in [*range(16), *range(16, len(original), 1009)]:
        damaged = bytearray(original)
        damaged[offset] ^= 1 << offset % 8
        file.write_bytes(damaged)
        tries += 1
        try:
            assert_holds(ReplayBuffer.open(path), 2)  # some bits of Blosc's header mean nothing
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
    assert refused > 0.8 * tries


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize("damage", ["truncated", "empty", "missing"])
def test_a_broken_chunk_is_refused(tmp_path, key, damage):
    path = make_store(tmp_path / "a.zarr", 3).path
    file = chunk_files(path, key)[0]
    content = file.read_bytes()
    file.unlink()
    if damage != "missing":
        file.write_bytes(content[: len(content) // 2] if damage == "truncated" else b"")
    with pytest.raises(ValueError, match="restore it from a copy|copy the data set again|has no finite point"):
        ReplayBuffer.open(path)


@pytest.mark.parametrize("name", [".zattrs", "data/action/.zarray", "meta/episode_ends/.zarray", "meta/episode_ends/0"])
def test_broken_metadata_is_refused(tmp_path, name):
    path = make_store(tmp_path / "a.zarr", 2).path
    file = path / name
    file.write_bytes(file.read_bytes()[:-20])
    with pytest.raises(ValueError, match=str(path)):
        ReplayBuffer.open(path)


def test_ends_that_contradict_the_list_of_episodes_are_refused(tmp_path):
    path = make_store(tmp_path / "a.zarr", 2).path
    attributes = json.loads((path / ".zattrs").read_text())
    attributes["episodes"][0]["frames"] += 1
    (path / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(ValueError, match="do not fit"):
        ReplayBuffer.open(path)


def test_what_is_no_store_is_refused(tmp_path):
    with pytest.raises(FileNotFoundError, match="no demonstrations"):
        ReplayBuffer.open(tmp_path / "nothing.zarr")
    (tmp_path / "folder").mkdir()
    (tmp_path / "file").write_text("PK")
    for name in ("folder", "file"):
        with pytest.raises(ValueError, match="give a zarr directory"):
            ReplayBuffer.open(tmp_path / name)


def test_an_episode_that_does_not_fit_is_refused_and_changes_nothing(tmp_path):
    buffer, good = make_store(tmp_path / "a.zarr", 2), make_episode(2)
    broken = {
        "nan": good | {"state": np.full_like(good["state"], np.nan)},
        "overflow": good | {"action": np.full(good["action"].shape, 1e300)},
        "other length": good | {"action": good["action"].repeat(2, axis=0)},
        "other shape": good | {"point_cloud": good["point_cloud"][:, :-1]},
        "no frame": {key: values[:0] for key, values in good.items()},
        "other keys": good | {"img": good["state"]},
    }
    for episode in broken.values():
        with pytest.raises(ValueError, match="was given|not finite"), np.errstate(over="ignore"):
            buffer.append(episode, {"seed": 2})
    assert_holds(ReplayBuffer.open(buffer.path), 2)


def test_only_as_many_points_as_there_are_can_be_read(tmp_path):
    buffer = make_store(tmp_path / "a.zarr", 1)
    for num_points in (0, 41, 2.5, True, "8"):
        with pytest.raises(ValueError, match="clouds have 40 points"):
            buffer.read(num_points)


def test_episodes_can_be_chosen_and_what_is_trained_on_is_what_counts(tmp_path):
    buffer = make_store(tmp_path / "a.zarr", 4)
    first, chosen = buffer.choose(3), buffer.choose(demo_episodes=[0, 3])
    assert (first.chosen, first.num_demos) == ((0, 1, 2), 3) and (chosen.chosen, chosen.num_demos) == ((0, 3), 2)
    assert buffer.choose().chosen is buffer.choose(4).chosen is None and buffer.chosen is None
    hashes = {each.content_hash() for each in (buffer, first, chosen, buffer.choose(demo_episodes=[3, 0]))}
    assert len(hashes) == 4 and buffer.choose(4).content_hash() == buffer.content_hash()
    assert buffer.choose(2).content_hash() == make_store(tmp_path / "b.zarr", 2).content_hash()


WRONG_CHOICES = (
    {"num_demos": 5},
    {"num_demos": 3, "demo_episodes": [0]},
    {"demo_episodes": [0, 4]},
    {"demo_episodes": []},
)


@pytest.mark.parametrize("wrong", WRONG_CHOICES)
def test_episodes_that_are_not_there_are_refused(tmp_path, wrong):
    buffer = make_store(tmp_path / "a.zarr", 4)
    with pytest.raises(InputError, match="has 4 episodes|give one of them"):
        buffer.choose(**wrong)


@pytest.mark.parametrize("changed", [{"name": "other"}, {"state_dim": 6}, {"action_dim": 3}])
def test_check_refuses_the_demonstrations_of_another_task(tmp_path, changed):
    spec = {"name": "toy", "state_dim": 5, "action_dim": 2, "other_states": (7,)}
    buffer = make_store(tmp_path / "a.zarr", 1)
    assert buffer.check(SimpleNamespace(**spec)) is buffer
    with pytest.raises(ValueError, match="is expected"):
        buffer.check(SimpleNamespace(**spec | changed))


def test_a_place_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(OSError, match="cannot write .*choose a folder"):
        make_store(tmp_path / "file" / "a.zarr")


def test_a_read_only_folder_is_named(tmp_path):
    buffer = make_store(tmp_path / "a.zarr", 1)
    folders = [tmp_path, *(file for file in buffer.path.rglob("*") if file.is_dir()), buffer.path]
    for folder in folders:
        folder.chmod(0o500)
    try:
        if os.access(tmp_path, os.W_OK):
            pytest.skip("this user may write everywhere")
        with pytest.raises(PermissionError, match="cannot write .*choose a folder"):
            make_store(tmp_path / "b.zarr", 0)
        with pytest.raises(PermissionError, match="cannot write .*choose a folder"):
            buffer.append(make_episode(1), {})
    finally:
        for folder in folders:
            folder.chmod(0o700)
    assert_holds(ReplayBuffer.open(buffer.path), 1)
