"""MetaWorld's tasks: a sample by default, all 50 with the marks every_task and slow."""

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest

from mp_lib.sim.depth import BACKEND
from mp_lib.sim.env import SimulationDiverged
from mp_lib.sim.metaworld import CAMERA, CROP_HIGH, CROP_LOW, IMAGE_SIZE
from mp_lib.sim.rays import RayDepth
from mp_lib.sim.tasks import METAWORLD_TASKS, TASKS

import mujoco  # isort: skip

needs_opengl = pytest.mark.skipif(BACKEND != "opengl", reason="no OpenGL context can be created on this machine")

SAMPLE = ["drawer-open", "assembly", "stick-push"]
EVERY = [
    pytest.param(task, marks=[] if task in SAMPLE else [pytest.mark.every_task, pytest.mark.slow])
    for task in METAWORLD_TASKS
]


@pytest.fixture
def make_env():
    made = []

    def make(task, num_points=512):
        made.append(TASKS[f"metaworld_{task}"].make_env(num_points=num_points))
        return made[-1]

    yield make
    for env in made:
        env.close()


def play(env, task, seed, steps):
    """Play the expert for some steps; return all that was seen, concatenated."""
    expert, trace = TASKS[f"metaworld_{task}"].make_expert(), []
    env.reset(seed)
    for k in range(steps):
        success = env.step(expert.act(env.truth()))
        trace += [env.truth()["observation"], env._data.qpos, env._data.qvel, [success]]
        if k in (0, steps - 1):
            obs = env.observe()
            trace += [obs.point_cloud.ravel(), obs.state]
    return np.concatenate(trace)


def expert_succeeds(env, row, seed):
    env.reset(seed)
    expert = row.make_expert()
    return any(env.step(expert.act(env.truth())) for _ in range(row.max_steps))


@pytest.mark.parametrize("task", EVERY)
def test_a_seed_fixes_the_episode_to_the_bit(make_env, task):
    env = make_env(task)
    first = play(env, task, 5, 8)
    assert not np.array_equal(play(env, task, 6, 30)[: len(first)], first)
    np.testing.assert_array_equal(play(env, task, 5, 8), first)
    other = make_env(task)
    play(other, task, 7, 12)
    np.testing.assert_array_equal(play(other, task, 5, 8), first)


def test_a_seed_fixes_the_episode_across_processes(make_env):
    code = (
        "import hashlib, sys; sys.path.insert(0, 'tests'); from test_metaworld import *;"
        "print(hashlib.sha256(play(TASKS['metaworld_assembly'].make_env(), 'assembly', 3, 8).tobytes()).hexdigest())"
    )
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    here = play(make_env("assembly"), "assembly", 3, 8)
    assert run.stdout.split()[-1] == hashlib.sha256(here.tobytes()).hexdigest()


def test_environments_that_share_a_screen_do_not_see_each_other(make_env):
    alone = make_env("assembly")
    alone.reset(1)
    expected = alone.observe().point_cloud
    alone.close()
    pair = [make_env("assembly"), make_env("assembly")]
    for env, seed in zip(pair, (1, 2), strict=True):
        env.reset(seed)
    clouds = [env.observe().point_cloud for env in pair]
    np.testing.assert_array_equal(pair[0].observe().point_cloud, expected)
    assert not np.array_equal(*clouds)


@pytest.mark.parametrize("task", EVERY)
def test_observations_have_their_shapes_and_lie_in_the_crop(make_env, task):
    row = TASKS[f"metaworld_{task}"]
    env = make_env(task)
    env.reset(0)
    obs = env.observe()
    assert obs.point_cloud.shape == (row.num_points, 3) and obs.point_cloud.dtype == np.float32
    assert obs.state.shape == (row.state_dim,) and obs.state.dtype == np.float32
    assert np.all((obs.point_cloud > CROP_LOW) & (obs.point_cloud < CROP_HIGH))
    assert len(np.unique(obs.point_cloud, axis=0)) == row.num_points
    assert env.truth()["observation"].shape == (39,)


def test_too_few_points_are_padded_with_zeros(make_env):
    env = make_env("drawer-open", num_points=8192)
    env.reset(0)
    cloud = env.observe().point_cloud
    padding = np.all(cloud == 0, axis=1)
    assert cloud.shape == (8192, 3) and 0.5 < padding.mean() < 0.8
    assert np.all((cloud[~padding] > CROP_LOW) & (cloud[~padding] < CROP_HIGH))


