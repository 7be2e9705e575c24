"""Chunks of stores that people bring: stored nowhere, among files of other programs, or not safe to read."""

import shutil
import subprocess
import sys
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec
from zarr.codecs import numcodecs as numcodecs3

from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.system.errors import InputError
from tests.data.test_official_stores import make_official_store
from tests.data.test_replay_buffer import make_store
from tests.data.test_strange_stores import POINTS, arrays, assert_holds, make_sharded_blosc, make_zip, refusal, write

# What zarr does not write


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("key", ["state", "action"])
def test_chunks_of_zeros_that_zarr_did_not_write_are_zeros(tmp_path, key, zarr_format):
    values = arrays()[f"data/{key}"]
    values[:100] = 0
    expected = write(tmp_path / "a.zarr", zarr_format=zarr_format, **{f"data__{key}": values})
    files = [file.name for file in (tmp_path / "a.zarr/data" / key).rglob("*") if file.is_file()]
    assert len([name for name in files if not name.startswith(".") and name != "zarr.json"]) == 1
    buffer = assert_holds(tmp_path / "a.zarr", expected)
    assert [f"{key} from frame 0 on is stored nowhere" in note for note in buffer.notes] == [True]


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_states_and_actions_that_end_in_zeros_are_read_and_said(tmp_path, zarr_format):
    changed = {f"data__{key}": arrays()[f"data/{key}"] for key in ("state", "action")}
    for values in changed.values():
        values[100:] = 0
    expected = write(tmp_path / "a.zarr", zarr_format=zarr_format, **changed)
    buffer = assert_holds(tmp_path / "a.zarr", expected)
    for key, note in zip(("state", "action"), buffer.notes, strict=True):
        assert f"{key} from frame 100 on is stored nowhere" in note and "lost in copying" in note


@pytest.mark.parametrize("fill_value", [1.0, float("nan")])
@pytest.mark.parametrize("key", ["point_cloud", "state"])
def test_frames_that_are_filled_in_by_anything_but_zeros_are_refused(tmp_path, key, fill_value):
    expected = write(tmp_path / "a.zarr", zarr_format=3, leave_out=(f"data/{key}",))[f"data/{key}"]
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    chunks = (100, *expected.shape[1:])
    group.create_array(f"data/{key}", shape=expected.shape, dtype="f4", chunks=chunks, fill_value=fill_value)[:100] = (
        1.5
    )
    assert f"{key} from frame 100 on is stored nowhere (zarr reads {fill_value}); copy it again" in refusal(
        tmp_path / "a.zarr"
    )


