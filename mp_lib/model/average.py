"""The average of a policy's weights over its training, which is what acts (official ema_model.py)."""

from __future__ import annotations

import torch
from torch import nn


def decay(step: int, power: float, most: float) -> float:
    """How much of the average stays at a step: 1 - step^-power, at most ``most``.

    Steps count from 0, so the first two copy the weights (official ema_model.py, ``get_decay``).
    """
    return min(1 - max(1, step) ** -float(power), float(most))


@torch.no_grad()
def move(average: nn.Module, policy: nn.Module, stays: float) -> None:
    """Move the average towards the weights by what of it does not stay."""
    torch._foreach_lerp_(list(average.parameters()), list(policy.parameters()), 1 - stays)
