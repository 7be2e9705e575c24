"""From what a network predicts to the actions that a robot executes."""

from __future__ import annotations

import functools

import torch
from torch import Tensor

from mp_lib.config import PolicyConfig
from mp_lib.geometry.kinds import Layout
from mp_lib.geometry.relative import Relative
from mp_lib.system.errors import InputError


@functools.cache
def relative_of(actions: str, state_kinds: str, action_kinds: str) -> Relative | None:
    """How actions are told relative to the state, or None where they are absolute.

    An InputError where nobody has said what the numbers of states and actions are: where a pose is among them, a plain
    difference would be wrong, and numbers do not tell.
    """
    if actions == "absolute":
        return None
    if not (state_kinds and action_kinds):
        raise InputError(
            "actions relative given, but the demonstrations do not say what their numbers are; import them with kinds: "
            '--state-kinds "position:3 quaternion:4" --action-kinds "position:3 quaternion:4 gripper:1"'
        )
    return Relative(Layout.parse(state_kinds), Layout.parse(action_kinds))


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
