"""One run: demonstrations -> checkpoint, metrics, film and result, in one folder that can be resumed."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import time
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import torch

from mp_lib.config import CURVE_SEEDS, FINAL_SEEDS, PolicyConfig, TrainConfig
from mp_lib.data.recording import expert_record
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.data.windows import ActionWindows, split_episodes
from mp_lib.interfaces import RunResult, TaskSpec
from mp_lib.learning.folder import CHECKPOINT, FILM, TRAINING, check_owner, is_finished, leftovers, refuse_difference
from mp_lib.learning.journal import Journal
from mp_lib.learning.metrics import Metrics
from mp_lib.learning.rollout import Episode, rollout, settle_jobs
from mp_lib.learning.trainer import Trainer
from mp_lib.model.checkpoint import checksum, save_policy
from mp_lib.statistics import wilson_interval
from mp_lib.system import provenance
from mp_lib.system.device import choose_device, device_name, peak_memory
from mp_lib.system.errors import at_least_one
from mp_lib.system.files import read_json, write_json
from mp_lib.system.locks import sole_user
from mp_lib.system.progress import Progress, track
from mp_lib.system.stopping import Stop

log = logging.getLogger(__name__)

SAVE_SECONDS = 60.0
LOG_STEPS = 10


def train(
    config: TrainConfig,
    spec: TaskSpec,
    store: ReplayBuffer,
    folder: Path,
    *,
    device: str = "auto",
    jobs: int | None = 1,
    form: str = "torch",
) -> RunResult:
    """Train and evaluate one run in ``folder`` and return its result, which result.json also holds.

    A folder with a finished result is read, one with a half-finished training is resumed; one that was made with
    another configuration raises a ValueError, one that another process works in an InUseError, which is a
    RuntimeError. ``jobs`` processes simulate in evaluations (None: one a thread of torch's); ``form`` says how
    training steps are run: torch, compiled, or cuda, one CUDA graph. Ctrl-C and SIGTERM end the step in hand, save,
    and raise KeyboardInterrupt.
    """
    at_least_one(jobs=jobs)
    check_owner(folder, config, store)
    if not is_finished(folder):
        settle_jobs(jobs)  # an error now rather than at the first evaluation
    if not is_finished(folder) or leftovers(folder):
        # Beside the folder, which so holds results alone.
        with sole_user(folder.with_name(f".{folder.name}.lock"), str(folder)):
            for draft in folder.glob(".*.partial*"):  # of writers that were killed; each may be as large as a save
                draft.unlink()
            if not is_finished(folder):
                with torch.random.fork_rng(), same_threads():
                    run = Run(config, spec, store, folder, choose_device(device), jobs, form)
                    write_json(folder / "config.json", asdict(config))
                    run.complete()
            for leftover in leftovers(folder):
                leftover.unlink()
    return RunResult(**read_json(folder / "result.json"))


@contextlib.contextmanager
def same_threads() -> Iterator[None]:
    """Set the number of torch's threads back behind the block."""
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def training_windows(config: TrainConfig, store: ReplayBuffer) -> ActionWindows:
    """The windows that a run trains on."""
    kept, _ = split_episodes(store.num_demos, config.split)
    demo_episodes = [store.demo_episodes[place] for place in kept]
    lengths = {key: getattr(config, key) for key in ("horizon", "n_obs_steps", "n_action_steps")}
    return ActionWindows(store.read(config.num_points), store.episode_ends, demo_episodes=demo_episodes, **lengths)


def policy_config(config: TrainConfig, spec: TaskSpec) -> PolicyConfig:
    """The policy that a run trains: what both configurations name, and the task's sizes."""
    return config.policy(spec.state_dim, spec.action_dim)


class Run:
    """The stages of a run around its trainer."""

    def __init__(
        self,
        config: TrainConfig,
        spec: TaskSpec,
        store: ReplayBuffer,
        folder: Path,
        device: torch.device,
        jobs: int | None,
        form: str,
    ):
        self.store = store.check(spec)
        self.spec = spec.with_state(store.shapes["state"][0])
        self.config, self.folder, self.device, self.jobs = config, folder, device, jobs
        windows = training_windows(config, store)
        self.trainer = Trainer(config, policy_config(config, self.spec), windows, device, form)
        self.state = folder / TRAINING
        self.curve: list[dict] = []
        self.seconds = {"train": 0.0, "evaluate": 0.0}
        self.loss = float("nan")
        self.last_loss = torch.zeros(())
        self.saved, self.kept = time.perf_counter(), None  # when a save last began, and of which state

    def complete(self) -> None:
        """Go on from where the run was left, to its end, and write the result."""
        if self.state.exists():
            facts = self.resumed()
            refuse_difference(self.folder, "demonstrations", facts["demonstrations"], self.store.content_hash())
            self.curve, self.seconds, self.loss = facts["curve"], facts["seconds"], facts["loss"]
            torch.set_num_threads(facts.get("threads", torch.get_num_threads()))  # they decide the last bits
            log.info("%s: resumed at step %d", self.config.name, self.trainer.step)
        mirror = {"run": self.config.name, **asdict(self.config)}
        record = Metrics(self.folder / "metrics.jsonl", self.trainer.step, mirror)
        with contextlib.closing(record) as metrics, Stop() as stop:
            try:
                self.fit(metrics, stop)
            except KeyboardInterrupt:
                with stop.hold():
                    self.save()
                raise
            result = self.finish()
            rate = sum(result.final["successes"]) / len(result.final["successes"])
            metrics.write(self.trainer.step, final_success_rate=rate)
            # Before the record is closed, whose mirror may take a minute in which one may be killed.
            write_json(self.folder / "result.json", asdict(result))

    def resumed(self) -> dict:
        """Set the trainer to where it was saved, and return what was saved with it."""
        try:
            return self.trainer.resume(self.state)
        except ValueError as error:
            raise ValueError(f"{error}; or move it away, and this run begins anew") from error

    def fit(self, metrics: Metrics, stop: Stop) -> None:
        """Train to the last step; log, evaluate and save on the way."""
        trainer = self.trainer
        with track(trainer.num_steps, f"train {self.config.method}") as progress:
            progress.advance(trainer.step)
            while True:
                if self.evaluation_due():
                    with stop.hold():
                        self.save()
                    row = self.evaluate_curve()
                    with stop.hold():
                        self.curve.append(row)
                        metrics.write(trainer.step - 1, success_rate=row["successes"] / row["episodes"])
                if trainer.step >= trainer.num_steps:
                    break
                with stop.hold():
                    self.advance(metrics, progress)
                    if time.perf_counter() - self.saved > SAVE_SECONDS:
                        self.save()
        with stop.hold():
            self.save()

    def advance(self, metrics: Metrics, progress: Progress) -> None:
        """One step, and its row if it is one that is logged."""
        trainer, began = self.trainer, time.perf_counter()
        self.last_loss = trainer.update()
        progress.advance()
        if trainer.step % LOG_STEPS == 0 or trainer.step == trainer.num_steps:
            self.loss = self.finite()
            progress.note(f"loss {self.loss:.4f}")
            rate = trainer.learning_rate(trainer.step - 1)
            metrics.write(trainer.step - 1, loss=self.loss, learning_rate=rate)
        self.seconds["train"] += time.perf_counter() - began

    def save(self) -> None:
        """Save the trainer and what the result needs of the past, unless its weights have gone astray."""
        if self.kept == (self.trainer.step, len(self.curve)):
            return
        self.saved = time.perf_counter()
        self.check_weights()
        facts = {"curve": self.curve, "seconds": self.seconds, "loss": self.loss, "threads": torch.get_num_threads()}
        self.trainer.save(self.state, demonstrations=self.store.content_hash(), **facts)
        self.kept = self.trainer.step, len(self.curve)

    def check_weights(self) -> None:
        """Raise a RuntimeError if loss or weights are no numbers any more, so that such weights are never saved."""
        self.finite()
        for weights in (self.trainer.policy, self.trainer.average):
            if not all(bool(torch.isfinite(each).all()) for each in weights.parameters()):
                raise RuntimeError(self.astray("the weights are not finite"))

    def finite(self) -> float:
        """The last step's loss; a RuntimeError if it is not a number."""
        value = self.last_loss.item()
        if not math.isfinite(value):
            raise RuntimeError(self.astray(f"the loss is {value}"))
        return value

    def astray(self, what: str) -> str:
        """What to say of a training that does not learn any more."""
        return (
            f"{self.config.name}: {what} at step {self.trainer.step}; what was saved before is kept in {self.folder}; "
            f"look at the demonstrations, or train with a lower learning_rate than {self.config.learning_rate}"
        )

    def evaluation_due(self) -> bool:
        """Whether the last step ended an epoch after which the protocol evaluates, and that is still to be done.

        Those are the first epoch and every n-th from there on.
        """
        every, epoch = self.config.eval_every_epochs, self.trainer.ends_epoch()
        planned = every is not None and epoch is not None and epoch % every == 0
        return planned and all(row["step"] != self.trainer.step for row in self.curve)

    def evaluate(self, seeds: range, film: Path | None = None) -> list[Episode]:
        """Roll out the average weights, one episode a seed; a run that is stopped goes on behind the last group."""
        began = time.perf_counter()
        weights = checksum(self.trainer.average.state_dict(), {"step": self.trainer.step})
        origin = {"weights": weights, "commit": provenance.commit(), "device": device_name(self.device)}
        journal = Journal(self.folder / "training.episodes", origin, film)
        films = int(film is not None)
        episodes = rollout(self.trainer.average, self.spec, seeds, jobs=self.jobs, films=films, journal=journal)
        self.seconds["evaluate"] += time.perf_counter() - began
        return episodes

    def evaluate_curve(self) -> dict:
        """Evaluate on the protocol's seeds; the row of the curve."""
        episodes = self.evaluate(range(CURVE_SEEDS, CURVE_SEEDS + self.config.eval_episodes))
        successes = sum(episode.success for episode in episodes)
        return {"step": self.trainer.step, "successes": successes, "episodes": len(episodes)}

    def finish(self) -> RunResult:
        """Save the policy, evaluate it on fresh seeds, film the first episode, and say all that is known."""
        facts = {"task": self.config.task, "run": self.config.name, "step": self.trainer.step}
        save_policy(self.folder / CHECKPOINT, self.trainer.average, **facts)
        seeds = range(FINAL_SEEDS, FINAL_SEEDS + self.config.final_episodes)
        episodes = self.evaluate(seeds, self.folder / FILM)
        successes = [int(episode.success) for episode in episodes]
        interval = wilson_interval(sum(successes), len(seeds))
        parameters = sum(each.numel() for each in self.trainer.policy.parameters())
        attributes = self.store.attributes
        solved, tried = expert_record(attributes)
        return RunResult(
            config=json.loads(json.dumps(asdict(self.config))),
            demonstrations={
                "task": self.config.task,
                "expert": attributes.get("expert", "unknown"),
                "expert_rate": solved / tried if tried else None,
                "episodes": self.store.num_demos,
                "depth_backend": attributes.get("settings", {}).get("depth_backend", "unknown"),
                "content_hash": self.store.content_hash(),
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
            threads=torch.get_num_threads(),
        )
