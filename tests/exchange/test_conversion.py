"""A recording becomes a store: the same frames from every layout, whole or not at all, and said what was left out."""

import json
import os
import signal
import subprocess
import sys

import numpy as np
import pytest

from mp_lib.__main__ import main
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.exchange import conversion
from mp_lib.exchange.conversion import Wishes, convert
from mp_lib.exchange.formats import FORMATS, open_recording
from mp_lib.system.errors import InputError, MissingFileError
from tests import ROOT
from tests.exchange.layouts import (
    ACTION,
    CLOUD,
    LAYOUTS,
    POINTS,
    STATE,
    frames_of,
    joined,
    made_up,
    same,
    write_npz,
    write_store,
)

WAITING = """
import sys, time
from mp_lib.__main__ import main
from mp_lib.exchange import conversion, lerobot_export
conversion.rows = lerobot_export.write_frames = lambda *_: (print("begun", flush=True), time.sleep(60))
sys.exit(main(sys.argv[1:]))
"""


def test_every_format_is_tried(tmp_path):
    sources = [make(tmp_path / name, made_up()) for name, make in LAYOUTS.items()]
    assert {*FORMATS} == {name for name, each in FORMATS.items() if any(map(each.lies_at, sources))}


@pytest.mark.parametrize("layout", LAYOUTS)
def test_frames_are_those_of_the_files_to_the_bit(layout, tmp_path):
    episodes = made_up()
    source = LAYOUTS[layout](tmp_path / "source", episodes)
    assert same(frames_of(source, tmp_path / "arm.zarr"), joined(episodes))
    assert ReplayBuffer.open(tmp_path / "arm.zarr").num_episodes == len(episodes)  # with checksums, none left out


@pytest.mark.parametrize("layout", LAYOUTS)
def test_more_than_ten_episodes_stay_in_the_order_in_which_people_count(layout, tmp_path):
    episodes = made_up([2] * 12)
    source = LAYOUTS[layout](tmp_path / "source", episodes)
    assert same(frames_of(source, tmp_path / "arm.zarr"), joined(episodes))


@pytest.mark.parametrize("layout", [name for name in LAYOUTS if name != "lerobot"])  # which has none
def test_an_empty_episode_is_left_out_and_named(layout, tmp_path):
    episodes = made_up([3, 0, 2])
    made = convert(LAYOUTS[layout](tmp_path / "source", episodes), tmp_path / "arm.zarr", Wishes(points=POINTS))
    assert made.store.num_episodes == 2 and any(note.startswith("left out 1 empty: ") for note in made.notes)


def test_all_empty_is_one_line(tmp_path):
    with pytest.raises(InputError, match="2 episodes, all without a frame"):
        convert(write_npz(tmp_path / "source", made_up([0, 0])), tmp_path / "arm.zarr")


def test_clouds_are_the_farthest_points_without_colours_and_what_is_not_finite(tmp_path):
    from mp_lib.point_cloud import sample_farthest

    (episode,) = made_up([3])
    points = np.random.default_rng(1).normal(size=(3, 40, 6))
    points[0, 7, 2], points[1, 3, 0] = np.nan, np.inf
    made = convert(
        write_npz(tmp_path / "source", [{**episode, CLOUD: points}]), tmp_path / "arm.zarr", Wishes(points=16)
    )
    expected = [sample_farthest(each[:, :3].astype(np.float32), 16) for each in points]
    assert np.array_equal(made.store.read()[CLOUD], expected)
    assert "left out 2 points that are not finite" in made.notes


@pytest.mark.parametrize("layout", LAYOUTS)
def test_without_a_number_of_points_nothing_is_filled_up(layout, tmp_path):
    made = convert(LAYOUTS[layout](tmp_path / "source", made_up()), tmp_path / "arm.zarr")
    stored = 2 * POINTS if layout == "maniskill" else POINTS  # half of which were not seen
    assert made.store.shapes[CLOUD] == (stored, 3)
    assert any(note.startswith(f"clouds have {stored} points, since no stored one has more") for note in made.notes)
    assert any("filled up" in note for note in made.notes) == (stored > POINTS)


