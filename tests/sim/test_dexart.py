"""DexArt's robot and clouds, re-created; what holds for every suite is in test_suites."""

import numpy as np
import pytest

from mp_lib.insight.demonstrations import names_of
from mp_lib.sim.dexart import GOALS, HORIZON
from mp_lib.sim.dexart_objects import KINDS
from mp_lib.sim.dexart_robot import ARM, HAND, HAND_LIMITS, IMAGINED_LINKS, NUM_IMAGINED
from mp_lib.sim.dexart_scene import PLACES
from mp_lib.sim.tasks import DEXART_TASKS, PAPER_TASKS, TASKS

import mujoco  # isort: skip

every_task = pytest.mark.parametrize("task", DEXART_TASKS)
XARM6_LIMITS = [(-2 * np.pi, 2 * np.pi), (-2.059, 2.0944), (-3.927, 0.19198)]
XARM6_LIMITS += [(-2 * np.pi, 2 * np.pi), (-1.69297, np.pi), (-2 * np.pi, 2 * np.pi)]
ALLEGRO_FINGER = [(-0.47, 0.47), (-0.196, 1.61), (-0.174, 1.709), (-0.227, 1.618)]
ALLEGRO_THUMB = [(0.263, 1.396), (-0.105, 1.163), (-0.189, 1.644), (-0.162, 1.719)]


def test_every_place_and_goal_has_its_object():
    assert set(DEXART_TASKS) == set(PLACES) == set(GOALS) == set(KINDS)
    assert len(PAPER_TASKS) == 10 and set(PAPER_TASKS) <= set(TASKS)


def test_joint_limits_are_the_published_ones(start_dexart):
    model = start_dexart("laptop")._model
    limits = [model.joint(name).range for name in (*ARM, *HAND)]
    np.testing.assert_allclose(limits, XARM6_LIMITS + ALLEGRO_FINGER * 3 + ALLEGRO_THUMB, atol=1e-6)
    np.testing.assert_array_equal([model.joint(name).range for name in HAND], HAND_LIMITS)
    np.testing.assert_array_equal([model.actuator(name).ctrlrange for name in HAND], HAND_LIMITS)


def test_the_arm_reaches_where_the_published_lengths_say(start_dexart):
    env = start_dexart("laptop")
    env._data.qpos[:6] = 0
    mujoco.mj_kinematics(env._model, env._data)
    flange = [0.0535 + 0.0775 + 0.076, 0, 0.267 + 0.2845 - 0.3425 - 0.097]
    np.testing.assert_allclose(env._data.body("link6").xpos, flange, atol=1e-6)


def test_torques_stay_within_what_the_makers_state(start_dexart):
    env = start_dexart("toilet")
    expert = TASKS["dexart_toilet"].make_expert()
    for _ in range(60):
        env.step(expert.act(env.truth()))
        torques = np.abs(env._data.qfrc_actuator[:22])
        assert np.all(torques <= np.array([50, 50, 32, 32, 32, 20] + [0.7] * 16) + 1e-9)


@every_task
def test_no_part_is_welded_or_driven_and_there_are_no_meshes(start_dexart, task):
    model = start_dexart(task)._model
    assert model.neq == 0 and model.nmesh == 0 and model.ntex == 0 and model.nu == 22
    driven = {model.joint(int(model.actuator_trnid[k, 0])).name for k in range(model.nu)}
    assert driven == {*ARM, *HAND}


@every_task
def test_the_state_is_what_mujoco_says(start_dexart, task):
    env, random = start_dexart(task, seed=2), np.random.default_rng(0)
    for _ in range(5):
        env.step(random.uniform(-1, 1, 22))
    state, model, data = env.observe().state, env._model, env._data
    np.testing.assert_allclose(state[:22], [data.joint(name).qpos[0] for name in (*ARM, *HAND)], rtol=1e-6)
    palm = model.body("palm").id
    linear, angular = np.zeros((3, model.nv)), np.zeros((3, model.nv))
    mujoco.mj_jac(model, data, linear, angular, data.xpos[palm], palm)
    np.testing.assert_allclose(state[22:28], [*linear @ data.qvel, *angular @ data.qvel], atol=1e-5)
    np.testing.assert_allclose(state[28:31], data.xpos[palm], rtol=1e-6)
    assert state[31] == np.float32(5 / HORIZON)
    assert not any("state" in name or "action" in name for names in names_of("dexart", 32, 22) for name in names)


def test_a_state_of_33_numbers_has_how_far_up_the_palm_faces(make_env):
    short = make_env("dexart_bucket")
    long = TASKS["dexart_bucket"].with_state(33).make_env(num_points=512)
    for env in (short, long):
        env.reset(0)
    state, up = long.observe().state, long.robot.palm_rotation()[2, 0]
    np.testing.assert_array_equal(np.delete(state, 31), short.observe().state)
    assert state[31] == np.float32(up)
    long.close()
    with pytest.raises(ValueError, match="size of the state of dexart_bucket: 34; choose one of: 32, 33"):
        TASKS["dexart_bucket"].with_state(34)


@pytest.mark.parametrize("axis", range(6))
def test_the_first_six_numbers_of_an_action_are_the_palms_velocity(start_dexart, axis):
    env, action = start_dexart("laptop"), np.zeros(22)
    action[6:] = -1
    action[axis] = 0.3
    before = env.truth()
    for _ in range(10):
        env.step(action)
    after = env.truth()
    turned = after["palm_rotation"] @ before["palm_rotation"].T
    turn = np.array([turned[2, 1] - turned[1, 2], turned[0, 2] - turned[2, 0], turned[1, 0] - turned[0, 1]]) / 2
    moved = np.concatenate([after["palm_position"] - before["palm_position"], turn])
    np.testing.assert_allclose(moved, 0.3 * 10 * 0.04 * np.eye(6)[axis], atol=0.03)


