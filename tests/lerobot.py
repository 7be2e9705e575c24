"""A few lines that stand for what plugins use of LeRobot, which is not installed here."""

import dataclasses
from types import SimpleNamespace

import torch


class Registry:
    """LeRobot's configurations, which are found by a type's name."""

    @classmethod
    def register_subclass(cls, name):
        def register(subclass):
            subclass.type = name
            return subclass

        return register


@dataclasses.dataclass
class PreTrainedConfig(Registry):
    n_obs_steps: int = 1
    input_features: dict = dataclasses.field(default_factory=dict)
    output_features: dict = dataclasses.field(default_factory=dict)

    def __post_init__(self):
        pass

    robot_state_feature = property(lambda self: self.input_features.get("observation.state"))
    action_feature = property(lambda self: self.output_features.get("action"))


@dataclasses.dataclass
class EnvConfig(Registry):
    task: str | None = None
    fps: int = 30
    features: dict = dataclasses.field(default_factory=dict)
    features_map: dict = dataclasses.field(default_factory=dict)


class PreTrainedPolicy(torch.nn.Module):
    def __init__(self, config):
        super().__init__()
        self.config = config


def words(*names):
    return SimpleNamespace(**{name: name for name in names})


def feature(*shape):
    return SimpleNamespace(shape=shape)


STANDS_FOR = {
    "lerobot": {},
    "lerobot.configs": {
        "PreTrainedConfig": PreTrainedConfig,
        "NormalizationMode": words("IDENTITY"),
        "FeatureType": words("ACTION", "STATE"),
        "PolicyFeature": lambda kind, shape: SimpleNamespace(type=kind, shape=shape),
    },
    "lerobot.optim": {"AdamWConfig": dict},
    "lerobot.optim.schedulers": {"CosineAnnealingWithWarmupSchedulerConfig": dict},
    "lerobot.policies": {},
    "lerobot.policies.pretrained": {"PreTrainedPolicy": PreTrainedPolicy},
    "lerobot.envs": {"EnvConfig": EnvConfig},
    "lerobot.envs.utils": {"NEW_ROLLOUT_OPTION": "new_rollout", "freeze_after_episode_end": lambda make: make},
    "lerobot.processor": {
        "make_default_pre_post_processors": lambda config, stats: (config, stats),
        "PolicyProcessorPipeline": lambda steps: steps,
        "RenameObservationsProcessorStep": lambda names: names,
    },
}
