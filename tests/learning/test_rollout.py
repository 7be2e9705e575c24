"""Episodes depend on their seeds alone, end by the rule of their suite, and see what they should."""

from dataclasses import replace
from functools import partial
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from torch import nn

from mp_lib.config import PolicyConfig
from mp_lib.interfaces import SuccessRule
from mp_lib.learning import rollout as module
from mp_lib.learning.rollout import GROUPS, ON_A_GPU, Group, group_on, rollout, settle_jobs
from mp_lib.learning.simulators import Simulators
from mp_lib.model.backends import GraphPolicy
from mp_lib.model.policy import build_policy
from tests.conftest import TOY, StaggeredEnv, ToyEnv, positions
from tests.model.test_graphs import captures  # noqa: F401 (a fixture)

GROUP = GROUPS["cpu"].size
NEVER = replace(TOY, make_env=partial(ToyEnv, goal=()))

STAGGERED = replace(TOY, make_env=StaggeredEnv)


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


@pytest.mark.parametrize("group", [GROUPS["cpu"], Group(3, padded=True)])
def test_processes_change_nothing_neither_new_nor_used_ones(group, monkeypatch):
    monkeypatch.setitem(GROUPS, "cpu", group)
    policy, seeds = make_policy(), [4, 0, 9, 2, 7]
    alone = rollout(policy, STAGGERED, seeds, films=2)
    assert [len(episode.film) for episode in alone] == [6, 2, 0, 0, 0]
    with Simulators(2) as simulators:
        for _ in range(2):
            together = rollout(policy, STAGGERED, seeds, simulators=simulators, films=2)
            assert [episode.seed for episode in together] == seeds
            assert trajectories(alone) == trajectories(together)
            rollout(Script(), STAGGERED, range(7), simulators=simulators, films=7)
    assert trajectories(rollout(policy, STAGGERED, seeds, jobs=2, films=2)) == trajectories(alone)


@pytest.mark.parametrize("name", ["cuda", "cuda:1", "mps"])
def test_on_a_gpu_all_calls_have_the_size_of_the_group(name):
    assert group_on(torch.device(name)) == ON_A_GPU and ON_A_GPU.padded
    assert not group_on(torch.device("cpu")).padded


def calls_of(policy, seeds, group, monkeypatch):
    """The actions (B, Ta, A) of each policy call of a rollout in such groups."""
    calls, act = [], policy.act
    monkeypatch.setitem(GROUPS, "cpu", group)
    monkeypatch.setattr(policy, "act", lambda *given: (calls.append(act(*given)), calls[-1])[1])
    rollout(policy, STAGGERED, seeds)
    monkeypatch.undo()
    return calls


def test_padding_changes_no_action_and_a_padded_policy_sees_one_size(monkeypatch):
    policy = make_policy()
    bare = calls_of(policy, range(6), Group(4, padded=False), monkeypatch)
    padded = calls_of(policy, range(6), Group(4, padded=True), monkeypatch)
    assert [len(call) for call in bare] == [4, 1, 2, 2] and [len(call) for call in padded] == [4] * 4
    for expected, found in zip(bare, padded, strict=True):
        torch.testing.assert_close(found[: len(expected)], expected, atol=1e-5, rtol=0)


def test_on_a_gpu_one_graph_serves_a_whole_rollout(captures, monkeypatch):  # noqa: F811
    policy, seeds = make_policy().eval(), range(ON_A_GPU.size + 3)
    expected = trajectories(rollout(policy, STAGGERED, seeds, films=len(seeds)))
    monkeypatch.setitem(GROUPS, "cpu", ON_A_GPU)
    found = trajectories(rollout(GraphPolicy(policy), STAGGERED, seeds, films=len(seeds)))
    assert len(captures) == 1
    for seed in seeds:
        assert found[seed][:2] == expected[seed][:2]
        np.testing.assert_allclose(found[seed][2], expected[seed][2], atol=1e-4)


@pytest.mark.parametrize(
    ("name", "threads", "cores", "jobs"),
    [("cpu", 4, 64, 4), ("cpu", 64, 2, GROUP), ("cuda", 1, 3, 3), ("cuda:1", 4, 64, 20), ("mps", 64, 8, 8)],
)
def test_by_default_processes_are_as_many_as_threads_or_on_a_gpu_as_cores(name, threads, cores, jobs, monkeypatch):
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(module, "usable_cores", lambda: cores)
    device = torch.device(name)
    assert settle_jobs(None, device) == jobs
    assert settle_jobs(7, device) == 7


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
