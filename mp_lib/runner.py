"""Runs steps: what is done is skipped, what can run side by side does, and bars say how far it is."""

from __future__ import annotations

import sys
import time

from tqdm import tqdm

from mp_lib.steps import Execution, Step
from mp_lib.workers import usable_cores

POLL_SECONDS = 0.5
LINE_SECONDS = 30  # between lines about what runs, where there is no terminal to draw bars on


class Runner:
    """Runs ``steps``, at most ``jobs`` at a time."""

    def __init__(self, steps: list[Step], jobs: int):
        self.waiting, self.jobs = list(steps), jobs
        self.total = len(steps)
        self.running: list[Execution] = []
        self.finished: set[str] = set()
        self.failed: list[str] = []
        self.screen = Bars() if sys.stderr.isatty() else Lines()

    def run(self) -> list[str]:
        """Run to the end and return the names of the steps that failed or could not run."""
        try:
            while self.waiting or self.running:
                self.start_ready()
                self.collect_ended()
                self.screen.show(self.running)
                if self.running:
                    time.sleep(POLL_SECONDS)
        finally:
            for execution in self.running:
                execution.stop()
            self.screen.close()
        return self.failed

    def start_ready(self) -> None:
        """Start steps, or skip them, as far as cores and what they need allow."""
        for step in list(self.waiting):
            if any(name in self.failed for name in step.needs):
                self.waiting.remove(step)
                self.failed.append(step.name)
                self.screen.say(f"      not run: {step.title}, since a step before it failed")
            elif self.is_ready(step) and self.has_room(step):
                self.waiting.remove(step)
                if step.is_done():
                    self.finished.add(step.name)
                    self.screen.say(f"{self.place()} there already: {step.title}")
                else:
                    self.running.append(Execution(step, max(1, usable_cores() // self.jobs)))

    def is_ready(self, step: Step) -> bool:
        """Whether all steps before it have ended, and those that it needs well."""
        return self.finished.issuperset(step.needs) and self.finished.union(self.failed).issuperset(step.after)

    def has_room(self, step: Step) -> bool:
        """Whether the step may start beside those that run; one that uses all cores waits for them."""
        busy = sum(execution.step.cores for execution in self.running)
        return busy + min(step.cores, self.jobs) <= self.jobs

    def collect_ended(self) -> None:
        """Note which processes have ended, and how."""
        for execution in [each for each in self.running if each.process.poll() is not None]:
            self.running.remove(execution)
            step, seconds = execution.step, execution.seconds
            if execution.process.returncode == 0:
                step.finish(execution.key, seconds)
                self.finished.add(step.name)
                self.screen.say(f"{self.place()} {step.title}: {spell_seconds(seconds)}")
            else:
                self.failed.append(step.name)
                self.screen.say(f"      FAILED: {step.title}: {execution.error()} (see {step.log})")

    def place(self) -> str:
        """E.g. "[ 3/14]"."""
        return f"[{len(self.finished):2d}/{self.total}]"


class Bars:
    """One bar a running step, on a terminal."""

    def __init__(self):
        self.bars: dict[str, tqdm] = {}

    def say(self, text: str) -> None:
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()

    def show(self, running: list[Execution]) -> None:
        for name in self.bars.keys() - {execution.step.name for execution in running}:
            self.bars.pop(name).close()
        for execution in running:
            bar = self.bars.get(execution.step.name)
            if bar is None:
                bar = self.bars[execution.step.name] = tqdm(desc=execution.step.title, leave=False, dynamic_ncols=True)
            if progress := execution.progress():
                bar.total, bar.n = progress["total"], progress["done"]
                bar.set_description(f"{execution.step.title}: {progress['description']}", refresh=False)
            bar.refresh()

    def close(self) -> None:
        for bar in self.bars.values():
            bar.close()


class Lines:
    """A line now and then about what runs, where nothing can be redrawn."""

    def __init__(self):
        self.last = time.monotonic()

    def say(self, text: str) -> None:
        print(text, flush=True)

    def show(self, running: list[Execution]) -> None:
        if time.monotonic() - self.last < LINE_SECONDS:
            return
        self.last = time.monotonic()
        for execution in running:
            progress = execution.progress()
            state = "{description} {done}/{total}".format(**progress) if progress else "starting"
            print(f"      … {execution.step.title}: {state}, {spell_seconds(execution.seconds)}", flush=True)

    def close(self) -> None:
        pass


def spell_seconds(seconds: float) -> str:
    """E.g. "3 min 05 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
