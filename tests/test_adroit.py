"""Adroit's four tasks; a sample of what is the same for all of them, or takes a process."""

import csv
import json
import os
import subprocess
import sys

import numpy as np
import pytest

from mp_lib import demos
from mp_lib.paths import root
from mp_lib.sim.adroit import CAMERA, IMAGE_SIZE
from mp_lib.sim.depth import BACKEND
from mp_lib.sim.env import LAST_TWO_STEPS, SimulationDiverged
from mp_lib.sim.experts import NETWORK_ARRAYS, OWN_NETWORKS, read_network
from mp_lib.sim.rays import RayDepth
from mp_lib.sim.tasks import ADROIT_TASKS, TASKS

import mujoco  # isort: skip

needs_opengl = pytest.mark.skipif(BACKEND != "opengl", reason="no OpenGL context can be created on this machine")
SAMPLE = ["pen", "relocate"]
EVERY = [pytest.param(task, marks=[] if task in SAMPLE else [pytest.mark.every_task]) for task in ADROIT_TASKS]


def row_of(task):
    return TASKS[f"adroit_{task}"]


@pytest.fixture
def make_env():
    made = []

    def make(task, num_points=512):
        made.append(row_of(task).make_env(num_points=num_points))
        return made[-1]

    yield make
    for env in made:
        env.close()


def play(env, task, seed, steps):
    """Play the expert for some steps; return all that was seen, concatenated."""
    expert, trace = row_of(task).make_expert(), []
    env.reset(seed)
    for k in range(steps):
        met = env.step(expert.act(env.truth()))
        trace += [env.truth()["observation"], env._data.qpos, env._data.qvel, [met]]
        if k in (0, steps - 1):
            obs = env.observe()
            trace += [obs.point_cloud.ravel(), obs.state]
    return np.concatenate(trace)


@pytest.mark.parametrize("task", ADROIT_TASKS)
def test_a_seed_fixes_the_episode_to_the_bit(make_env, task):
    env = make_env(task)
    first = play(env, task, 5, 8)
    assert not np.array_equal(play(env, task, 6, 30)[: len(first)], first)
    np.testing.assert_array_equal(play(env, task, 5, 8), first)
    other = make_env(task)
    play(other, task, 7, 12)
    np.testing.assert_array_equal(play(other, task, 5, 8), first)


@pytest.mark.parametrize("task", ADROIT_TASKS)
def test_observations_have_their_shapes_and_lie_in_the_crop(make_env, task):
    row, env = row_of(task), make_env(task)
    env.reset(0)
    obs = env.observe()
    assert obs.point_cloud.shape == (row.num_points, 3) and obs.point_cloud.dtype == np.float32
    assert obs.state.shape == (row.state_dim,) and obs.state.dtype == np.float32
    points = obs.point_cloud[np.any(obs.point_cloud != 0, axis=1)]
    assert len(points) > 300 and points[:, 2].min() > env.setting.floor
    stages = env.cloud_stages()
    assert len(stages["seen"]) > 4 * len(stages["cropped"]) >= 4 * len(points)
    np.testing.assert_array_equal(stages["sampled"], obs.point_cloud)


@pytest.mark.parametrize("task", ADROIT_TASKS)
def test_too_few_points_are_padded_with_zeros(make_env, task):
    env = make_env(task, num_points=4096)
    env.reset(0)
    cloud = env.observe().point_cloud
    padding = np.all(cloud == 0, axis=1)
    assert cloud.shape == (4096, 3) and padding.sum() == 4096 - len(env.cloud_stages()["cropped"])


# DP3's frame: as far as camera 0 looks down, the cloud stands upright; heights count from the camera, or 1 m above it.
@pytest.mark.parametrize("task", ADROIT_TASKS)
def test_heights_in_the_cloud_are_heights_above_the_table(make_env, task):
    env = make_env(task)
    env.reset(0)
    seen = env.cloud_stages()["seen"][:, 2]
    height = seen + env.setting.position[2] - (1 if env.setting.upright else 0)
    heights, counts = np.unique(height.round(2), return_counts=True)
    assert abs(heights[counts.argmax()]) < 0.011 or task == "door"  # what is seen most is the table; there, the ground
    assert height.max() > 0.1