@needs_opengl
@pytest.mark.parametrize("task", EVERY)
def test_opengl_and_rays_agree(make_env, task):
    env = make_env(task)
    play(env, task, 3, 20)
    by_opengl = env._camera.depth(env._data)
    by_rays = RayDepth(env._model, CAMERA, IMAGE_SIZE).depth(env._data)
    by_rays[by_rays >= env._model.vis.map.zfar * env._model.stat.extent] = np.inf
    seen = np.isfinite(by_opengl) & np.isfinite(by_rays)
    error = np.abs(by_opengl[seen] - by_rays[seen])
    assert np.median(error) < 1e-5
    assert (error > 0.01).sum() + (np.isfinite(by_opengl) != np.isfinite(by_rays)).sum() < 0.001 * by_opengl.size


def test_the_wall_around_the_table_is_not_seen(make_env):
    env = make_env("assembly")
    env.reset(0)
    wall = env._model.geom_bodyid == env._model.body("RetainingWall").id
    unseen = env.observe().point_cloud
    env._model.geom_rgba[wall, 3] = 1
    assert not np.array_equal(env.observe().point_cloud, unseen)
    env._model.geom_pos[wall] += 50
    mujoco.mj_forward(env._model, env._data)
    np.testing.assert_array_equal(env.observe().point_cloud, unseen)


def test_the_goal_of_the_first_observation_is_that_of_the_following_ones(make_env):
    env = make_env("drawer-open")
    env.reset(4)
    before = env.truth()["observation"]
    env.step(np.zeros(4))
    after = env.truth()["observation"]
    np.testing.assert_array_equal(before[-3:], after[-3:])
    np.testing.assert_allclose(before[4:7], after[4:7], atol=1e-3)  # the drawer stands where it will be pulled


@pytest.mark.parametrize("task", EVERY)
def test_the_expert_solves_the_task(make_env, task):
    row = TASKS[f"metaworld_{task}"]
    env = make_env(task)
    assert any(expert_succeeds(env, row, seed) for seed in range(4))


def test_actions_are_clipped(make_env):
    env = make_env("reach")
    states = []
    for scale in (1, 50):
        env.reset(0)
        env.step(scale * np.array([1.0, -1, 1, -1]))
        states.append(env.observe().state)
    np.testing.assert_array_equal(*states)


@pytest.mark.parametrize(
    ("action", "message"), [([0, np.nan, 0, 0], "NaN"), ([0, 0, 0], "shape .3,.*4"), (0.0, "shape")]
)
def test_bad_actions_are_refused(make_env, action, message):
    env = make_env("reach")
    env.reset(0)
    with pytest.raises(ValueError, match=message):
        env.step(np.array(action))


def test_a_step_without_an_episode_is_refused(make_env):
    env = make_env("reach")
    with pytest.raises(RuntimeError, match="reset"):
        env.step(np.zeros(4))


def test_an_episode_may_last_longer_than_metaworld_allows(make_env):
    env = make_env("reach")
    env.reset(0)
    env._env.curr_path_length = 500
    assert env.step(np.zeros(4)) in (True, False)


def test_divergence_is_an_error_and_a_reset_mends_it(make_env, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)  # mujoco writes a log there
    env = make_env("push")
    first = play(env, "push", 1, 4)
    env._data.qvel[0] = np.nan
    with pytest.raises(SimulationDiverged, match="Push"):
        env.step(np.zeros(4))
    np.testing.assert_array_equal(play(env, "push", 1, 4), first)


@needs_opengl
def test_the_picture_shows_the_robot_upright(make_env):
    env = make_env("drawer-open")
    env.reset(0)
    red, green, blue = env.render().astype(int).transpose(2, 0, 1)
    assert red.shape == (240, 320)
    robot = np.argwhere((red > 90) & (green < 60) & (blue < 60))
    table = np.argwhere((red > green + 15) & (green > blue + 5) & (green > 60))
    assert robot.mean(0)[0] < table.mean(0)[0], "the robot reaches down to the table"


def test_rays_alone_are_enough_for_everything():
    code = (
        "from mp_lib.sim.tasks import TASKS; env = TASKS['metaworld_drawer-open'].make_env(); env.reset(0);"
        "obs = env.observe(); picture = env.render(); env.close();"
        "print(env.depth_backend, obs.point_cloud.shape, picture.dtype, picture.ndim, (picture < 255).mean() > 0.02)"
    )
    variables = {**os.environ, "MP_DEPTH": "rays", "MUJOCO_GL": "disable"}
    run = subprocess.run([sys.executable, "-c", code], env=variables, capture_output=True, text=True, check=True)
    assert run.stdout.strip() == "rays (512, 3) uint8 3 True"
