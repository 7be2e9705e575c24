"""Changes of an environment: none at strength 0, seeded, the same in every process, and as large as they say."""

import copy
import pickle
from dataclasses import replace
from functools import partial

import numpy as np
import pytest

from mp_lib.interfaces import Environment, Start
from mp_lib.point_cloud import without_padding
from mp_lib.sim.changes import CHANGES, Disturbance
from mp_lib.sim.depth import VISIBLE_GROUPS
from mp_lib.sim.env import WiderDraws
from mp_lib.sim.tasks import TASKS
from mp_lib.system.errors import InputError
from tests import ROOT
from tests.conftest import TOY, ToyEnv
from tests.sim.test_frames import gaps, seen_points
from tests.sim.test_suites import every_row, one_a_suite

every_change = pytest.mark.parametrize("name", CHANGES)
NUM_POINTS = 1200  # more than Adroit's and DexArt's cameras see, so that there is padding, in the middle of DexArt's


@pytest.fixture
def make_changed():
    """Make environments of a task under a change; they are closed when the test ends."""
    made = []

    def make(spec, name, strength, num_points=NUM_POINTS):
        made.append(Disturbance(name, strength).of(spec).make_env(num_points=num_points))
        return made[-1]

    yield make
    for env in made:
        env.close()


def episode(env, spec, seed=3, steps=5):
    """All that is seen in an episode of actions that a seed draws."""
    env.reset(seed)
    actions = np.random.default_rng(seed).uniform(-1, 1, (steps, spec.action_dim)).astype(np.float32)
    trace = []
    for action in actions:
        obs = env.observe()
        trace += [obs.point_cloud.ravel(), obs.state, [env.step(action)], env.hand()]
        trace += [np.ravel(value) for value in env.truth().values()]
    return np.concatenate(trace)


def suits(name, spec):
    return not CHANGES[name].lacks(spec)


def test_every_change_has_three_strengths_that_grow():
    for name, change in CHANGES.items():
        assert name.isidentifier() and change.title and change.done and change.unit
        assert 0 < change.strengths[0] < change.strengths[1] < change.strengths[2]
    assert {name for name in CHANGES if hasattr(Start(), name)} == {*vars(Start())}


def test_the_document_has_them_all():
    text = (ROOT / "docs" / "experiments.md").read_text()
    for name, change in CHANGES.items():
        assert f"| `{name}` | {', '.join(map(str, change.strengths))} {change.unit} |" in text


@every_change
@every_row
def test_strength_0_is_the_undisturbed_environment_to_the_bit(make_env, make_changed, name, task):
    spec = TASKS[task]
    if suits(name, spec):
        usual = episode(make_env(task, NUM_POINTS), spec)
        np.testing.assert_array_equal(episode(make_changed(spec, name, 0), spec), usual)


@every_change
@one_a_suite
def test_each_strength_gives_other_episodes_and_each_the_same_ones_every_time(make_changed, name, task):
    spec, traces, change = TASKS[task], set(), CHANGES[name]
    steps = change.strengths[1] + 2 if change.unit == "steps" else 5  # so that the longest delays differ
    for strength in (0, *change.strengths) * suits(name, spec):
        env, twin = (make_changed(spec, name, strength) for _ in range(2))
        changed = episode(env, spec, steps=steps)
        np.testing.assert_array_equal(episode(twin, spec, steps=steps), changed)
        episode(env, spec, seed=4)
        np.testing.assert_array_equal(episode(env, spec, steps=steps), changed)
        traces.add(changed.tobytes())
    assert len(traces) == 4 * suits(name, spec)


@every_change
def test_an_environment_behind_a_change_has_all_that_is_asked_of_one(make_changed, name):
    env = make_changed(TASKS["metaworld_reach"], name, CHANGES[name].strengths[0])
    asked = {name for name in vars(Environment) if not name.startswith("_")} | {*Environment.__annotations__}
    assert all(hasattr(env, each) for each in asked)


@every_change
def test_a_branch_goes_where_the_changed_simulation_goes(make_changed, name):
    env = make_changed(TASKS["metaworld_drawer-open"], name, CHANGES[name].strengths[-1])
    actions = np.random.default_rng(0).uniform(-1, 1, (24, 4)).astype(np.float32)
    env.reset(1)
    for action in actions[:12]:
        env.step(action)
    branch = env.branch()
    beside = branch.branch().branch()
    there = [(branch.step(action), *branch.hand()) for action in actions[12:]]
    assert [(beside.step(action), *beside.hand()) for action in actions[12:]] == there
    assert [(env.step(action), *env.hand()) for action in actions[12:]] == there


