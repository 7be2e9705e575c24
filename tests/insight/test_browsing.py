"""A browsed episode is the one that was played, and each of its calls can be gone back to."""

import numpy as np

from mp_lib.config import EXPLORING_SEEDS, FINAL_SEEDS
from mp_lib.insight.browsing import played
from mp_lib.insight.playing import play
from tests.insight.toy_policy import long_toy, toy_policy

POLICY = toy_policy(spec=long_toy(12))


def test_it_is_the_episode_that_is_played():
    browsed, episode = played(POLICY, EXPLORING_SEEDS), play(POLICY, EXPLORING_SEEDS, film=False)
    assert [call.step for call in browsed.calls] == [moment.step for moment in episode.moments] == [0, 4, 8]
    for call, moment in zip(browsed.calls, episode.moments, strict=True):
        np.testing.assert_array_equal(call.done, moment.chunk[1:])
        np.testing.assert_array_equal(call.history[-1].state, moment.history[-1].state)
        np.testing.assert_allclose(call.hand[0], call.history[-1].state[1], atol=1e-6)


def test_every_call_leads_on_to_the_next_however_often_one_goes_back():
    calls = played(POLICY, EXPLORING_SEEDS).calls
    for _ in range(2):
        for call, after in zip(calls, calls[1:], strict=False):
            branch = call.branch.branch()
            for action in call.done[: after.step - call.step]:
                branch.step(action)
            np.testing.assert_array_equal(branch.hand(), after.hand)


def test_its_title_says_which_it_is_and_whether_it_belongs_to_the_final_tables():
    assert played(POLICY, EXPLORING_SEEDS).title == "toy, environment seed 80000: succeeds after 12 steps"
    assert "a seed of the final tables; those for exploring begin at 80000" in played(POLICY, FINAL_SEEDS).title


def test_it_is_seen_from_where_the_camera_is():
    browsed = played(POLICY, EXPLORING_SEEDS)
    azimuth, elevation = np.deg2rad(browsed.angles())
    toward = [np.cos(azimuth) * np.cos(elevation), np.sin(azimuth) * np.cos(elevation), np.sin(elevation)]
    apart = browsed.eye - browsed.middle()
    np.testing.assert_allclose(toward, apart / np.linalg.norm(apart))
