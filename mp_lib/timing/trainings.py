"""Whole training steps, as trainings take them: batch, encoder, denoiser, AdamW and average."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch

from mp_lib.config import TrainConfig
from mp_lib.data.windows import ActionWindows
from mp_lib.learning.group import stepper
from mp_lib.learning.trainer import Trainer
from mp_lib.model.loops import use_loops
from mp_lib.timing.subjects import EXAMPLES, TASK, Subject

EPISODES, FRAMES = 10, 100  # of made-up demonstrations
NUM_STEPS = 100_000  # more than are ever timed


def training(form: str, subject: Subject, batch: int) -> Callable[[], object]:
    """A step of ``subject.stacked`` trainings in a form, which gives their losses."""
    return stepper([make_trainer(form, subject, batch, seed) for seed in range(subject.stacked)])


def official_training(subject: Subject, batch: int) -> Callable[[], object]:
    """A step of one training whose denoiser's parts have their slow forms, as in the official code."""
    trainer = make_trainer("torch", subject, batch, 0)
    use_loops(trainer.policy.model)
    return trainer.update


def make_trainer(form: str, subject: Subject, batch: int, seed: int) -> Trainer:
    """A training on random frames."""
    policy = subject.config()
    lengths = {"horizon": policy.horizon, "n_obs_steps": policy.n_obs_steps, "n_action_steps": policy.n_action_steps}
    config = TrainConfig(
        TASK, subject.method, "paper", seed, batch_size=batch, num_epochs=None, num_steps=NUM_STEPS, **lengths
    )
    random = np.random.default_rng(EXAMPLES)
    shapes = {"point_cloud": (policy.num_points, 3), "state": (policy.state_dim,), "action": (policy.action_dim,)}
    frames = {key: random.random((EPISODES * FRAMES, *shape), np.float32) for key, shape in shapes.items()}
    windows = ActionWindows(frames, FRAMES * np.arange(1, EPISODES + 1), **lengths)
    with torch.random.fork_rng():
        return Trainer(config, policy, windows, torch.device(subject.device), form)