def test_a_chunk_that_is_lost_in_part_is_said(tmp_path):
    """Half of the points of a hundred frames, in a file of their own; of an inner chunk of a shard."""
    write(tmp_path / "a.zarr", leave_out=("data/point_cloud", "data/state"))
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    group.create_array("data/point_cloud", data=arrays()["data/point_cloud"], chunks=(100, POINTS // 2, 3))
    group.create_array("data/state", data=arrays()["data/state"], chunks=(50, 9))
    (tmp_path / "a.zarr/data/point_cloud/1.1.0").unlink()
    (note,) = ReplayBuffer.open(tmp_path / "a.zarr").notes
    assert "point_cloud from frame 100 on is stored nowhere" in note
    still = arrays()["data/action"]
    still[50:100] = 0
    expected = write(tmp_path / "b.zarr", zarr_format=3, leave_out=("data/action",))
    group = zarr.open_group(tmp_path / "b.zarr", mode="r+")
    group.create_array("data/action", data=still, chunks=(50, 4), shards=(100, 4))
    buffer = assert_holds(tmp_path / "b.zarr", expected | {"data/action": still})
    assert ["action from frame 50 on" in note for note in buffer.notes] == [True]


@pytest.mark.parametrize("name", [".DS_Store", "._0.0.0", "Thumbs.db"])
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_files_that_other_programs_leave_are_no_chunks(tmp_path, name, zarr_format):
    expected = write(tmp_path / "a.zarr", zarr_format=zarr_format, leave_out=("data/state",))
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    codec = numcodecs.Blosc() if zarr_format == 2 else BloscCodec()
    group.create_array("data/state", data=expected["data/state"], chunks=(100, 9), compressors=codec)
    for folder in ("data/state", "data/point_cloud", "data", "."):
        (tmp_path / "a.zarr" / folder / name).write_bytes(b"of a file manager's")
    assert_holds(tmp_path / "a.zarr", expected)


@pytest.mark.parametrize("linked", [False, True])
@pytest.mark.parametrize("codec", ["blosc", "numcodecs.blosc"])
def test_headers_of_blosc_are_checked_by_whatever_name_and_wherever_they_lie(tmp_path, codec, linked):
    expected = write(tmp_path / "a.zarr", zarr_format=3, leave_out=("data/state",))
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+")
    compressor = BloscCodec() if codec == "blosc" else numcodecs3.Blosc()
    group.create_array("data/state", data=expected["data/state"], chunks=(100, 9), compressors=compressor)
    if linked:
        (tmp_path / "a.zarr/data/state/c").rename(tmp_path / "elsewhere")
        (tmp_path / "a.zarr/data/state/c").symlink_to(tmp_path / "elsewhere")
    assert_holds(tmp_path / "a.zarr", expected)
    chunk = tmp_path / "a.zarr/data/state/c/0/0"
    content = chunk.read_bytes()
    chunk.write_bytes(content[:4] + b"\x7f" + content[5:])
    assert "is damaged: it has another header" in refusal(tmp_path / "a.zarr")


@pytest.mark.parametrize(("zarr_format", "chunk"), [(2, "0.0.0"), (2, "1.0.0"), (3, "c/1/0/0")])
def test_a_missing_chunk_of_clouds_is_refused_by_its_frame(tmp_path, zarr_format, chunk):
    write(tmp_path / "a.zarr", zarr_format=zarr_format)
    (tmp_path / "a.zarr/data/point_cloud" / chunk).unlink()
    frame = 0 if chunk[0] == "0" else 100
    assert f"the cloud of frame {frame} has no finite point" in refusal(tmp_path / "a.zarr")


def test_a_missing_chunk_of_our_own_is_damage(tmp_path):
    store = make_store(tmp_path / "a.zarr", 3)
    (store.path / "data/action/0.0").unlink()
    with pytest.raises(InputError, match="are damaged"):
        ReplayBuffer.open(store.path)


# Safety


@pytest.mark.parametrize("make", [make_sharded_blosc, lambda path: make_official_store(path)])
def test_headers_of_blosc_are_checked_in_shards_and_zips_too(tmp_path, make):
    make(tmp_path / "a.zarr")
    chunks = [file for file in (tmp_path / "a.zarr/data/state").rglob("*") if file.is_file() and file.suffix != ".json"]
    chunk = max((file for file in chunks if not file.name.startswith(".")), key=lambda file: file.stat().st_size)
    content = bytearray(chunk.read_bytes())
    content[4] ^= 0x40
    chunk.write_bytes(content)
    assert "is damaged: it has another header" in refusal(tmp_path / "a.zarr")
    make_zip(tmp_path / "a.zip", tmp_path / "a.zarr")
    assert "is damaged: it has another header" in refusal(tmp_path / "a.zip")
    make_zip(tmp_path / "within.zip", tmp_path / "a.zarr", "a.zarr/")
    assert "is damaged: it has another header" in refusal(tmp_path / "within.zip")


def test_a_filter_that_runs_what_it_reads_is_refused(tmp_path):
    write(tmp_path / "a.zarr", leave_out=["data/state"])
    group = zarr.open_group(tmp_path / "a.zarr", mode="r+", zarr_format=2)
    group.create_array("data/state", data=arrays()["data/state"], filters=[numcodecs.Delta("f4")])
    assert "is stored through delta; nothing was read" in refusal(tmp_path / "a.zarr")


# Memory


LIMITED = """
import resource, sys
import mp_lib.data.replay_buffer as module
before = next(int(line.split()[1]) << 10 for line in open("/proc/self/status") if line.startswith("VmData"))
limit = before + int(sys.argv[2])
resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))
buffer = module.ReplayBuffer.open(sys.argv[1])
print(buffer.read(int(sys.argv[3]))["point_cloud"].shape)
"""


def read_with(path, megabytes, num_points):
    command = [sys.executable, "-c", LIMITED, str(path), str(megabytes << 20), str(num_points)]
    return subprocess.run(command, capture_output=True, text=True, cwd=Path(__file__).parents[2])


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="asks Linux how much memory is in use")
def test_a_store_that_is_larger_than_the_memory_is_read_in_parts(tmp_path):
    group, generator = zarr.create_group(tmp_path / "a.zarr"), np.random.default_rng(0)
    frames, points = 1000, 30_000  # 343 MiB of clouds
    for name, shape in (("point_cloud", (points, 3)), ("state", (9,)), ("action", (4,))):
        array = group.create_array(
            f"data/{name}", shape=(frames, *shape), chunks=(50, *shape), dtype="f4", compressors=None
        )
        for start in range(0, frames, 50):
            array[start : start + 50] = generator.random((50, *shape), np.float32)
    group.create_array("meta/episode_ends", data=np.array([500, 1000]))
    done = read_with(tmp_path / "a.zarr", 240, 64)
    assert done.stdout.strip() == "(1000, 64, 3)", done.stderr
    assert "read a.zarr" in done.stderr  # the bar
    short = read_with(tmp_path / "a.zarr", 240, points)
    assert short.returncode != 0
    last = short.stderr.strip().splitlines()[-1]
    assert "no memory left for point_cloud" in last and "num_points" in last
    shutil.rmtree(tmp_path / "a.zarr")
