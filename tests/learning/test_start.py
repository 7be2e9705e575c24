"""Features that are standardised before the first step vary as much as each other, and nothing else changes."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mp_lib import config
from mp_lib.config import PolicyConfig
from mp_lib.data.windows import ActionWindows
from mp_lib.learning import start as module
from mp_lib.learning.start import STARTS
from mp_lib.learning.trainer import Trainer
from mp_lib.model.encoder import KEY_POINTS
from tests.learning.test_streams import LENGTHS, make_arrays, make_trainer

FRAMES = 400


def make_windows(**changes):
    arrays = make_arrays(FRAMES)
    arrays["point_cloud"] = 0.01 * arrays["point_cloud"] + 5  # objects that hardly move, far from the origin
    return ActionWindows(arrays | changes, np.array([FRAMES // 2, FRAMES]), **LENGTHS)


def features(trainer):
    """What the encoder makes of every frame that is trained on (frames, 128)."""
    policy, values = trainer.policy, trainer.windows.values()
    with torch.no_grad():
        return policy.encode(*(values[key][:, None] for key in ("point_cloud", "state")))


def test_there_is_a_function_for_each_start():
    assert tuple(STARTS) == config.STARTS
    with pytest.raises(ValueError, match="unknown start 'loud'; choose one of: released, standardised"):
        make_trainer(start="loud")


def test_standardised_features_have_mean_0_and_deviation_1():
    released, standardised = (features(make_trainer(start=start, windows=make_windows())) for start in STARTS)
    assert released[:, :64].std(0).min() < 0.3
    torch.testing.assert_close(standardised.mean(0), torch.zeros(128), atol=1e-4, rtol=0)
    torch.testing.assert_close(standardised.std(0, correction=0), torch.ones(128), atol=1e-3, rtol=0)


def test_features_of_the_pocket_frame_are_standardised_too():
    """Its maxima, its key points, and those of the state."""
    policy = PolicyConfig("pocket_mamba", 3, 2, horizon=4, n_obs_steps=2, n_action_steps=3, num_points=8)
    found = features(make_trainer(policy=policy, start="standardised", windows=make_windows()))
    assert found.shape[1] == 128 + 6 * KEY_POINTS + 64
    torch.testing.assert_close(found.mean(0), torch.zeros_like(found[0]), atol=1e-2, rtol=0)
    torch.testing.assert_close(found.std(0, correction=0), torch.ones_like(found[0]), atol=1e-2, rtol=0)


@pytest.mark.parametrize("normalizer", ["kept", "fit"])
def test_the_hand_lies_where_it_is_whichever_weights_a_pocket_policy_goes_on_from(normalizer):
    hand = np.eye(3, 4, dtype=np.float32).tolist()  # the state tells where it is
    policy = PolicyConfig("pocket_mamba", 3, 2, horizon=4, n_obs_steps=2, n_action_steps=3, num_points=8)
    arrays, ends = make_arrays(FRAMES), np.array([FRAMES // 2, FRAMES])
    other = {key: 0.2 * arrays[key] + 5 for key in ("point_cloud", "state")}
    before, windows = (ActionWindows(arrays | changes, ends, hand=hand, **LENGTHS) for changes in ({}, other))
    config = make_trainer(policy=policy, windows=before).config
    config = replace(config, init="0" * 64, normalizer=normalizer)
    init = make_trainer(policy=policy, windows=before).policy
    begun = Trainer(config, policy, windows, torch.device("cpu"), init=init).policy
    state = torch.as_tensor(other["state"][:9], dtype=torch.float32)
    encoder, normal = begun.obs_encoder, begun.normalizer
    found = torch.nn.functional.linear(normal.normalize("state", state), encoder.hand[:, :-1], encoder.hand[:, -1])
    torch.testing.assert_close(found, normal.normalize("point_cloud", state), atol=1e-4, rtol=1e-4)
    torch.testing.assert_close(encoder.unit, 1 / normal.point_cloud_scale)


def test_some_of_many_frames_are_enough(monkeypatch):
    monkeypatch.setattr(module, "FRAMES", FRAMES // 4)
    found = features(make_trainer(start="standardised", windows=make_windows()))
    assert found.mean(0).abs().max() < 0.5 and (found.std(0) - 1).abs().max() < 0.5


def test_a_feature_that_never_changes_stays_finite():
    state, cloud = np.ones((FRAMES, 3)), np.ones((FRAMES, 8, 3))
    found = features(make_trainer(start="standardised", windows=make_windows(state=state, point_cloud=cloud)))
    torch.testing.assert_close(found, torch.zeros_like(found), atol=1e-4, rtol=0)


def test_only_the_encoders_last_layers_start_otherwise():
    released, standardised = (make_trainer(start=start, windows=make_windows()).policy.state_dict() for start in STARTS)
    changed = {name for name, value in released.items() if not value.equal(standardised[name])}
    last = ("obs_encoder.extractor.final_projection.1", "obs_encoder.state_mlp.2")
    assert changed == {f"{layer}.{part}" for layer in last for part in ("weight", "bias")}