@pytest.mark.parametrize(("sizes", "points"), [((6, 9), 9), ((6, 512), 512), ((700, 6), 512)])
def test_the_largest_stored_cloud_tells_how_many_points_there_are_up_to_the_usual_number(sizes, points, tmp_path):
    draw, episodes = np.random.default_rng(0), made_up([2, 2])
    for episode, size in zip(episodes, sizes, strict=True):
        episode[CLOUD] = draw.normal(size=(2, size, 3))
    source = write_npz(tmp_path / "source", episodes)
    made = convert(source, tmp_path / "arm.zarr")
    assert made.store.shapes[CLOUD] == (points, 3) and any("since no" in note for note in made.notes) == (points < 512)
    given = convert(source, tmp_path / "given.zarr", Wishes(points=20))
    assert given.store.shapes[CLOUD] == (20, 3) and not any("since no" in note for note in given.notes)


def test_who_names_no_kinds_of_the_action_is_told_what_that_means(tmp_path):
    episodes = [{**each, "one": each[ACTION][:, :1], "four": each[STATE]} for each in made_up()]
    source = write_npz(tmp_path / "source", episodes)
    said = "no kinds of the action are named, so an arm would be held by its last command, velocities and steps, too"
    for name, wishes, told in (
        ("plain", {}, True),
        ("state", {"state_kinds": "joint:4"}, True),
        ("named", {"action_kinds": "step:1 gripper:1"}, False),
        (
            "ours",
            {"task": "metaworld_reach", "state": [STATE, STATE, "one"], "action": "four"},
            False,
        ),  # kinds are known
    ):
        notes = convert(source, tmp_path / f"{name}.zarr", Wishes(**wishes)).notes
        assert any(note.startswith(said) for note in notes) == told, name


def test_small_clouds_and_ones_that_stand_still_are_counted(tmp_path):
    (episode,) = made_up([4])
    episode[CLOUD][2] = episode[CLOUD][1]
    made = convert(write_npz(tmp_path / "source", [episode]), tmp_path / "arm.zarr", Wishes(points=POINTS + 2))
    assert any(note.startswith("4 of 4 clouds have fewer than 8 points") for note in made.notes)
    assert any(note.startswith("1 of 4 clouds equal the one before") for note in made.notes)
    assert not made.store.read()[CLOUD][:, POINTS:].any()


def test_a_box_keeps_what_lies_in_it_and_none_left_is_said_by_frame(tmp_path):
    episodes = made_up([3, 2])
    source = write_npz(tmp_path / "source", episodes)
    made = convert(source, tmp_path / "arm.zarr", Wishes(points=POINTS, crop=((-9, -9, 0), (9, 9, 9)))).store
    assert (made.read()[CLOUD][..., 2] >= 0).all()
    with pytest.raises(InputError, match=r"episode ep0, frame 0 has no point \(the crop box leaves none of 6 points\)"):
        convert(source, tmp_path / "none.zarr", Wishes(crop=((50, 50, 50), (60, 60, 60))))
    for crop in (((0, 0, 0), (1, 0, 1)), ((0, 0, np.nan), (1, 1, 1))):
        with pytest.raises(InputError, match="crop"):
            convert(source, tmp_path / "none.zarr", Wishes(crop=crop))


def test_keys_are_mapped_and_states_joined(tmp_path):
    episodes = made_up()
    renamed = [
        {
            "pc.camera": each[CLOUD],
            "q.pos": each[STATE][:, :1],
            "q.vel": each[STATE][:, 1:],
            "u": each[ACTION],
            "rgb": [1],
        }
        for each in episodes
    ]
    source = write_npz(tmp_path / "source", renamed)
    chosen = {"point_cloud": "pc.camera", "state": ["q.pos", "q.vel"], "action": "u"}
    made = convert(source, tmp_path / "arm.zarr", Wishes(points=POINTS, action_kinds="velocity:2", **chosen))
    assert same({**made.store.read(), "ends": made.store.episode_ends}, joined(episodes))
    assert made.notes == ["not read: rgb (1,) int64"]


