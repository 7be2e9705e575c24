"""A policy with fresh weights for the toy task, which plays in no time."""

from dataclasses import replace
from pathlib import Path

import torch

from mp_lib.config import PolicyConfig
from mp_lib.insight.trained import Trained
from mp_lib.model.backends import freeze
from mp_lib.model.policy import build_policy
from tests.conftest import TOY

SIZES = {"horizon": 8, "n_obs_steps": 2, "n_action_steps": 4, "num_points": 8, "down_dims": (16, 24)}


def toy_policy(name="toy", seed=0, spec=TOY, **changes):
    """``seed`` is that of the weights."""
    torch.manual_seed(seed)
    config = PolicyConfig("simple_dp3", spec.state_dim, spec.action_dim, **SIZES | changes)
    return Trained(freeze(build_policy(config), "torch"), spec, Path(f"{name}.safetensors"))


def long_toy(steps):
    """The toy task with episodes of so many steps, whose goal is not met before."""
    return replace(TOY, max_steps=steps, success_rule=replace(TOY.success_rule, stops=False))