@pytest.mark.parametrize("task", ADROIT_TASKS)
def test_the_state_is_the_joints_of_wrist_and_fingers(make_env, task):
    env = make_env(task)
    env.reset(0)
    joints = [env._model.joint(k).name for k in range(env._model.njnt)][env.setting.joints]
    assert len(joints) == 24 and {name[:2] for name in joints} == {"WR", "FF", "MF", "RF", "LF", "TH"}
    env.step(np.ones(row_of(task).action_dim))
    angles = np.array([env._data.joint(name).qpos[0] for name in joints], np.float32)
    np.testing.assert_array_equal(env.observe().state, angles)


@needs_opengl
@pytest.mark.parametrize("task", ADROIT_TASKS)
def test_opengl_and_rays_agree(make_env, task):
    env = make_env(task)
    play(env, task, 3, 20)
    by_opengl = env._camera.depth(env._data)
    by_rays = RayDepth(env._model, CAMERA, IMAGE_SIZE).depth(env._data)
    by_rays[by_rays >= env._model.vis.map.zfar * env._model.stat.extent] = np.inf
    seen = np.isfinite(by_opengl) & np.isfinite(by_rays)
    error = np.abs(by_opengl[seen] - by_rays[seen])
    assert np.median(error) < 1e-5
    assert (error > 0.01).sum() + (np.isfinite(by_opengl) != np.isfinite(by_rays)).sum() < 0.003 * by_opengl.size


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
    "door": (pose_door, [1.39, 1.41]),
    "hammer": (pose_nail, [0.0105, 0.0095]),
    "pen": (pose_pen, [np.arccos(0.945), np.arccos(0.955)]),
    "relocate": (pose_ball, [0.101, 0.099]),
}


@pytest.mark.parametrize("task", ADROIT_TASKS)
def test_the_goal_is_met_from_where_dp3_says(make_env, task):
    assert goal_flags(make_env(task), *GOALS[task]) == [False, True]


def test_a_pen_that_was_dropped_meets_no_goal(make_env):
    env = make_env("pen")
    env.reset(0)
    env._env.model.body("target").quat = env._data.body("Object").xquat
    env._data.joint("OBJTx").qpos = 0.19  # the body lies on its side: down
    assert env.step(np.zeros(24)) is False and env._lost
    env.reset(0)
    assert not env._lost


def test_an_action_lasts_two_steps_of_the_simulator(make_env):
    env = make_env("pen")
    env.reset(0)
    env.step(np.zeros(24))
    assert env._data.time == pytest.approx(2 * env._env.dt) == pytest.approx(0.02)


def test_success_is_the_goal_in_both_of_the_last_two_steps():
    judge = LAST_TWO_STEPS.judge
    assert judge([False, True, True]) and not LAST_TWO_STEPS.stops
    assert not any(map(judge, ([True, True, False], [True, False, True], [True], [])))


@pytest.mark.parametrize("task", ADROIT_TASKS)
def test_the_expert_solves_the_task(task):
    result = demos.check_expert(row_of(task), episodes=10)
    assert result["success_rate"] >= 0.8 and result["expert"] == "own DAgger student of DAPG"


@pytest.mark.parametrize("task", ADROIT_TASKS)
def test_the_network_of_an_expert_is_small_and_fits_its_task(make_env, task):
    path, row = OWN_NETWORKS / f"adroit_{task}.npz", row_of(task)
    arrays = read_network(path)
    env = make_env(task)
    env.reset(0)
    assert path.stat().st_size < 100_000 and set(arrays) == set(NETWORK_ARRAYS)
    assert arrays["w0"].shape[1] == len(env.truth()["observation"]) and len(arrays["b2"]) == row.action_dim
    assert all(np.isfinite(values).all() and values.dtype == np.float32 for values in arrays.values())


