"""What a policy would do: many action chunks for one and the same observation, each denoised from noise of its own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch

from mp_lib.config import BOUNDS
from mp_lib.interfaces import Obs
from mp_lib.learning.rollout import batch_of
from mp_lib.model.actions import executed
from mp_lib.model.backends import FrozenPolicy
from mp_lib.model.history import check_finite, prepare
from mp_lib.model.noise import chunk_noise
from mp_lib.system.errors import InputError, at_least_one
from mp_lib.system.values import check_bounds, meaning


def denoise(
    policy: FrozenPolicy,
    obs: Obs | Sequence[Obs],
    samples: int = 16,
    num_inference_steps: int | None = None,
    noise_seed: int = 0,
) -> np.ndarray:
    """The action chunks that a policy predicts for one observation, on their way from noise: (K + 1, samples, T, A).

    The last of them are the chunks, in the actions' units. ``obs`` is one observation, which then stands for those
    before it, or the last To of them. ``num_inference_steps`` None is the policy's own number; the noise comes from
    ``noise_seed``, chunk for chunk, so that the first ones of more samples are the same. Raises an InputError for what
    cannot be meant.
    """
    at_least_one(samples=samples, num_inference_steps=num_inference_steps)
    noise_seed = meaning("noise_seed", "int", noise_seed)
    check_bounds({"noise_seed": noise_seed}, {"noise_seed": BOUNDS["seed"]})
    return denoise_from(policy, obs, noise_of(policy, noise_seed, range(samples)), num_inference_steps)


def noise_of(policy: FrozenPolicy, noise_seed: int, samples: Sequence[int]) -> np.ndarray:
    """What the chunks of these numbers are denoised from (len(samples), T, A); each depends on its number alone."""
    shape = (policy.config.horizon, policy.config.action_dim)
    return np.stack([chunk_noise(noise_seed, sample, shape) for sample in samples])


@torch.no_grad()
def denoise_from(
    policy: FrozenPolicy, obs: Obs | Sequence[Obs], noise: np.ndarray, num_inference_steps: int | None = None
) -> np.ndarray:
    """``denoise`` from this noise (samples, T, A): the observation is encoded once for all of them."""
    policy = policy if num_inference_steps is None else policy.with_steps(num_inference_steps)
    seen = [obs] if isinstance(obs, Obs) else list(obs) if isinstance(obs, Iterable) else []
    if not seen or not all(isinstance(each, Obs) for each in seen):
        raise InputError("obs is no observation; give an Obs, or the last of them in a list")
    history = prepare(batch_of([seen], policy), policy.config, policy.device, repeat=True)
    given = policy.run_condition(history["point_cloud"], history["state"]).expand(len(noise), -1)
    noisy: list[torch.Tensor] = []

    def step(actions: torch.Tensor, index: int) -> torch.Tensor:
        noisy.append(actions)
        return policy.run_denoise(actions, policy.table[index] + given)

    noisy.append(policy.policy.ddim.sample(step, torch.from_numpy(noise).to(policy.device)))
    check_finite(noisy[-1], history)
    now = history["state"][:, -1].expand(len(noise), -1)
    told = (policy.policy.normalizer.unnormalize("action", each) for each in noisy)
    return np.stack([executed(policy.config, each, now).cpu().numpy() for each in told])
