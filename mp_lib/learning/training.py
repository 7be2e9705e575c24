"""What a run is made of."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mp_lib.config import PolicyConfig, TrainConfig
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.geometry.relative import relative_of
from mp_lib.interfaces import TaskSpec


def policy_config(config: TrainConfig, spec: TaskSpec) -> PolicyConfig:
    """The policy that a run trains: what both configurations name, and the task's sizes and kinds of numbers.

    An InputError where actions are to be relative and the task does not say what its numbers are.
    """
    kinds = {"state_kinds": spec.state_kinds, "action_kinds": spec.action_kinds}
    relative = relative_of(config.actions, **kinds)
    return config.policy(spec.state_dim, relative.size if relative else spec.action_dim, **kinds)


class Training(NamedTuple):
    """What a run is made of, and the folder that it goes to.

    ``init`` is the file of weights that it begins with, whose digest is ``config.init``; ``save_every`` the number of
    steps after each of which the policy is kept in the folder's checkpoints/.
    """

    config: TrainConfig
    spec: TaskSpec
    store: ReplayBuffer
    folder: Path
    init: Path | None = None
    save_every: int | None = None

    def shape(self) -> tuple:
        """What runs have in common that can be trained as one."""
        policy = policy_config(self.config, self.spec.with_state(self.store.shapes["state"][0]))
        return policy, self.config.batch_size, self.config.train_points