@every_change
def test_a_changed_environment_can_be_copied(name):
    env = Disturbance(name, 2).of(replace(TOY, placed="the point")).make_env(num_points=9)
    env.reset(0)
    again = copy.copy(env)
    assert type(again) is type(env) and np.array_equal(again.observe().state, env.observe().state)


@every_change
def test_processes_can_be_handed_a_task_under_a_change(name):
    spec = Disturbance(name, 2).of(replace(TOY, placed="the point"))
    there = pickle.loads(pickle.dumps(spec)).make_env(num_points=9)
    np.testing.assert_array_equal(episode(there, spec), episode(spec.make_env(num_points=9), spec))


def test_what_cannot_be_meant_is_refused():
    with pytest.raises(InputError, match="unknown change 'fog'; choose one of: points_dropped, "):
        Disturbance("fog", 1)
    for strength in (-1, float("nan"), float("inf")):
        with pytest.raises(InputError, match=f"strength {strength} of camera_turned given; it must be 0 or above"):
            Disturbance("camera_turned", strength)
    with pytest.raises(InputError, match="toy has no object_shifted: nothing is placed there within a range"):
        Disturbance("object_shifted", 50).of(TOY)


# Points.


def cloud(make_changed, name, strength, task="dexart_laptop", seed=2, looks=1):
    env = make_changed(TASKS[task], name, strength)
    env.reset(seed)
    return [env.observe().point_cloud for _ in range(looks)][-1]


def is_padding(points):
    return np.all(points == 0, axis=1)


@one_a_suite
def test_dropped_points_become_padding_and_a_stronger_change_drops_them_too(make_changed, task):
    usual = cloud(make_changed, "points_dropped", 0, task)
    before, real = is_padding(usual), (~is_padding(usual)).sum()
    for percent in (1, *CHANGES["points_dropped"].strengths, 100):
        found = cloud(make_changed, "points_dropped", percent, task)
        now = is_padding(found)
        assert now.sum() - is_padding(usual).sum() == round(percent / 100 * real)
        assert now[before].all()
        np.testing.assert_array_equal(found[~now], usual[~now])
        before = now
    assert before.all()


@one_a_suite
def test_noise_has_its_deviation_and_leaves_padding(make_changed, task):
    usual = cloud(make_changed, "points_noisy", 0, task)
    real, shakes = ~is_padding(usual), []
    for millimetres in CHANGES["points_noisy"].strengths:
        found = cloud(make_changed, "points_noisy", millimetres, task)
        np.testing.assert_array_equal(found[~real], 0)
        shakes.append(1000 / millimetres * (found - usual)[real])
        np.testing.assert_allclose(shakes[-1].std(0), 1, rtol=0.15)
        assert np.all(np.abs(shakes[-1].mean(0)) < 0.15)
    np.testing.assert_allclose(shakes[0], shakes[-1], atol=1e-3)  # the same, as far as float32 goes


@pytest.mark.parametrize("name", ["points_dropped", "points_noisy"])
def test_points_differ_from_step_to_step_and_seed_to_seed_and_not_from_look_to_look(name):
    spec = replace(TOY, make_env=partial(StillEnv))
    env = Disturbance(name, 50).of(spec).make_env(num_points=40)
    seen = {}
    for seed in (0, 1):
        env.reset(seed)
        for step in range(3):
            seen[seed, step] = env.observe().point_cloud
            np.testing.assert_array_equal(env.observe().point_cloud, seen[seed, step])
            env.step(np.zeros(2))
    assert len({each.tobytes() for each in seen.values()}) == 6
    env.reset(0)
    np.testing.assert_array_equal(env.observe().point_cloud, seen[0, 0])


class StillEnv(ToyEnv):
    """Shows the same cloud always."""

    def observe(self):
        return replace(super().observe(), point_cloud=np.ones((self.num_points, 3), np.float32))


# The camera.


