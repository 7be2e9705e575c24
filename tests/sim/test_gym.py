"""Tasks as gymnasium has them: what its checker asks, and to the bit the episodes of rollouts."""

import contextlib
import subprocess
import sys
import warnings
from dataclasses import replace

import gymnasium
import numpy as np
import pytest
from gymnasium.utils.env_checker import check_env

from mp_lib.interfaces import SuccessRule
from mp_lib.learning.simulators import Seat
from mp_lib.sim.changes import CHANGES, Disturbance
from mp_lib.sim.gym import TaskEnv
from mp_lib.sim.tasks import TASKS
from mp_lib.system.errors import InputError
from tests.conftest import TOY, ToyEnv
from tests.sim.test_suites import MARKS, one_a_suite

SUITES = {row.suite: name for name, row in TASKS.items()}
CHECKED = [pytest.param(name, marks=MARKS * (name not in SUITES.values())) for name in TASKS]
FEW = 64  # points


def name_of(task):
    return f"mp_lib.sim.gym:mp_lib/{task}-v0"


def actions_of(spec, steps, seed=0):
    return np.random.default_rng(seed).uniform(-1, 1, (steps, spec.action_dim)).astype(np.float32)


def toy(**changes):
    """The toy task as gymnasium has it."""
    return TaskEnv(replace(TOY, **changes))


