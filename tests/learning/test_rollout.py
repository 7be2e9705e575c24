"""Episodes depend on their seeds alone, end by the rule of their suite, and see what they should."""

import os
import threading
from dataclasses import replace
from functools import partial
from multiprocessing import Pipe
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mp_lib.config import PolicyConfig
from mp_lib.interfaces import SuccessRule
from mp_lib.learning.rollout import GROUP, rollout, serve
from mp_lib.model.policy import build_policy
from tests.conftest import TOY, ToyEnv, positions

NEVER = replace(TOY, make_env=partial(ToyEnv, goal=()))


class Script(nn.Module):
    """A policy whose actions are its noise; remembers the histories that it was given."""

    def __init__(self, n_obs_steps=2, n_action_steps=3, horizon=4):
        super().__init__()
        self.config = SimpleNamespace(
            num_points=8, n_obs_steps=n_obs_steps, n_action_steps=n_action_steps, horizon=horizon, action_dim=2
        )
        self.device = torch.device("cpu")
        self.histories = []

    def act(self, history, noise):
        assert not self.training
        self.histories.append(history)
        start = self.config.n_obs_steps - 1
        return noise[:, start : start + self.config.n_action_steps]


def trajectories(episodes):
    return {episode.seed: (episode.success, episode.steps, positions(episode.film)) for episode in episodes}


def make_policy():
    torch.manual_seed(0)
    return build_policy(
        PolicyConfig("simple_dp3", 3, 2, horizon=4, n_action_steps=3, num_points=8, down_dims=(16, 16, 16))
    )


def test_episodes_come_in_the_order_of_their_seeds():
    seeds = [5, 3, 11, 3, *range(20, 20 + GROUP)]
    episodes = rollout(Script(), NEVER, seeds)
    assert [episode.seed for episode in episodes] == seeds
    assert all(episode.steps == 12 and not episode.success and not episode.film for episode in episodes)


@pytest.mark.parametrize("seeds", [range(100, 104), [103, 101, 100, 102], range(95, 104 + GROUP)])
def test_neither_order_nor_neighbours_change_an_episode(seeds):
    expected = trajectories(rollout(Script(), NEVER, range(100, 104), films=4))
    found = trajectories(rollout(Script(), NEVER, seeds, films=len(seeds)))
    assert {seed: found[seed] for seed in expected} == expected
    assert len({tuple(episode[2]) for episode in found.values()}) == len(found)


def test_a_policy_moves_alike_in_any_company():
    policy = make_policy()
    expected = trajectories(rollout(policy, NEVER, range(3), films=3))
    found = trajectories(rollout(policy, NEVER, [7, 2, 1, 0], films=4))
    assert trajectories(rollout(policy, NEVER, range(3), films=3)) == expected
    for seed in range(3):
        np.testing.assert_allclose(found[seed][2], expected[seed][2], atol=1e-4)


def test_processes_change_nothing():
    policy, seeds = make_policy(), [4, 0, 9, 2, 7]
    alone = rollout(policy, TOY, seeds, films=2)
    together = rollout(policy, TOY, seeds, films=2, jobs=2)
    assert [episode.seed for episode in together] == seeds
    assert trajectories(alone) == trajectories(together)
    assert [len(episode.film) for episode in alone] == [7, 7, 0, 0, 0]


def test_the_users_generator_is_left_alone():
    state = torch.get_rng_state()
    rollout(make_policy(), NEVER, range(2))
    assert torch.get_rng_state().equal(state)