def test_all_that_is_missing_is_one_line_that_lists_what_is_there(tmp_path):
    source = write_npz(tmp_path / "source", [{"cloud": np.zeros((2, 3, 3)), "speed": np.zeros((2, 4))}])
    with pytest.raises(InputError) as error:
        convert(source, tmp_path / "arm.zarr", Wishes(state=["speed", "place"]))
    for part in ("place", "--point-cloud", "--action", "cloud (2, 3, 3) float64", "speed (2, 4) float64"):
        assert part in str(error.value)
    episodes = [*made_up()]
    for episode in episodes[1:]:
        del episode[ACTION]
    del episodes[2][STATE]
    with pytest.raises(InputError, match=r"ep1: lacks action; .*; ep2: lacks state, action; "):
        convert(write_npz(tmp_path / "holes", episodes), tmp_path / "arm.zarr")
    assert not (tmp_path / "arm.zarr").exists()


def test_episodes_are_left_out_by_name(tmp_path):
    episodes = made_up()
    episodes[1][STATE][2, 1] = np.nan
    source = write_npz(tmp_path / "source", episodes)
    with pytest.raises(InputError, match="state of episode ep1, frame 2, is not finite; leave it out by --without ep1"):
        convert(source, tmp_path / "arm.zarr", Wishes(points=POINTS))
    assert os.listdir(tmp_path) == ["source"]  # not even half a store
    assert same(frames_of(source, tmp_path / "arm.zarr", without=["ep1"]), joined([episodes[0], episodes[2]]))
    with pytest.raises(InputError, match="has no episode ep7; there are: ep0, ep1, ep2"):
        convert(source, tmp_path / "other.zarr", Wishes(without=["ep7"]))


def test_a_store_says_task_source_time_and_kinds(tmp_path):
    source = write_npz(tmp_path / "lab", made_up())
    kinds = {"state_kinds": "position:3   gripper:1", "action_kinds": "step:1 gripper:1"}
    with pytest.raises(InputError, match="kinds"):
        convert(source, tmp_path / "arm.zarr", Wishes(state_kinds="position:3"))
    said = convert(source, tmp_path / "arm.zarr", Wishes(points=POINTS, fps=12.5, **kinds)).store.attributes
    assert (said["task"], said["source"], said["fps"]) == ("arm", "lab", 12.5)
    assert said["kinds"] == {"state": "position:3 gripper:1", "action": "step:1 gripper:1"}
    assert [row["name"] for row in said["episodes"]] == ["ep0", "ep1", "ep2"]
    plain = convert(source, tmp_path / "plain.zarr", Wishes(points=POINTS, task="my-arm_2")).store.attributes
    assert plain["task"] == "my-arm_2" and not {"fps", "kinds"} & {*plain}


@pytest.mark.parametrize(
    "wrong", [{"points": 0}, {"points": 2.5}, {"fps": 0}, {"fps": float("nan")}, {"task": "my arm"}, {"task": "../arm"}]
)
def test_numbers_and_names_that_cannot_be_are_one_line(wrong, tmp_path):
    with pytest.raises(InputError, match=f"{[*wrong][0]} .* given"):
        convert(write_npz(tmp_path / "source", made_up()), tmp_path / "arm.zarr", Wishes(**wrong))


def test_a_target_that_is_there_is_refused_and_left_alone(tmp_path):
    source = write_npz(tmp_path / "source", made_up())
    (tmp_path / "arm.zarr").mkdir()
    (tmp_path / "arm.zarr" / "mine").write_text("x")
    with pytest.raises(InputError, match="exists already"):
        convert(source, tmp_path / "arm.zarr")
    assert (tmp_path / "arm.zarr" / "mine").read_text() == "x"


def test_who_stops_it_leaves_nothing_behind(tmp_path, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    source = write_npz(tmp_path / "source", made_up())
    monkeypatch.setattr(conversion, "rows", stop)
    with pytest.raises(KeyboardInterrupt):
        convert(source, tmp_path / "arm.zarr")
    assert os.listdir(tmp_path) == ["source"]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
@pytest.mark.parametrize("verb", [["import", "source"], ["export", "lab.zarr", "--to", "lerobot", "--fps", "25"]])
def test_an_import_and_an_export_that_are_told_to_stop_leave_nothing(verb, number, tmp_path):
    write_npz(tmp_path / "source", made_up())
    write_store(tmp_path / "lab.zarr", made_up())
    command = [sys.executable, "-c", WAITING, *verb[:2], "made", *verb[2:]]
    pipes, variables = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}, os.environ | {"MP_ROOT": str(tmp_path)}
    with subprocess.Popen(command, cwd=ROOT, env=variables, text=True, **pipes) as process:
        assert process.stdout.readline() == "begun\n" and [*tmp_path.glob(".made*")]
        process.send_signal(number)
        _, said = process.communicate()
    assert process.returncode == 130 and said.endswith(f"mp_lib {verb[0]}: stopped\n") and "Traceback" not in said
    assert sorted(os.listdir(tmp_path)) == ["lab.zarr", "source"]


