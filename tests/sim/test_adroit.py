"""Adroit's four tasks: goals, crops, experts; what holds for every suite is in test_suites."""

import csv
import json

import numpy as np
import pytest

from mp_lib.__main__ import main
from mp_lib.data.recording import collect
from mp_lib.sim import trial
from mp_lib.sim.depth import BACKEND
from mp_lib.sim.env import LAST_TWO_STEPS
from mp_lib.sim.experts import NETWORK_ARRAYS, OWN_NETWORKS, read_network
from mp_lib.sim.tasks import ADROIT_TASKS, TASKS
from mp_lib.system.paths import root

import mujoco  # isort: skip

needs_opengl = pytest.mark.skipif(BACKEND != "opengl", reason="no OpenGL context can be created on this machine")
EVERY = [f"adroit_{task}" for task in ADROIT_TASKS]
PEN = TASKS["adroit_pen"]
NEEDED = dict.fromkeys(EVERY, 0.95) | {PEN.name: 0.8}  # success of our own experts
UPSIDE_DOWN = (np.cos(1.57), 0, 0, np.sin(1.57))  # euler 0 0 3.14


@pytest.mark.parametrize("task", EVERY)
def test_clouds_lie_in_the_crop(make_env, task):
    env = make_env(task)
    env.reset(0)
    cloud, stages = env.observe().point_cloud, env.cloud_stages()
    points = cloud[np.any(cloud != 0, axis=1)]
    assert points[:, 2].min() > env.setting.floor
    assert len(stages["seen"]) > 4 * len(stages["cropped"]) >= 4 * len(points)


PROTOCOL = {  # camera, its quaternion, whether points are stood upright, floor: DP3, gym_util/mjpc_wrapper.py
    "adroit_hammer": ((0, 0, 1.1), UPSIDE_DOWN, True, -0.099),
    "adroit_door": ((0, 0, 1.5), UPSIDE_DOWN, True, -0.499),
    "adroit_pen": ((0, -0.8, 0.8), (0.92388, 0.382683, 0, 0), False, -0.79),
}


@pytest.mark.parametrize("task", PROTOCOL)
def test_camera_and_crop_are_those_of_the_protocol(make_env, task):
    setting = make_env(task).setting
    assert (setting.position, setting.quaternion, setting.upright, setting.floor) == PROTOCOL[task]


@pytest.mark.parametrize("task", EVERY)
def test_heights_in_the_cloud_are_heights_above_the_table(make_env, task):
    env = make_env(task)
    env.reset(0)
    seen = env.cloud_stages()["seen"][:, 2]
    height = seen + env.setting.position[2] - (1 if env.setting.upright else 0)
    heights, counts = np.unique(height.round(2), return_counts=True)
    assert min(abs(heights[counts.argmax()] - level) for level in (0, -1)) < 0.011  # seen most: the table or the ground
    assert height.max() > 0.1


@pytest.mark.parametrize("task", EVERY)
def test_the_state_is_the_joints_of_wrist_and_fingers(make_env, task):
    env = make_env(task)
    env.reset(0)
    joints = [env._model.joint(k).name for k in range(env._model.njnt)][env.setting.joints]
    assert len(joints) == 24 and {name[:2] for name in joints} == {"WR", "FF", "MF", "RF", "LF", "TH"}
    env.step(np.ones(TASKS[task].action_dim))
    angles = np.array([env._data.joint(name).qpos[0] for name in joints], np.float32)
    np.testing.assert_array_equal(env.observe().state, angles)


def goal_flags(env, pose, values):
    """The goal flag, without a step of the simulator, for each value that ``pose`` puts into the simulation."""
    flags = []
    for value in values:
        env.reset(0)
        pose(env, value)
        mujoco.mj_forward(env._model, env._data)
        flags.append(env.setting.met(env._env))
    return flags


def pose_door(env, angle):
    env._data.joint("door_hinge").qpos = angle


def pose_nail(env, gap):
    env._data.joint("nail_dir").qpos = 0.101 - 0.01 - gap  # heights of the two sites above the board, less the gap


def pose_pen(env, angle):
    env._model.body("target").quat = env._data.body("Object").xquat
    env._data.joint("OBJRx").qpos = angle


def pose_ball(env, distance):
    env._model.site("target").pos = env._data.body("Object").xpos + [0, 0, distance]


GOALS = {
    "adroit_door": (pose_door, [1.39, 1.41]),
    "adroit_hammer": (pose_nail, [0.0105, 0.0095]),
    "adroit_pen": (pose_pen, [np.arccos(0.945), np.arccos(0.955)]),
    "adroit_relocate": (pose_ball, [0.101, 0.099]),
}


