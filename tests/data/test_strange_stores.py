"""What people bring: stores of other formats, kinds and habits are read right, or told apart in one line each."""

import json
import re
import zipfile

import numpy as np
import pytest
import zarr
from zarr.codecs import BloscCodec

from mp_lib.data.layout import MARK
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.system.errors import InputError
from tests.data.test_replay_buffer import make_store

FRAMES, POINTS = 150, 32


def arrays(**changed) -> dict:
    """Two takes of 60 and 90 frames, by the names in a store."""
    generator = np.random.default_rng(3)
    found = {
        "data/point_cloud": generator.normal(size=(FRAMES, POINTS, 3)).astype("f4"),
        "data/state": generator.normal(size=(FRAMES, 9)).astype("f4"),
        "data/action": generator.normal(size=(FRAMES, 4)).astype("f4"),
        "meta/episode_ends": np.array([60, 150]),
    }
    return found | {name.replace("__", "/"): values for name, values in changed.items()}


def write(path, attributes=None, zarr_format=2, leave_out=(), chunks=100, **changed) -> dict:
    """A store as zarr writes it by default, with these arrays; returns them."""
    found = arrays(**changed)
    group = zarr.create_group(path, zarr_format=zarr_format, attributes=attributes or {})
    for name, values in found.items():
        if name not in leave_out:
            group.create_array(name, data=values, chunks=(chunks, *values.shape[1:]))
    return found


def assert_holds(path, expected, **given) -> ReplayBuffer:
    buffer = ReplayBuffer.open(path)
    frames = buffer.read()
    for key, values in frames.items():
        np.testing.assert_array_equal(values, expected[f"data/{key}"].astype("f4"), err_msg=key)
    np.testing.assert_array_equal(buffer.episode_ends, given.get("ends", [60, 150]))
    return buffer


def refusal(path) -> str:
    """The one line that a store is refused with; it never advises to lose data."""
    with pytest.raises(InputError) as error:
        ReplayBuffer.open(path)
    (line,) = str(error.value).splitlines()
    assert str(path) in line and "delete" not in line and "record" not in line
    return line


# Formats


def make_sharded(path):
    found, group = arrays(), zarr.create_group(path)
    for name, values in found.items():
        rest = values.shape[1:]
        group.create_array(name, data=values, chunks=(10, *rest), shards=(50, *rest))
    return found


def make_sharded_blosc(path):
    found, group = arrays(), zarr.create_group(path)
    for name, values in found.items():
        rest = values.shape[1:]
        group.create_array(name, data=values, chunks=(10, *rest), shards=(50, *rest), compressors=BloscCodec())
    return found


