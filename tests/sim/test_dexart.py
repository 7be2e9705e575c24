"""DexArt, re-created: goals, robot, objects, clouds, experts; what holds for every suite is in test_suites."""

import csv

import numpy as np
import pytest

from mp_lib.insight.demonstrations import names_of
from mp_lib.sim import trial
from mp_lib.sim.dexart import GOALS, HORIZON, DexArtEnv
from mp_lib.sim.dexart_experts import grip
from mp_lib.sim.dexart_objects import KINDS, draw
from mp_lib.sim.dexart_robot import ARM, HAND, HAND_LIMITS, IMAGINED_LINKS, NUM_IMAGINED, TOUCHING
from mp_lib.sim.dexart_scene import PLACES, compile_scene, draw_scene, scene_xml
from mp_lib.sim.env import ANY_STEP, LAST_STEP
from mp_lib.sim.tasks import DEXART_TASKS, PAPER_TASKS, TASKS
from mp_lib.system.paths import root

import mujoco  # isort: skip

every_task = pytest.mark.parametrize("task", DEXART_TASKS)
XARM6_LIMITS = [(-2 * np.pi, 2 * np.pi), (-2.059, 2.0944), (-3.927, 0.19198)]
XARM6_LIMITS += [(-2 * np.pi, 2 * np.pi), (-1.69297, np.pi), (-2 * np.pi, 2 * np.pi)]
ALLEGRO_FINGER = [(-0.47, 0.47), (-0.196, 1.61), (-0.174, 1.709), (-0.227, 1.618)]
ALLEGRO_THUMB = [(0.263, 1.396), (-0.105, 1.163), (-0.189, 1.644), (-0.162, 1.719)]


@pytest.fixture
def start(make_env):
    """Make the environment of a task with an episode under way."""

    def make(task, seed=0, num_points=1120):
        env = make_env(f"dexart_{task}", num_points)
        env.reset(seed)
        return env

    return make


def test_every_place_and_goal_has_its_object():
    assert set(DEXART_TASKS) == set(PLACES) == set(GOALS) == set(KINDS)
    assert len(PAPER_TASKS) == 10 and set(PAPER_TASKS) <= set(TASKS)


def test_joint_limits_are_the_published_ones(start):
    model = start("laptop")._model
    limits = [model.joint(name).range for name in (*ARM, *HAND)]
    np.testing.assert_allclose(limits, XARM6_LIMITS + ALLEGRO_FINGER * 3 + ALLEGRO_THUMB, atol=1e-6)
    np.testing.assert_array_equal([model.joint(name).range for name in HAND], HAND_LIMITS)
    np.testing.assert_array_equal([model.actuator(name).ctrlrange for name in HAND], HAND_LIMITS)


def test_the_arm_reaches_where_the_published_lengths_say(start):
    env = start("laptop")
    env._data.qpos[:6] = 0
    mujoco.mj_kinematics(env._model, env._data)
    flange = [0.0535 + 0.0775 + 0.076, 0, 0.267 + 0.2845 - 0.3425 - 0.097]
    np.testing.assert_allclose(env._data.body("link6").xpos, flange, atol=1e-6)


def test_torques_stay_within_what_the_makers_state(start):
    env = start("toilet")
    expert = TASKS["dexart_toilet"].make_expert()
    for _ in range(60):
        env.step(expert.act(env.truth()))
        torques = np.abs(env._data.qfrc_actuator[:22])
        assert np.all(torques <= np.array([50, 50, 32, 32, 32, 20] + [0.7] * 16) + 1e-9)


@every_task
def test_no_part_is_welded_or_driven_and_there_are_no_meshes(start, task):
    model = start(task)._model
    assert model.neq == 0 and model.nmesh == 0 and model.ntex == 0 and model.nu == 22
    driven = {model.joint(int(model.actuator_trnid[k, 0])).name for k in range(model.nu)}
    assert driven == {*ARM, *HAND}


@every_task
def test_the_state_is_what_mujoco_says(start, task):
    env, random = start(task, seed=2), np.random.default_rng(0)
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
def test_the_first_six_numbers_of_an_action_are_the_palms_velocity(start, axis):
    env, action = start("laptop"), np.zeros(22)
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


def test_the_other_sixteen_are_targets_within_the_joints_ranges(start):
    env = start("toilet")
    wanted = np.array([0.2, 0.5, 0.4, 0.3] * 3 + [0.6, 0.2, 0.3, 0.4])
    low, high = HAND_LIMITS.T
    for _ in range(25):
        env.step(np.concatenate([np.zeros(6), 2 * (wanted - low) / (high - low) - 1]))
    np.testing.assert_allclose(env.robot.angles()[6:], wanted, atol=0.02)


def test_an_action_lasts_a_25th_of_a_second(start):
    env = start("laptop")
    env.step(np.zeros(22))
    assert env._data.time == pytest.approx(0.04)


