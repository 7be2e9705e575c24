"""What LeRobot does to a batch before the policy sees it, and to its actions: moving them, and nothing to numbers."""

from __future__ import annotations

from lerobot.processor import make_default_pre_post_processors

from lerobot_policy_mamba_policy.configuration_mamba_policy import MambaConfig


def make_mamba_policy_pre_post_processors(config: MambaConfig, dataset_stats: dict | None = None):
    """LeRobot's usual two pipelines, whose normalisation is the identity by ``config.normalization_mapping``."""
    return make_default_pre_post_processors(config, dataset_stats)
