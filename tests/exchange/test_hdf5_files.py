"""What an HDF5 file may ask of its reader and does not get: other files, libraries, more memory than it has bytes."""

import h5py
import numpy as np
import pytest

from mp_lib.exchange.conversion import Wishes, convert
from mp_lib.system.errors import InputError
from tests.exchange.layouts import ACTION, CLOUD, POINTS, STATE, made_up


@pytest.fixture
def elsewhere(tmp_path):
    with h5py.File(tmp_path / "elsewhere.h5", "w") as file:
        file["secret"] = np.ones((4, 2), np.float32)
    return tmp_path / "elsewhere.h5"


def external_link(file, elsewhere):
    file[ACTION] = h5py.ExternalLink(elsewhere, "/secret")


def soft_link(file, elsewhere):
    file["door"] = h5py.ExternalLink(elsewhere, "/")
    file[ACTION] = h5py.SoftLink("/door/secret")


def virtual(file, elsewhere):
    layout = h5py.VirtualLayout((4, 2), np.float32)
    layout[...] = h5py.VirtualSource(elsewhere, "secret", (4, 2))
    file.create_virtual_dataset(ACTION, layout)


def external_storage(file, elsewhere):
    file.create_dataset(ACTION, (4, 2), np.float32, external=[(str(elsewhere), 0, h5py.h5f.UNLIMITED)])


def missing_chunks(file, _):
    file.create_dataset(ACTION, (4, 2), np.float32, chunks=(2, 2))[:2] = 1


def never_written(file, _):
    file.create_dataset(ACTION, (4, 2), np.float32)


def enormous(file, _):
    file.create_dataset(ACTION, (4, 2**40), np.float32, chunks=(1, 2**20))


def text(file, _):
    file.create_dataset(ACTION, data=np.full((4, 2), "1.0", object), dtype=h5py.string_dtype())


def compound(file, _):
    file[ACTION] = np.zeros(4, [("x", "f4"), ("y", "f4")])


def nothing(file, _):
    file[ACTION] = h5py.Empty("f4")


WANTS = {
    external_link: "is a link to .*elsewhere.h5; links are not read",
    soft_link: "is a link to /door/secret; links are not read",
    virtual: "takes its numbers from another file",
    external_storage: "takes its numbers from another file",
    missing_chunks: "has frames that are stored nowhere",
    never_written: "has frames that are stored nowhere",
    enormous: "would take more than 8 GiB",
    text: "give an array of numbers",
    compound: "give an array of numbers",
    nothing: "action",
}


@pytest.mark.parametrize("want", WANTS, ids=lambda want: want.__name__)
def test_it_is_refused_by_name(want, elsewhere, tmp_path):
    (episode,) = made_up([4])
    with h5py.File(tmp_path / "arm.h5", "w") as file:
        file[CLOUD], file[STATE] = episode[CLOUD], episode[STATE]
        want(file, elsewhere)
    with pytest.raises(InputError, match=WANTS[want]) as error:
        convert(tmp_path / "arm.h5", tmp_path / "arm.zarr", Wishes(points=POINTS))
    assert ACTION in str(error.value) and "\n" not in str(error.value)


@pytest.mark.parametrize("where", ["data/demo_1", "demo_1"])
@pytest.mark.parametrize("link", [lambda file: h5py.ExternalLink(file, "/"), lambda _: h5py.SoftLink("/data/demo_0")])
def test_episodes_that_are_links_are_refused_by_name_and_may_be_left_out(where, link, tmp_path, elsewhere):
    (episode,) = made_up([4])
    with h5py.File(tmp_path / "arm.h5", "w") as file:
        for key, values in episode.items():
            file[f"{'data/' if where.startswith('data/') else ''}demo_0/{key}"] = values
        file[where] = link(elsewhere)
    with pytest.raises(InputError, match=f"{where} is a link; links are not read.* by --without demo_1"):
        convert(tmp_path / "arm.h5", tmp_path / "arm.zarr")
    made = convert(tmp_path / "arm.h5", tmp_path / "arm.zarr", Wishes(points=POINTS, without=["demo_1"]))
    assert np.array_equal(made.store.read()[ACTION], episode[ACTION])


def test_links_and_filters_that_nobody_asks_for_are_left_alone(elsewhere, tmp_path):
    (episode,) = made_up([4])
    with h5py.File(tmp_path / "arm.h5", "w") as file:
        for key, values in episode.items():
            file.create_dataset(key, data=values, compression="lzf", shuffle=True)
        file["other"] = h5py.ExternalLink(elsewhere, "/secret")
        file["gone"] = h5py.SoftLink("/nowhere")
    made = convert(tmp_path / "arm.h5", tmp_path / "arm.zarr", Wishes(points=POINTS))
    assert np.array_equal(made.store.read()[ACTION], episode[ACTION])


def test_a_filter_that_is_a_library_of_somebody_is_refused_by_number(tmp_path):
    from mp_lib.exchange.hdf5 import FILTERS

    (episode,) = made_up([4])
    with h5py.File(tmp_path / "arm.h5", "w") as file:
        for key, values in episode.items():
            file[key] = values
        settings = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        settings.set_chunk((4, 2))
        settings.set_filter(32015, h5py.h5z.FLAG_OPTIONAL, ())
        space = h5py.h5s.create_simple((4, 2))
        del file[ACTION]
        h5py.h5d.create(file.id, ACTION.encode(), h5py.h5t.IEEE_F32LE, space, settings)
    assert 32015 not in FILTERS
    with pytest.raises(InputError, match="action is stored by filter 32015; h5repack with one of: gzip"):
        convert(tmp_path / "arm.h5", tmp_path / "arm.zarr")


def test_groups_that_hold_themselves_end(tmp_path):
    with h5py.File(tmp_path / "arm.h5", "w") as file:
        file.create_group("a")
        file["a/b"] = file["a"]
    with pytest.raises(InputError, match="holds more than an episode does"):
        convert(tmp_path / "arm.h5", tmp_path / "arm.zarr")


def test_groups_that_stand_in_many_others_end(tmp_path):
    """Of 8 names for each of 14 groups there are 8 ** 14 paths."""
    with h5py.File(tmp_path / "arm.h5", "w") as file:
        below = file.create_group("group_a")
        for name in "bcdefghijklmn":
            group = file.create_group(f"group_{name}")
            for place in range(8):
                group[str(place)] = below
            below = group
    assert (tmp_path / "arm.h5").stat().st_size < 100_000
    with pytest.raises(InputError, match="holds more than an episode does"):
        convert(tmp_path / "arm.h5", tmp_path / "arm.zarr")


def test_what_has_two_names_is_read_under_both(tmp_path):
    (episode,) = made_up([4])
    with h5py.File(tmp_path / "arm.h5", "w") as file:
        for key, values in episode.items():
            file[f"obs/{key}"] = values
        file["same"] = file["obs"]
    keys = {"point_cloud": f"same/{CLOUD}", "state": [f"obs/{STATE}"], "action": f"same/{ACTION}"}
    made = convert(tmp_path / "arm.h5", tmp_path / "arm.zarr", Wishes(points=POINTS, **keys))
    assert np.array_equal(made.store.read()[ACTION], episode[ACTION])