def test_the_table_of_experts_has_student_and_teacher_of_every_task():
    with open(root() / "data" / "results" / "adroit_experts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    names = {row_of("pen").expert_name, row_of("pen").other_experts["dapg"].name}
    assert {(row["task"], row["expert"]) for row in rows} == {
        (f"adroit_{task}", n) for task in ADROIT_TASKS for n in names
    }
    assert all(f"--task {row['task']}" in row["command"] and int(row["episodes"]) >= 50 for row in rows)


def test_demonstrations_say_who_showed_them(tmp_path):
    store = demos.collect(row_of("pen"), 1, tmp_path / "pen.zarr", num_points=64, jobs=1)
    assert store.attributes["expert"] == "own DAgger student of DAPG"
    assert store.num_frames == row_of("pen").max_steps == 50
    assert np.abs(store.read()["action"]).max() <= 1


def test_an_expert_that_was_not_fetched_says_how_to_get_it(tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    assert demos.main(["--check", "adroit_pen", "--expert", "dapg", "--episodes", "1"]) == 2
    assert "get it with: python -m mp_lib.fetch adroit" in capsys.readouterr().err


@pytest.mark.parametrize(("task", "choices"), [("adroit_pen", "default, dapg"), ("metaworld_reach", "default")])
def test_an_unknown_expert_is_answered_with_the_choices(capsys, task, choices):
    assert demos.main(["--check", task, "--expert", "vrl3"]) == 2
    assert f"unknown expert of {task} 'vrl3'; choose one of: {choices}\n" in capsys.readouterr().err


def test_the_command_line_prints_one_line_of_json(capsys):
    assert demos.main(["--check", "adroit_pen", "--episodes", "2", "--json"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    keys = ["task", "expert", "episodes", "success_rate", "interval", "steps_per_second"]
    assert list(json.loads(line)) == keys


@pytest.mark.parametrize("task", SAMPLE)
def test_actions_are_clipped(make_env, task):
    env, states = make_env(task), []
    for scale in (1, 50):
        env.reset(0)
        env.step(scale * np.resize([1.0, -1], row_of(task).action_dim))
        states.append(env.observe().state)
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize(("action", "message"), [(np.full(24, np.nan), "NaN"), (np.zeros(4), "shape .4,.*24")])
def test_bad_actions_are_refused(make_env, action, message):
    env = make_env("pen")
    env.reset(0)
    with pytest.raises(ValueError, match=message):
        env.step(action)


def test_a_step_without_an_episode_is_refused(make_env):
    with pytest.raises(RuntimeError, match="reset"):
        make_env("pen").step(np.zeros(24))


def test_divergence_is_an_error_and_a_reset_mends_it(make_env, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # mujoco writes a log there
    env = make_env("pen")
    first = play(env, "pen", 1, 4)
    env._data.qvel[0] = np.nan
    with pytest.raises(SimulationDiverged, match="pen"):
        env.step(np.zeros(24))
    np.testing.assert_array_equal(play(env, "pen", 1, 4), first)


@needs_opengl
@pytest.mark.parametrize("task", ADROIT_TASKS)
def test_the_picture_shows_the_hand(make_env, task):
    env = make_env(task)
    env.reset(0)
    red, green, blue = env.render().astype(int).transpose(2, 0, 1)
    skin = (red > blue + 30) & (red > green + 10) & (red > 120)
    assert red.shape == (240, 320) and 0.005 < skin.mean() < 0.3


@pytest.mark.parametrize("task", EVERY)
def test_rays_alone_are_enough_for_everything(task):
    code = (
        f"from mp_lib.sim.tasks import TASKS; env = TASKS['adroit_{task}'].make_env(); env.reset(0);"
        "obs = env.observe(); picture = env.render(); env.close();"
        "print(env.depth_backend, obs.point_cloud.shape, picture.dtype, picture.ndim, (picture < 255).mean() > 0.02)"
    )
    variables = {**os.environ, "MP_DEPTH": "rays", "MUJOCO_GL": "disable"}
    run = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "rays (512, 3) uint8 3 True"
