"""One run: demonstrations -> checkpoint, metrics, film and result, in one folder that can be resumed."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from dataclasses import asdict
from pathlib import Path

import torch

from mp_lib import provenance
from mp_lib.config import CURVE_SEEDS, FINAL_SEEDS, PolicyConfig, TrainConfig
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.data.windows import ActionWindows, split_episodes
from mp_lib.device import choose_device, device_name, peak_memory
from mp_lib.files import write_atomically
from mp_lib.film import write_film
from mp_lib.interfaces import RunResult, TaskSpec
from mp_lib.metrics import Metrics
from mp_lib.model.checkpoint import save_policy
from mp_lib.progress import track
from mp_lib.rollout import rollout
from mp_lib.statistics import wilson_interval
from mp_lib.trainer import Trainer

log = logging.getLogger(__name__)

SAVE_SECONDS = 60.0
LOG_STEPS = 10
PRODUCTS = ("result.json", "policy.safetensors", "rollout.mp4")  # of a finished run


def train(
    config: TrainConfig,
    spec: TaskSpec,
    demos: ReplayBuffer,
    folder: Path,
    *,
    device: str = "auto",
    jobs: int = 1,
    form: str = "torch",
) -> RunResult:
    """Train and evaluate one run in ``folder`` and return its result, which result.json also holds.

    A folder with a finished result is read, one with a half-finished training is resumed; one that was
    made with another configuration raises a ValueError. ``jobs`` processes simulate in evaluations; ``form`` says
    how training steps are run: torch, compiled, or cuda, one CUDA graph.
    """
    check_owner(folder, config, demos)
    if not all((folder / name).exists() for name in PRODUCTS):
        with torch.random.fork_rng():
            run = Run(config, spec, demos, folder, choose_device(device), jobs, form)
            write_atomically(folder / "config.json", json.dumps(asdict(config), indent=1).encode())
            result = run.complete()
        write_atomically(folder / "result.json", json.dumps(asdict(result), indent=1).encode())
    for pattern in ("training.*", ".*.partial*"):  # the second: of writers that were killed
        for leftover in folder.glob(pattern):
            leftover.unlink()
    return RunResult(**json.loads((folder / "result.json").read_text()))


def check_owner(folder: Path, config: TrainConfig, demos: ReplayBuffer) -> None:
    """Raise a ValueError if the folder holds a run with another configuration or of other demonstrations."""
    wanted, found = json.loads(json.dumps(asdict(config))), {}
    if (folder / "config.json").exists():
        found = json.loads((folder / "config.json").read_text())
    if (folder / "result.json").exists():
        result = json.loads((folder / "result.json").read_text())
        wanted |= {"demonstrations": demos.content_hash(), "first environment seed": FINAL_SEEDS}
        found["demonstrations"] = result["demonstrations"]["content_hash"]
        found["first environment seed"] = result["final"]["seeds"][0]
    for key in sorted(found):
        refuse_difference(folder, key, found[key], wanted.get(key))


def refuse_difference(folder: Path, key: str, found, wanted) -> None:
    """Raise a ValueError unless what was found is what is wanted."""
    if found != wanted:
        raise ValueError(
            f"{folder} was made with {key}={found!r}, {wanted!r} was asked for; "
            f"ask for the same, or move that folder away to train anew"
        )


def training_windows(config: TrainConfig, demos: ReplayBuffer) -> ActionWindows:
    """The windows that a run trains on."""
    episodes, _ = split_episodes(demos.num_episodes, config.split)
    return ActionWindows(
        demos.read(config.num_points),
        demos.episode_ends,
        horizon=config.horizon,
        n_obs_steps=config.n_obs_steps,
        n_action_steps=config.n_action_steps,
        episodes=episodes,
    )


def policy_config(config: TrainConfig, spec: TaskSpec) -> PolicyConfig:
    """The policy that a run trains."""
    return PolicyConfig(
        config.method,
        spec.state_dim,
        spec.action_dim,
        attention=config.attention,
        horizon=config.horizon,
        n_obs_steps=config.n_obs_steps,
        n_action_steps=config.n_action_steps,
        num_points=config.num_points,
        down_dims=config.down_dims,
        blocks_per_level=config.blocks_per_level,
        num_inference_steps=config.num_inference_steps,
    )


class Run:
    """The stages of a run around its trainer."""

    def __init__(
        self,
        config: TrainConfig,
        spec: TaskSpec,
        demos: ReplayBuffer,
        folder: Path,
        device: torch.device,
        jobs: int,
        form: str,
    ):
        self.demos = demos.check(spec)
        self.spec = spec.with_state(demos.shapes["state"][0])
        self.config, self.folder, self.device, self.jobs = config, folder, device, jobs
        windows = training_windows(config, demos)
        self.trainer = Trainer(config, policy_config(config, self.spec), windows, device, form)
        self.state = folder / "training.safetensors"
        self.curve: list[dict] = []
        self.seconds = {"train": 0.0, "evaluate": 0.0}
        self.loss = float("nan")

    def complete(self) -> RunResult:
        """Go on from where the run was left, to its end."""
        if self.state.exists():
            facts = self.trainer.resume(self.state)
            refuse_difference(self.folder, "demonstrations", facts["demonstrations"], self.demos.content_hash())
            self.curve, self.seconds, self.loss = facts["curve"], facts["seconds"], facts["loss"]
            log.info("%s: resumed at step %d", self.config.name, self.trainer.step)
        mirror = {"run": self.config.name, **asdict(self.config)}
        with contextlib.closing(Metrics(self.folder / "metrics.jsonl", self.trainer.step, mirror)) as metrics:
            self.fit(metrics)
            result = self.finish()
            rate = sum(result.final["successes"]) / len(result.final["successes"])
            metrics.write(self.trainer.step, final_success_rate=rate)
        return result

    def fit(self, metrics: Metrics) -> None:
        """Train to the last step; log, evaluate and save on the way."""
        trainer, saved = self.trainer, time.perf_counter()
        with track(trainer.num_steps, f"train {self.config.method}") as progress:
            progress.advance(trainer.step)
            while trainer.step < trainer.num_steps:
                began = time.perf_counter()
                loss = trainer.update()
                progress.advance()
                if trainer.step % LOG_STEPS == 0 or trainer.step == trainer.num_steps:
                    self.loss = self.finite(loss)
                    progress.note(f"loss {self.loss:.4f}")
                    rate = trainer.learning_rate(trainer.step - 1)
                    metrics.write(trainer.step - 1, loss=self.loss, learning_rate=rate)
                self.seconds["train"] += time.perf_counter() - began
                if self.evaluation_due():
                    self.finite(loss)
                    row = self.evaluate_curve()
                    metrics.write(trainer.step - 1, success_rate=row["successes"] / row["episodes"])
                if time.perf_counter() - saved > SAVE_SECONDS:
                    self.finite(loss)
                    self.save()
                    saved = time.perf_counter()
        self.save()

    def save(self) -> None:
        """Save the trainer and what the result needs of the past."""
        facts = {"curve": self.curve, "seconds": self.seconds, "loss": self.loss}
        self.trainer.save(self.state, demonstrations=self.demos.content_hash(), **facts)

    def finite(self, loss: torch.Tensor) -> float:
        """The loss; a RuntimeError if it is not a number any more, so that such weights are never saved."""
        value = loss.item()
        if not math.isfinite(value):
            raise RuntimeError(
                f"{self.config.name}: the loss is {value} at step {self.trainer.step}; what was saved before is kept "
                f"in {self.folder}; look at the demonstrations, or lower learning_rate {self.config.learning_rate}"
            )
        return value

    def evaluation_due(self) -> bool:
        """Whether the last step ended an epoch after which the protocol evaluates: the first, and every n-th on."""
        every, epoch = self.config.eval_every_epochs, self.trainer.ends_epoch()
        return every is not None and epoch is not None and epoch % every == 0

    def evaluate(self, seeds: range, films: int = 0):
        """Roll out the average weights, one episode a seed."""
        began = time.perf_counter()
        episodes = rollout(self.trainer.average, self.spec, seeds, jobs=self.jobs, films=films)
        self.seconds["evaluate"] += time.perf_counter() - began
        return episodes

    def evaluate_curve(self) -> dict:
        """Evaluate on the protocol's seeds and add a row to the curve."""
        episodes = self.evaluate(range(CURVE_SEEDS, CURVE_SEEDS + self.config.eval_episodes))
        successes = sum(episode.success for episode in episodes)
        self.curve.append({"step": self.trainer.step, "successes": successes, "episodes": len(episodes)})
        return self.curve[-1]

    def finish(self) -> RunResult:
        """Save the policy, evaluate it on fresh seeds, film the first episode, and say all that is known."""
        facts = {"task": self.config.task, "run": self.config.name, "step": self.trainer.step}
        save_policy(self.folder / "policy.safetensors", self.trainer.average, **facts)
        seeds = range(FINAL_SEEDS, FINAL_SEEDS + self.config.final_episodes)
        episodes = self.evaluate(seeds, films=1)
        write_film(self.folder / "rollout.mp4", episodes[0].film)
        successes = [int(episode.success) for episode in episodes]
        interval = wilson_interval(sum(successes), len(seeds))
        parameters = sum(each.numel() for each in self.trainer.policy.parameters())
        attributes = self.demos.attributes
        solved, tried = provenance.expert_record(attributes)
        return RunResult(
            config=json.loads(json.dumps(asdict(self.config))),
            demonstrations={
                "task": self.config.task,
                "expert": attributes.get("expert", "unknown"),
                "expert_rate": solved / tried if tried else None,
                "episodes": self.demos.num_episodes,
                "depth_backend": attributes.get("settings", {}).get("depth_backend", "unknown"),
                "content_hash": self.demos.content_hash(),
            },
            curve=self.curve,
            final={"seeds": list(seeds), "successes": successes, "interval": interval},
            loss=self.loss,
            parameters=parameters,
            seconds=self.seconds,
            peak_memory_bytes=peak_memory(self.device),
            device=device_name(self.device),
            commit=provenance.commit(),
            versions=provenance.versions(),
        )