@every_task
def test_the_last_points_of_a_cloud_lie_on_the_hand_and_move_with_it(start, task):
    env = start(task)
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


def test_each_link_has_its_imagined_points_on_its_surface(start):
    env = start("laptop")
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
def test_clouds_lie_in_the_crop_and_show_the_object(start, task):
    env = start(task, seed=1)
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
def test_crop_goal_and_camera_are_those_of_dexart(start, task):
    env = start(task)
    assert (env.place.low, env.place.high) == CROPS[task] and env.goal.needed == GOALS_NEEDED[task]
    assert (env.goal.lifted, env.goal.held) == ((0.25, False) if task == "bucket" else (-np.inf, True))
    assert env._model.cam_fovy[env._model.cam("instance_1").id] == pytest.approx(69.4)
    assert env._maker.num_points == 1024 and env._camera.depth(env._data).shape == (84, 84)


@every_task
def test_smaller_clouds_are_points_of_the_whole(start, task):
    whole, small = (start(task, num_points=size).observe().point_cloud for size in (1120, 256))
    assert small.shape == (256, 3) and {*map(tuple, small)} <= {*map(tuple, whole)}


def test_what_fills_a_cloud_up_is_never_sampled(start):
    env = start("laptop", num_points=256)
    seen = env.cloud_stages()["cropped"][:300]
    padded = np.concatenate([seen, np.zeros((724, 3), np.float32)])
    cloud = env._complete(padded)
    assert cloud.shape == (256, 3) and np.any(cloud != 0, axis=1).all()
    assert not np.any(env._complete(padded * 0)[96:])  # where nothing is seen, the hand's points and zeros are left


@every_task
def test_instances_are_repeatable_and_all_different(task):
    kind = KINDS[task]
    everything = [draw(task, index) for index in range(kind.seen + kind.unseen)]
    assert everything == [draw(task, index) for index in range(kind.seen + kind.unseen)]
    assert len({str(numbers) for numbers in everything}) == len(everything)
    for name, (low, high) in kind.measures.items():
        assert all(low <= numbers[name] <= high for numbers in everything)


@every_task
def test_seen_and_unseen_instances_are_apart(task):
    kind = KINDS[task]
    seen, unseen = ({draw_scene(task, split, seed).index for seed in range(300)} for split in ("seen", "unseen"))
    assert seen == set(range(kind.seen)) and unseen == set(range(kind.seen, kind.seen + kind.unseen))
    env = TASKS[f"dexart_{task}"].make_env(num_points=64, instances="unseen")
    env.reset(0)
    assert env.scene == draw_scene(task, "unseen", 0)
    env.close()


def test_other_instances_are_refused():
    with pytest.raises(ValueError, match="unknown set of instances 'all'; choose one of: seen, unseen"):
        DexArtEnv("laptop", instances="all")


@every_task
def test_objects_stand_where_the_place_says(task):
    place = PLACES[task]
    scenes = [draw_scene(task, "seen", seed) for seed in range(200)]
    shifts = np.array([scene.position[:2] for scene in scenes]) - place.position
    assert np.all(np.abs(shifts) <= place.shift) and np.all(np.abs(shifts).max(0) > 0.9 * np.array(place.shift))
    yaws = np.array([scene.yaw for scene in scenes])
    assert 0.9 * place.turn < np.abs(yaws).max() <= place.turn


@every_task
def test_nothing_touches_the_robot_at_the_start(start, task):
    env = start(task)
    for seed in range(40):
        env.reset(seed)
        pairs = env._model.geom_contype[env._data.contact.geom].reshape(-1, 2)
        assert not np.any(pairs == 2)  # the robot's geoms


@every_task
def test_a_scene_weighs_what_its_numbers_say(task):
    scene = draw_scene(task, "seen", 3)
    model = compile_scene(scene)
    bodies = {"bucket": ("object",)}.get(task, ("part",))
    mass = sum(model.body_subtreemass[model.body(name).id] for name in bodies)
    wanted = {"bucket": scene.numbers.get("mass", 0) + 0.03 + 12 * 0.006, "faucet": 0.2}.get(task)
    assert mass == pytest.approx(wanted or scene.numbers["mass"])
    assert "mesh" not in scene_xml(scene)


def flags_at(env, angles, touching=("palm", "index", "ring"), lifted=0.0):
    """The goal test, without a step of the simulator, at each angle of the hinge."""
    flags = []
    for angle in angles:
        env._data.joint("hinge").qpos = angle
        mujoco.mj_forward(env._model, env._data)
        env._rest = env._data.body("object").xpos[2] - lifted
        env._touches = set(touching)
        flags.append(env.met())
    return flags


