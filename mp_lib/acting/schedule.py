"""When a chunk is computed and which of its actions are executed: in turn, ahead in the background, or averaged.

A schedule's ``action(ask)`` is the action of this step; ``ask`` takes the history as it is and returns what
computes the actions from this step on, (T - To + 1, A) or fewer where the newest frame is older. It raises a CannotAct
where there is none. ``drop`` forgets what was planned.
"""

from __future__ import annotations

import logging
import math
import statistics
import threading
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from dataclasses import dataclass

import numpy as np

from mp_lib.acting.holding import LATE, CannotAct, Report
from mp_lib.geometry.absolute import nearest
from mp_lib.geometry.kinds import Layout

log = logging.getLogger(__name__)

Compute = Callable[[], np.ndarray]
Ask = Callable[[], Compute]
Start = Callable[[Compute], Future]
RECENT = 20  # steps and answers that a forecast rests on
MARGIN = 1.2  # by which an answer may take longer than the longest of these
KNOWN = 3  # steps of which the length is known well enough


def in_background(compute: Compute) -> Future:
    """Start computing in a thread of its own, which the program waits for when it ends."""
    future: Future = Future()

    def run() -> None:
        try:
            future.set_result(compute())
        except BaseException as error:  # handed on to whoever asks for the result
            future.set_exception(error)

    # No daemon: ONNX Runtime aborts the process if Python ends while it computes.
    threading.Thread(target=run, name="mp_lib chunk").start()
    return future


class InTurn:
    """Computes a chunk when the last one was executed, while the arm waits."""

    def __init__(self, n_action_steps: int):
        self.n_action_steps = n_action_steps
        self.left: deque[np.ndarray] = deque()

    def action(self, ask: Ask) -> np.ndarray:
        """The next action of the chunk, of a new one where it has ended."""
        if not self.left:
            self.left.extend(ask()()[: self.n_action_steps])
        return self.left.popleft()

    def drop(self) -> None:
        """Forget the rest of the chunk."""
        self.left.clear()


class Averaged:
    """Computes a chunk at every step and averages what all that tell this step have for it.

    The weights are exp(-coeff i), i = 0 the oldest (ACT, arXiv 2304.13705, algorithm 2). Of angles and orientations the
    forms nearest to the newest are averaged.
    """

    def __init__(self, coeff: float, layout: Layout | None):
        self.coeff, self.layout = coeff, layout
        self.chunks: deque[np.ndarray] = deque()  # what is left of each, from this step on

    def action(self, ask: Ask) -> np.ndarray:
        """The average for this step."""
        self.chunks = deque(chunk[1:] for chunk in self.chunks if len(chunk) > 1)
        self.chunks.append(ask()())
        told = np.stack([chunk[0] for chunk in self.chunks])
        if self.layout:
            told = np.stack([nearest(each[None], told[-1], self.layout)[0] for each in told])
        weights = np.exp(-self.coeff * np.arange(len(told)))
        return (weights[:, None] * told).sum(0) / weights.sum()

    def drop(self) -> None:
        """Forget all chunks."""
        self.chunks.clear()


class Pace:
    """How many steps an answer takes, by the lengths of recent steps and answers."""

    def __init__(self):
        self.steps: deque[float] = deque(maxlen=RECENT)
        self.answers: list[float] = []  # replaced and not changed, since another thread writes it
        self.last: float | None = None

    def step(self, now: float) -> None:
        """A step begins."""
        if self.last is not None:
            self.steps.append(now - self.last)
        self.last = now

    def answer(self, seconds: float) -> None:
        """The policy has answered."""
        self.answers = [*self.answers, seconds][-RECENT:]

    def lead(self) -> int:
        """By how many steps a chunk is to be asked for ahead; 1 before that is known."""
        step = statistics.median(self.steps) if len(self.steps) >= KNOWN else 0
        return max(1, math.ceil(MARGIN * max(self.answers, default=0) / step)) if step > 0 else 1


@dataclass
class Pending:
    """A chunk that is being computed, and how many actions were ``executed`` since the frame it is computed from.

    It is ``late`` once the arm had to wait for it; of one that was asked for when nothing was planned that is no delay.
    One that was ``dropped`` is not executed.
    """

    future: Future
    late: bool
    executed: int = 0
    dropped: bool = False


class Ahead:
    """Computes the next chunk in the background while the last is executed.

    It is asked for when no more than ``lead()`` actions are left, and its first ones, for the steps that were executed
    meanwhile, are skipped. If it has not come when they are all executed, the arm holds; steps at which it held are not
    skipped, since it stood still. The first chunk of an episode is waited for: there is nothing to hold yet. While one
    that was dropped is still computed no other is asked for: each would wait for the one before.
    """

    def __init__(self, n_action_steps: int, lead: Callable[[], int], report: Report, start: Start = in_background):
        self.n_action_steps, self.lead, self.report, self.start = n_action_steps, lead, report, start
        self.left: deque[np.ndarray] = deque()
        self.pending: Pending | None = None
        self.begun = False

    def action(self, ask: Ask) -> np.ndarray:
        """The next action; a CannotAct where none has come in time, or the policy has failed in the background."""
        if not self.begun:
            self.take(ask()(), 0)
            self.begun = True
        self.take_up()
        if self.pending is None and len(self.left) <= self.lead():
            self.pending = Pending(self.start(ask()), late=not self.left)
            self.take_up()
        if not self.left:
            self.report.late += not self.pending.late
            self.pending.late = True
            raise CannotAct(LATE, "the next chunk has not come in time")
        if self.pending:
            self.pending.executed += 1
        return self.left.popleft()

    def take_up(self) -> None:
        """Go on with the chunk that was computed, if the last one has ended and it is there."""
        if self.pending is None or not self.pending.future.done() or self.left:
            return
        pending, self.pending = self.pending, None
        if pending.dropped:
            return
        try:
            chunk = pending.future.result()
        except CannotAct:
            raise
        except BaseException as error:
            log.error("the policy failed in the background", exc_info=error)
            said = f"the policy failed in the background ({type(error).__name__}: {error}); reset() begins anew"
            raise CannotAct("policy failed", said) from error
        self.take(chunk, pending.executed)

    def take(self, chunk: np.ndarray, executed: int) -> None:
        """Let these be the actions to execute, but for those that were meanwhile."""
        self.left.extend(chunk[executed:][: self.n_action_steps])

    def drop(self) -> None:
        """Forget the chunk, and the one that is being computed, which has to end all the same."""
        self.left.clear()
        if self.pending:
            self.pending.dropped = self.pending.late = True
