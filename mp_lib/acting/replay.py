"""Recorded episodes step by step, to be commanded once more before a policy is let loose."""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple

import numpy as np

from mp_lib.acting.limits import limits_of
from mp_lib.geometry.grippers import open_closed
from mp_lib.geometry.kinds import Layout
from mp_lib.system.errors import InputError, shown


class Step(NamedTuple):
    """One recorded step: its number, the command (A,), and the state (S,) when it was recorded.

    The command is the ``recorded`` action (A,) within the limits, which may be another.
    """

    step: int
    action: np.ndarray
    state: np.ndarray
    recorded: np.ndarray


class Ranges(NamedTuple):
    """What a store's actions are, as ``limits_of`` wants it."""

    action_low: np.ndarray
    action_high: np.ndarray
    open_closed: np.ndarray | None


def replay(recorded, episode: int = 0, *, limits="demonstrations", max_step=None) -> Iterator[Step]:
    """The steps of one episode of a store, which ``mp_lib.data.replay_buffer.ReplayBuffer.open`` gives, in order.

    ``limits`` and ``max_step`` as of ``mp_lib.acting.actor.Actor``, where the demonstrations are all episodes of the
    store. Kinds are those that the store names for its actions (attribute "kinds"). Raises an InputError, before the
    first step, for an episode that is not there and for limits that cannot be meant.
    """
    if episode not in range(recorded.num_episodes):
        raise InputError(f"episode {shown(episode)} given; {recorded.path} has 0 to {recorded.num_episodes - 1}")
    frames = recorded.read(keys=("state", "action"))
    actions = frames["action"]
    told = recorded.attributes.get("kinds")
    kinds = told.get("action") if isinstance(told, dict) else None
    layout = Layout.parse(kinds, actions.shape[1]) if kinds else None
    ranges = Ranges(actions.min(0), actions.max(0), open_closed(actions))
    bounds = limits_of(limits, max_step, ranges, layout, actions.shape[1])
    start, end = ([0, *recorded.episode_ends][episode + k] for k in (0, 1))
    return steps(actions[start:end], frames["state"][start:end], bounds.apply)


def steps(actions: np.ndarray, states: np.ndarray, command) -> Iterator[Step]:
    """Each step, whose command depends on the one before it."""
    last = None
    for number, (action, state) in enumerate(zip(actions, states, strict=True)):
        last = command(action, last)
        yield Step(number, last.copy(), state, action)