@pytest.mark.parametrize("task", EVERY)
def test_the_goal_is_met_from_where_dp3_says(make_env, task):
    assert goal_flags(make_env(task), *GOALS[task]) == [False, True]


def test_a_pen_that_was_dropped_meets_no_goal(make_env):
    env = make_env("adroit_pen")
    env.reset(0)
    env._env.model.body("target").quat = env._data.body("Object").xquat
    env._data.joint("OBJTx").qpos = 0.19  # the body lies on its side: down
    assert env.step(np.zeros(24)) is False and env._lost
    env.reset(0)
    assert not env._lost


def test_an_action_lasts_two_steps_of_the_simulator(make_env):
    env = make_env("adroit_pen")
    env.reset(0)
    env.step(np.zeros(24))
    assert env._data.time == pytest.approx(2 * env._env.dt) == pytest.approx(0.02)


def test_success_is_the_goal_in_both_of_the_last_two_steps():
    judge = LAST_TWO_STEPS.judge
    assert judge([False, True, True]) and not LAST_TWO_STEPS.stops
    assert not any(map(judge, ([True, True, False], [True, False, True], [True], [])))


@pytest.mark.parametrize("task", EVERY)
def test_the_expert_solves_the_task(task):
    result = trial.check_expert(TASKS[task], episodes=10)
    assert result["success_rate"] >= 0.8 and result["expert"] == "own DAgger student of DAPG"


@pytest.mark.slow
@pytest.mark.parametrize("task", EVERY)
def test_the_expert_is_as_good_as_is_asked_of_it(task):
    assert trial.check_expert(TASKS[task], episodes=50)["success_rate"] >= NEEDED[task]


@pytest.mark.parametrize("task", EVERY)
def test_the_network_of_an_expert_is_small_and_fits_its_task(make_env, task):
    path, row = OWN_NETWORKS / f"{task}.npz", TASKS[task]
    arrays = read_network(path)
    env = make_env(task)
    env.reset(0)
    assert path.stat().st_size < 100_000 and set(arrays) == set(NETWORK_ARRAYS)
    assert arrays["w0"].shape[1] == len(env.truth()["observation"]) and len(arrays["b2"]) == row.action_dim
    assert all(np.isfinite(values).all() and values.dtype == np.float32 for values in arrays.values())


def test_the_table_of_experts_has_student_and_teacher_of_every_task():
    with open(root() / "data" / "results" / "adroit_experts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names = {PEN.expert_name, PEN.other_experts["dapg"].name}
    assert {(row["task"], row["expert"]) for row in rows} == {(task, name) for task in EVERY for name in names}
    assert all(f"--task {row['task']}" in row["command"] and int(row["episodes"]) >= 50 for row in rows)
    own = [row for row in rows if row["expert"] == PEN.expert_name]
    assert all(float(row["success_rate"]) >= NEEDED[row["task"]] for row in own)


def test_demonstrations_say_who_showed_them(tmp_path):
    store = collect(PEN, 1, tmp_path / "pen.zarr", num_points=64, jobs=1)
    assert store.attributes["expert"] == "own DAgger student of DAPG"
    assert store.num_frames == PEN.max_steps == 50
    assert np.abs(store.read()["action"]).max() <= 1


def test_an_expert_that_was_not_fetched_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    assert main(["check", "adroit_pen", "--expert", "dapg", "--episodes", "1"]) == 2
    assert "get it with: python -m mp_lib fetch adroit" in capsys.readouterr().err


@pytest.mark.parametrize(("task", "choices"), [("adroit_pen", "default, dapg"), ("metaworld_reach", "default")])
def test_an_unknown_expert_is_answered_with_the_choices(capsys, task, choices):
    assert main(["check", task, "--expert", "vrl3"]) == 2
    assert f"unknown expert of {task} 'vrl3'; choose one of: {choices}\n" in capsys.readouterr().err


def test_the_command_line_prints_one_line_of_json(capsys):
    assert main(["check", "adroit_pen", "--episodes", "2", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    keys = ["task", "expert", "episodes", "success_rate", "interval", "steps_per_second"]
    assert list(json.loads(line)) == keys


@needs_opengl
@pytest.mark.parametrize("task", EVERY)
def test_the_picture_shows_the_hand(make_env, task):
    env = make_env(task)
    env.reset(0)
    red, green, blue = env.render().astype(int).transpose(2, 0, 1)
    skin = (red > blue + 30) & (red > green + 10) & (red > 120)
    assert red.shape == (240, 320) and 0.005 < skin.mean() < 0.3
