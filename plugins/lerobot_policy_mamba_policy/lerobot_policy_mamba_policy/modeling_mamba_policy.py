"""The policy as LeRobot trains and runs it, around ``mp_lib.model.policy.DiffusionPolicy``."""

from __future__ import annotations

import copy
from collections import deque

import numpy as np
import torch
from lerobot.policies.pretrained import PreTrainedPolicy
from torch import Tensor

from lerobot_policy_mamba_policy.configuration_mamba_policy import MambaConfig, read_policy
from mp_lib.model.average import decay, move
from mp_lib.model.history import complete_points
from mp_lib.model.noise import chunk_noise
from mp_lib.model.policy import DiffusionPolicy, build_policy

STATE, ACTION = "observation.state", "action"


class MambaPolicy(PreTrainedPolicy):
    """A policy and the average of its weights, which acts; both are saved.

    Its normaliser is fitted to the lowest and highest numbers of ``dataset_stats``. Batches have the configuration's
    keys: clouds (B, To, N, 3), states (B, To, S) and actions (B, T, A) to train, clouds (B, N, 3) and states (B, S) to
    act, in the units of the data set.
    """

    config_class = MambaConfig
    name = "mamba_policy"

    def __init__(self, config: MambaConfig, dataset_stats: dict | None = None, **_):
        super().__init__(config)
        if config.weights:
            self.policy = read_policy(config.weights)
            config.take_sizes(self.policy.config)
            config.weights = ""  # what is saved is whole without them
        else:
            self.policy = build_policy(config.policy_config())
            fit(self.policy, config.cloud_key, dataset_stats or {})
        self.average = copy.deepcopy(self.policy).requires_grad_(False)
        self.register_buffer("steps", torch.zeros((), dtype=torch.int64))
        self.episodes = self.rows = 0
        self.train(False)
        self.reset()

    def train(self, mode: bool = True) -> MambaPolicy:
        """Train, or only look; the average never trains."""
        super().train(mode)
        self.average.eval()
        return self

    def get_optim_params(self):
        """The weights that are trained."""
        return self.policy.parameters()

    def reset(self) -> None:
        """Forget what was seen and planned: episodes begin."""
        self.episodes, self.rows, self.chunks = self.episodes + self.rows, 0, 0
        self.seen: deque[dict[str, Tensor]] = deque(maxlen=self.config.n_obs_steps)
        self.planned: deque[Tensor] = deque()

    def forward(self, batch: dict[str, Tensor]) -> tuple[Tensor, None]:
        """The loss of a batch of windows, a scalar; in evaluation that of the average."""
        policy = self.policy if self.training else self.average
        cloud = complete_points(batch[self.config.cloud_key], policy.config.num_points)
        return policy.loss({"point_cloud": cloud, "state": batch[STATE], "actions": batch[ACTION]}), None

    def update(self) -> None:
        """Move the average; LeRobot calls it after each step of the optimiser."""
        move(self.average, self.policy, decay(int(self.steps), self.config.ema_power, self.config.ema_max))
        self.steps += 1

    @torch.no_grad()
    def select_action(self, batch: dict[str, Tensor], **kwargs) -> Tensor:
        """The action (B, A) of this step; a new chunk is predicted when the last is executed."""
        self.seen.append(one_frame(batch, self.config.cloud_key))
        if not self.planned:
            self.planned.extend(self.predict_action_chunk(batch, **kwargs).unbind(1))
        return self.planned.popleft()

    @torch.no_grad()
    def predict_action_chunk(self, batch: dict[str, Tensor], noise: Tensor | None = None, **_) -> Tensor:
        """The actions (B, Ta, A) to execute from now on, of what ``select_action`` has seen, else of the batch alone.

        The first frame stands for those before it. ``noise`` (B, T, A) fixes them.
        """
        frames = [*self.seen] or [one_frame(batch, self.config.cloud_key)]
        history = {key: torch.stack([frame[key] for frame in frames], dim=1) for key in frames[0]}
        self.rows = len(history["state"])
        noise = self.noise_of_rollouts() if noise is None else noise
        self.chunks += 1
        return self.average.act(history, noise, repeat=True)

    def noise_of_rollouts(self) -> np.ndarray | None:
        """The noise (B, T, A) of this chunk in mp_lib's rollouts; None without ``noise_seed``."""
        if self.config.noise_seed is None:
            return None
        sizes, first = self.average.config, self.config.noise_seed + self.episodes
        shape = sizes.horizon, sizes.action_dim
        return np.stack([chunk_noise(first + row, self.chunks, shape) for row in range(self.rows)])


def one_frame(batch: dict[str, Tensor], cloud_key: str) -> dict[str, Tensor]:
    """What is seen at one step, {"point_cloud": (B, N, 3), "state": (B, S)}; a robot's own comes without a batch."""
    cloud, state = batch[cloud_key], batch[STATE]
    return {
        "point_cloud": cloud[None] if cloud.dim() == 2 else cloud,
        "state": state[None] if state.dim() == 1 else state,
    }


def fit(policy: DiffusionPolicy, cloud_key: str, stats: dict) -> None:
    """Fit the normaliser to the lowest and highest numbers of a data set, of clouds over all their points."""
    sizes = {"point_cloud": (cloud_key, 3), "state": (STATE, -1), "action": (ACTION, -1)}
    if not all(key in stats for key, _ in sizes.values()):
        return  # weights that are loaded bring their own
    rows = {}
    for name, (key, size) in sizes.items():
        ends = [torch.as_tensor(np.asarray(stats[key][end]), dtype=torch.float32) for end in ("min", "max")]
        size = size if size > 0 else ends[0].numel()
        rows[name] = torch.cat([end.reshape(-1, size) for end in ends])
    policy.normalizer.fit(rows)
