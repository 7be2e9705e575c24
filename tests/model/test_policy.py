"""A policy acts in its own units, repeatably, one row at a time; and it can learn."""

import pytest
import torch

from mp_lib.config import PolicyConfig
from mp_lib.model.normalizer import Normalizer
from mp_lib.model.policy import build_policy
from mp_lib.presets import ATTENTION, METHODS, U_NETS

EVERY = [(method, attention) for method in METHODS for attention in ATTENTION]
SETTINGS = [(16, 2, 8), (4, 2, 3), (4, 1, 4), (32, 16, 16), (8, 1, 1)]  # (T, To, Ta)


def make_policy(method="dp3_mamba_v2", attention="paper", horizon=4, n_obs_steps=2, n_action_steps=3):
    """A narrow policy, normalised by data far from 0."""
    torch.manual_seed(0)
    config = PolicyConfig(
        method,
        3,
        2,
        attention=attention,
        horizon=horizon,
        n_obs_steps=n_obs_steps,
        n_action_steps=n_action_steps,
        num_points=8,
        down_dims=(32, 32) if method in U_NETS else (32,),
    )
    policy = build_policy(config).eval()
    batch = make_batch(config, 20)
    policy.normalizer.fit({"point_cloud": batch["point_cloud"], "state": batch["state"], "action": batch["actions"]})
    return policy


