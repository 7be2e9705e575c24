"""Points that win no feature could be left out, and no other."""

import numpy as np
import pytest
import torch

from mp_lib.insight.critical_points import features_won
from tests.conftest import TOY
from tests.insight.toy_policy import toy_policy

POINTS, STATE = 60, np.zeros(TOY.state_dim, np.float32)


@pytest.fixture
def policy():
    return toy_policy(num_points=POINTS).policy


@pytest.fixture
def cloud():
    return np.random.default_rng(0).normal(size=(POINTS, 3)).astype(np.float32)


def feature(policy, cloud):
    with torch.no_grad():
        clouds = policy.policy.normalizer.normalize("point_cloud", torch.from_numpy(cloud)[None])
        return policy.policy.obs_encoder.extractor(clouds)[0].numpy()


def test_every_feature_is_won_once(policy, cloud):
    assert features_won(policy, cloud, STATE).sum() == policy.policy.obs_encoder.extractor.mlp[-2].normalized_shape[0]


def test_without_those_that_win_none_the_policy_sees_the_same(policy, cloud):
    won = features_won(policy, cloud, STATE)
    assert 0 < np.count_nonzero(won) < POINTS
    np.testing.assert_allclose(feature(policy, cloud[won > 0]), feature(policy, cloud), atol=1e-6)
    for winner in np.flatnonzero(won):
        assert not np.allclose(feature(policy, np.delete(cloud, winner, axis=0)), feature(policy, cloud), atol=1e-6)
