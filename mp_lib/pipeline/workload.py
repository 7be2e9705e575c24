"""How much a run has to do before anything of it is there: frames, training steps, episodes, bytes."""

from __future__ import annotations

import contextlib
import functools
import math
from dataclasses import dataclass
from pathlib import Path

import torch

from mp_lib.config import PolicyConfig, TrainConfig
from mp_lib.data.recording import store_path
from mp_lib.learning.held_out import split_of
from mp_lib.learning.training import policy_config
from mp_lib.model.policy import build_policy
from mp_lib.sim.tasks import TASKS
from mp_lib.system.files import read_json
from mp_lib.system.paths import run_path

NUMBER = 4  # bytes
CHECKPOINT, STATE = 1, 4  # numbers a parameter: the average; weights, average and AdamW's two moments
DRAFTS = 2  # files of a training's state while it saves: a new one is written beside the old one


@dataclass(frozen=True)
class Workload:
    """What a run does: ``frames`` of demonstrations, of which ``recorded`` are there, training ``steps``, of which
    ``trained`` are saved, ``episodes`` on the way, then ``final`` ones.

    ``bounded``: frames are those of the longest episodes that there can be, and so are what follows from them.
    """

    frames: int
    recorded: int
    steps: int
    trained: int
    episodes: int
    final: int
    bounded: bool

    @classmethod
    def of(cls, config: TrainConfig) -> Workload:
        """The work of a run as far as the files here tell it; else episodes count as long as their task allows."""
        spec = TASKS[config.task]
        number = config.num_demos or spec.num_demos
        there = stored_lengths(store_path(config))[:number]
        lengths = [*there, *[spec.max_steps] * (number - len(there))]
        bounded = len(there) < number and spec.ends_at_goal
        kept = split_of(config, range(number), spec).trained_on
        padding = config.n_obs_steps - 1 + config.n_action_steps - config.horizon  # as mp_lib.data.windows pads
        windows = sum(max(0, lengths[episode] + padding) for episode in kept)
        epoch = max(1, math.ceil(windows / config.batch_size))
        steps = config.num_steps or config.num_epochs * epoch
        evaluations = math.ceil(steps / epoch / config.eval_every_epochs) if config.eval_every_epochs else 0
        return cls(
            frames=sum(lengths),
            recorded=sum(there),
            steps=steps,
            trained=min(steps, saved_step(config)),
            episodes=evaluations * config.eval_episodes,
            final=config.final_episodes,
            bounded=bounded and not config.num_steps,
        )


def stored_lengths(path: Path) -> list[int]:
    """The frames of each episode of a store that was recorded here; none if there is no such store."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        return [int(row["frames"]) for row in read_json(path / ".zattrs")["episodes"]]
    return []


def saved_step(config: TrainConfig) -> int:
    """The step at which a training was saved that has not ended; 0 if there is none."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        return int(read_json(run_path(config.name) / "training.json")["step"])
    return 0


def frame_bytes(config: TrainConfig) -> int:
    """Bytes of a frame of demonstrations before they are compressed."""
    spec = TASKS[config.task]
    return NUMBER * (3 * config.num_points + spec.state_dim + spec.action_dim)


def checkpoint_bytes(config: TrainConfig) -> int:
    """Bytes that a finished run keeps of its weights."""
    return NUMBER * CHECKPOINT * count_parameters(policy_config(config, TASKS[config.task]))


def state_bytes(config: TrainConfig) -> int:
    """Bytes of what a training saves while it runs, at most."""
    return NUMBER * STATE * DRAFTS * count_parameters(policy_config(config, TASKS[config.task]))


@functools.cache
def count_parameters(config: PolicyConfig) -> int:
    """The parameters of a policy, counted on shapes without memory."""
    with torch.device("meta"):
        return sum(each.numel() for each in build_policy(config).parameters())
