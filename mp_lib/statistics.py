"""Intervals for success rates."""

from __future__ import annotations

from statistics import NormalDist

import numpy as np


def wilson_interval(successes: int, episodes: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval (low, high) of a success rate, within [0, 1].

    Raises ValueError unless 0 <= successes <= episodes, episodes >= 1 and 0 < confidence < 1.
    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212.
    """
    if not (0 <= successes <= episodes and episodes >= 1):
        raise ValueError(
            f"{successes} successes in {episodes} episodes; give 0 <= successes <= episodes, episodes >= 1"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}; give a number between 0 and 1, such as 0.95")
    z = NormalDist().inv_cdf((1 + confidence) / 2)
    rate, weight = successes / episodes, z**2 / episodes
    centre = (rate + weight / 2) / (1 + weight)
    half = z * np.sqrt(rate * (1 - rate) / episodes + weight / (4 * episodes)) / (1 + weight)
    # Rounding must not push the interval off a rate of exactly 0 or 1.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == episodes else centre + half
    return float(low), float(high)