def test_a_name_is_all_that_is_imported():
    code = (
        "import sys, gymnasium, mp_lib, mp_lib.sim.tasks;"
        "assert not [name for name in gymnasium.registry if name.startswith('mp_lib/')];"
        f"env = gymnasium.make('{name_of('metaworld_drawer-open')}');"
        "assert 'torch' not in sys.modules;"
        "print(sum(name.startswith('mp_lib/') for name in gymnasium.registry), env.reset(seed=3)[1]['seed'])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == [str(len(TASKS)), "3"]


@pytest.mark.parametrize("task", CHECKED)
def test_gymnasiums_checker_has_nothing_to_say(task):
    env = gymnasium.make(name_of(task), num_points=FEW, render_mode="rgb_array").unwrapped
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        warnings.filterwarnings("ignore", message=".*Box observation space.*infinity")  # clouds and states have no box
        check_env(env)


@one_a_suite
def test_an_episode_is_that_of_the_tasks_own_environment(make_env, task):
    spec, plain = TASKS[task], make_env(task, FEW)
    plain.reset(11)
    with contextlib.closing(gymnasium.make(name_of(task), num_points=FEW, render_mode="rgb_array")) as env:
        seen, info = env.reset(seed=11)
        assert info == {"is_success": False, "seed": 11} and seen in env.observation_space
        np.testing.assert_array_equal(env.render(), plain.render())
        flags = []
        for action in [None, *actions_of(spec, 12)]:
            if action is not None:
                seen, reward, ended, out_of_time, info = env.step(action)
                flags.append(plain.step(action))
                assert (reward, ended, out_of_time) == (flags[-1], spec.success_rule.stops and flags[-1], False)
                assert info == {"is_success": bool(spec.success_rule.judge(flags))}
            obs = plain.observe()
            np.testing.assert_array_equal(seen["point_cloud"], obs.point_cloud)
            np.testing.assert_array_equal(seen["agent_pos"], obs.state)


@pytest.mark.parametrize("task", ["metaworld_drawer-open", SUITES["adroit"]])
def test_the_expert_succeeds_as_in_a_rollout(task):
    spec = TASKS[task]
    recorded, expert = [], spec.make_expert()
    with contextlib.closing(gymnasium.make(name_of(task), num_points=FEW)) as env:
        env.reset(seed=2)
        over = False
        while not over:
            recorded.append(np.asarray(expert.act(env.unwrapped._env.truth()), np.float32))
            *_, ended, out_of_time, info = env.step(recorded[-1])
            over = ended or out_of_time
    seat = Seat(spec, FEW, n_obs_steps=1)
    seat.start(2, filmed=False)
    episode = seat.play(np.array(recorded))
    seat.env.close()
    assert (episode.success, episode.steps) == (info["is_success"], len(recorded)) and episode.success


@pytest.mark.parametrize("stops", [True, False])
def test_an_episode_ends_where_the_rule_lets_it_and_where_its_time_is_over(stops):
    env = toy(success_rule=SuccessRule("three flags", lambda flags: sum(flags) == 3, stops=stops))
    env.reset(seed=0)
    steps = [env.step(action)[1:] for action in actions_of(TOY, TOY.max_steps)]
    assert [reward for reward, *_ in steps] == [0.0] * 5 + [1.0] * 7
    assert [ended for _, ended, *_ in steps] == [stops and step >= 5 for step in range(12)]
    assert [over for *_, over, _ in steps] == [False] * 11 + [True]
    assert [info["is_success"] for *_, info in steps] == [step == 7 for step in range(12)]


def test_a_simulation_that_diverges_ends_without_success():
    env = TaskEnv(replace(TOY, make_env=lambda num_points: ToyEnv(num_points, diverges=4)))
    env.reset(seed=4)
    before, *_ = env.step(np.zeros(2, np.float32))
    seen, reward, ended, out_of_time, info = env.step(np.zeros(2, np.float32))
    assert (reward, ended, out_of_time, info) == (0.0, True, False, {"is_success": False, "diverged": "far away"})
    np.testing.assert_equal(seen, before)
    assert seen["point_cloud"] is not before["point_cloud"]


def test_unseeded_episodes_follow_from_the_first_seed():
    first, second, other = (
        [env.reset(seed=seed), env.reset(), env.reset()]
        for env, seed in zip((toy(), toy(), toy()), (1, 1, 2), strict=True)
    )
    seeds = [info["seed"] for _, info in first]
    assert len({*seeds}) == 3 and seeds == [info["seed"] for _, info in second]
    assert {info["seed"] for _, info in other}.isdisjoint(seeds)
    again, _ = toy().reset(seed=seeds[2])
    np.testing.assert_equal(again, first[2][0])


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_holds_for_one_episode(name):
    task, strength = "metaworld_drawer-open", CHANGES[name].strengths[0]
    spec = Disturbance(name, strength).of(TASKS[task])
    changed = spec.make_env(num_points=FEW)
    actions = actions_of(spec, 6)
    with contextlib.closing(gymnasium.make(name_of(task), num_points=FEW)) as env, contextlib.closing(changed):
        usual = [env.reset(seed=5)[0], *(env.step(action)[0] for action in actions)]
        seen = [env.reset(seed=5, options={name: strength})[0], *(env.step(action)[0] for action in actions)]
        after = [env.reset(seed=5)[0], *(env.step(action)[0] for action in actions)]
        np.testing.assert_equal(after, usual)
        changed.reset(5)
        for index, action in enumerate([None, *actions]):
            if action is not None:
                changed.step(action)
            obs = changed.observe()
            np.testing.assert_equal(seen[index], {"point_cloud": obs.point_cloud, "agent_pos": obs.state})
    assert not all(np.array_equal(a[key], b[key]) for a, b in zip(seen, usual, strict=True) for key in a)


def test_several_changes_hold_at_once():
    with contextlib.closing(gymnasium.make(name_of("metaworld_reach"), num_points=FEW)) as env:
        both = {"points_dropped": 50, "camera_turned": 20}
        seen = env.reset(seed=1, options=both)[0]["point_cloud"]
        turned = env.reset(seed=1, options={"camera_turned": 20})[0]["point_cloud"]
    there = np.any(seen != 0, axis=1)
    assert there.sum() == FEW / 2
    np.testing.assert_array_equal(seen[there], turned[there])


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"camera": 3}, "unknown change 'camera'; choose one of"),
        ({"camera_turned": -1}, "must be 0 or above"),
        ({"camera_turned": "much"}, "must be 0 or above"),
        ({"object_shifted": 10}, "toy has no object_shifted"),
    ],
)
def test_a_change_that_is_none_is_refused_and_the_episode_goes_on(options, said):
    env = toy()
    env.reset(seed=1)
    env.step(np.ones(2, np.float32))
    with pytest.raises(InputError, match=said):
        env.reset(seed=1, options=options)
    assert env.step(np.ones(2, np.float32))[0]["agent_pos"][0] == 2


def test_a_window_is_no_render_mode_and_without_one_there_is_no_picture():
    with pytest.raises(InputError, match="render mode 'human'; choose one of: rgb_array"):
        TaskEnv(TOY, render_mode="human")
    env = toy()
    env.reset(seed=0)
    assert env.render() is None


def test_environments_run_side_by_side_in_processes():
    how = {"num_envs": 2, "vectorization_mode": "async", "vector_kwargs": {"context": "spawn"}}
    env = gymnasium.make_vec(name_of("metaworld_reach"), **how, num_points=FEW)
    with contextlib.closing(env):
        seen, _ = env.reset(seed=[4, 5])
        assert seen["point_cloud"].shape == (2, FEW, 3)
        *_, info = env.step(np.zeros((2, 4), np.float32))
        assert info["is_success"].tolist() == [False, False]
    with contextlib.closing(gymnasium.make(name_of("metaworld_reach"), num_points=FEW)) as alone:
        np.testing.assert_equal(alone.reset(seed=5)[0]["point_cloud"], seen["point_cloud"][1])
