"""Runs the steps that are due, as many side by side as there is room for; bars say how far it is."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import sys
import time
from collections.abc import Mapping, Sequence

from tqdm import tqdm

from mp_lib.pipeline.schedule import TimeLeft
from mp_lib.pipeline.steps import ON_GPU, Execution, Step
from mp_lib.sim.backend import egl_device
from mp_lib.system.locks import InUseError, sole_user
from mp_lib.system.paths import step_path
from mp_lib.system.stopping import Stop
from mp_lib.system.workers import usable_cores

POLL_SECONDS = 0.5
STOP_SECONDS = 60  # from a signal to the end of all that runs; mostly it takes two, 4 GB of weights take longer
LINE_SECONDS = 30  # between lines about what runs, where there is no terminal to draw bars on


class Runner:
    """Runs ``steps``, at most ``jobs`` at a time, those that compute on a GPU spread over ``gpus``.

    ``gpus`` are numbers or names as CUDA_VISIBLE_DEVICES takes them; if there are fewer than ``jobs``, they are shared.
    A step has ``threads``, by default its share of the cores. One that another process runs is waited for. What is
    printed says how long all of them still take if there is a ``clock``.
    """

    def __init__(
        self,
        steps: list[Step],
        jobs: int,
        gpus: Sequence[str] = (),
        threads: int | None = None,
        clock: TimeLeft | None = None,
    ):
        self.waiting, self.jobs, self.gpus = list(steps), jobs, gpus
        self.threads = threads or max(1, usable_cores() // jobs)
        self.total, self.clock = len(steps), clock or TimeLeft({}, jobs)
        self.running: list[Execution] = []
        self.finished: set[str] = set()
        self.failed: list[str] = []
        self.elsewhere: set[str] = set()
        self.screen = Bars() if sys.stderr.isatty() else Lines()
        self.stop = Stop()

    def run(self) -> list[str]:
        """Run to the end and return the names of the steps that failed or could not run."""
        with self.stop:
            try:
                while self.waiting or self.running:
                    self.start_ready()
                    with self.stop.hold():
                        self.collect_ended()
                        self.screen.show(self.running, self.clock.words(self.waiting, self.running))
                    if self.running or self.elsewhere:
                        time.sleep(POLL_SECONDS)
            finally:
                with self.stop.hold():
                    self.end()
        return self.failed

    def end(self) -> None:
        """Let all that runs save and end, within STOP_SECONDS."""
        last = time.monotonic() + STOP_SECONDS
        while alive := [each for each in self.running if each.process.poll() is None]:
            for execution in alive:
                if time.monotonic() < last:
                    execution.interrupt()
                else:
                    execution.kill()
            time.sleep(POLL_SECONDS)
        for execution in self.running:
            execution.release()
        self.screen.close()

    def start_ready(self) -> None:
        """Start steps, or skip them, as far as cores and what they need allow."""
        for step in list(self.waiting):
            if any(name in self.failed for name in step.needs):
                self.waiting.remove(step)
                self.failed.append(step.name)
                self.screen.say(f"      not run: {step.title}, since a step before it failed")
            elif self.is_ready(step) and self.has_room(step):
                self.start(step)

    def start(self, step: Step) -> None:
        """Start a step, or skip it; if another process runs it, say so and leave it waiting."""
        with contextlib.ExitStack() as stack:
            variables = {"OMP_NUM_THREADS": str(self.threads)}
            try:
                locks = [stack.enter_context(step.claim())]
                done = step.is_done()
                if self.gpus and step.kind in ON_GPU and not done:
                    variables["CUDA_VISIBLE_DEVICES"], lock = self.claim_gpu(stack)
                    locks.append(lock)
                if not done:
                    variables |= self.renderer(step, variables)
            except InUseError as error:
                if step.name not in self.elsewhere:
                    self.screen.say(f"      waiting: {error}")
                self.elsewhere.add(step.name)
                return
            self.elsewhere.discard(step.name)
            self.waiting.remove(step)
            if done:
                self.finished.add(step.name)
                self.screen.say(f"{self.place()} there already: {step.title}")
            elif refusal := step.refusal():  # since this call began
                step.log.write_text(refusal)
                self.fail(step)
            else:
                with self.stop.hold():  # else a process that was just started would not be known
                    self.running.append(Execution(step, locks, variables))
                    self.running[-1].release = stack.pop_all().close

    def claim_gpu(self, stack: contextlib.ExitStack) -> tuple[str, int]:
        """A GPU of this host and its lock, those that nobody uses first; an InUseError if all are taken."""
        # A cluster's job sees its own GPUs alone, and counts them from 0.
        owner = f"{socket.gethostname()}{os.environ.get('SLURM_JOB_ID', '')}"
        for place in range(-(-self.jobs // len(self.gpus))):  # of those that share a GPU
            for gpu in self.gpus:
                with contextlib.suppress(InUseError):
                    path = step_path(f".gpu-{owner}-{gpu}-{place}.lock")
                    return gpu, stack.enter_context(sole_user(path, f"GPU {gpu}", patience=0))
        raise InUseError(f"every GPU ({', '.join(self.gpus)}) is in use by steps of other processes")

    def renderer(self, step: Step, variables: Mapping[str, str]) -> dict[str, str]:
        """Where MuJoCo renders for a step: on the GPU on which that computes, unless the user has said where."""
        device = step.parameters.get("device", "cpu")
        gpu = re.fullmatch(r"cuda:(\d+)", device)
        if "MUJOCO_EGL_DEVICE_ID" in os.environ or not (gpu or (self.gpus and device in ("auto", "cuda"))):
            return {}
        found = egl_device(int(gpu[1]) if gpu else 0, (os.environ | variables).get("CUDA_VISIBLE_DEVICES"))
        return {"MUJOCO_EGL_DEVICE_ID": found} if found else {}

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
                step.finish(execution.key, seconds, execution.edit)
                self.finished.add(step.name)
                self.clock.end(step, seconds)
                self.screen.say(f"{self.place()} {step.title}: {spell_seconds(seconds)}")
            else:
                self.fail(step)
            execution.release()

    def fail(self, step: Step) -> None:
        """Note that a step has failed, and say why."""
        self.failed.append(step.name)
        self.screen.say(f"      FAILED: {step.title}: {step.error()} (see {step.log})")

    def place(self) -> str:
        """E.g. "[ 3/14]"."""
        return f"[{len(self.finished):2d}/{self.total}]"


class Bars:
    """One bar a running step, on a terminal, and one that says how long all steps still take."""

    def __init__(self):
        self.bars: dict[str, tqdm] = {}  # "" is that of all steps

    def say(self, text: str) -> None:
        tqdm.write(text, file=sys.stdout)
        sys.stdout.flush()

    def show(self, running: list[Execution], left: str) -> None:
        for name in self.bars.keys() - {"", *(execution.step.name for execution in running)}:
            self.bars.pop(name).close()
        for execution in running:
            bar = self.bars.get(execution.step.name)
            if bar is None:
                bar = self.bars[execution.step.name] = tqdm(desc=execution.step.title, leave=False, dynamic_ncols=True)
            if progress := execution.progress():
                bar.total, bar.n = progress["total"], progress["done"]
                bar.set_description(f"{execution.step.title}: {progress['description']}", refresh=False)
            bar.refresh()
        if left and "" not in self.bars:
            self.bars[""] = tqdm(bar_format="{desc}", leave=False)
        if "" in self.bars:
            self.bars[""].set_description_str(f"all steps: {left}" if left else "")

    def close(self) -> None:
        for bar in self.bars.values():
            bar.close()


class Lines:
    """A line now and then about what runs, where nothing can be redrawn."""

    def __init__(self):
        self.last = time.monotonic()

    def say(self, text: str) -> None:
        print(text, flush=True)

    def show(self, running: list[Execution], left: str) -> None:
        if time.monotonic() - self.last < LINE_SECONDS:
            return
        self.last = time.monotonic()
        for execution in running:
            progress = execution.progress()
            state = "{description} {done}/{total}".format(**progress) if progress else "starting"
            print(f"      … {execution.step.title}: {state}, {spell_seconds(execution.seconds)}", flush=True)
        if left:
            print(f"      … all steps: {left}", flush=True)

    def close(self) -> None:
        pass


def spell_seconds(seconds: float) -> str:
    """E.g. "3 min 05 s"."""
    minutes, rest = divmod(round(seconds), 60)
    return f"{minutes} min {rest:02d} s" if minutes else f"{rest} s"