@pytest.mark.parametrize("task", ["laptop", "toilet"])
def test_a_lid_counts_as_open_from_95_percent_on_while_held(start, task):
    env = start(task)
    goal, begin = env.scene.numbers["goal"], GOALS[task].start({})
    span = goal - begin
    assert flags_at(env, [begin, begin + 0.94 * span, begin + 0.96 * span]) == [False, False, True]
    assert flags_at(env, [goal, goal + 0.06 * span]) == [True, False]  # too far is not open, either
    for touching in ((), ("palm",), ("palm", "index"), ("index", "middle", "ring", "thumb")):
        assert flags_at(env, [goal], touching) == [False]


def test_a_faucet_counts_as_open_beyond_a_turn_of_one_and_a_half(start):
    env = start("faucet")
    assert flags_at(env, [0, 1.49, 1.51]) == [False, False, True]
    assert flags_at(env, [1.6], ("palm", "thumb")) == [False]


def test_a_bucket_has_to_hang_upright_and_be_lifted(start):
    env = start("bucket")
    left = env.scene.numbers["left"]
    assert flags_at(env, [left, 0.31 * left, 0.29 * left], (), 0.26) == [False, False, True]
    assert flags_at(env, [0], (), 0.24) == [False]
    assert flags_at(env, [0], (), 0.0) == [False]


@every_task
def test_progress_begins_at_zero_and_nothing_moves_by_itself(start, task):
    env = start(task, seed=4)
    rest = np.concatenate([np.zeros(6), np.full(16, -1)])
    assert env.progress() == pytest.approx(0, abs=1e-6) and not any(env.truth()["touches"])
    for _ in range(50):
        assert env.step(rest) is False
    assert abs(env.progress()) < 0.03 and abs(env.lifted()) < 0.005


def test_touch_is_felt_where_the_hand_presses_on_the_lid(start):
    env = start("toilet")
    expert = TASKS["dexart_toilet"].make_expert()
    seen = set()
    for _ in range(120):
        env.step(expert.act(env.truth()))
        seen |= {name for name, touched in zip(TOUCHING, env.truth()["touches"], strict=True) if touched}
    assert {"palm", "index", "middle", "ring"} <= seen


def test_a_grip_bends_three_fingers_alike():
    angles = grip(0.1, 0.2, 0.3, 0.4, thumb=(1, 0.5, 0.6, 0.7))
    np.testing.assert_array_equal(angles.reshape(4, 4), [[0.1, 0.2, 0.3, 0.4]] * 3 + [[1, 0.5, 0.6, 0.7]])


def test_success_of_the_bucket_is_the_goal_in_the_last_step():
    assert TASKS["dexart_bucket"].success_rule is LAST_STEP and not TASKS["dexart_bucket"].ends_at_goal
    assert LAST_STEP.judge([False, True]) and not LAST_STEP.stops
    assert not any(map(LAST_STEP.judge, ([], [True, False])))


@pytest.mark.parametrize("task", ["laptop", "faucet", "toilet"])
def test_other_episodes_end_with_their_goal_as_in_dexart(start, task):
    spec = TASKS[f"dexart_{task}"]
    flags = trial.play(spec, start(task), 2)
    assert spec.success_rule is ANY_STEP and flags[-1] and sum(flags) == 1 and len(flags) < spec.max_steps


@every_task
def test_the_expert_solves_the_task(task):
    result = trial.check_expert(TASKS[f"dexart_{task}"], episodes=6)
    assert result["success_rate"] >= 0.8 and result["expert"] == "own scripted plan"


@pytest.mark.slow
@every_task
def test_the_expert_is_at_least_as_good_as_dexarts(task):
    result = trial.check_expert(TASKS[f"dexart_{task}"], episodes=50)
    assert result["success_rate"] >= 0.9


@pytest.mark.slow
@every_task
def test_the_expert_bears_unseen_instances(task):
    assert trial.check_expert(TASKS[f"dexart_{task}"].with_objects("unseen"), episodes=10)["success_rate"] >= 0.8


def test_the_table_of_experts_has_every_task_and_the_command_that_gives_it_again():
    with open(root() / "data" / "results" / "dexart_experts.csv", newline="") as file:
        rows = list(csv.DictReader(file))
    everything = {(f"dexart_{task}", objects) for task in DEXART_TASKS for objects in ("seen", "unseen")}
    assert {(row["task"], row["objects"]) for row in rows} == everything
    for row in rows:
        assert f"mp_lib check {row['task']}" in row["command"] and int(row["episodes"]) >= 50
        key = "default" if row["objects"] == "seen" else row["objects"]
        assert f"--objects {key} --first-seed {row['first_seed']}" in row["command"]
        assert row["expert"] == TASKS[row["task"]].expert_name
        assert float(row["success_rate"]) >= max(0.9, float(row["dexart"] or 0))
        assert float(row["low"]) <= float(row["success_rate"]) <= float(row["high"])
