"""Where a policy would take the hand from here: sampled chunks of actions, stepped in copies of the simulator."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence

import numpy as np

from mp_lib.insight.prediction import denoise
from mp_lib.interfaces import Branch, Environment, Obs
from mp_lib.model.backends import FrozenPolicy
from mp_lib.sim.env import SimulationDiverged


def predicted_path(
    policy: FrozenPolicy,
    env: Environment,
    obs: Obs | Sequence[Obs] | None = None,
    samples: int = 16,
    num_inference_steps: int | None = None,
    noise_seed: int = 0,
) -> np.ndarray:
    """The hand's path (samples, T - To + 1, 3) in the world, in metres, for as many chunks as ``samples``.

    A chunk's first To - 1 actions belong to steps that have passed. All others are executed one after the other, from
    where ``env`` is now, though a rollout executes Ta of them and looks again. ``path[:, k]`` is where ``env.hand()``
    would be after k + 1 of them; where the simulator diverges, from there on NaN. ``env`` stays as it is to the bit,
    and nothing is drawn. A cloud that is to lie beside the path has to be taken to the world (``env.to_world``).

    ``obs`` and the numbers are as of ``mp_lib.insight.prediction.denoise``, whose chunks these are; None is what
    ``env`` shows now.
    """
    seen = env.observe() if obs is None else obs
    chunks = denoise(policy, seen, samples, num_inference_steps, noise_seed)[-1]
    return np.stack([hand_path(env.branch(), actions) for actions in chunks[:, policy.config.n_obs_steps - 1 :]])


def hand_path(branch: Branch, actions: np.ndarray) -> np.ndarray:
    """Where the hand is (T, 3) after each of ``actions`` (T, A); NaN from where the simulator diverges on."""
    path = np.full((len(actions), 3), np.nan)
    with contextlib.suppress(SimulationDiverged):
        for place, action in zip(path, actions, strict=True):
            branch.step(action)
            place[:] = branch.hand()
    return path
