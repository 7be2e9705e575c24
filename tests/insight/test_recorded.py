"""Demonstrations are asked about as they were recorded, and played once more where they were simulated here."""

from dataclasses import replace

import numpy as np
import pytest

import mp_lib
from mp_lib.insight.recorded import OWN, Recorded
from mp_lib.model.weights import CHECKPOINT
from mp_lib.sim.tasks import TASKS
from mp_lib.system.errors import InputError
from tests.conftest import TOY
from tests.insight.toy_policy import toy_policy
from tests.insight.trained import write_trained

POLICY = toy_policy()


@pytest.fixture
def simulated(monkeypatch, toy_demos):
    """The toy demonstrations where their task is one of ours."""
    monkeypatch.setitem(TASKS, "toy", TOY)
    return Recorded(POLICY, str(toy_demos.path))


def test_calls_are_as_far_apart_as_the_policy_acts_and_hold_what_was_recorded(simulated, toy_demos):
    frames = toy_demos.read()
    first, end = toy_demos.episode_ends[0], toy_demos.episode_ends[1]
    calls = simulated.browsed(1).calls
    assert [call.step for call in calls] == list(range(0, end - first, 4))
    for call in calls:
        now = first + call.step
        np.testing.assert_array_equal(call.done, frames["action"][now : min(now + 7, end)])
        assert len(call.history) == 2
        np.testing.assert_array_equal(call.history[-1].state, frames["state"][now])
        np.testing.assert_array_equal(call.history[0].state, frames["state"][max(now - 1, first)])
        np.testing.assert_array_equal(call.history[-1].point_cloud, frames["point_cloud"][now])


def test_where_it_was_simulated_the_hand_is_where_it_was(simulated):
    browsed = simulated.browsed(2)
    for call in browsed.calls:
        np.testing.assert_allclose(call.hand[0], call.history[-1].state[1], atol=1e-6)
    assert "demonstration 2 of" in browsed.title and "by swinging, environment seed 2" in browsed.title


def test_of_others_there_is_no_simulation_and_all_else_is_there(toy_demos):
    recorded = Recorded(POLICY, str(toy_demos.path))
    assert recorded.episodes == (0, 1, 2)
    calls = recorded.browsed(0).calls
    assert all(call.branch is None and call.hand is None and call.picture.ndim == 3 for call in calls)
    assert recorded.browsed(0).doer == "recorded"


def test_clouds_are_sampled_down_to_the_policys_size(toy_demos):
    (call, *_) = Recorded(toy_policy(num_points=5), str(toy_demos.path)).browsed(0).calls
    assert call.history[-1].point_cloud.shape == (5, 3)


def test_a_demonstration_that_is_not_there_and_states_that_do_not_fit_are_refused(toy_demos):
    with pytest.raises(InputError, match=r"has no demonstration 3; choose of \[0, 1, 2\]"):
        Recorded(POLICY, str(toy_demos.path)).browsed(3)
    wide = toy_policy(spec=replace(TOY, state_dim=4, other_states=(3,)))
    with pytest.raises(InputError, match="has states of 3 numbers, toy takes 4"):
        Recorded(wide, str(toy_demos.path))


def test_ones_own_are_those_that_the_run_was_trained_on_recorded_where_they_are_not_there(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    with pytest.raises(InputError, match="toy is no run of this project"):
        Recorded(POLICY, OWN)
    policy = mp_lib.load(write_trained())
    own = Recorded(policy, OWN)
    assert own.store.path == tmp_path / "data" / "demos" / "metaworld_drawer-open-64points-2.zarr"
    assert "not to the bit" in own.browsed(own.episodes[0]).title  # the run's is a made-up one
    known = {"demonstrations": {"content_hash": own.store.content_hash()}}
    same = Recorded(replace(policy, facts=policy.facts | known), OWN)
    assert same.store.path == own.store.path and same.remark == ""
    given = replace(policy, checkpoint=tmp_path / "run-demos=12345678" / CHECKPOINT)
    with pytest.raises(InputError, match="was trained on a store that somebody has given; give the path of a store"):
        Recorded(given, OWN)