@pytest.mark.parametrize(("n_obs_steps", "n_action_steps"), [(1, 1), (2, 3), (3, 1), (4, 2), (2, 12), (5, 5)])
def test_a_policy_sees_the_last_observations(n_obs_steps, n_action_steps):
    policy = Script(n_obs_steps, n_action_steps, horizon=16)
    rollout(policy, NEVER, [7, 8])
    calls = len(policy.histories)
    assert calls == -(-12 // n_action_steps)
    for call, history in enumerate(policy.histories):
        now = call * n_action_steps
        steps = [max(0, step) for step in range(now - n_obs_steps + 1, now + 1)]
        assert history["state"].shape == (2, n_obs_steps, 3)
        assert history["point_cloud"].shape == (2, n_obs_steps, 8, 3)
        for row, seed in enumerate((7, 8)):
            assert history["state"][row, :, 0].tolist() == steps
            assert history["state"][row, :, 2].tolist() == [seed] * n_obs_steps
            for cloud, step in zip(history["point_cloud"][row], steps, strict=True):
                expected = np.random.default_rng([seed, step]).normal(size=(8, 3)).astype(np.float32)
                np.testing.assert_array_equal(cloud, expected)


@pytest.mark.parametrize(("n_obs_steps", "looks"), [(1, 5), (2, 9), (3, 13)])
def test_only_what_is_seen_is_looked_at(monkeypatch, n_obs_steps, looks):
    seen, observe = [], ToyEnv.observe
    monkeypatch.setattr(ToyEnv, "observe", lambda env: (seen.append(env.steps), observe(env))[1])
    rollout(Script(n_obs_steps, 4, horizon=8), replace(NEVER, max_steps=17), [0])
    assert len(seen) == looks and seen[0] == 0


RULES = {  # by name: rule, flags up at these steps, success, steps
    "stops at the first flag": (SuccessRule("any step", any, stops=True), (5, 6), True, 5),
    "stops in the middle of a chunk": (SuccessRule("any step", any, stops=True), (2,), True, 2),
    "stops at the last step": (SuccessRule("any step", any, stops=True), (12,), True, 12),
    "never met": (SuccessRule("any step", any, stops=True), (13,), False, 12),
    "decides at the end": (SuccessRule("any step", any, stops=False), (5,), True, 12),
    "last step, met": (SuccessRule("last step", lambda flags: flags[-1], stops=False), (12,), True, 12),
    "last step, lost again": (SuccessRule("last step", lambda flags: flags[-1], stops=False), (11,), False, 12),
}


@pytest.mark.parametrize("name", RULES)
def test_an_episode_ends_and_counts_by_the_rule_of_its_suite(name):
    rule, goal, success, steps = RULES[name]
    spec = replace(TOY, success_rule=rule, make_env=partial(ToyEnv, goal=goal))
    (episode,) = rollout(Script(), spec, [0], films=1)
    assert (episode.success, episode.steps) == (success, steps)
    assert len(episode.film) == steps + 1


def test_a_success_is_a_plain_bool():
    spec = replace(TOY, success_rule=SuccessRule("mean", np.mean, stops=False))
    assert rollout(Script(), spec, [0])[0].success is True


def test_an_episode_that_diverges_is_a_failure_and_its_neighbours_go_on(caplog):
    spec = replace(TOY, make_env=partial(ToyEnv, diverges=3))
    episodes = rollout(Script(), spec, [2, 3, 4], films=3)
    assert [(episode.success, episode.steps) for episode in episodes] == [(True, 6), (False, 1), (True, 6)]
    assert "toy, seed 3: far away; counted as a failure" in caplog.text
    expected = trajectories(rollout(Script(), TOY, [2, 4], films=2))
    assert {seed: each for seed, each in trajectories(episodes).items() if seed != 3} == expected


def test_environments_are_used_again():
    made = []

    def make_env(num_points):
        made.append(num_points)
        return ToyEnv(num_points)

    rollout(Script(), replace(TOY, make_env=make_env), range(2 * GROUP + 3))
    assert made == [8] * GROUP


def test_environments_are_closed_also_after_an_error(monkeypatch):
    closed = []
    monkeypatch.setattr(ToyEnv, "close", lambda env: closed.append(env))
    rollout(Script(), TOY, range(3))
    assert len(closed) == 3
    with pytest.raises(KeyError, match="no such drawer in seed 1"):
        rollout(Script(), replace(TOY, make_env=partial(ToyEnv, fails=1)), range(3))
    assert len(closed) == 6


def test_a_process_that_dies_is_one_clear_error():
    with pytest.raises(RuntimeError, match="a simulating process died .*run again with fewer jobs") as caught:
        rollout(Script(), replace(TOY, make_env=partial(ToyEnv, dies=3)), range(6), jobs=2)
    assert "\n" not in str(caught.value)


def make_env_that_ends_its_process(num_points):
    os._exit(1)


@pytest.mark.slow
def test_a_process_that_dies_at_once_is_the_same_error():
    with pytest.raises(RuntimeError, match="a simulating process died"):
        rollout(Script(), replace(TOY, make_env=make_env_that_ends_its_process), range(6), jobs=2)


@pytest.mark.slow
def test_an_error_in_a_process_is_raised_here():
    with pytest.raises(KeyError, match="no such drawer in seed 3") as caught:
        rollout(Script(), replace(TOY, make_env=partial(ToyEnv, fails=3)), range(6), jobs=2)
    assert "conftest.py" in "".join(caught.value.__notes__)


class Stubborn(Exception):
    """An error that cannot be unpickled: its constructor takes two arguments and keeps one."""

    def __init__(self, drawer, seed):
        super().__init__(f"drawer {drawer} in seed {seed}")


class Clash:
    """An environment with errors of all kinds."""

    def __init__(self, error):
        self.error = error

    def reset(self, seed):
        raise self.error

    def close(self):
        pass


@pytest.mark.parametrize(
    ("error", "found", "text"),
    [
        (KeyError("drawer"), KeyError, "drawer"),
        (OSError(28, "no space left"), OSError, "no space left"),
        (Stubborn(3, 4), RuntimeError, "Stubborn in a simulating process: drawer 3 in seed 4"),
    ],
)
def test_any_error_travels(error, found, text):
    threads = torch.get_num_threads()
    ours, theirs = Pipe()
    spec = replace(TOY, make_env=lambda num_points: Clash(error))
    worker = threading.Thread(target=serve, args=(theirs, spec, 8, 2))
    worker.start()
    for _ in range(2):  # it goes on serving
        ours.send(("start", [(0, False)]))
        assert ours.poll(10)
        answer = ours.recv()
        assert type(answer) is found and text in str(answer)
    ours.close()
    worker.join(10)
    assert not worker.is_alive()
    torch.set_num_threads(threads)


def test_a_server_ends_quietly_when_nobody_waits_for_its_answer():
    ours, theirs = Pipe()
    errors = []
    waiting, answered = threading.Event(), threading.Event()

    class Slow(ToyEnv):
        def reset(self, seed):
            waiting.set()
            assert answered.wait(10)
            super().reset(seed)

    def work():
        try:
            serve(theirs, replace(TOY, make_env=Slow), 8, 2)
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    ours.send(("start", [(0, False)]))
    assert waiting.wait(10)
    ours.close()
    answered.set()
    worker.join(10)
    assert not worker.is_alive() and not errors
