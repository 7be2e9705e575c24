"""A predicted path is where the hand goes if the chunk is executed, and looking at it changes nothing."""

import numpy as np
import pytest
import torch

from mp_lib.config import PolicyConfig
from mp_lib.insight.predicted_path import predicted_path
from mp_lib.insight.prediction import denoise
from mp_lib.interfaces import Obs
from mp_lib.learning.rollout import batch_of
from mp_lib.model.backends import freeze
from mp_lib.model.noise import chunk_noise
from mp_lib.model.policy import build_policy
from mp_lib.sim.env import SimulationDiverged
from mp_lib.sim.tasks import PAPER_TASKS, TASKS
from mp_lib.system.errors import InputError
from tests.conftest import ToyEnv

POINTS, HORIZON, SEEN, EXECUTED = 64, 8, 2, 4
CALLS = 4  # of the policy in an episode
ONE_A_SUITE = {"metaworld_stick-push", "adroit_hammer", "dexart_laptop"}
MARKS = [pytest.mark.every_task, pytest.mark.slow]
every_task = pytest.mark.parametrize(
    "task", [pytest.param(name, marks=MARKS * (name not in ONE_A_SUITE)) for name in PAPER_TASKS]
)


def new_policy(state_dim, action_dim, **changes):
    """A policy with fresh weights, the same every time; its actions fill their range."""
    torch.manual_seed(0)
    sizes = {"horizon": HORIZON, "n_obs_steps": SEEN, "n_action_steps": EXECUTED, "num_points": POINTS} | changes
    config = PolicyConfig("simple_dp3", state_dim, action_dim, down_dims=(16, 24), **sizes)
    return freeze(build_policy(config), "torch")


def play(env, policy, seed, look):
    """All that is seen and done in an episode, with a ``look`` at a path before each call of the policy."""
    env.reset(seed)
    trace, history = [], [env.observe()] * SEEN
    for call in range(CALLS):
        look(history)
        noise = torch.from_numpy(chunk_noise(seed, call, (HORIZON, policy.config.action_dim)))[None]
        for action in policy.act(batch_of([history], policy), noise)[0].numpy():
            met = env.step(action)
            history = [*history[1:], env.observe()]
            trace += [action, history[-1].point_cloud, history[-1].state, env.hand(), np.array(met)]
            trace += env.truth().values()
    return [np.copy(values) for values in trace]


@every_task
def test_an_episode_is_the_same_to_the_bit_whether_paths_were_looked_at_or_not(make_env, task):
    env, policy = make_env(task, POINTS), new_policy(TASKS[task].state_dim, TASKS[task].action_dim)
    without = play(env, policy, 7, lambda history: None)
    paths = []
    seen = play(env, policy, 7, lambda history: paths.append(predicted_path(policy, env, history, samples=3)))
    assert len(seen) == len(without)
    for here, there in zip(seen, without, strict=True):
        np.testing.assert_array_equal(here, there)
    assert len(paths) == CALLS and all(np.isfinite(path).all() for path in paths)


@every_task
def test_the_hand_goes_along_the_path_if_the_chunk_is_executed(make_env, task):
    env, policy = make_env(task, POINTS), new_policy(TASKS[task].state_dim, TASKS[task].action_dim)
    env.reset(3)
    expert = TASKS[task].make_expert()
    history = []
    for _ in range(12):
        env.step(expert.act(env.truth()))
        history.append(env.observe())
    history = history[-SEEN:]
    path = predicted_path(policy, env, history, samples=4, noise_seed=5)
    chunks = denoise(policy, history, samples=4, noise_seed=5)[-1]
    assert path.shape == (4, HORIZON - SEEN + 1, 3)
    assert len(np.unique(path[:, -1], axis=0)) == 4
    reached = []
    for action in chunks[2, SEEN - 1 :]:
        env.step(action)
        reached.append(env.hand())
    np.testing.assert_array_equal(path[2], reached)


