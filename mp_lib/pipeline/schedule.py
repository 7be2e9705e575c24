"""When steps end that run side by side: how long they take, and how long those take that are left."""

from __future__ import annotations

import functools
import heapq
import logging
import time
from collections.abc import Iterable, Mapping, Sequence

from mp_lib.config import TrainConfig
from mp_lib.pipeline.estimates import Estimate, Estimator
from mp_lib.pipeline.steps import Execution, Step
from mp_lib.system.provenance import file_hash

log = logging.getLogger(__name__)

UNKNOWN = "the time left is not known: %s: %s"
COUNTED = {  # how a step's own bar begins
    "recording": "record ",
    **dict.fromkeys(("group", "training"), "train "),
    "evaluation": "roll out ",
}
TELLING_SECONDS = 10  # of a bar before its speed is believed: first steps are slow
THINK_SECONDS = 5  # between two estimates of what is left, which cost milliseconds each


def due_steps(steps: Sequence[Step]) -> list[Step]:
    """Those that a call would run, in their order: not done, or behind one that is due."""
    digest, due = functools.cache(file_hash), {}
    for step in steps:
        if due.keys() & {*step.needs, *step.after} or not step.is_done(digest):
            due[step.name] = step
    return [*due.values()]


def makespan(steps: Sequence[Step], seconds: Mapping[str, float], workers: int) -> float:
    """How long the steps take on so many workers; the first that is ready and finds room starts, in their order.

    A step takes as many workers as its ``cores``, or all. What it waits for and is not among the steps has ended.
    """
    names = {step.name for step in steps}
    before = {step.name: names & {*step.needs, *step.after} for step in steps}
    waiting, running, done, now, free = list(steps), [], set(), 0.0, workers
    while waiting or running:
        for step in list(waiting):
            room = min(step.cores, workers)
            if room <= free and done >= before[step.name]:
                waiting.remove(step)
                heapq.heappush(running, (now + seconds[step.name], step.name, room))
                free -= room
            if not free:
                break
        now, name, room = heapq.heappop(running)
        done.add(name)
        free += room
    return now


def shortest(steps: Sequence[Step], seconds: Mapping[str, float], workers: int) -> float:
    """``makespan`` on so many workers or fewer: starting in order, more workers may be slower (Graham 1966)."""
    return min(makespan(steps, seconds, count) for count in range(1, workers + 1))


