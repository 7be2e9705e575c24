"""A client's messages without a network: what they leave behind, and what a server cannot promise."""

import numpy as np
import pytest

from mp_lib.acting.packing import pack
from mp_lib.acting.server import PolicyServer
from mp_lib.acting.sessions import Session
from mp_lib.model.noise import chunk_noise
from mp_lib.system.errors import InputError
from tests.acting.fake import ACTION, HORIZON, FakeEngine, actor_of, seen


@pytest.mark.parametrize("fault", ["spoilt", "broken"])
def test_an_observation_that_the_policy_fails_at_has_begun_its_episode_and_stays_in_the_history(fault):
    engine = FakeEngine(**{fault: {1}})
    session = Session(actor_of(engine))
    messages = [seen(1) | {"reset": True, "seed": 5}, seen(3) | {"reset": True, "seed": 7}, seen(4)]
    answers = [session.answer(pack(each)) for each in messages]
    assert [type(each) for each in answers] == [bytes, str, bytes]
    assert engine.given[-1][1][:, 0].tolist() == [3, 4]
    np.testing.assert_array_equal(engine.given[-1][2], chunk_noise(7, 1, (HORIZON, ACTION)))


def test_a_longest_step_is_refused_where_nobody_knows_which_actions_are_executed():
    with pytest.raises(InputError, match="max_step 0.05 given; .* bound the steps where they are executed"):
        PolicyServer(FakeEngine(), max_step=0.05)
