"""DexArt's objects, goals and experts, re-created."""

import csv

import numpy as np
import pytest

from mp_lib.sim import trial
from mp_lib.sim.dexart import GOALS, DexArtEnv
from mp_lib.sim.dexart_experts import grip
from mp_lib.sim.dexart_objects import KINDS, draw
from mp_lib.sim.dexart_robot import TOUCHING
from mp_lib.sim.dexart_scene import PLACES, compile_scene, draw_scene, scene_xml
from mp_lib.sim.env import ANY_STEP, LAST_STEP
from mp_lib.sim.tasks import DEXART_TASKS, TASKS
from mp_lib.system.paths import root

import mujoco  # isort: skip

every_task = pytest.mark.parametrize("task", DEXART_TASKS)


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
def test_nothing_touches_the_robot_at_the_start(start_dexart, task):
    env = start_dexart(task)
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
def test_a_lid_counts_as_open_from_95_percent_on_while_held(start_dexart, task):
    env = start_dexart(task)
    goal, begin = env.scene.numbers["goal"], GOALS[task].start({})
    span = goal - begin
    assert flags_at(env, [begin, begin + 0.94 * span, begin + 0.96 * span]) == [False, False, True]
    assert flags_at(env, [goal, goal + 0.06 * span]) == [True, False]  # too far is not open, either
    for touching in ((), ("palm",), ("palm", "index"), ("index", "middle", "ring", "thumb")):
        assert flags_at(env, [goal], touching) == [False]


def test_a_faucet_counts_as_open_beyond_a_turn_of_one_and_a_half(start_dexart):
    env = start_dexart("faucet")
    assert flags_at(env, [0, 1.49, 1.51]) == [False, False, True]
    assert flags_at(env, [1.6], ("palm", "thumb")) == [False]


def test_a_bucket_has_to_hang_upright_and_be_lifted(start_dexart):
    env = start_dexart("bucket")
    left = env.scene.numbers["left"]
    assert flags_at(env, [left, 0.31 * left, 0.29 * left], (), 0.26) == [False, False, True]
    assert flags_at(env, [0], (), 0.24) == [False]
    assert flags_at(env, [0], (), 0.0) == [False]


@every_task
def test_progress_begins_at_zero_and_nothing_moves_by_itself(start_dexart, task):
    env = start_dexart(task, seed=4)
    rest = np.concatenate([np.zeros(6), np.full(16, -1)])
    assert env.progress() == pytest.approx(0, abs=1e-6) and not any(env.truth()["touches"])
    for _ in range(50):
        assert env.step(rest) is False
    assert abs(env.progress()) < 0.03 and abs(env.lifted()) < 0.005


def test_touch_is_felt_where_the_hand_presses_on_the_lid(start_dexart):
    env = start_dexart("toilet")
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
def test_other_episodes_end_with_their_goal_as_in_dexart(start_dexart, task):
    spec = TASKS[f"dexart_{task}"]
    flags = trial.play(spec, start_dexart(task), 2)
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
