"""Demonstrations held out of a training, and how far a policy's actions are from those recorded in them.

It is what can be measured without a simulator or a robot, and no success rate: a policy that does something else as
well is far from what was done, and one that is close everywhere but where it matters fails.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch

from mp_lib.config import TrainConfig
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.data.windows import ActionWindows, split_episodes
from mp_lib.geometry.absolute import nearest
from mp_lib.geometry.forms import comparable, ranges
from mp_lib.geometry.kinds import Layout
from mp_lib.geometry.relative import relative_of
from mp_lib.interfaces import TaskSpec
from mp_lib.model.noise import chunk_noise
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.system.errors import InputError

OWN_SHARE = 0.1  # of demonstrations that are held out where nothing else can be measured
MOMENTS = 10  # of a training at which it is looked at
ON_THE_WAY, AT_THE_END = 100, 500  # windows at most, evenly spaced
BATCH = 32  # of windows; a constant, since rounding depends on it
TOO_SHORT = "episodes {} are held out, which are too short to compare; choose others by held_out_episodes"
SAYS = "errors on demonstrations that were held out; this is no success rate"


class Split(NamedTuple):
    """Numbers of episodes in a store: those trained on, and those held out."""

    trained_on: list[int]
    held_out: list[int]


def split_of(config: TrainConfig, chosen: Sequence[int], spec: TaskSpec) -> Split:
    """Which of the ``chosen`` episodes of a store are held out: those named, a share, or as the split says.

    Of a task that cannot be simulated it is a tenth where nothing is said, one at least if there are two. An InputError
    if none would be left to train on, or one that is named is not there.
    """
    there = list(chosen)
    named = config.held_out_episodes
    if named is not None:
        lost = sorted({*named} - {*there})
        if lost or len({*named}) == len(there):
            what = "which are not there" if lost else "which is all there are"
            raise InputError(f"held_out_episodes {list(named)} given, {what}; choose some of {there}")
        return Split([each for each in there if each not in named], sorted({*named}))
    own = OWN_SHARE if not spec.simulated and config.split == "all" else None
    share = config.held_out if config.held_out is not None else own
    kept, held = split_episodes(len(there), config.split, share=share)
    return Split([there[place] for place in kept], [there[place] for place in held])


def windows_of(config: TrainConfig, store: ReplayBuffer, spec: TaskSpec) -> tuple[ActionWindows, ActionWindows | None]:
    """The windows that a run trains on, and those of the episodes held out, if any; frames are read once.

    An InputError if there are no windows of the one or the other; of the latter it names the episodes.
    """
    lengths = {key: getattr(config, key) for key in ("horizon", "n_obs_steps", "n_action_steps")}
    lengths["hand"] = spec.hand_in_cloud
    lengths["relative"] = relative_of(config.actions, spec.state_kinds, spec.action_kinds)
    arrays, ends = store.read(config.num_points), store.episode_ends
    trained_on, held_out = split_of(config, store.demo_episodes, spec)
    windows = ActionWindows(arrays, ends, demo_episodes=trained_on, **lengths)
    if not held_out:
        return windows, None
    try:
        return windows, ActionWindows(arrays, ends, demo_episodes=held_out, **lengths)
    except InputError as error:  # the frames and sizes are those of the windows before, so there is none that fits
        raise InputError(f"{TOO_SHORT.format(held_out)} ({error})") from None


class HeldOut:
    """Compares policies with what was done in episodes that their training does not see.

    Weights that it goes on from may have seen them (``mp_lib.learning.beginning.may_have_seen``).
    """

    def __init__(
        self,
        config: TrainConfig,
        store: ReplayBuffer,
        spec: TaskSpec,
        windows: ActionWindows,
        trained_on: ActionWindows,
    ):
        """``windows`` are those held out, ``trained_on`` those of the training.

        An InputError if none of the former has anything before it to compare with.
        """
        self.config, self.windows = config, windows
        self.episodes = split_of(config, store.demo_episodes, spec).held_out
        self.layout = Layout.parse(spec.action_kinds, windows.recorded.shape[1]) if spec.action_kinds else None
        frames, start = windows.frames.cpu().numpy(), config.n_obs_steps - 1
        self.now, self.executed = frames[:, start], frames[:, start : start + config.n_action_steps]
        began = np.concatenate([[0], store.episode_ends[:-1]])
        after = np.searchsorted(store.episode_ends, self.now, side="right")
        self.first, self.ends = began[after], store.episode_ends
        seen = np.unique(trained_on.frames.cpu().numpy())
        states = windows.state.cpu().numpy()
        of_state = Layout.parse(spec.state_kinds, states.shape[1]) if spec.state_kinds else None
        self.neighbours = Neighbours(states, seen, self.ends, of_state)
        self.range = ranges(windows.recorded[seen], self.layout)
        if not (self.now > self.first).any():
            raise InputError(TOO_SHORT.format(self.episodes))

    def picked(self, most: int) -> np.ndarray:
        """Numbers of at most ``most`` windows, evenly spaced, before whose "now" something was commanded."""
        fitting = np.flatnonzero(self.now > self.first)
        return fitting[np.linspace(0, len(fitting) - 1, min(most, len(fitting))).astype(int)]

    def predicted(self, policy: DiffusionPolicy, picked: np.ndarray) -> np.ndarray:
        """The actions (W, Ta, A) that a policy would execute at these windows; noise by the window's number."""
        shape, found = (policy.config.horizon, policy.config.action_dim), []
        for first in range(0, len(picked), BATCH):
            places = picked[first : first + BATCH]
            noise = np.stack([chunk_noise(int(place), 0, shape) for place in places])
            seen = self.windows.batch(torch.from_numpy(places))
            history = {key: seen[key].to(policy.device) for key in ("point_cloud", "state")}
            found.append(policy.act(history, torch.from_numpy(noise).to(policy.device)).cpu().numpy())
        return np.concatenate(found)

    def moment(self, window: int) -> str:
        """Where a window's "now" is, in words: the number of its episode in the store, and its frame there."""
        episode = int(np.searchsorted(self.ends, self.now[window], side="right"))
        return f"demonstration {episode}, frame {self.now[window] - self.first[window]}"

    def beside(self, actions: np.ndarray, picked: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Actions (W, Ta, A) in the forms that are nearest to those recorded at windows, and the latter."""
        done = self.windows.recorded[self.executed[picked]]
        if self.layout:  # q and -q are no error
            actions = nearest(actions[..., None, :], done, self.layout)[..., 0, :]
        return actions, done

    def error(self, actions: np.ndarray, picked: np.ndarray) -> np.ndarray:
        """The mean absolute error (Ta, A) of actions (W, Ta, A), in their units, where an episode had not ended."""
        actions, done = self.beside(actions, picked)
        there = self.executed[picked] - self.now[picked][:, None] == np.arange(self.executed.shape[1])
        there |= ~there.any(0)  # beyond every end the last action counts, which is what padding repeats
        return np.abs(actions - done).mean(0, where=there[..., None])

    def share(self, error: np.ndarray) -> float:
        """Errors (Ta, A) as one number: the mean over numbers that vary of what share of their range it is."""
        varies = self.range > 0
        return float((error.mean(0)[varies] / self.range[varies]).mean()) if varies.any() else 0.0

    def glance(self, policy: DiffusionPolicy) -> float:
        """The share of the range of actions by which a policy in evaluation mode is off, over a few windows."""
        picked = self.picked(ON_THE_WAY)
        return self.share(self.error(self.predicted(policy, picked), picked))

    def measure(self, policy: DiffusionPolicy, most: int = AT_THE_END) -> dict:
        """How far a policy in evaluation mode is from what was done.

        Keys: says, episodes, windows (their number), loss, and for the policy (``error``) and two that learn nothing,
        ``repeat_last`` (the last recorded action again) and ``nearest_frame`` (what was done from the recorded frame on
        whose state is nearest), a table (Ta, A) of mean absolute errors over the executed steps, in the actions' units;
        ``range`` (A,) is that of the actions trained on (``mp_lib.geometry.forms.ranges``), under ``share`` is each
        error as a share of it.
        """
        picked = self.picked(most)
        last = np.repeat(self.windows.recorded[self.now[picked] - 1][:, None], self.executed.shape[1], axis=1)
        followed = self.neighbours.following(self.now[picked], self.executed.shape[1])
        tables = {
            "error": self.error(self.predicted(policy, picked), picked),
            "repeat_last": self.error(last, picked),
            "nearest_frame": self.error(self.windows.recorded[followed], picked),
        }
        found = {"says": SAYS, "episodes": self.episodes, "windows": len(picked), "loss": self.loss(policy, picked)}
        found |= {"range": self.range.tolist()} | {name: table.tolist() for name, table in tables.items()}
        return found | {"share": {name: self.share(table) for name, table in tables.items()}}

    @torch.no_grad()
    def loss(self, policy: DiffusionPolicy, picked: np.ndarray) -> float:
        """The training's loss on these windows, with noise and diffusion steps that are the same at every call."""
        generator, total = torch.Generator(policy.device).manual_seed(0), 0.0
        for first in range(0, len(picked), BATCH):
            seen = self.windows.batch(torch.from_numpy(picked[first : first + BATCH]))
            batch = {key: values.to(policy.device) for key, values in seen.items()}
            total += float(policy.loss(batch, generator)) * len(batch["actions"])
        return total / len(picked)


class Neighbours:
    """The frame of a training whose state is nearest to another, and what follows it."""

    def __init__(self, states: np.ndarray, seen: np.ndarray, ends: np.ndarray, layout: Layout | None = None):
        """``states`` (F, S) of all frames; ``seen`` numbers those of the training; ``ends`` of episodes (E,).

        By ``layout`` states are compared whatever their forms (``mp_lib.geometry.forms.comparable``).
        """
        self.states, self.seen, self.ends = comparable(states, seen, layout), seen, ends

    def following(self, frames: np.ndarray, steps: int) -> np.ndarray:
        """For each of these frames (W,) the nearest one and those after it, to its episode's end: (W, steps)."""
        known = self.states[self.seen]
        near = [self.seen[np.argmin(((known - self.states[frame]) ** 2).sum(1))] for frame in frames]
        last = self.ends[np.searchsorted(self.ends, near, side="right")] - 1
        return np.minimum(np.array(near)[:, None] + np.arange(steps), last[:, None])