def test_with_an_episodes_seed_a_path_begins_with_what_the_rollout_does(make_env):
    task, seed = "metaworld_drawer-open", 11
    env, policy = make_env(task, POINTS), new_policy(9, 4)
    paths = []
    trace = play(env, policy, seed, lambda history: paths.append(predicted_path(policy, env, history, 4, None, seed)))
    hands = [values for values in trace if values.shape == (3,)]
    for call, path in enumerate(paths):
        # Rounding depends on how many chunks are denoised together.
        np.testing.assert_allclose(path[call, :EXECUTED], hands[EXECUTED * call :][:EXECUTED], atol=1e-5)


@pytest.fixture
def toy():
    """A toy environment under way, two frames of it, and a policy for it."""
    env = ToyEnv(POINTS)
    env.reset(0)
    frames = [env.observe()]
    env.step(np.array([0.25, 0]))
    return env, [*frames, env.observe()], new_policy(3, 2)


def test_a_path_begins_with_the_first_action_that_has_not_passed(toy):
    env, history, policy = toy
    path = predicted_path(policy, env, history, samples=5)
    chunks = denoise(policy, history, samples=5)[-1]
    assert chunks.shape == (5, HORIZON, 2)
    np.testing.assert_allclose(path[..., 0], 0.25 + np.cumsum(chunks[:, SEEN - 1 :, 0], axis=1), atol=1e-5)


def test_a_sample_depends_on_its_number_and_the_seed_alone(toy):
    env, history, policy = toy
    path = predicted_path(policy, env, history, samples=6, noise_seed=1)
    np.testing.assert_array_equal(predicted_path(policy, env, history, samples=6, noise_seed=1), path)
    np.testing.assert_allclose(predicted_path(policy, env, history, samples=2, noise_seed=1), path[:2], atol=1e-5)
    assert not np.allclose(predicted_path(policy, env, history, samples=6, noise_seed=2), path)


def test_other_denoising_steps_are_those_of_a_policy_that_has_them(toy):
    env, history, policy = toy
    expected = predicted_path(new_policy(3, 2, num_inference_steps=3), env, history)
    usual = predicted_path(policy, env, history)
    found = predicted_path(policy, env, history, num_inference_steps=3)
    np.testing.assert_array_equal(found, expected)
    assert not np.allclose(found, usual)
    np.testing.assert_array_equal(predicted_path(policy, env, history), usual)


def test_a_path_ends_where_the_simulator_diverges(toy):
    env, history, policy = toy
    whole = predicted_path(policy, env, history, samples=3)

    class Diverging(ToyEnv):
        def step(self, action):
            if self.steps == 4:
                raise SimulationDiverged("far away")
            return super().step(action)

    env.__class__ = Diverging  # one step of it has passed
    path = predicted_path(policy, env, history, samples=3)
    np.testing.assert_array_equal(path[:, :3], whole[:, :3])
    assert np.isnan(path[:, 3:]).all()


def test_one_observation_stands_for_those_before_it_and_none_is_what_the_environment_shows(toy):
    env, history, policy = toy
    short = predicted_path(policy, env, history[-1])
    np.testing.assert_array_equal(short, predicted_path(policy, env, history[-1:] * SEEN))
    np.testing.assert_array_equal(short, predicted_path(policy, env))


@pytest.mark.parametrize("wrong", [{"samples": 0}, {"num_inference_steps": 0}, {"num_inference_steps": 101}])
def test_numbers_that_cannot_be_are_refused(toy, wrong):
    env, history, policy = toy
    with pytest.raises(InputError, match=f"{[*wrong][0]} {[*wrong.values()][0]}"):
        predicted_path(policy, env, history, **wrong)


def test_what_a_policy_cannot_see_is_refused(toy):
    env, history, policy = toy
    wide = [Obs(each.point_cloud, np.zeros(4, np.float32)) for each in history]
    with pytest.raises(InputError, match="state"):
        predicted_path(policy, env, wide)
