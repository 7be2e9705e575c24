"""The noise that an episode's action chunks are denoised from; by NumPy, so that torch is not needed to draw it."""

from __future__ import annotations

import numpy as np

SCHEME = "PCG64(seed, call)"  # what half-finished evaluations are compared by


def chunk_noise(seed: int, call: int, shape: tuple[int, ...]) -> np.ndarray:
    """The noise, float32 of ``shape`` (T, A), of the policy call ``call``, from 0, of the episode of ``seed``.

    It depends on nothing else: neither on the calls before it nor on other episodes.
    """
    return np.random.Generator(np.random.PCG64([seed, call])).standard_normal(shape, np.float32)
