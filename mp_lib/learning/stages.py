"""The stages of one run around its trainer: resumed, logged, evaluated, saved, finished."""

from __future__ import annotations

import json
import logging
import math
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from dataclasses import asdict
from pathlib import Path

import numpy as np
import torch
from torch import Tensor

from mp_lib.config import CURVE_SEEDS, FINAL_SEEDS
from mp_lib.data.recording import expert_record, rate_of
from mp_lib.data.seen import save_seen
from mp_lib.learning.beginning import beginning, may_have_seen, words_of
from mp_lib.learning.folder import FILM, kept_policy, refuse_difference
from mp_lib.learning.held_out import MOMENTS, HeldOut, windows_of
from mp_lib.learning.journal import Journal
from mp_lib.learning.metrics import Metrics
from mp_lib.learning.player import Player
from mp_lib.learning.result import UNSAID, How, RunResult
from mp_lib.learning.simulators import Episode
from mp_lib.learning.start import beyond
from mp_lib.learning.trainer import Trainer
from mp_lib.learning.training import Training, policy_config
from mp_lib.model.checkpoint import checksum, save_policy
from mp_lib.model.weights import CHECKPOINT, SEEN, TRAINING
from mp_lib.statistics import wilson_interval
from mp_lib.system import provenance
from mp_lib.system.device import device_name, peak_memory
from mp_lib.system.files import write_json

log = logging.getLogger(__name__)

LOG_STEPS = 10


