"""Runs trained to their last steps: one alone, or several of one shape whose steps are taken together."""

from __future__ import annotations

import contextlib
import logging
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor

import torch
from torch import Tensor

from mp_lib.learning.group import stepper
from mp_lib.learning.stages import Run
from mp_lib.system.errors import Stopped
from mp_lib.system.notebook import in_notebook
from mp_lib.system.progress import Progress, track
from mp_lib.system.stopping import Stop

log = logging.getLogger(__name__)

SAVE_SECONDS = 60.0  # between saves, or longer, so that they take at most
SAVE_SHARE = 0.05  # of the time
BESIDE = ("cuda",)  # types of devices on which the cores simulate while the training goes on


class Fit:
    """Takes the steps of runs, and does between two steps what each of them needs.

    A run that fails keeps its error as ``failure``, and the others go on. To run out of memory is nobody's failure: it
    is raised, as every KeyboardInterrupt is, after which all that was reached is saved.
    """

    def __init__(self, runs: Sequence[Run], stop: Stop):
        self.runs, self.stop = runs, stop
        self.beside = ThreadPoolExecutor(1) if runs[0].device.type in BESIDE else None
        self.progress: Progress | None = None
        # Several are saved at once, which tells how long that takes.
        self.next_save = time.perf_counter() + (SAVE_SECONDS if len(runs) == 1 else 0)

    def complete(self) -> None:
        """Go on from where each run was left, to its end, and write its result."""
        with contextlib.ExitStack() as stack:
            if self.beside:
                stack.callback(self.beside.shutdown, cancel_futures=True)
                stack.callback(self.runs[0].player.simulators.close)  # ends a rollout that nobody waits for any more
            for run in self.runs:
                with self.attempt(run):
                    run.begin(self.beside)
                    stack.callback(run.metrics.close)
            title = self.runs[0].config.method + (f", {len(self.runs)} together" if len(self.runs) > 1 else "")
            steps = sum(run.trainer.num_steps for run in self.runs)
            self.progress = stack.enter_context(track(steps, f"train {title}"))
            self.progress.advance(sum(run.trainer.step for run in self.runs))
            try:
                self.fit()
            except KeyboardInterrupt as stopped:
                with self.stop.hold():
                    self.save([run for run in self.runs if run.active])
                made = sum(run.trainer.step for run in self.runs)
                again = "this cell" if in_notebook() else "it"
                raise Stopped(f"Stopped at step {made} of {steps}, saved; run {again} again to go on.") from stopped

    @contextlib.contextmanager
    def attempt(self, run: Run) -> Iterator[None]:
        """Keep an error of the block as the run's failure."""
        try:
            yield
        except torch.OutOfMemoryError:
            raise
        except Exception as error:
            run.failure = error

    def fit(self) -> None:
        """Take steps until no run has any left."""
        members: list[Run] = []
        while True:
            for run in self.runs:
                if run.active:
                    with self.attempt(run):
                        self.look_after(run)
            going = [run for run in self.runs if run.active]
            if not going:
                return
            if going != members:
                members, take = going, stepper([run.trainer for run in going])
            with self.stop.hold():
                self.advance(members, take)
                if time.perf_counter() > self.next_save:
                    self.save(members)

    def look_after(self, run: Run) -> None:
        """Evaluate a run if that is due, and finish it behind its last step."""
        run.collect(wait=False)
        if run.evaluation_due():
            run.collect(wait=True)
            if not self.beside:
                with self.stop.hold():
                    run.save()
            run.evaluate_curve(self.beside)
            with self.stop.hold():
                run.collect(wait=not self.beside)
        with self.stop.hold():
            run.look_aside()
        if run.trainer.step >= run.trainer.num_steps:
            run.collect(wait=True)
            with self.stop.hold():
                run.save()
            run.end()

    def advance(self, members: list[Run], take: Callable[[], Tensor]) -> None:
        """One step of the members, and their rows if it is one that is logged."""
        began = time.perf_counter()
        for run, loss in zip(members, take(), strict=True):
            with self.attempt(run):
                if words := run.note(loss):
                    self.progress.note(words, run.loss if len(members) == 1 else None)
        self.progress.advance(len(members))
        for run in members:
            run.seconds["train"] += (time.perf_counter() - began) / len(members)

    def save(self, members: list[Run]) -> None:
        """Save them, and choose when to do so again."""
        began = time.perf_counter()
        for run in members:
            with self.attempt(run):
                run.save()
        took = time.perf_counter() - began
        pause = max(SAVE_SECONDS, took / SAVE_SHARE)
        self.next_save = began + pause
        if pause > SAVE_SECONDS:
            log.info("saving %d runs took %.0f s; a kill loses at most the last %.0f s", len(members), took, pause)
