"""One episode of a trained policy, to be looked at: what it saw, what it predicted, how a chunk was denoised.

One is kept in data/results/, for whoever has trained nothing yet.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from mp_lib.config import FINAL_SEEDS
from mp_lib.insight.demonstrations import names_in
from mp_lib.insight.playing import Played, play
from mp_lib.insight.prediction import denoise_from
from mp_lib.insight.trained import Trained
from mp_lib.learning.evaluation import load
from mp_lib.sim.tasks import find_task
from mp_lib.study.sentences import of_ending, of_training
from mp_lib.system.files import read_arrays, write_atomically
from mp_lib.system.paths import results_path, supplied


@dataclass(frozen=True)
class Watched:
    """M moments of an episode, each a policy call, and the denoising of the middle one's chunk.

    ``chunks`` (M, T, A) and ``noisy`` (K + 1, T, A), the last of which is the chunk, are in the actions' own units;
    ``levels`` (K + 1,) are the shares of noise in ``noisy``. ``executed`` is the first step of a chunk that is
    executed and the first that is not any more. ``training`` says in words which one saved the policy.
    """

    task: str
    method: str
    seed: int
    success: bool
    steps: np.ndarray  # (M,) of the episode
    pictures: np.ndarray  # (M, H, W, 3) uint8
    clouds: np.ndarray  # (M, N, 3)
    chunks: np.ndarray
    noisy: np.ndarray
    levels: np.ndarray
    executed: tuple[int, int]
    training: str = "of a training that was not noted"

    @property
    def names(self) -> list[str]:
        """What the numbers of an action are called."""
        spec = find_task(self.task)
        return names_in(spec)[1]

    @property
    def middle(self) -> int:
        """The moment whose chunk's denoising is kept."""
        return len(self.steps) // 2


def watch(checkpoint: Path, seed: int = FINAL_SEEDS, count: int = 5, **how) -> Watched:
    """Play the episode of ``seed`` and keep ``count`` evenly spread moments of it, fewer if it has fewer.

    ``how`` it is loaded are arguments of ``mp_lib.learning.evaluation.load``.
    """
    policy, spec = load(checkpoint, **how)
    return moments_of(play(Trained(policy, spec, checkpoint), seed), count)


def moments_of(played: Played, count: int = 5) -> Watched:
    """What is kept of an episode that was filmed."""
    policy, config = played.policy, played.policy.config
    places = np.unique(np.linspace(0, len(played.moments) - 1, count).round().astype(int))
    chosen = [played.moments[place] for place in places]
    middle, start = chosen[len(chosen) // 2], config.n_obs_steps - 1
    ddim = policy.policy.policy.ddim
    return Watched(
        task=policy.task,
        method=policy.method,
        seed=played.seed,
        success=played.success,
        steps=np.array([moment.step for moment in chosen]),
        pictures=np.stack([played.picture_at(moment.step) for moment in chosen]),
        clouds=np.stack([moment.history[-1].point_cloud for moment in chosen]),
        chunks=np.stack([moment.chunk for moment in chosen]),
        noisy=denoise_from(policy.policy, middle.history, middle.noise[None])[:, 0],
        levels=np.append((1 - ddim.alphas[ddim.steps]).sqrt().numpy(), 0.0),
        executed=(start, start + config.n_action_steps),
        training=of_training(policy.checkpoint, policy.task, policy.method),
    )


def caption(watched: Watched) -> str:
    """Which episode of which policy it is, and how it ended."""
    policy = f"**{watched.method}** on **{watched.task}**, {watched.training}"
    return f"{policy}. On environment seed {watched.seed} the episode {of_ending(watched.success)}."


def chunks_table(watched: Watched) -> pd.DataFrame:
    """The predicted chunks as rows: step of the episode, step of the chunk, and one column a number of the action."""
    return action_table("step", watched.steps, watched.chunks, watched.names)


def denoising_table(watched: Watched) -> pd.DataFrame:
    """The chunk that is denoised as rows: share of noise, step of the chunk, one column a number of the action."""
    return action_table("noise", watched.levels.round(6), watched.noisy, watched.names)


def action_table(key: str, values: Sequence[float], chunks: np.ndarray, names: Sequence[str]) -> pd.DataFrame:
    """Chunks (M, T, A) as M T rows."""
    count, length, _ = chunks.shape
    steps = pd.DataFrame({key: np.repeat(values, length), "chunk_step": np.tile(np.arange(length), count)})
    return steps.join(pd.DataFrame(chunks.reshape(count * length, -1), columns=list(names)).round(6))


def kept_path() -> Path:
    """The episode that is kept with the project."""
    return results_path("episode.npz")


def keep(watched: Watched) -> Path:
    """Write an episode where ``load_kept`` finds it."""
    content = io.BytesIO()
    np.savez_compressed(content, **vars(watched))
    write_atomically(kept_path(), content.getvalue())
    return kept_path()


def load_kept() -> Watched:
    """The episode that is kept with the project; FileNotFoundError if there is none."""
    fields = read_arrays(supplied(kept_path()))
    plain = {name: array.item() for name, array in fields.items() if array.ndim == 0}
    return Watched(**{**fields, **plain, "executed": tuple(fields["executed"].tolist())})