@every_row
def test_a_turned_camera_looks_from_elsewhere_and_its_points_are_taken_for_those_of_the_old_one(
    make_changed, task, degrees=17
):
    env = make_changed(TASKS[task], "camera_turned", degrees, TASKS[task].num_points)
    env.reset(2)
    env._model.site_group[:] = len(VISIBLE_GROUPS) - 1  # hidden: no ray meets a site
    turn, middle = np.deg2rad(degrees), np.array([*env._middle(), 0])
    back = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    eye = env._data.cam(env._camera.camera).xpos
    np.testing.assert_allclose(eye, back @ (env._eye - middle) + middle, atol=1e-9)
    points = seen_points(env)
    assert len(points) > 20
    assert (gaps(Calibrated(env, lambda world: (world - middle) @ back.T + middle), points) < 0.01).mean() > 0.95


class Calibrated:
    """An environment whose points are taken to the world by another way."""

    def __init__(self, env, way):
        self._env, self._way = env, way

    def __getattr__(self, name):
        return getattr(self._env, name)

    def to_world(self, points):
        return self._way(self._env.to_world(points))


@one_a_suite
def test_a_turn_all_the_way_round_leads_back(make_changed, task):
    usual, round_trip = (cloud(make_changed, "camera_turned", each, task) for each in (0, 360))
    assert np.isclose(without_padding(usual), without_padding(round_trip), atol=1e-4).mean() > 0.9


@one_a_suite
def test_a_camera_turns_alone(make_changed, task):
    env, none = (make_changed(TASKS[task], "camera_turned", degrees) for degrees in (20, 0))
    for each in (env, none):
        each.reset(1)
    assert not np.array_equal(env.observe().point_cloud, none.observe().point_cloud)
    np.testing.assert_array_equal(env.observe().state, none.observe().state)
    np.testing.assert_array_equal(env._data.qpos, none._data.qpos)
    env._env.reset(1)
    np.testing.assert_array_equal(env.observe().point_cloud, none.observe().point_cloud)


# What is placed.


def placement(env):
    """Where all bodies and sites are in the model, and what lies free (M, 3)."""
    import mujoco  # here: whoever makes an environment first chooses what it loads

    model, free = env._model, mujoco.mjtJoint.mjJNT_FREE
    places = [start for start, kind in zip(model.jnt_qposadr, model.jnt_type, strict=True) if kind == free]
    lying = [env._data.qpos[None, start : start + 3] for start in places]
    return np.concatenate([model.body_pos, model.site_pos, *lying])


@every_row
def test_what_is_placed_lies_farther_from_the_middle_by_the_same_factor(make_env, task):
    spec = TASKS[task]
    env = make_env(task)
    moves = []
    for seed in range(6):
        found = []
        for percent in (0, 50, 100):
            env.reset(seed, Start(object_shifted=percent))
            found.append(placement(env))
        moves.append(found)
    usual, half, twice = np.swapaxes(moves, 0, 1)
    if spec.placed:
        assert np.abs(twice - usual).max() > 0.01
    # What is drawn depends on nothing but its own range, in the first draw of an episode: moves are in proportion.
    near = np.isclose(twice - usual, 2 * (half - usual), atol=1e-6).all((1, 2))
    assert near.mean() >= 0.5


def test_ranges_grow_about_their_middle_and_by_nothing_to_the_bit():
    low, high = np.array([-0.3, 0.252, 0.1]), np.array([-0.2, 0.35, 0.1])
    draws = {}
    for percent in (0, 50, 300):
        draws[percent] = WiderDraws(np.random.default_rng(0), percent).uniform(low, high, (1000, 3))
    np.testing.assert_array_equal(draws[0], np.random.default_rng(0).uniform(low, high, (1000, 3)))
    for percent, found in draws.items():
        middle, half = (low + high) / 2, (high - low) / 2 * (1 + percent / 100)
        assert np.all(found >= middle - half - 1e-12) and np.all(found <= middle + half + 1e-12)
        np.testing.assert_allclose(found - middle, (1 + percent / 100) * (draws[0] - middle), atol=1e-12)


# Actions.


@pytest.mark.parametrize("late", [0, 1, 3, 8])
def test_actions_come_late_and_zeros_before_them(late):
    done = []

    class Noting(ToyEnv):
        def step(self, action):
            done.append(float(action[0]))
            return super().step(action)

    env = Disturbance("actions_delayed", late).of(replace(TOY, make_env=Noting)).make_env(num_points=4)
    for _ in range(2):
        env.reset(0)
        for k in range(1, 7):
            env.step(np.array([k, 0.0], np.float32))
        assert done == [0.0] * min(late, 6) + [float(k) for k in range(1, 7 - late)]
        done.clear()