def test_the_other_sixteen_are_targets_within_the_joints_ranges(start_dexart):
    env = start_dexart("toilet")
    wanted = np.array([0.2, 0.5, 0.4, 0.3] * 3 + [0.6, 0.2, 0.3, 0.4])
    low, high = HAND_LIMITS.T
    for _ in range(25):
        env.step(np.concatenate([np.zeros(6), 2 * (wanted - low) / (high - low) - 1]))
    np.testing.assert_allclose(env.robot.angles()[6:], wanted, atol=0.02)


def test_an_action_lasts_a_25th_of_a_second(start_dexart):
    env = start_dexart("laptop")
    env.step(np.zeros(22))
    assert env._data.time == pytest.approx(0.04)


@every_task
def test_the_last_points_of_a_cloud_lie_on_the_hand_and_move_with_it(start_dexart, task):
    env = start_dexart(task)
    first = env.observe().point_cloud[-NUM_IMAGINED:]
    np.testing.assert_array_equal(first, env.robot.imagined_points())
    home = (env.truth()["palm_position"], env.truth()["palm_rotation"])
    for _ in range(8):
        env.step(np.concatenate([[0.2, 0.1, 0.3, 0.3, 0, 0.4], np.full(16, -1)]))
    env._data.qpos[6:22] = np.clip(0, *HAND_LIMITS.T)  # the fingers as they were, the arm moved
    mujoco.mj_forward(env._model, env._data)
    second = env.robot.imagined_points()
    away = (env.robot.palm_position(), env.robot.palm_rotation())
    np.testing.assert_allclose((first - home[0]) @ home[1], (second - away[0]) @ away[1], atol=1e-5)
    assert np.linalg.norm(second - first, axis=1).min() > 0.02


def test_each_link_has_its_imagined_points_on_its_surface(start_dexart):
    env = start_dexart("laptop")
    model, data = env._model, env._data
    points = env.robot.imagined_points().reshape(len(IMAGINED_LINKS), -1, 3)
    assert points.shape == (12, 8, 3) and len(np.unique(points.reshape(-1, 3), axis=0)) == 96
    for link, cloud in zip(IMAGINED_LINKS, points, strict=True):
        body = model.body(link.replace("tip", "distal"))
        geom = int(body.geomadr[0]) + link.endswith("tip")
        local = (cloud - data.geom_xpos[geom]) @ data.geom_xmat[geom].reshape(3, 3)
        size = model.geom_size[geom]
        if link.endswith("tip"):
            along = np.clip(local[:, 2], -size[1], size[1])
            outside = np.linalg.norm(local - np.outer(along, [0, 0, 1]), axis=1) - size[0]
        else:
            outside = (np.abs(local) - size).max(1)
        np.testing.assert_allclose(outside, 0, atol=1e-6)


@every_task
def test_clouds_lie_in_the_crop_and_show_the_object(start_dexart, task):
    env = start_dexart(task, seed=1)
    place, cropped = env.place, env.cloud_stages()["cropped"]
    assert np.all(cropped > place.low) and np.all(cropped < place.high)
    gap = np.linalg.norm(cropped[:, :2] - env.truth()["object_position"][:2], axis=1)
    assert (gap < 0.25).sum() > 100
    assert cropped[:, 2].min() > place.ground + 0.004  # the table itself is cut away


CROPS = {  # low and high of x, y, z in metres: DexArt, task_setting.py, BOUND_CONFIG
    "laptop": ((0.1, -1, 0.0048), (1, 2, 0.6)),
    "faucet": ((0.1, -1, 0.0048), (2, 1, 0.4)),
    "toilet": ((0.1, -2, -0.3), (2, 2, 0.8)),
    "bucket": ((0.1, -2, -0.29), (2, 2, 0.4)),
}
GOALS_NEEDED = {"laptop": 0.95, "faucet": 1.5, "toilet": 0.95, "bucket": 0.7}  # DexArt, rl_env/*_env.py


@every_task
def test_crop_goal_and_camera_are_those_of_dexart(start_dexart, task):
    env = start_dexart(task)
    assert (env.place.low, env.place.high) == CROPS[task] and env.goal.needed == GOALS_NEEDED[task]
    assert (env.goal.lifted, env.goal.held) == ((0.25, False) if task == "bucket" else (-np.inf, True))
    assert env._model.cam_fovy[env._model.cam("instance_1").id] == pytest.approx(69.4)
    assert env._maker.num_points == 1024 and env._camera.depth(env._data).shape == (84, 84)


@every_task
def test_smaller_clouds_are_points_of_the_whole(start_dexart, task):
    whole, small = (start_dexart(task, num_points=size).observe().point_cloud for size in (1120, 256))
    assert small.shape == (256, 3) and {*map(tuple, small)} <= {*map(tuple, whole)}


def test_what_fills_a_cloud_up_is_never_sampled(start_dexart):
    env = start_dexart("laptop", num_points=256)
    seen = env.cloud_stages()["cropped"][:300]
    padded = np.concatenate([seen, np.zeros((724, 3), np.float32)])
    cloud = env._complete(padded)
    assert cloud.shape == (256, 3) and np.any(cloud != 0, axis=1).all()
    assert not np.any(env._complete(padded * 0)[96:])  # where nothing is seen, the hand's points and zeros are left
