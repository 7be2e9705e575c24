"""What there is to look into: for each method the newest trained policy, and recorded action windows to show it.

Where there is no finished run a policy has fresh weights at the scale's widths; where there are no demonstrations
either, random numbers stand for the windows. ``basis`` says which of these it was.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from mp_lib.config import ATTENTION, METHODS, TrainConfig, mixers_of, scale_config
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.data.windows import ActionWindows
from mp_lib.learning.evaluation import at_least_one
from mp_lib.learning.folder import CHECKPOINT
from mp_lib.learning.run import policy_config, training_windows
from mp_lib.model.checkpoint import load_policy
from mp_lib.model.policy import DiffusionPolicy, build_policy
from mp_lib.sim.tasks import find_task
from mp_lib.study.runs import choose_runs
from mp_lib.study.sentences import join
from mp_lib.system.paths import demos_path, run_path

FRESH = "fresh weights"


@dataclass(frozen=True)
class Specimen:
    """A policy and the windows to look at it with; weights are read or made whenever ``policy`` is called.

    ``mixer`` is the one to be looked at, if any. Without ``checkpoint`` the weights are fresh, without
    ``windows`` the inputs are random.
    """

    method: str
    mixer: str | None
    config: TrainConfig
    checkpoint: Path | None
    windows: ActionWindows | None
    demos: Path

    @property
    def weights(self) -> str:
        """Where the weights come from: a run's name, or ``FRESH``."""
        return self.checkpoint.parent.name if self.checkpoint else FRESH

    @property
    def title(self) -> str:
        """What is looked at, in Markdown: the mixer or the method."""
        host = f" (in `{self.method}`)" if self.mixer == "attention" else ""
        return f"`{self.mixer or self.method}`{host}"

    @property
    def files(self) -> list[Path]:
        """What it is read from."""
        return ([self.checkpoint] if self.checkpoint else []) + ([self.demos] if self.windows else [])

    def policy(self) -> DiffusionPolicy:
        """The policy in evaluation mode, without gradients of its weights; the same at every call."""
        if self.checkpoint:
            return load_policy(self.checkpoint, self.method)[0].requires_grad_(False)
        with torch.random.fork_rng():
            torch.manual_seed(0)
            policy = build_policy(policy_config(self.config, find_task(self.config.task)))
        if self.windows:
            policy.normalizer.fit(self.windows.values())
        return policy.eval().requires_grad_(False)

    @torch.no_grad()
    def inputs(self, policy: DiffusionPolicy, count: int, diffusion_step: int) -> tuple[Tensor, Tensor, Tensor]:
        """What the denoiser gets: noised actions (count, T, A), step (count,) and condition (count, C).

        The windows are spread evenly over all of them; one is the middle one. The same at every call.
        """
        if not 0 <= diffusion_step < policy.config.num_train_steps:
            allowed = f"0 to {policy.config.num_train_steps - 1}"
            raise ValueError(f"diffusion_step {diffusion_step} given; it must be from {allowed}")
        at_least_one(num_windows=count)
        generator = torch.Generator().manual_seed(0)
        if self.windows:
            places = (torch.arange(count) + 0.5) / count * len(self.windows)
            batch = self.windows.batch(places.long())
        else:
            batch = random_batch(policy, count, generator)
        actions = policy.normalizer.normalize("action", batch["actions"])
        noise = torch.randn(actions.shape, generator=generator)
        step = torch.full((count,), diffusion_step)
        noisy = policy.ddim.add_noise(actions, noise, step)
        return noisy, step, policy.encode(batch["point_cloud"], batch["state"])


def random_batch(policy: DiffusionPolicy, count: int, generator: torch.Generator) -> dict[str, Tensor]:
    """A batch of windows that was never recorded: uniform within what the policy's normaliser knows."""
    config, normalizer = policy.config, policy.normalizer
    shapes = {
        "action": (count, config.horizon, config.action_dim),
        "point_cloud": (count, config.n_obs_steps, config.num_points, 3),
        "state": (count, config.n_obs_steps, config.state_dim),
    }
    drawn = {key: 2 * torch.rand(shape, generator=generator) - 1 for key, shape in shapes.items()}
    found = {key: normalizer.unnormalize(key, values) for key, values in drawn.items()}
    return {"actions": found.pop("action"), **found}


def one_a_method(scale: str, task: str) -> list[Specimen]:
    """A specimen of every method."""
    demos, windows = recorded_windows(scale, task)
    return [specimen(scale, task, method, demos, windows) for method in METHODS]


def one_a_mixer(scale: str, task: str, method: str) -> list[Specimen]:
    """A specimen of every mixer; attention is looked at in ``method``, or in the last variant if it has none there."""
    demos, windows = recorded_windows(scale, task)
    mixers = {row.mixer: row.name for row in METHODS.values() if row.mixer}
    host = method if mixers_of(method, "paper") else list(mixers.values())[-1]
    return [
        specimen(scale, task, owner, demos, windows, mixer) for mixer, owner in (mixers | {"attention": host}).items()
    ]


def specimen(
    scale: str, task: str, method: str, demos: Path, windows: ActionWindows | None, mixer: str | None = None
) -> Specimen:
    """The newest finished run of a method, one that executes ``mixer`` if that is given, or fresh weights."""
    runs = choose_runs(scale, [task], [method])
    if mixer:
        able = [attention for attention in ATTENTION if mixer in mixers_of(method, attention)]
        runs = runs[runs["attention"].isin(able)]
    found = [run_path(folder) / CHECKPOINT for folder in runs["folder"]]
    newest = max(filter(Path.exists, found), key=lambda path: path.stat().st_mtime, default=None)
    return Specimen(method, mixer, scale_config(scale, task, method), newest, windows, demos)


def recorded_windows(scale: str, task: str) -> tuple[Path, ActionWindows | None]:
    """Where a task's demonstrations of a scale lie, and all windows of them; None if they were not recorded."""
    spec, config = find_task(task), scale_config(scale, task, next(iter(METHODS)))
    path = demos_path(task, config.num_points, config.num_demos or spec.num_demos)
    return path, training_windows(config, ReplayBuffer.open(path).check(spec)) if path.exists() else None


def files(specimens: Sequence[Specimen]) -> list[Path]:
    """All that specimens are read from, each once."""
    return list(dict.fromkeys(path for each in specimens for path in each.files))


def basis(specimens: Sequence[Specimen], count: int, diffusion_step: int) -> str:
    """Which weights and which windows a picture rests on."""
    first = specimens[0]
    trained = [each.title for each in specimens if each.checkpoint]
    fresh = [each.title for each in specimens if not each.checkpoint]
    scale, weights = f"the scale `{first.config.scale}` (widths / {first.config.width_divisor})", []
    if trained:
        weights.append(f"of the newest finished run at {scale} on `{first.config.task}` for {join(trained)}")
    if fresh:
        weights.append(f"fresh at {scale} for {join(fresh)}, since there is no finished run of that kind")
    number = "the middle one" if count == 1 else f"{count}, evenly spread,"
    windows = (
        f"{number} of all {len(first.windows):,} windows of `{first.demos.name}`"
        if first.windows
        else f"random numbers, since `{first.demos.name}` has not been recorded"
    )
    return f"**What this rests on.** Weights: {'; '.join(weights)}. Input: {windows}, noised at step {diffusion_step}."