class Run:
    """A run's trainer and all that is written of it; ``mp_lib.learning.fitting.fit`` says when.

    Evaluations of its curve are rolled out by ``player``.
    """

    def __init__(self, training: Training, how: How, player: Player):
        self.config, spec, store, self.folder, init, self.save_every = training
        config = self.config
        self.store = store.check(spec)
        self.spec = spec.with_state(store.shapes["state"][0])
        self.how, self.player, self.device = how, player, player.device
        self.windows, apart = windows_of(config, store, self.spec)
        self.held_out = HeldOut(config, store, self.spec, apart, self.windows) if apart else None
        weights, self.origin = beginning(config, init)
        policy = policy_config(config, self.spec)
        self.trainer = Trainer(config, policy, self.windows, self.device, how.form, weights)
        if weights:
            self.origin["beyond"] = beyond(self.trainer.policy, self.windows)
            if self.held_out:
                self.origin["may_have_seen"] = may_have_seen(init, store, self.held_out.episodes)
            level = logging.WARNING if self.origin.get("may_have_seen") else logging.INFO
            log.log(level, "%s: %s", config.name, words_of(self.origin))
        self.state = self.folder / TRAINING
        self.errors: list[dict] = []  # on the episodes held out, {step, share} at a few ``moments``
        self.moments = {int(step) for step in np.linspace(0, self.trainer.num_steps, MOMENTS + 1)} - {0}
        self.curve: list[dict] = []
        self.seconds = {"train": 0.0, "evaluate": 0.0}
        self.loss = float("nan")
        self.last_loss = torch.zeros(())
        self.saved_at: tuple | None = None  # the state that a save last held
        self.failure: Exception | None = None
        self.finished = False
        self.waiting: tuple[int, dict[str, Tensor] | None, Future] | None = None  # an evaluation of a step's weights

    def begin(self, beside: Executor | None) -> None:
        """Go on from what was saved, if anything was, and open the record of what is measured."""
        if self.state.exists():
            self.resume(beside)
        mirror = {"run": self.config.name, **asdict(self.config)}
        self.metrics = Metrics(self.folder / "metrics.jsonl", self.trainer.step, mirror)

    def resume(self, beside: Executor | None) -> None:
        """Set trainer and past to what was saved."""
        try:
            facts, weights = self.trainer.resume(self.state)
        except ValueError as error:
            raise ValueError(f"{error}; or move it away, and this run begins anew") from error
        refuse_difference(self.folder, "demonstrations", facts["demonstrations"], self.store.content_hash())
        self.curve, self.seconds, self.loss = facts["curve"], facts["seconds"], facts["loss"]
        self.errors = facts.get("errors", [])
        torch.set_num_threads(facts.get("threads", torch.get_num_threads()))  # they decide the last bits
        log.info("%s: resumed at step %d", self.config.name, self.trainer.step)
        if weights:
            self.start_evaluation(facts["waiting"], weights, beside)

    @property
    def active(self) -> bool:
        """Whether something is still to be done, and can be."""
        return not (self.finished or self.failure)

    def note(self, loss: Tensor) -> str:
        """Write the last step's row if it is one that is logged; returns its loss in words, if it was read."""
        trainer = self.trainer
        self.last_loss = loss
        if trainer.step % LOG_STEPS and trainer.step != trainer.num_steps:
            return ""
        self.loss = self.finite()
        rate = trainer.learning_rate(trainer.step - 1)
        self.metrics.write(trainer.step - 1, loss=self.loss, learning_rate=rate)
        last = self.curve[-1] if self.curve else None
        told = f", {last['successes']} of {last['episodes']} solved at step {last['step']}" if last else ""
        if self.errors:
            told += f", off by {100 * self.errors[-1]['share']:.1f} % at step {self.errors[-1]['step']}"
        return f"loss {self.loss:.4f}{told}"

    def save(self) -> None:
        """Save the trainer and what the result needs of the past, unless its weights have gone astray."""
        if self.saved_at == (self.trainer.step, len(self.curve)):
            return
        self.check_weights()
        step, weights, _ = self.waiting or (None, None, None)
        self.trainer.save(
            self.state,
            weights,
            demonstrations=self.store.content_hash(),
            curve=self.curve,
            errors=self.errors,
            seconds=self.seconds,
            loss=self.loss,
            threads=torch.get_num_threads(),
            how=asdict(self.how),
            waiting=step,
        )
        self.saved_at = self.trainer.step, len(self.curve)

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

    def look_aside(self) -> None:
        """Compare with the episodes held out, and keep the policy, behind steps where that is due."""
        step = self.trainer.step
        if self.held_out and step in self.moments and step not in [row["step"] for row in self.errors]:
            began = time.perf_counter()
            self.check_weights()
            share = self.held_out.glance(self.trainer.average)
            self.errors.append({"step": step, "share": share})
            self.metrics.write(step - 1, held_out_error=share)
            self.seconds["evaluate"] += time.perf_counter() - began
        path = kept_policy(self.folder, step)
        if self.save_every and step and step % self.save_every == 0 and not path.exists():
            self.check_weights()
            path.parent.mkdir(exist_ok=True)
            self.save_ranges()
            save_policy(path, self.trainer.average, **self.facts())

    def save_ranges(self) -> None:
        """Write what the policy was trained on, by which limits and grippers are known when it acts."""
        save_seen(self.folder / SEEN, self.windows)

    def facts(self) -> dict:
        """What a policy's file says of it beside its numbers."""
        told = {"task": self.config.task, "run": self.config.name, "step": self.trainer.step}
        rate = rate_of(self.store.attributes)
        return told | ({} if self.spec.simulated else {"simulated": False}) | ({"fps": rate} if rate else {})

    def evaluation_due(self) -> bool:
        """Whether the last step ended an epoch after which the protocol evaluates, and that is still to be done.

        Those are the first epoch and every n-th from there on.
        """
        every, epoch, step = self.config.eval_every_epochs, self.trainer.ends_epoch(), self.trainer.step
        planned = self.spec.simulated and every is not None and epoch is not None and epoch % every == 0
        begun = [row["step"] for row in self.curve] + ([self.waiting[0]] if self.waiting else [])
        return planned and step not in begun

    def evaluate_curve(self, beside: Executor | None) -> None:
        """Begin the evaluation of the average as it is now, of a copy where the training goes on beside it."""
        weights = None
        if beside:
            weights = {name: value.clone() for name, value in self.trainer.average.state_dict().items()}
        self.start_evaluation(self.trainer.step, weights, beside)

    def start_evaluation(self, step: int, weights: dict[str, Tensor] | None, beside: Executor | None) -> None:
        """Begin an evaluation on the curve's seeds, beside the training or, without an executor, at once."""
        seeds = range(CURVE_SEEDS, CURVE_SEEDS + self.config.eval_episodes)
        submit: Callable = beside.submit if beside else call_now
        self.waiting = step, weights, submit(self.evaluate, step, weights, seeds)

    def collect(self, wait: bool) -> None:
        """Add the row of an evaluation that has ended to the curve; ``wait`` for it."""
        if self.waiting and (wait or self.waiting[2].done()):
            step, _, future = self.waiting
            episodes, seconds = future.result()
            successes = sum(episode.success for episode in episodes)
            self.waiting = None
            self.seconds["evaluate"] += seconds
            self.curve.append({"step": step, "successes": successes, "episodes": len(episodes)})
            self.metrics.write(step - 1, success_rate=successes / len(episodes))

    def evaluate(
        self, step: int, weights: dict[str, Tensor] | None, seeds: range, film: Path | None = None
    ) -> tuple[list[Episode], float]:
        """Roll weights out, by default the average, one episode a seed; the episodes and the seconds.

        What was stopped goes on behind the last group of episodes.
        """
        began = time.perf_counter()
        state = weights or self.trainer.average.state_dict()
        with self.player.own_stream():  # else each weight would wait for all steps that are queued
            origin = {"weights": checksum(state, {"step": step}), "commit": provenance.commit()}
        origin["device"] = device_name(self.device)
        journal = Journal(self.folder / "training.episodes", origin, film)
        episodes = self.player.play(self.trainer.average, weights, self.spec, seeds, int(film is not None), journal)
        return episodes, time.perf_counter() - began

    def finish(self) -> RunResult:
        """Save the policy, evaluate it, and say all that is known."""
        self.save_ranges()
        save_policy(self.folder / CHECKPOINT, self.trainer.average, **self.facts())
        final, held_out = self.score(), self.compare()
        attributes = self.store.attributes
        solved, tried = expert_record(attributes)
        return RunResult(
            config=json.loads(json.dumps(asdict(self.config))),
            demonstrations={
                "task": self.config.task,
                "expert": attributes.get("expert", UNSAID),
                "expert_rate": solved / tried if tried else None,
                "episodes": self.store.num_demos - (len(self.held_out.episodes) if self.held_out else 0),
                "depth_backend": attributes.get("settings", {}).get("depth_backend", "unknown"),
                "content_hash": self.store.content_hash(),
            },
            curve=self.curve,
            final=final,
            loss=self.loss,
            parameters=sum(each.numel() for each in self.trainer.policy.parameters()),
            seconds=self.seconds,
            peak_memory_bytes=peak_memory(self.device) // self.how.group,
            device=device_name(self.device),
            commit=provenance.commit(),
            versions=provenance.versions(self.spec.package),
            threads=torch.get_num_threads(),
            how=asdict(self.how),
            held_out=held_out,
            origin=self.origin,
        )

    def score(self) -> dict | None:
        """How the policy does on fresh seeds, the first of which is filmed; None where nothing can be simulated."""
        if not self.spec.simulated:
            return None
        seeds = range(FINAL_SEEDS, FINAL_SEEDS + self.config.final_episodes)
        episodes, seconds = self.evaluate(self.trainer.step, None, seeds, self.folder / FILM)
        self.seconds["evaluate"] += seconds
        successes = [int(episode.success) for episode in episodes]
        interval = wilson_interval(sum(successes), len(seeds))
        return {"seeds": list(seeds), "successes": successes, "interval": interval}

    def compare(self) -> dict | None:
        """How far the policy is from what was done in the episodes held out; None where none were."""
        return self.held_out.measure(self.trainer.average) | {"curve": self.errors} if self.held_out else None

    def end(self) -> None:
        """Finish, and write the result before the record is closed, whose mirror may take a minute to be killed in."""
        result = self.finish()
        if result.final:
            rate = sum(result.final["successes"]) / len(result.final["successes"])
            self.metrics.write(self.trainer.step, final_success_rate=rate)
        write_json(self.folder / "result.json", asdict(result))
        self.finished = True


def call_now(function: Callable, *arguments) -> Future:
    """A future of what was called here and now."""
    done: Future = Future()
    done.set_result(function(*arguments))
    return done
