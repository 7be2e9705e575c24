"""What drives each suite's demonstrations."""

from __future__ import annotations

import warnings

import numpy as np


class MetaWorldExpert:
    """MetaWorld's scripted policy for one task; ``task`` is MetaWorld's name, such as "stick-push"."""

    def __init__(self, task: str):
        from metaworld.policies import ENV_POLICY_MAP

        self._policy = ENV_POLICY_MAP[f"{task}-v3"]()

    def act(self, truth: dict[str, np.ndarray]) -> np.ndarray:
        """Return the action (4,) float32 in [-1, 1] for ``truth["observation"]`` (39,)."""
        with warnings.catch_warnings():  # it warns of actions beyond 1, which are clipped here
            warnings.simplefilter("ignore", UserWarning)
            action = self._policy.get_action(truth["observation"])
        return np.clip(action, -1, 1).astype(np.float32)
