"""The numbers of DDIM's steps (arXiv 2010.02502) with sample prediction; by Python alone, for who has no torch."""

from __future__ import annotations

import math


def inference_steps(num_train_steps: int, num_inference_steps: int) -> list[int]:
    """The training steps at which the model is asked, from the noisiest on; evenly spaced (dp3.yaml)."""
    stride = num_train_steps // num_inference_steps
    return [stride * index for index in reversed(range(num_inference_steps))]


def coefficients(alpha: float, previous: float) -> tuple[float, float, float]:
    """(k, k √a_t, √a_p) of x' = k x - k √a_t x0 + √a_p clip(x0), with k = √((1 - a_p) / (1 - a_t)).

    ``alpha`` is a_t, the cumulative product of 1 - beta at the step, ``previous`` that of the step after it, or 1.
    """
    k = math.sqrt((1 - previous) / (1 - alpha))
    return k, k * math.sqrt(alpha), math.sqrt(previous)
