"""Demonstrations, call by call, as if a policy were asked in them: what was recorded stands where it would act."""

from __future__ import annotations

import contextlib

import numpy as np

from mp_lib.data.recording import demonstrations_of
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.insight.browsing import Browsed, Call
from mp_lib.insight.demonstrations import frames_of, simulated_task
from mp_lib.insight.trained import Trained
from mp_lib.interfaces import Environment, Obs
from mp_lib.learning.folder import OTHER_DEMOS
from mp_lib.point_cloud import draw_cloud
from mp_lib.study.rows import StoredConfig
from mp_lib.system.errors import InputError, shown
from mp_lib.system.paths import given_path

OWN = "own"  # instead of a store's path: the demonstrations that the policy was trained on


class Recorded:
    """The demonstrations of a store, whose ``episodes`` are numbered as there, with clouds of the policy's size."""

    def __init__(self, policy: Trained, demos: str):
        """``demos`` is the path of a store, as ``given_path`` takes it, or ``OWN``.

        An InputError if it does not fit.
        """
        self.store = own_store(policy) if demos == OWN else ReplayBuffer.open(given_path(demos)).check(policy.spec)
        self.policy, size = policy, self.store.shapes["state"][0]
        if size != policy.config.state_dim:
            raise InputError(
                f"{self.store.path} has states of {size} numbers, {policy.name} takes {policy.config.state_dim}; give "
                "demonstrations with such states"
            )
        trained_on = policy.facts.get("demonstrations", {}).get("content_hash")
        others = demos == OWN and self.store.content_hash() != trained_on
        self.remark = f"recorded again, not to the bit as {policy.name} was trained on" if others else ""
        self.episodes = self.store.demo_episodes
        self.arrays = self.store.read(min(policy.config.num_points, self.store.shapes["point_cloud"][0]))

    def number(self, episode: int) -> int:
        """The number of a demonstration; an InputError names those that there are."""
        if episode not in self.episodes:
            raise InputError(f"{self.store.path} has no demonstration {shown(episode)}; choose of {[*self.episodes]}")
        return episode

    def browsed(self, episode: int) -> Browsed:
        """A demonstration, whose actions are executed once more where it was simulated here.

        An InputError names the episodes that there are.
        """
        self.number(episode)
        frames = slice(*frames_of(self.store, episode))
        arrays = {key: values[frames] for key, values in self.arrays.items()}
        task, rows = simulated_task(self.store), self.store.attributes.get("episodes", [])
        env = (task or self.policy.spec).make_env(num_points=self.policy.config.num_points)
        with contextlib.closing(env):
            if task:
                env.reset(rows[episode]["seed"])
            calls = calls_in(arrays, self.policy, env, bool(task))
        title = f"demonstration {episode} of {self.store.path.name}"
        title += f", by {self.store.attributes['expert']}, environment seed {rows[episode]['seed']}" if task else ""
        title += f" ({self.remark})" if self.remark else ""
        return Browsed(title, "recorded", calls, env.to_world, env.eye())


def calls_in(arrays: dict[str, np.ndarray], policy: Trained, env: Environment, simulated: bool) -> list[Call]:
    """A call every Ta frames of ``arrays`` (F, ...), each with what was recorded; ``env`` is stepped through them."""
    config, calls = policy.config, []
    for frame, action in enumerate(arrays["action"]):
        if frame % config.n_action_steps == 0:
            seen = np.maximum(np.arange(frame - config.n_obs_steps + 1, frame + 1), 0)
            history = [Obs(arrays["point_cloud"][place], arrays["state"][place]) for place in seen]
            done = arrays["action"][frame : frame + config.horizon - config.n_obs_steps + 1]
            if simulated:
                calls.append(Call(frame, history, done, env.render(), env.hand(), env.branch()))
            else:
                calls.append(Call(frame, history, done, draw_cloud(history[-1].point_cloud), None, None))
        if simulated:
            env.step(action)
    return calls


def own_store(policy: Trained) -> ReplayBuffer:
    """The store that a run was trained on, recorded here if it is not there; an InputError if nobody knows it."""
    run, instead = policy.facts.get("config"), f"give the path of a store as demos instead of {OWN!r}"
    if not run:
        raise InputError(f"{policy.name} is no run of this project, and nobody knows its demonstrations; {instead}")
    if OTHER_DEMOS in policy.name:
        raise InputError(f"{policy.name} was trained on a store that somebody has given; {instead}")
    return demonstrations_of(StoredConfig(**run)).check(policy.spec)
