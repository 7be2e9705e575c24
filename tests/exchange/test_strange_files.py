"""Files as people really have them: read for what they hold, or refused in one line that says what to do."""

import numpy as np
import pytest

from mp_lib.exchange.conversion import Wishes, convert
from mp_lib.exchange.formats import open_recording
from mp_lib.system.errors import InputError
from tests.exchange.layouts import ACTION, CLOUD, POINTS, STATE, frames_of, joined, made_up, same, write_hdf5, write_npz

WRITERS = {"npz": write_npz, "hdf5": write_hdf5}


@pytest.fixture(params=WRITERS)
def write(request):
    return WRITERS[request.param]


@pytest.mark.parametrize("kind", ["<f2", ">f4", "<f8", ">f8", "<i2", ">i4", "<u8", "|u1", "|i1", "|b1"])
def test_numbers_of_any_kind_and_byte_order_are_read(kind, write, tmp_path):
    episodes = [{key: np.abs(3 * values).astype(kind) for key, values in each.items()} for each in made_up()]
    for each in episodes:
        each[CLOUD][..., 0] = 1  # no zeros alone, which are padding
    expected = [{key: values.astype(np.float32) for key, values in each.items()} for each in episodes]
    assert same(frames_of(write(tmp_path / "source", episodes), tmp_path / "arm.zarr"), joined(expected))


@pytest.mark.parametrize(
    "change",
    [
        np.asfortranarray,
        lambda values: np.concatenate([values, values])[: len(values)],
        lambda values: np.repeat(values, 2, axis=0)[::2],
        lambda values: values[:, None],
        lambda values: values[..., None] if values.ndim == 2 else values,
    ],
    ids=["Fortran order", "a copy", "strided", "an axis of one in front", "an axis of one behind"],
)
def test_how_numbers_lie_makes_no_difference(change, write, tmp_path):
    episodes = made_up()
    changed = [{key: change(values) for key, values in each.items()} for each in episodes]
    assert same(frames_of(write(tmp_path / "source", changed), tmp_path / "arm.zarr"), joined(episodes))


def test_a_flat_row_is_one_number_a_frame(write, tmp_path):
    episodes = made_up()
    changed = [{**each, STATE: each[STATE][:, 0], ACTION: each[ACTION][:, 0]} for each in episodes]
    expected = [{**each, STATE: each[STATE][:, :1], ACTION: each[ACTION][:, :1]} for each in episodes]
    assert same(frames_of(write(tmp_path / "source", changed), tmp_path / "arm.zarr"), joined(expected))


def test_clouds_as_images_of_points_are_read(write, tmp_path):
    (episode,) = made_up([3])
    grid = {**episode, CLOUD: episode[CLOUD].reshape(3, 2, 3, 3)}
    assert same(frames_of(write(tmp_path / "source", [grid]), tmp_path / "arm.zarr"), joined([episode]))


def test_episodes_of_one_frame_are_read(write, tmp_path):
    episodes = made_up([1, 1])
    assert same(frames_of(write(tmp_path / "source", episodes), tmp_path / "arm.zarr"), joined(episodes))


WRONG = {
    "two axes a frame": ({STATE: np.zeros((4, 2, 3))}, "give a row of numbers a frame"),
    "no numbers": ({ACTION: np.zeros((4, 0))}, "give a row of numbers a frame"),
    "a single number": ({STATE: np.float64(3)}, "state"),
    "another length": ({STATE: np.zeros((3, 4))}, "other numbers of frames"),
    "two frames more": ({STATE: np.zeros((6, 4)), CLOUD: np.ones((6, 5, 3))}, "other numbers of frames"),
    "flat clouds": ({CLOUD: np.zeros((4, 18))}, "give points"),
    "channels first": ({CLOUD: np.zeros((4, 3, 100))}, "give points"),
    "two numbers a point": ({CLOUD: np.zeros((4, 100, 2))}, "give points"),
    "no points": ({CLOUD: np.zeros((4, 0, 3))}, "give points"),
    "nothing seen": ({CLOUD: np.zeros((4, 5, 3))}, r"frame 0 has no point \(nothing was seen\)"),
    "not a number": ({ACTION: np.full((4, 2), np.nan)}, "frame 0, is not finite"),
    "infinite": ({STATE: np.full((4, 2), np.inf)}, "frame 0, is not finite"),
    "too large": ({STATE: np.full((4, 2), 1e300)}, "float32 cannot hold"),
    "large whole numbers": ({ACTION: np.full((4, 2), 2**40)}, "float32 cannot hold"),
    "complex": ({ACTION: np.zeros((4, 2), complex)}, "give an array of numbers"),
    "text": ({ACTION: np.full((4, 2), b"1.0")}, "give an array of numbers"),
    "times": ({ACTION: np.zeros((4, 2), "V8")}, "action"),
    "several episodes in one, by number": ({"episode_index": np.array([0, 0, 1, 1])}, "save one episode a file"),
    "several episodes in one": ({"episode_ends": np.array([2, 4])}, "save one episode a file"),
}


