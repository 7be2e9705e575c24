"""The policies that are timed, and their inputs."""

from __future__ import annotations

from dataclasses import dataclass, field

import torch

from mp_lib.config import PolicyConfig
from mp_lib.model.backends import FrozenPolicy, freeze
from mp_lib.model.policy import DiffusionPolicy, build_policy

TASK, STATE_DIM, ACTION_DIM = "adroit_hammer", 24, 26  # at which the published parameter counts are given
EXAMPLES = 1  # seed of the inputs


@dataclass(eq=False)
class Subject:
    """A method that is measured: it makes policies with fresh weights, always the same ones, at the paper's widths.

    ``stacked`` is how many trainings a step of it makes at once; forms that cannot do so have 1.
    """

    method: str
    attention: str
    horizon: int
    device: str = "cpu"
    num_inference_steps: int = 10
    stacked: int = 1
    frozen_policies: dict[str, FrozenPolicy] = field(default_factory=dict, init=False, repr=False)

    def config(self) -> PolicyConfig:
        """What its policies are."""
        sizes = {"horizon": self.horizon, "n_action_steps": min(8, self.horizon - 1)}
        steps = {"num_inference_steps": self.num_inference_steps}
        return PolicyConfig(self.method, STATE_DIM, ACTION_DIM, attention=self.attention or "paper", **sizes, **steps)

    def policy(self) -> DiffusionPolicy:
        """A policy of its own for a form that changes it."""
        with torch.random.fork_rng():
            torch.manual_seed(0)
            return build_policy(self.config()).to(self.device)

    def sketch(self) -> DiffusionPolicy:
        """The policy on the meta device: shapes without memory."""
        with torch.device("meta"):
            return build_policy(self.config())

    def frozen(self, backend: str) -> FrozenPolicy:
        """The policy under a backend, exported or compiled once for all that is timed of it."""
        if backend not in self.frozen_policies:
            self.frozen_policies[backend] = freeze(self.policy(), backend)
        return self.frozen_policies[backend]


def inputs_of(policy: DiffusionPolicy, batch: int) -> dict:
    """Random inputs of the policy's shapes, always the same: a history, noise, a condition and a diffusion step."""
    config, device = policy.config, policy.device
    with torch.random.fork_rng():
        torch.manual_seed(EXAMPLES)
        given = {
            "history": {
                "point_cloud": torch.rand(batch, config.n_obs_steps, config.num_points, 3),
                "state": torch.rand(batch, config.n_obs_steps, config.state_dim),
            },
            "noise": torch.randn(batch, config.horizon, config.action_dim),
            "cond": torch.randn(batch, config.n_obs_steps * policy.obs_encoder.size),
            "step": torch.arange(batch) % config.num_train_steps,
        }
    history = {key: value.to(device) for key, value in given.pop("history").items()}
    return {"history": history} | {key: value.to(device) for key, value in given.items()}