def make_batch(config, rows, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return {
        "point_cloud": torch.randn(rows, config.n_obs_steps, 8, 3, generator=generator) + 5,
        "state": torch.randn(rows, config.n_obs_steps, 3, generator=generator) * 100,
        "actions": torch.rand(rows, config.horizon, 2, generator=generator) * 6 - 1,
    }


def make_noise(config, rows, seed=0):
    return torch.randn(rows, config.horizon, config.action_dim, generator=torch.Generator().manual_seed(seed))


@pytest.mark.parametrize(("horizon", "n_obs_steps", "n_action_steps"), SETTINGS)
def test_the_executed_actions_follow_the_last_observation(horizon, n_obs_steps, n_action_steps):
    policy = make_policy("simple_dp3", "paper", horizon, n_obs_steps, n_action_steps)
    history, noise = make_batch(policy.config, 3), make_noise(policy.config, 3)
    actions, chunk = policy.act(history, noise), policy.predict(history, noise)
    assert actions.shape == (3, n_action_steps, 2) and chunk.shape == (3, horizon, 2)
    assert torch.equal(actions, chunk[:, n_obs_steps - 1 : n_obs_steps - 1 + n_action_steps])
    assert not actions.requires_grad


def test_actions_stay_within_the_demonstrated_ones():
    policy = make_policy()
    actions = make_batch(policy.config, 20)["actions"].flatten(0, 1)
    chunk = policy.predict(make_batch(policy.config, 50, seed=1), make_noise(policy.config, 50)).flatten(0, 1)
    assert (chunk >= actions.amin(0) - 1e-5).all() and (chunk <= actions.amax(0) + 1e-5).all()


@pytest.mark.parametrize(("method", "attention"), EVERY)
def test_actions_are_repeatable_and_blind_to_the_rest_of_the_batch(method, attention):
    policy = make_policy(method, attention)
    history, noise = make_batch(policy.config, 3), make_noise(policy.config, 3)
    together = policy.act(history, noise)
    assert torch.equal(together, policy.act(history, noise))
    for row in (0, 2):
        alone = policy.act({key: values[row : row + 1] for key, values in history.items()}, noise[row : row + 1])
        torch.testing.assert_close(alone, together[row : row + 1], rtol=1e-5, atol=1e-5)
    assert (together - policy.act(history, noise + 1)).abs().max() > 1e-3


def test_without_noise_every_call_draws_its_own():
    policy = make_policy()
    history = make_batch(policy.config, 2)
    assert not torch.equal(policy.act(history), policy.act(history))
    torch.manual_seed(3)
    drawn = policy.act(history)
    torch.manual_seed(3)
    assert torch.equal(drawn, policy.act(history))


def test_units_do_not_matter():
    """Data scaled and moved give the same policy, but for its units."""
    plain, moved = make_policy(), make_policy()
    batch = make_batch(plain.config, 20)
    batch["action"] = batch.pop("actions")
    other = {key: values * 3 + 7 for key, values in batch.items()}
    plain.normalizer.fit(batch)
    moved.normalizer.fit(other)
    noise = make_noise(plain.config, 20)
    torch.testing.assert_close(moved.act(other, noise), plain.act(batch, noise) * 3 + 7, rtol=1e-3, atol=1e-3)


def test_the_loss_is_the_mean_squared_error_of_the_predicted_sample():
    policy = make_policy("simple_dp3")
    batch = make_batch(policy.config, 6)
    policy.model.final_conv[1].weight.data.zero_()
    policy.model.final_conv[1].bias.data.fill_(0.25)
    expected = (policy.normalizer.normalize("action", batch["actions"]) - 0.25).square().mean()
    torch.testing.assert_close(policy.loss(batch), expected)


@pytest.mark.parametrize("method", METHODS)
def test_every_method_learns_a_small_batch_by_heart(method):
    policy = make_policy(method)
    batch = make_batch(policy.config, 8)

    def mean_loss():
        torch.manual_seed(1)
        with torch.no_grad():
            return float(torch.stack([policy.eval().loss(batch) for _ in range(4)]).mean())

    before = mean_loss()
    optimizer = torch.optim.AdamW(policy.parameters(), lr=1e-3)
    torch.manual_seed(2)
    for _ in range(24):
        policy.train().loss(batch).backward()
        optimizer.step()
        optimizer.zero_grad()
    assert mean_loss() < before / 2


DATA = torch.tensor([[0.0, 5.0, -3.0], [10.0, 5.0, -3.0 + 5e-5], [4.0, 5.0, -3.0]])


def test_a_normaliser_maps_to_plus_minus_one_flat_dimensions_to_zero_and_back():
    normalizer = Normalizer({"state": 3})
    normalizer.fit({"state": DATA})
    found = normalizer.normalize("state", DATA)
    torch.testing.assert_close(found[:, 0], torch.tensor([-1.0, 1.0, -0.2]))
    assert (found[:, 1] == 0).all() and found[:, 2].abs().max() < 1e-4
    for rows in (DATA, 3 * DATA - 1):
        torch.testing.assert_close(normalizer.unnormalize("state", normalizer.normalize("state", rows)), rows)


def test_a_normaliser_reaches_both_ends_in_every_dimension_of_any_shape():
    torch.manual_seed(0)
    clouds = torch.randn(30, 40, 3) * torch.tensor([1e-3, 1.0, 1e3]) + torch.tensor([0.0, -2.0, 50.0])
    normalizer = Normalizer({"point_cloud": 3})
    normalizer.fit({"point_cloud": clouds})
    found = normalizer.normalize("point_cloud", clouds).flatten(0, 1)
    torch.testing.assert_close(found.amax(0), torch.ones(3))
    torch.testing.assert_close(found.amin(0), -torch.ones(3))


def test_a_fresh_normaliser_changes_nothing():
    assert torch.equal(Normalizer({"state": 3}).normalize("state", DATA), DATA)


@pytest.mark.parametrize(("key", "moved"), [("state", 0.009), ("point_cloud", 9e-5)])
def test_what_hardly_moved_while_it_was_fitted_is_not_blown_up_later(key, moved):
    normalizer = Normalizer({key: 1})
    normalizer.fit({key: torch.tensor([[0.2], [0.2 + moved]])})
    assert normalizer.normalize(key, torch.tensor([[0.3]])).abs() < 0.2
    normalizer.fit({key: torch.tensor([[0.2], [0.2 + 2 * moved]])})
    assert normalizer.normalize(key, torch.tensor([[0.2]])) == pytest.approx(-1, abs=0.01)