def make_zip(path, store=None, inside="", compression=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", compression) as archive:
        for file in sorted(store.rglob("*")):
            if file.is_file():
                archive.write(file, inside + file.relative_to(store).as_posix())


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_formats_2_and_3_are_read(tmp_path, zarr_format):
    assert_holds(tmp_path / "a.zarr", write(tmp_path / "a.zarr", zarr_format=zarr_format))


@pytest.mark.parametrize("make", [make_sharded, make_sharded_blosc])
def test_shards_are_read(tmp_path, make):
    assert_holds(tmp_path / "a.zarr", make(tmp_path / "a.zarr"))


@pytest.mark.parametrize("zarr_format", [2, 3])
@pytest.mark.parametrize("inside", ["", "a.zarr/", "export/a.zarr/"])
@pytest.mark.parametrize("compression", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_zip_is_read_wherever_the_store_lies_in_it(tmp_path, zarr_format, inside, compression):
    expected = write(tmp_path / "a.zarr", zarr_format=zarr_format)
    make_zip(tmp_path / "a.zarr.zip", tmp_path / "a.zarr", inside, compression)
    found, plain = assert_holds(tmp_path / "a.zarr.zip", expected), ReplayBuffer.open(tmp_path / "a.zarr")
    assert found.content_hash() == plain.content_hash() and found.notes == plain.notes


def test_our_own_store_is_the_same_in_a_zip(tmp_path):
    store = make_store(tmp_path / "a.zarr", 3)
    make_zip(tmp_path / "a.zip", store.path)
    zipped = ReplayBuffer.open(tmp_path / "a.zip")
    assert zipped.content_hash() == store.content_hash() and zipped.attributes == store.attributes


def make_hdf5(path):
    path.write_bytes(b"\x89HDF\r\n\x1a\n" + bytes(100))


def make_around(path):
    write(path / "pour.zarr")


def make_two(path):
    write(path / "a.zarr")
    write(path / "b.zarr")


def lose(*ends, of=2):
    """A store of a format that has lost the files whose paths in it end so."""

    def make(path):
        write(path, {"by": "somebody"}, zarr_format=of)
        for file in [file for file in path.rglob("*") if f"/{file.relative_to(path)}".endswith(ends)]:
            file.unlink()

    return make


def make_two_in_a_zip(path):
    write(path.with_name("x.zarr"))
    with zipfile.ZipFile(path, "w") as archive:
        for name in ("a", "b"):
            for file in path.with_name("x.zarr").rglob("*"):
                if file.is_file():
                    archive.write(file, f"{name}/{file.relative_to(path.with_name('x.zarr'))}")


NO_STORES = {
    "hdf5": (make_hdf5, "is an HDF5 file.*mp_lib import"),
    "folder around": (make_around, r"is a folder around a store; give .*pour\.zarr"),
    "two stores": (make_two, "holds 2 stores; give one of: .*a.zarr.*b.zarr"),
    "no .zgroup": (lose(".zgroup"), r"its \.zgroup is missing.*cp -a"),
    "no .zarray": (lose(".zarray"), r"data/point_cloud, .*its \.zarray is missing.*cp -a"),
    "no hidden files": (lose(".zgroup", ".zarray", ".zattrs"), r"its \.zgroup is missing.*cp -a"),
    "two in a zip": (make_two_in_a_zip, "is a zip with 2 stores"),
    "all of format 3's": (lose("zarr.json", of=3), r"its zarr\.json is missing: copy it again"),
    "a group of format 3's": (lose("/zarr.json", of=3), r"its zarr\.json is missing: copy it again"),
    "an array of format 3's": (lose("state/zarr.json", of=3), r"data/state has chunks, but its zarr\.json is missing"),
    "ends of format 3": (lose("ends/zarr.json", of=3), r"episode_ends has chunks, but its zarr\.json is missing"),
    "ends": (lose("ends/.zarray"), r"episode_ends has chunks, but its \.zarray is missing.*cp -a"),
    "text": (lambda path: path.write_text("hello"), "neither a whole zip of zarr's nor HDF5"),
    "empty folder": (lambda path: path.mkdir(), "is a folder without a zarr group"),
}


@pytest.mark.parametrize("name", NO_STORES)
def test_what_is_no_store_is_told_apart(tmp_path, name):
    make, said = NO_STORES[name]
    make(tmp_path / "it")
    assert re.search(said, refusal(tmp_path / "it"))
    if "missing" in said:
        make_zip(tmp_path / "it.zip", tmp_path / "it")
        assert re.search(said, refusal(tmp_path / "it.zip"))


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize("text", [b"", b"{", b"[]", b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize(
    ("zarr_format", "name"),
    [(2, ".zattrs"), (2, ".zgroup"), (2, "data/state/.zarray"), (3, "zarr.json"), (3, "meta/episode_ends/zarr.json")],
)
def test_metadata_that_are_damaged_are_named(tmp_path, zarr_format, name, text, zipped):
    path = tmp_path / "a.zarr"
    write(path, {"by": "somebody"}, zarr_format)
    (path / name).write_bytes(text)
    if zipped:
        make_zip(tmp_path / "a.zip", path)
        path = tmp_path / "a.zip"
    line = refusal(path)
    assert f"{name} is damaged" in line and line.endswith("restore it from a copy") and "dot" not in line


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_metadata_of_something_else_are_not_called_missing(tmp_path, zarr_format):
    write(tmp_path / "a.zarr", {"by": "somebody"}, zarr_format)
    group = {2: ".zgroup", 3: "zarr.json"}[zarr_format]
    (tmp_path / "a.zarr" / group).write_text("{}")
    assert f"{group} is damaged (it says {{}})" in refusal(tmp_path / "a.zarr")
    write(tmp_path / "b.zarr", {"by": "somebody"}, zarr_format)
    array = {2: "data/state/.zarray", 3: "data/state/zarr.json"}[zarr_format]
    other = {"zarr_format": zarr_format, "node_type": "group", "attributes": {}}
    (tmp_path / "b.zarr" / array).write_text(json.dumps(other))
    assert f"{array} describes no array; restore it from a copy" in refusal(tmp_path / "b.zarr")


def test_a_zip_of_a_mac_holds_one_store(tmp_path):
    expected = write(tmp_path / "a.zarr")
    make_zip(tmp_path / "a.zip", tmp_path / "a.zarr", "a.zarr/")
    with zipfile.ZipFile(tmp_path / "a.zip", "a") as archive:
        archive.writestr("__MACOSX/a.zarr/meta/episode_ends/._.zarray", b"")
    assert_holds(tmp_path / "a.zip", expected)


# Takes


@pytest.mark.parametrize(
    ("ends", "read", "skipped"),
    [
        ([0, 60, 150], [60, 150], "1 empty takes: 0"),
        ([60, 60, 150], [60, 150], "1 empty takes: 1"),
        ([0, 0, 60, 60, 150], [60, 150], "3 empty takes: 0, 1, 3"),
        ([[60], [150]], [60, 150], None),
        (np.array([60.0, 150.0]), [60, 150], None),
        (np.array([60, 150], ">u2"), [60, 150], None),
    ],
)
def test_empty_takes_are_skipped_and_a_column_is_read(tmp_path, ends, read, skipped):
    expected = write(tmp_path / "a.zarr", meta__episode_ends=np.array(ends))
    buffer = assert_holds(tmp_path / "a.zarr", expected, ends=read)
    assert [skipped in note for note in buffer.notes] == ([True] if skipped else [])


# Points


def test_points_that_are_not_finite_become_padding_and_are_counted(tmp_path, caplog):
    clouds = arrays()["data/point_cloud"]
    clouds[7, :5], clouds[9, 3, 1], clouds[9, 4] = np.nan, np.inf, 0
    write(tmp_path / "a.zarr", data__point_cloud=clouds)
    buffer = ReplayBuffer.open(tmp_path / "a.zarr")
    assert buffer.notes == ["left out 6 points that are not finite, of 2 clouds"]
    assert buffer.notes[0] in caplog.text
    read = buffer.read()["point_cloud"]
    assert np.isfinite(read).all() and not read[7, :5].any() and not read[9, 3].any()
    sampled = buffer.read(num_points=16)["point_cloud"]
    assert np.isfinite(sampled).all() and sampled[7].any(1).all() and sampled[9].any(1).all()


@pytest.mark.parametrize("value", [0, np.nan])
def test_a_cloud_without_any_point_is_refused_by_its_frame(tmp_path, value):
    clouds = arrays()["data/point_cloud"]
    clouds[113] = value
    write(tmp_path / "a.zarr", data__point_cloud=clouds)
    assert "the cloud of frame 113 has no finite point" in refusal(tmp_path / "a.zarr")


@pytest.mark.parametrize("key", ["state", "action"])
def test_other_numbers_that_are_not_finite_are_refused_by_their_frame(tmp_path, key):
    values = arrays()[f"data/{key}"]
    values[42, 1] = np.nan
    write(tmp_path / "a.zarr", **{f"data__{key}": values})
    assert f"{key} of frame 42 is not finite" in refusal(tmp_path / "a.zarr")


# Kinds of numbers and names


@pytest.mark.parametrize("kind", ["i1", "u1", "i8", "?", "f2", ">f4", ">f8", "f8", ">i4"])
@pytest.mark.parametrize("key", ["state", "action", "point_cloud"])
def test_numbers_of_any_kind_are_read_as_float32(tmp_path, kind, key):
    values = (10 * np.abs(arrays()[f"data/{key}"]) + 1).astype(kind)
    assert_holds(tmp_path / "a.zarr", write(tmp_path / "a.zarr", **{f"data__{key}": values}))


@pytest.mark.parametrize("value", [2**24 + 1, 1e300])
def test_numbers_that_float32_cannot_hold_are_refused_by_their_frame(tmp_path, value):
    values = np.zeros((FRAMES, 9), type(value))
    values[17, 2] = value
    write(tmp_path / "a.zarr", data__state=values)
    assert "state of frame 17 has" in refusal(tmp_path / "a.zarr")


def test_colours_are_left_out_and_said(tmp_path):
    clouds = np.concatenate([arrays()["data/point_cloud"]] * 2, axis=-1)
    expected = write(tmp_path / "a.zarr", data__point_cloud=clouds)
    buffer = assert_holds(tmp_path / "a.zarr", expected | {"data/point_cloud": clouds[..., :3]})
    (note,) = buffer.notes
    assert "colours" in note and "6 numbers a point" in note


def test_a_wrong_number_of_axes_is_named(tmp_path):
    write(tmp_path / "a.zarr", data__action=np.zeros(FRAMES))
    line = refusal(tmp_path / "a.zarr")
    assert "action has the shape (150,); 2 axes are needed" in line


def test_agent_pos_is_the_state(tmp_path):
    expected = write(tmp_path / "a.zarr", leave_out=["data/state"], data__agent_pos=arrays()["data/state"])
    assert_holds(tmp_path / "a.zarr", expected)


# Attributes of somebody else


@pytest.mark.parametrize(
    "attributes",
    [
        {"episodes": 2},
        {"episodes": None},
        {"episodes": []},
        {"episodes": [{"length": 60}, {"length": 90}]},
        {"task": "pour water"},
        {"settings": 7, "expert": {"name": "Ada"}, "checksum": "x"},
    ],
)
@pytest.mark.parametrize("zarr_format", [2, 3])
def test_attributes_of_somebody_else_are_left_alone(tmp_path, attributes, zarr_format):
    from types import SimpleNamespace

    expected = write(tmp_path / "a.zarr", attributes, zarr_format)
    buffer = assert_holds(tmp_path / "a.zarr", expected)
    assert buffer.attributes == {}
    spec = SimpleNamespace(name="metaworld_reach", state_dim=9, action_dim=4, other_states=())
    assert buffer.check(spec) is buffer
    with pytest.raises(ValueError, match="not edited"):
        buffer.append({}, {})


def test_stores_of_ours_are_known_by_their_mark_and_older_ones_by_their_rows(tmp_path):
    store = make_store(tmp_path / "a.zarr", 2)
    assert store.attributes["layout"] == MARK
    attributes = json.loads((store.path / ".zattrs").read_text())
    del attributes["layout"]
    (store.path / ".zattrs").write_text(json.dumps(attributes))
    older = ReplayBuffer.open(store.path)
    assert older.content_hash() == store.content_hash()
    attributes["episodes"][0]["checksum"] = "another"
    (store.path / ".zattrs").write_text(json.dumps(attributes))
    with pytest.raises(InputError, match="are damaged"):
        ReplayBuffer.open(store.path)