class TimeLeft:
    """How long a call still takes: what was estimated, set right by what its steps have taken.

    ``estimates`` are those of the steps that are due, None where nothing is known; a step that is not among them is
    skipped. An estimate of other devices counts once a step of that kind has shown here what it is worth.
    """

    def __init__(self, estimates: Mapping[str, Estimate | None], jobs: int):
        self.estimates, self.jobs, self.running = estimates, jobs, list[Step]()
        self.ended: dict[str, list[tuple[float, float]]] = {}  # by kind: seconds taken and estimated
        self.begun: dict[str, tuple[float, int]] = {}  # by step: where its bar was when it was first seen
        self.seen: dict[str, tuple[float, int, int]] = {}  # and last: second of the step, done, total
        self.thought, self.said = float("-inf"), ""

    @classmethod
    def of(
        cls, steps: Sequence[Step], runs: Mapping[str, TrainConfig], jobs: int, device: str, threads: float
    ) -> TimeLeft:
        """Of these steps, whose ``runs`` are as ``Estimator`` takes them; it knows nothing where looking fails."""
        try:
            estimator = Estimator(runs, device, threads)
            return cls({step.name: estimator.of(step) for step in due_steps(steps)}, jobs)
        except Exception as error:  # no estimate is worth a run
            log.warning(UNKNOWN, type(error).__name__, error)
            return cls({step.name: None for step in steps}, jobs)

    def end(self, step: Step, seconds: float) -> None:
        """Learn from a step that has ended well."""
        estimate = self.estimates.get(step.name)
        self.ended.setdefault(step.kind, []).append((seconds, estimate.seconds if estimate else 0.0))

    def words(self, waiting: Iterable[Step], running: Iterable[Execution]) -> str:
        """E.g. "about 1 h 20 min left"; empty while nothing is known, and whatever goes wrong."""
        if time.monotonic() - self.thought >= THINK_SECONDS:
            self.thought = time.monotonic()
            try:
                left = self.left(waiting, running)
            except Exception as error:  # no estimate is worth a run
                log.warning(UNKNOWN, type(error).__name__, error)
                self.thought, left = float("inf"), None
            self.said = "" if left is None else f"about {spell(left)} left" if left >= 60 else "less than a minute left"
        return self.said

    def left(self, waiting: Iterable[Step], running: Iterable[Execution]) -> float | None:
        """Seconds until the last step ends; None if that is not known yet."""
        running = list(running)
        for execution in running:
            self.look(execution)
        self.running = [execution.step for execution in running]
        due = [*self.running]
        seconds = {execution.step.name: self.of_running(execution) for execution in running}
        for step in waiting:
            if step.name in self.estimates:
                due.append(step)
                seconds[step.name] = self.of_waiting(step)
        return None if None in seconds.values() else makespan(due, seconds, self.jobs) if due else None

    def look(self, execution: Execution) -> None:
        """Note how far a running step's own bar is."""
        step, progress = execution.step, execution.progress()
        if progress and progress["description"].startswith(COUNTED.get(step.kind, "\n")):
            second, done = execution.seconds, progress["done"]
            self.begun.setdefault(step.name, (second, done))
            if self.seen.get(step.name, (0, -1))[1] != done:  # a bar that is full stands there for a while
                self.seen[step.name] = second, done, progress["total"]

    def pace(self, step: Step) -> tuple[float, float] | None:
        """Seconds of its bar that a running step has taken, and the share of the bar in them; None if too few."""
        if step.name not in self.seen:
            return None
        (began, first), (second, done, total) = self.begun[step.name], self.seen[step.name]
        known = second - began >= TELLING_SECONDS and done > first
        return (second - began, (done - first) / (total - first)) if known else None

    def ratio(self, kind: str) -> float | None:
        """What steps of a kind take here, as a multiple of what was estimated; None if none has shown it."""
        pairs = [pair for pair in self.ended.get(kind, []) if pair[1]]
        for step in (step for step in self.running if step.kind == kind):
            pace, estimate = self.pace(step), self.estimates.get(step.name)
            pairs += [(pace[0], pace[1] * estimate.counted)] if pace and estimate and estimate.counted else []
        taken, expected = (sum(each) for each in zip(*pairs, strict=True)) if pairs else (0.0, 0.0)
        return taken / expected if expected else None

    def of_waiting(self, step: Step) -> float | None:
        """Seconds of a step that has not begun."""
        estimate, ratio = self.estimates[step.name], self.ratio(step.kind)
        if estimate is None:
            taken = [seconds for seconds, _ in self.ended.get(step.kind, [])]
            return sum(taken) / len(taken) if taken else None
        return None if estimate.foreign and ratio is None else estimate.seconds * (ratio or 1.0)

    def of_running(self, execution: Execution) -> float | None:
        """Seconds until a running step ends: by the speed of its bar where that is known, else by its estimate."""
        step, pace = execution.step, self.pace(execution.step)
        if pace is None:
            whole = self.of_waiting(step) if step.name in self.estimates else None
            return None if whole is None else max(0.0, whole - execution.seconds)
        (taken, share), estimate = pace, self.estimates.get(step.name)
        behind = (estimate.seconds - estimate.counted) if estimate and estimate.counted else 0.0
        since = execution.seconds - self.seen[step.name][0]
        return max(0.0, taken * (1 - share) / share + behind - since)


def spell(seconds: float) -> str:
    """E.g. "1 h 20 min"; "45 s" below a minute and a half, "60 h" above two days."""
    minutes = round(seconds / 60)
    if minutes >= 48 * 60:
        return f"{round(seconds / 3600):,} h"
    if seconds < 90:
        return f"{round(seconds)} s"
    return f"{minutes // 60} h {minutes % 60:02d} min" if minutes >= 60 else f"{minutes} min"
