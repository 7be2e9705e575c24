"""What LeRobot is told of a policy: its features and sizes. LeRobot finds the other modules by this one's name."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path

from lerobot.configs import NormalizationMode, PreTrainedConfig
from lerobot.optim import AdamWConfig
from lerobot.optim.schedulers import CosineAnnealingWithWarmupSchedulerConfig

from mp_lib.config import PolicyConfig, TrainConfig
from mp_lib.model.checkpoint import load_policy
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.model.weights import find_checkpoint


def read_policy(weights: str) -> DiffusionPolicy:
    """The policy of a run, its folder or file."""
    return load_policy(find_checkpoint(str(Path(weights).expanduser().absolute())))[0]


@PreTrainedConfig.register_subclass("mamba_policy")
@dataclass
class MambaConfig(PreTrainedConfig):
    """Sizes as of ``mp_lib.config.PolicyConfig``, the training's numbers as of ``TrainConfig``, by default the paper's.

    ``num_points`` None stands for as many as the data set's clouds have. ``weights`` is a run of mp_lib, its folder or
    file, to start from; its sizes and kinds of numbers count then. ``noise_seed`` lets the k-th episode since the
    policy was made have the noise that a rollout of mp_lib has on environment seed ``noise_seed`` + k; None draws it by
    torch.
    """

    n_obs_steps: int = PolicyConfig.n_obs_steps
    method: str = "dp3_mamba"
    attention: str = PolicyConfig.attention
    horizon: int = PolicyConfig.horizon
    n_action_steps: int = PolicyConfig.n_action_steps
    num_points: int | None = None
    down_dims: tuple[int, ...] | None = None
    blocks_per_level: int | None = None
    step_embed_dim: int = PolicyConfig.step_embed_dim
    num_train_steps: int = PolicyConfig.num_train_steps
    num_inference_steps: int = PolicyConfig.num_inference_steps
    actions: str = PolicyConfig.actions
    state_kinds: str = PolicyConfig.state_kinds
    action_kinds: str = PolicyConfig.action_kinds
    weights: str = ""
    noise_seed: int | None = None
    learning_rate: float = TrainConfig.learning_rate
    betas: tuple[float, float] = TrainConfig.betas
    weight_decay: float = TrainConfig.weight_decay
    warmup_steps: int = TrainConfig.warmup_steps
    ema_power: float = TrainConfig.ema_power
    ema_max: float = TrainConfig.ema_max
    # Clouds, states and actions come as they are: the policy normalises them itself, a cloud alike at all its points.
    normalization_mapping: dict[str, NormalizationMode] = field(
        default_factory=lambda: dict.fromkeys(("STATE", "ENV", "VISUAL", "ACTION"), NormalizationMode.IDENTITY)
    )

    def __post_init__(self):
        """Take the lengths of ``weights``, since LeRobot cuts windows by them before it makes the policy."""
        super().__post_init__()
        if self.weights:
            config = read_policy(self.weights).config
            self.horizon, self.n_obs_steps = config.horizon, config.n_obs_steps
            self.n_action_steps = config.n_action_steps

    @property
    def cloud_key(self) -> str:
        """The one input whose shape is that of a cloud, (N, 3); a ValueError where there is none, or there are two."""
        shapes = {key: tuple(feature.shape) for key, feature in (self.input_features or {}).items()}
        clouds = [key for key, shape in shapes.items() if len(shape) == 2 and shape[1] == 3]
        if len(clouds) != 1:
            raise ValueError(
                f"{len(clouds)} inputs have the shape of a cloud (N, 3), one is needed; there are {shapes}"
            )
        return clouds[0]

    def policy_config(self) -> PolicyConfig:
        """The policy that has these sizes; an InputError of mp_lib for sizes that none can have."""
        self.validate_features()
        shared = {each.name for each in fields(PolicyConfig)} & {each.name for each in fields(self)} - {"num_points"}
        return PolicyConfig(
            state_dim=self.robot_state_feature.shape[0],
            action_dim=self.action_feature.shape[0],
            num_points=self.num_points or self.input_features[self.cloud_key].shape[0],
            **{name: getattr(self, name) for name in shared},
        )

    def take_sizes(self, config: PolicyConfig) -> None:
        """Have the sizes and kinds of another policy; a ValueError unless it has this one's states and actions."""
        for name in {each.name for each in fields(config)} & {each.name for each in fields(self)}:
            setattr(self, name, getattr(config, name))
        if (wanted := self.policy_config()) != config:
            raise ValueError(f"{self.weights} is a policy of {config}, which is asked here to be one of {wanted}")

    def validate_features(self) -> None:
        """Raise a ValueError unless there are a cloud, a state and an action, the last as it is executed."""
        missing = {"observation.state": self.robot_state_feature, "action": self.action_feature}
        if names := [name for name, feature in missing.items() if feature is None]:
            raise ValueError(f"{' and '.join(names)} is missing; the data set has {[*(self.input_features or {})]}")
        _ = self.cloud_key
        # Batches of LeRobot hold actions as they were recorded, and so do the ranges that normalise them.
        if self.actions != PolicyConfig.actions:
            raise ValueError(
                f"{self.actions} actions given; under LeRobot a policy has {PolicyConfig.actions} ones alone"
            )

    @property
    def observation_delta_indices(self) -> list[int]:
        """The steps that are observed, "now" being 0."""
        return list(range(1 - self.n_obs_steps, 1))

    @property
    def action_delta_indices(self) -> list[int]:
        """The steps whose actions are predicted, from the first that is observed."""
        return list(range(1 - self.n_obs_steps, 1 - self.n_obs_steps + self.horizon))

    @property
    def reward_delta_indices(self) -> None:
        """None: no reward is asked for."""
        return None

    @property
    def drop_n_last_frames(self) -> int:
        """How many frames at the end of an episode begin no window, as in mp_lib's own training."""
        return self.horizon - self.n_action_steps - self.n_obs_steps + 1

    def get_optimizer_preset(self) -> AdamWConfig:
        """AdamW with the paper's numbers; gradients are not clipped."""
        numbers = {"betas": self.betas, "weight_decay": self.weight_decay}
        return AdamWConfig(lr=self.learning_rate, grad_clip_norm=0.0, **numbers)

    def get_scheduler_preset(self) -> CosineAnnealingWithWarmupSchedulerConfig:
        """A linear warm-up, then a half cosine to zero."""
        return CosineAnnealingWithWarmupSchedulerConfig(num_warmup_steps=self.warmup_steps)
