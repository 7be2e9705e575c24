"""What drives each suite's demonstrations."""

from __future__ import annotations

import numpy as np


class MetaWorldExpert:
    """MetaWorld's scripted policy for one task; ``task`` is MetaWorld's name, such as "stick-push"."""

    def __init__(self, task: str):
        from metaworld.policies import ENV_POLICY_MAP

        self._policy = ENV_POLICY_MAP[f"{task}-v3"]()

    def act(self, truth: dict[str, np.ndarray]) -> np.ndarray:
        """Return the action (4,) float32 in [-1, 1] for ``truth["observation"]`` (39,)."""
        return np.clip(self._policy.get_action(truth["observation"]), -1, 1).astype(np.float32)