def test_what_is_no_recording_is_one_line(tmp_path):
    (tmp_path / "empty").mkdir()
    (tmp_path / "notes.txt").write_text("hello")
    for name in ("empty", "notes.txt"):
        with pytest.raises(InputError, match="is no recording that is read; give one of: "):
            open_recording(tmp_path / name)
    with pytest.raises(MissingFileError):
        open_recording(tmp_path / "gone")
    with pytest.raises(InputError, match="unknown format 'csv'; choose one of: lerobot, hdf5, npz"):
        open_recording(tmp_path / "empty", "csv")
    for name in FORMATS:
        with pytest.raises(InputError):
            convert(tmp_path / "empty", tmp_path / "arm.zarr", Wishes(format=name))
        with pytest.raises(InputError):
            convert(tmp_path / "notes.txt", tmp_path / "arm.zarr", Wishes(format=name))
    source = write_npz(tmp_path / "both", made_up())
    (source / "ep0.h5").write_bytes(b"")
    with pytest.raises(InputError, match="holds hdf5 and npz; say which by --format"):
        open_recording(source)
    frames_of(source, tmp_path / "arm.zarr", format="npz")
    with pytest.raises(InputError, match="zarr store, which needs no import"):
        open_recording(tmp_path / "arm.zarr")


def test_the_verb_says_what_it_made_and_knows_our_tasks(tmp_path, capsys, monkeypatch):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    write_npz(tmp_path / "source", made_up())
    assert main(["import", "source", "arm.zarr", "--points", "6", "--crop", *["-9", "-9", "-9", "9", "9", "9"]]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].endswith("arm.zarr: 3 episodes, 12 frames, task arm")
    assert lines[1:4] == ["point_cloud (6, 3) of point_cloud", "state (4,) of state", "action (2,) of action"]
    (note,) = lines[4:]
    assert note.endswith('name them by --action-kinds, such as "step:3 gripper:1"')
    assert main(["import", "source", "other.zarr", "--task", "metaworld_no-such"]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert "unknown task" in line and not (tmp_path / "other.zarr").exists()


@pytest.mark.parametrize(("layout", "module"), [("hdf5", "h5py"), ("robomimic", "h5py"), ("lerobot", "pyarrow")])
def test_a_missing_package_is_one_line_with_the_command(layout, module, tmp_path):
    source = LAYOUTS[layout](tmp_path / "source", made_up())
    hide = f"import sys; sys.modules[{module!r}] = None; import importlib.util as u; find = u.find_spec"
    hide += f"; u.find_spec = lambda name: None if name == {module!r} else find(name)"
    given = ["import", str(source), str(tmp_path / "arm.zarr")]
    code = f"{hide}; import mp_lib.__main__ as m; sys.exit(m.main({given!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    (line,) = done.stderr.splitlines()
    assert done.returncode == 2 and f"{module} is not installed" in line and ".[import]" in line


def test_reading_npz_needs_no_extra(tmp_path):
    source = write_npz(tmp_path / "source", made_up())
    code = "import sys; from mp_lib.exchange.conversion import convert; convert(*sys.argv[1:]); print(*sys.modules)"
    command = [sys.executable, "-c", code, str(source), str(tmp_path / "arm.zarr")]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert not {"h5py", "pyarrow", "PIL", "torch", "mujoco"} & {*done.stdout.split()}


def test_a_store_that_was_imported_is_whole_json(tmp_path):
    frames_of(write_npz(tmp_path / "source", made_up()), tmp_path / "arm.zarr")
    assert json.loads((tmp_path / "arm.zarr" / ".zattrs").read_text())["layout"] == "mp_lib 1"
