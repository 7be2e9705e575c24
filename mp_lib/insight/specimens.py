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

from mp_lib.config import TrainConfig, scale_config
from mp_lib.data.recording import store_path
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.data.windows import ActionWindows
from mp_lib.learning.held_out import windows_of
from mp_lib.learning.training import policy_config
from mp_lib.model.checkpoint import load_policy
from mp_lib.model.policy import DiffusionPolicy, build_policy
from mp_lib.model.weights import CHECKPOINT
from mp_lib.presets import ATTENTION, METHODS, mixers_of
from mp_lib.sim.tasks import find_task
from mp_lib.study.runs import choose_runs
from mp_lib.study.sentences import join
from mp_lib.system.errors import at_least_one
from mp_lib.system.paths import run_path

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
    return specimens_of(scale, task, [(method, None) for method in METHODS])


def one_a_mixer(scale: str, task: str, method: str) -> list[Specimen]:
    """A specimen of every mixer; attention is looked at in ``method``, or in the last variant if it has none there."""
    owners = [(row.name, row.mixer) for row in METHODS.values() if row.mixer]
    host = method if mixers_of(method, "paper") else owners[-1][0]
    return specimens_of(scale, task, [*owners, (host, "attention")])


def specimens_of(scale: str, task: str, wanted: Sequence[tuple[str, str | None]]) -> list[Specimen]:
    """A specimen of each (method, mixer), with all windows of the demonstrations if they were recorded."""
    configs = [scale_config(scale, task, method) for method, _ in wanted]
    demos, windows = store_path(configs[0]), None
    if demos.exists():
        store = ReplayBuffer.open(demos).check(find_task(task))
        windows, _ = windows_of(configs[0], store, find_task(task))
    return [
        Specimen(method, mixer, config, newest_checkpoint(config, mixer), windows, demos)
        for (method, mixer), config in zip(wanted, configs, strict=True)
    ]


def newest_checkpoint(config: TrainConfig, mixer: str | None) -> Path | None:
    """That of the newest finished run of a method, one that executes ``mixer`` if that is given; None without one."""
    runs = choose_runs(config.scale, [config.task], [config.method])
    able = [name for name in ATTENTION if mixer is None or mixer in mixers_of(config.method, name)]
    found = [run_path(folder) / CHECKPOINT for folder in runs.loc[runs["attention"].isin(able), "folder"]]
    return max(filter(Path.exists, found), key=lambda path: path.stat().st_mtime, default=None)


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
