"""From what a network predicts to the actions that a robot executes."""

from __future__ import annotations

import torch
from torch import Tensor

from mp_lib.config import PolicyConfig
from mp_lib.geometry.relative import Relative, relative_of


def relative_in(config: PolicyConfig) -> Relative | None:
    """How a policy's actions are told relative to the state, or None where they are absolute."""
    return relative_of(config.actions, config.state_kinds, config.action_kinds)


def robot_dim(config: PolicyConfig) -> int:
    """How many numbers A an action has that a robot executes."""
    relative = relative_in(config)
    return relative.action.size if relative else config.action_dim


def executed(config: PolicyConfig, chunk: Tensor, now: Tensor) -> Tensor:
    """The actions (B, T, A) that a robot executes for a ``chunk`` (B, T, A') predicted at states ``now`` (B, S)."""
    relative = relative_in(config)
    if relative is None:
        return chunk
    return torch.from_numpy(relative.decode(chunk.cpu().numpy(), now.cpu().numpy())).to(chunk.device)
