"""The pocket frame: small, the same for every core, and an encoder that sees from the hand."""

import pytest
import torch

from mp_lib.config import PolicyConfig
from mp_lib.model.encoder import KEY_POINTS, HandEncoder, KeyPoints
from mp_lib.model.normalizer import Normalizer
from mp_lib.model.pocket import CORES, TokenMixing
from mp_lib.model.policy import build_policy
from mp_lib.presets import CORE_UNITS, METHODS
from mp_lib.sim.tasks import TASKS
from mp_lib.study.designs import POCKETS

IN_FRAME = [name for name, row in METHODS.items() if row.frame == "pocket"]
MOST = 500_000  # parameters of a pocket policy, its encoder included
HDP3 = 2_520_000  # parameters of the policy whose denoiser the diffusion mixer is (arXiv 2605.01581, table 3)


def count(module):
    return sum(each.numel() for each in module.parameters())


def make(method, state_dim=9, action_dim=4):
    torch.manual_seed(0)
    return build_policy(PolicyConfig(method, state_dim, action_dim, num_train_steps=2, num_inference_steps=2))


def test_every_core_has_a_method_and_a_unit():
    assert {METHODS[name].core for name in IN_FRAME} == {*CORES} == {*CORE_UNITS}


@pytest.mark.parametrize("task", TASKS)
def test_a_pocket_policy_is_small_and_as_large_with_every_core(task):
    with torch.device("meta"):
        counts = {name: count(make(name, TASKS[task].state_dim, TASKS[task].action_dim)) for name in POCKETS}
    assert max(counts.values()) <= MOST
    assert max(counts.values()) < 1.025 * min(counts.values())


def test_where_the_hand_is_told_it_is_by_all_numbers_of_a_state():
    specs = [spec.with_state(size) for spec in TASKS.values() for size in (spec.state_dim, *spec.other_states)]
    assert any(spec.hand_in_cloud for spec in specs)
    assert all(len(row) == spec.state_dim + 1 for spec in specs for row in spec.hand_in_cloud)


@pytest.mark.parametrize("task", TASKS)
def test_the_diffusion_mixer_is_of_its_model_s_size(task):
    with torch.device("meta"):
        found = count(make("diffusion_mixer", TASKS[task].state_dim, TASKS[task].action_dim))
    assert found == pytest.approx(HDP3, rel=0.01)


def test_it_takes_a_shorter_chunk_as_one_that_zeros_follow_and_refuses_a_longer_one():
    torch.manual_seed(0)
    mixing = TokenMixing(8).eval()
    x = torch.randn(3, 5, 6)
    padded = torch.cat([x, torch.zeros(3, 3, 6)], dim=1)
    torch.testing.assert_close(mixing(x), mixing(padded)[:, :5])
    with pytest.raises(ValueError, match="9 steps given; this method mixes at most 8"):
        mixing(torch.randn(1, 9, 6))


@pytest.mark.parametrize("method", IN_FRAME)
def test_only_without_mixing_a_step_sees_no_other(method):
    policy = make(method)
    denoiser, cond = policy.model, torch.randn(1, 2 * policy.obs_encoder.size)
    actions = torch.randn(1, 16, 4, requires_grad=True)
    denoiser(actions, torch.zeros(1), cond)[0, 8].sum().backward()
    reached = actions.grad[0].abs().amax(-1) > 0
    expected = {"identity": 1, "convolution": 13}.get(METHODS[method].core, 16)  # three times two steps to each side
    assert int(reached.sum()) == expected and reached[8]


def test_key_points_are_means_of_points_that_shares_of_one_weigh():
    torch.manual_seed(0)
    key_points, points = KeyPoints(9, averaged=6), torch.randn(3, 40, 9)
    found = key_points(points).unflatten(1, (KEY_POINTS, 6))
    assert (found <= points[..., :6].amax(1)[:, None]).all() and (found >= points[..., :6].amin(1)[:, None]).all()
    order = torch.randperm(40)
    torch.testing.assert_close(key_points(points[:, order]), key_points(points))
    one = points[:, :1].expand(-1, 40, -1)
    torch.testing.assert_close(key_points(one).unflatten(1, (KEY_POINTS, 6)), one[:, :KEY_POINTS, :6])


def fitted(hand):
    torch.manual_seed(0)
    encoder, normalizer = HandEncoder(5), Normalizer({"point_cloud": 3, "state": 5})
    clouds, states = torch.randn(40, 30, 3) * torch.tensor([0.2, 1.0, 3.0]) + 4, torch.randn(40, 5) - 2
    normalizer.fit({"point_cloud": clouds, "state": states})
    encoder.fit(normalizer, hand)
    return encoder, normalizer, clouds, states


def test_points_are_told_as_seen_from_the_hand_in_metres():
    hand = torch.randn(3, 6, generator=torch.Generator().manual_seed(1))
    encoder, normalizer, clouds, states = fitted(hand)
    views = encoder.views(normalizer.normalize("point_cloud", clouds), normalizer.normalize("state", states))
    away = clouds - (states @ hand[:, :-1].T + hand[:, -1])[:, None]
    torch.testing.assert_close(views[..., :3], normalizer.normalize("point_cloud", clouds))
    torch.testing.assert_close(views[..., 3:6], torch.tanh(away / 0.1), rtol=1e-4, atol=1e-3)
    torch.testing.assert_close(views[..., 6:], torch.tanh(away / 0.4), rtol=1e-4, atol=1e-3)


def test_without_a_hand_they_are_told_from_the_middle():
    encoder, normalizer, clouds, states = fitted(None)
    views = encoder.views(normalizer.normalize("point_cloud", clouds), normalizer.normalize("state", states))
    middle = (clouds.flatten(0, 1).amax(0) + clouds.flatten(0, 1).amin(0)) / 2
    torch.testing.assert_close(views[..., 6:], torch.tanh((clouds - middle) / 0.4), rtol=1e-4, atol=1e-4)
