"""MetaWorld's tasks: a sample by default, all 50 with the marks every_task and slow."""

import numpy as np
import pytest

from mp_lib.sim.depth import BACKEND
from mp_lib.sim.metaworld import CROP_HIGH, CROP_LOW
from mp_lib.sim.tasks import METAWORLD_TASKS, TASKS

import mujoco  # isort: skip

needs_opengl = pytest.mark.skipif(BACKEND != "opengl", reason="no OpenGL context can be created on this machine")

SAMPLE = ["drawer-open", "assembly", "stick-push"]
EVERY = [
    pytest.param(f"metaworld_{task}", marks=[] if task in SAMPLE else [pytest.mark.every_task, pytest.mark.slow])
    for task in METAWORLD_TASKS
]


def expert_succeeds(env, row, seed):
    env.reset(seed)
    expert = row.make_expert()
    return any(env.step(expert.act(env.truth())) for _ in range(row.max_steps))


@pytest.mark.parametrize("task", EVERY)
def test_clouds_lie_in_the_crop_and_are_full(make_env, task):
    env = make_env(task)
    env.reset(0)
    obs = env.observe()
    assert np.all((obs.point_cloud > CROP_LOW) & (obs.point_cloud < CROP_HIGH))
    assert len(np.unique(obs.point_cloud, axis=0)) == TASKS[task].num_points
    assert env.truth()["observation"].shape == (39,)


def test_too_few_points_are_padded_with_zeros(make_env):
    env = make_env("metaworld_drawer-open", num_points=8192)
    env.reset(0)
    cloud = env.observe().point_cloud
    padding = np.all(cloud == 0, axis=1)
    assert cloud.shape == (8192, 3) and 0.5 < padding.mean() < 0.8
    assert np.all((cloud[~padding] > CROP_LOW) & (cloud[~padding] < CROP_HIGH))


def test_the_wall_around_the_table_is_not_seen(make_env):
    env = make_env("metaworld_assembly")
    env.reset(0)
    wall = env._model.geom_bodyid == env._model.body("RetainingWall").id
    unseen = env.observe().point_cloud
    env._model.geom_rgba[wall, 3] = 1
    assert not np.array_equal(env.observe().point_cloud, unseen)
    env._model.geom_pos[wall] += 50
    mujoco.mj_forward(env._model, env._data)
    np.testing.assert_array_equal(env.observe().point_cloud, unseen)


def test_the_goal_of_the_first_observation_is_that_of_the_following_ones(make_env):
    env = make_env("metaworld_drawer-open")
    env.reset(4)
    before = env.truth()["observation"]
    env.step(np.zeros(4))
    after = env.truth()["observation"]
    np.testing.assert_array_equal(before[-3:], after[-3:])
    np.testing.assert_allclose(before[4:7], after[4:7], atol=1e-3)  # the drawer stands where it will be pulled


@pytest.mark.parametrize("task", EVERY)
def test_the_expert_solves_the_task(make_env, task):
    row = TASKS[task]
    env = make_env(task)
    assert any(expert_succeeds(env, row, seed) for seed in range(4))


def test_an_episode_may_last_longer_than_metaworld_allows(make_env):
    env = make_env("metaworld_reach")
    env.reset(0)
    env._env.curr_path_length = 500
    assert env.step(np.zeros(4)) in (True, False)


@needs_opengl
def test_the_picture_shows_the_robot_upright(make_env):
    env = make_env("metaworld_drawer-open")
    env.reset(0)
    red, green, blue = env.render().astype(int).transpose(2, 0, 1)
    assert red.shape == (240, 320)
    robot = np.argwhere((red > 90) & (green < 60) & (blue < 60))
    table = np.argwhere((red > green + 15) & (green > blue + 5) & (green > 60))
    assert robot.mean(0)[0] < table.mean(0)[0], "the robot reaches down to the table"
