"""Where a policy would take the hand from here: sampled chunks of actions, stepped in copies of the simulator."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np
import torch

from mp_lib.interfaces import Branch, Environment, Obs
from mp_lib.learning.rollout import batch_of
from mp_lib.model.backends import FrozenPolicy
from mp_lib.model.history import check_finite, prepare
from mp_lib.model.noise import chunk_noise
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.sim.env import SimulationDiverged
from mp_lib.system.errors import at_least_one


def predicted_path(
    policy: DiffusionPolicy | FrozenPolicy,
    env: Environment,
    history: Sequence[Obs],
    samples: int = 16,
    num_inference_steps: int | None = None,
    noise_seed: int = 0,
    repeat: bool = False,
) -> np.ndarray:
    """The hand's path (samples, T - To + 1, 3) in the world, in metres, for as many chunks as ``samples``.

    A chunk's first To - 1 actions belong to steps that have passed. All others are executed one after the other, from
    where ``env`` is now, though a rollout executes Ta of them and looks again. ``path[:, k]`` is where ``env.hand()``
    would be after k + 1 of them; where the simulator diverges, from there on NaN. ``env`` stays as it is to the bit,
    and nothing is drawn. A cloud that is to lie beside the path has to be taken to the world (``env.to_world``).

    ``history`` is what the policy sees, the last To observations, the newest last; with ``repeat`` the first of a
    shorter one stands for those before it. Sample k is denoised from ``chunk_noise(noise_seed, k)``, so that with an
    episode's seed it is what the rollout's call k would begin with. ``num_inference_steps`` None are the policy's own.
    The policy is put into evaluation mode. Raises an InputError for numbers below 1, and for what ``act`` refuses.
    """
    at_least_one(samples=samples, num_inference_steps=num_inference_steps)
    policy = policy.eval() if num_inference_steps is None else policy.eval().with_steps(num_inference_steps)
    chunks = sample_chunks(policy, history, samples, noise_seed, repeat)
    return np.stack([hand_path(env.branch(), actions) for actions in chunks[:, policy.config.n_obs_steps - 1 :]])


def sample_chunks(
    policy: DiffusionPolicy | FrozenPolicy, history: Sequence[Obs], samples: int, noise_seed: int, repeat: bool
) -> np.ndarray:
    """Whole chunks (samples, T, A) for one history, in the actions' own units, denoised in one batch."""
    shape = (policy.config.horizon, policy.config.action_dim)
    seen = prepare(batch_of([list(history)], policy), policy.config, policy.device, repeat)
    seen = {key: values.repeat_interleave(samples, dim=0) for key, values in seen.items()}
    noise = torch.from_numpy(np.stack([chunk_noise(noise_seed, sample, shape) for sample in range(samples)]))
    chunks = policy.predict(seen, noise.to(policy.device)).cpu()
    check_finite(chunks, seen | {"noise": noise})
    return chunks.numpy()


def hand_path(branch: Branch, actions: np.ndarray) -> np.ndarray:
    """Where the hand is (T, 3) after each of ``actions`` (T, A); NaN from where the simulator diverges on."""
    path = np.full((len(actions), 3), np.nan)
    with contextlib.suppress(SimulationDiverged):
        for place, action in zip(path, actions, strict=True):
            branch.step(action)
            place[:] = branch.hand()
    return path