@pytest.mark.parametrize("name", WRONG)
def test_what_does_not_fit_is_one_line_that_names_it(name, write, tmp_path):
    change, said = WRONG[name]
    source = write(tmp_path / "source", [{**made_up([4])[0], **change}]) if write is write_npz else None
    if source is None:
        import h5py

        (tmp_path / "source").mkdir()
        with h5py.File(tmp_path / "source" / "ep0.h5", "w") as file:
            for key, values in {**made_up([4])[0], **change}.items():
                file[key] = values
        source = tmp_path / "source"
    with pytest.raises(InputError, match=said) as error:
        convert(source, tmp_path / "arm.zarr", Wishes(points=POINTS))
    assert "\n" not in str(error.value) and "ep0" in str(error.value)
    assert not list(tmp_path.glob("*arm*"))


def test_an_episode_of_other_sizes_is_named(write, tmp_path):
    episodes = made_up()
    episodes[2][STATE] = episodes[2][STATE][:, :3]
    with pytest.raises(InputError, match="episode ep2 has .*'state': 3.* the first episode .*'state': 4"):
        convert(write(tmp_path / "source", episodes), tmp_path / "arm.zarr")


def test_objects_are_not_unpickled(tmp_path):
    class Trap:
        def __reduce__(self):
            return (pytest.fail, ("code of a file ran",))

    episodes = made_up([3, 3])
    unread = write_npz(tmp_path / "unread", [{**each, "notes": np.array([Trap()], object)} for each in episodes])
    assert same(frames_of(unread, tmp_path / "arm.zarr"), joined(episodes))  # left alone where nobody asks for them
    read = write_npz(tmp_path / "read", [{**each, ACTION: np.array([Trap()] * 3, object)} for each in episodes])
    with pytest.raises(InputError, match="action holds Python objects, which are not unpickled"):
        convert(read, tmp_path / "other.zarr")


@pytest.mark.filterwarnings("ignore:Stored array in format 3.0")
def test_an_array_of_a_later_npy_version_hides_no_other(tmp_path):
    episodes = made_up([3])
    named = np.zeros(3, [("größe → Δ", "f4")])  # a name beyond Latin-1, for which NumPy writes version 3.0
    source = write_npz(tmp_path / "source", [{**episodes[0], "notes": named}])
    assert same(frames_of(source, tmp_path / "arm.zarr"), joined(episodes))
    with pytest.raises(InputError, match=r"notes is of version \(3, 0\) of \.npy"):
        convert(source, tmp_path / "other.zarr", Wishes(state=["notes"]))


def test_names_with_dots_slashes_and_other_alphabets_are_keys(write, tmp_path):
    (episode,) = made_up([3])
    renamed = {"camera.0/cloud.xyz": episode[CLOUD], "état": episode[STATE], "u.v.w": episode[ACTION]}
    chosen = {"point_cloud": "camera.0/cloud.xyz", "state": ["état"], "action": "u.v.w"}
    assert same(frames_of(write(tmp_path / "source", [renamed]), tmp_path / "arm.zarr", **chosen), joined([episode]))


def test_files_that_are_no_episodes_are_left_alone(tmp_path):
    episodes = made_up()
    source = write_npz(tmp_path / "source", episodes)
    (source / "._ep0.npz").write_bytes(b"a Mac's shadow")
    (source / "readme.txt").write_text("hello")
    (source / "old.npz").mkdir()
    assert same(frames_of(source, tmp_path / "arm.zarr"), joined(episodes))


def test_one_file_is_one_episode(write, tmp_path):
    episodes = made_up()
    (file,) = write(tmp_path / "source", episodes).glob("ep1.*")
    assert same(frames_of(file, tmp_path / "arm.zarr"), joined(episodes[1:2]))


def test_names_of_episodes_are_ordered_by_their_numbers(tmp_path):
    names = ["take-9", "take-10", "take-2", "take-1b", "take-1"]
    source = tmp_path / "source"
    source.mkdir()
    for name, episode in zip(names, made_up([2] * 5), strict=True):
        np.savez(source / f"{name}.npz", **episode)
    assert open_recording(source).episodes == ["take-1", "take-1b", "take-2", "take-9", "take-10"]


def test_a_folder_of_files_with_several_episodes_each_names_them_by_both(tmp_path):
    import h5py

    episodes, source = made_up([2, 3, 4, 2]), tmp_path / "source"
    source.mkdir()
    for number in range(2):
        with h5py.File(source / f"day{number}.hdf5", "w") as file:
            for place, episode in enumerate(episodes[2 * number : 2 * number + 2]):
                for key, values in episode.items():
                    file[f"data/demo_{place}/{key}"] = values
    assert open_recording(source).episodes == ["day0/demo_0", "day0/demo_1", "day1/demo_0", "day1/demo_1"]
    assert same(frames_of(source, tmp_path / "arm.zarr"), joined(episodes))


def test_groups_within_groups_have_keys_with_slashes(tmp_path):
    import h5py

    (episode,) = made_up([3])
    with h5py.File(tmp_path / "arm.h5", "w") as file:
        file["observations/cameras/top/cloud"], file["observations/qpos"] = episode[CLOUD], episode[STATE]
        file["action"] = episode[ACTION]
    found = frames_of(tmp_path / "arm.h5", tmp_path / "arm.zarr", point_cloud="observations/cameras/top/cloud")
    assert same(found, joined([episode]))
