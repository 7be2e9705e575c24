"""Recorded actions step by step, from Python and from the command line."""

import json

import numpy as np
import pytest

from mp_lib.__main__ import main
from mp_lib.acting.replay import replay
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.system.errors import InputError


def test_an_episode_is_told_step_by_step_as_it_was_recorded(toy_demos):
    frames, ends = toy_demos.read(), [0, *toy_demos.episode_ends]
    for episode in range(toy_demos.num_episodes):
        found = list(replay(toy_demos, episode))
        part = slice(ends[episode], ends[episode + 1])
        assert [each.step for each in found] == list(range(part.stop - part.start))
        np.testing.assert_array_equal([each.action for each in found], frames["action"][part])
        np.testing.assert_array_equal([each.state for each in found], frames["state"][part])
        np.testing.assert_array_equal([each.recorded for each in found], frames["action"][part])


def test_limits_hold_there_too(toy_demos):
    told = np.array([each.action for each in replay(toy_demos, 0, limits=(-0.2, 0.3), max_step=0.1)])
    assert told.min() >= -0.2 - 1e-6 and told.max() <= 0.3 + 1e-6
    assert np.abs(np.diff(told, axis=0)).max() <= 0.1 + 1e-6


def test_grippers_of_a_store_that_names_its_kinds_are_snapped(tmp_path):
    shapes, kinds = {"point_cloud": (4, 3), "state": (1,), "action": (1,)}, {"state": "joint:1", "action": "gripper:1"}
    store = ReplayBuffer.create(tmp_path / "a.zarr", shapes, {"task": "my_arm", "kinds": kinds})
    actions = np.array([[0], [0.04], [0.0399], [0.0001]], np.float32)
    store.append({"point_cloud": np.ones((4, 4, 3), "f4"), "state": np.ones((4, 1), "f4"), "action": actions}, {})
    found = [each.action.tolist() for each in replay(store, 0)]
    np.testing.assert_allclose(found, [[0], [0.04], [0.04], [0]], atol=1e-7)


@pytest.mark.parametrize("episode", [3, -1, "a"])
def test_an_episode_that_is_not_there_is_refused_before_the_first_step(toy_demos, episode):
    with pytest.raises(InputError, match=f"episode {episode!r} given; .*toy.zarr has 0 to 2"):
        replay(toy_demos, episode)


def test_the_command_line_prints_a_line_a_step(toy_demos, capsys):
    expected = list(replay(toy_demos, 1))
    assert main(["replay", str(toy_demos.path), "--episode", "1", "--json", "--every", "0.001"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    assert [row["step"] for row in rows] == [each.step for each in expected]
    np.testing.assert_array_equal(np.array([row["action"] for row in rows], "f4"), [each.action for each in expected])
    assert main(["replay", str(toy_demos.path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert len(lines) == 13 and lines[0].startswith("0  action ") and "  state " in lines[0]
    assert lines[-1] == "0 of 24 numbers are commanded otherwise than they were recorded" and "(" not in str(lines)


def test_what_is_commanded_otherwise_than_recorded_is_said(toy_demos, capsys):
    step = ["replay", str(toy_demos.path), "--max-step", "0.01"]
    found = list(replay(toy_demos, max_step=0.01))
    told, recorded = (np.array([getattr(each, name) for each in found]) for name in ("action", "recorded"))
    assert main([*step, "--json"]) == 0
    rows = [json.loads(line) for line in capsys.readouterr().out.splitlines()]
    np.testing.assert_array_equal(np.array([row["action"] for row in rows], "f4"), told)
    np.testing.assert_array_equal(np.array([row["recorded"] for row in rows], "f4"), recorded)
    others = np.abs(told - recorded) > 1e-4
    assert main(step) == 0
    *lines, last = capsys.readouterr().out.splitlines()
    assert others.any() and [line.count(" (recorded ") for line in lines] == others.sum(1).tolist()
    row, column = np.argwhere(others)[0]
    assert f"{told[row, column]:.4f} (recorded {recorded[row, column]:.4f})" in lines[row]
    assert last == f"{others.sum()} of {others.size} numbers are commanded otherwise than they were recorded"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--episode", "9"], "episode 9 given; "),
        (["--every", "-1"], "--every -1.0 given"),
        (["--max-step", "-1"], "max_step"),
    ],
)
def test_what_cannot_be_replayed_is_one_line(toy_demos, options, said, capsys):
    assert main(["replay", str(toy_demos.path), *options]) == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line
