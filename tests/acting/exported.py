"""Small policies, what they see, and their exports, for the tests of this room."""

import numpy as np
import torch

from mp_lib.config import PolicyConfig
from mp_lib.model.checkpoint import save_policy
from mp_lib.model.noise import chunk_noise
from mp_lib.model.policy import build_policy
from tests.conftest import small_widths

KINDS = {"state_kinds": "position:3 quaternion:4 gripper:1", "action_kinds": "position:3 quaternion:4 gripper:1"}


def make_policy(method="simple_dp3", state_dim=9, action_dim=4, **numbers):
    """A policy of a method at small widths with a normaliser that has a constant and a still number."""
    torch.manual_seed(0)
    widths = small_widths(method)
    numbers = {"down_dims": widths, "num_points": 32} | numbers
    policy = build_policy(PolicyConfig(method, state_dim, action_dim, **numbers)).eval()
    state, action = torch.randn(50, state_dim), torch.randn(50, action_dim) / 3 + 0.1
    state[:, 1], action[:, 2] = 5, 0.25
    policy.normalizer.fit({"point_cloud": torch.randn(9, 8, 3), "state": state, "action": action})
    return policy


def observed(config, seed=0):
    """point_cloud, state and noise for an engine."""
    drawn = np.random.default_rng(seed)
    cloud = drawn.normal(size=(config.n_obs_steps, config.num_points, 3)).astype(np.float32)
    state = drawn.normal(size=(config.n_obs_steps, config.state_dim)).astype(np.float32)
    return cloud, state, chunk_noise(seed, 0, (config.horizon, config.action_dim))


def by_torch(policy, cloud, state, noise):
    """What the policy predicts of the same."""
    cloud, state, noise = (torch.from_numpy(each)[None] for each in (cloud, state, noise))
    return policy.predict({"point_cloud": cloud, "state": state}, noise)[0].numpy()


def save_run(folder, policy, task="metaworld_drawer-open"):
    """The weights of a run in a folder."""
    save_policy(folder / "policy.safetensors", policy, task=task, run=folder.name, step=7)
    return folder / "policy.safetensors"
