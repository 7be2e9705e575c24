"""What a call would cost before it is made: its steps, hours, disk, and what more devices would save."""

from __future__ import annotations

import math
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch

from mp_lib.config import TrainConfig
from mp_lib.pipeline.estimates import OWN, Estimate, Estimator, measure_step
from mp_lib.pipeline.schedule import due_steps, makespan, shortest, spell
from mp_lib.pipeline.steps import KINDS, Step
from mp_lib.pipeline.workload import Workload, checkpoint_bytes, frame_bytes, state_bytes
from mp_lib.presets import METHODS
from mp_lib.study.sentences import count
from mp_lib.system.device import device_name
from mp_lib.system.paths import root

CLUSTERS = (1, 4, 8, 32)  # GPUs

NAMES = max(map(len, [*KINDS, *(f"training {name}" for name in METHODS)])) + 1  # letters for what is counted


@dataclass(frozen=True)
class Outlook:
    """What is ``due`` of ``steps``, and the estimate of each, None where nothing is known.

    ``runs`` are those of the steps by name. ``jobs`` steps run side by side here, each on ``device``, its name; None
    where a cluster sees to that. ``threads`` are those of a step on a CPU, inf on a GPU.
    """

    name: str
    steps: Sequence[Step]
    due: Sequence[Step]
    runs: Mapping[str, TrainConfig]
    estimates: Mapping[str, Estimate | None]
    device: str
    threads: float
    jobs: int | None

    @classmethod
    def of(
        cls,
        name: str,
        steps: Sequence[Step],
        runs: Mapping[str, TrainConfig],
        device: torch.device | None,
        jobs: int | None,
        share: int,
    ) -> Outlook:
        """Of a call named ``name``; on ``device``, if it is here, a few steps of what is not known are measured.

        ``share`` is how many cores a step has.
        """
        threads = share if device is None or device.type == "cpu" else math.inf
        measure: Callable | None = device and partial(measure_step, device=device, threads=share)
        called = device_name(device) if device else "a device that is not here"
        due, estimator = due_steps(steps), Estimator(runs, called, threads, measure)
        # Of a method whose steps are measured the largest one is, so that it bounds the others.
        order = sorted(due, key=lambda step: size_of(runs[step.name]) if step.name in runs else 0, reverse=True)
        return cls(name, steps, due, runs, {step.name: estimator.of(step) for step in order}, called, threads, jobs)

    def text(self) -> str:
        """All of it in a few lines."""
        parts = [*self.table(), "", *self.hours(), *self.disk()]
        return "\n".join([f"{self.name}: {len(self.steps)} steps, {len(self.due)} of them due; nothing is run", *parts])

    def group(self, step: Step) -> str:
        """The row of the table that a step counts in."""
        return f"training {self.runs[step.name].method}" if step.kind == "training" else step.kind

    def table(self) -> list[str]:
        """A line a kind of steps, and a method: how many are due, how many there, how long one after the other."""
        order = [
            group
            for kind in KINDS
            for group in ([f"{kind} {name}" for name in METHODS] if kind == "training" else [kind])
        ]
        lines = [f"{'':{NAMES}}{'due':>5}{'there':>7}{'one by one':>14}  from"]
        for group in order:
            steps, due = ([step for step in each if self.group(step) == group] for each in (self.steps, self.due))
            found = [estimate for step in due if (estimate := self.estimates[step.name])]
            seconds, unknown = sum(estimate.seconds for estimate in found), len(due) - len(found)
            told = spell(seconds) if found or not due else "not known"
            bound = "at most " if any(estimate.bounded for estimate in found) else ""
            sources = ", ".join(dict.fromkeys(estimate.source for estimate in found))
            sources += f" ({unknown} not known)" if unknown and found else ""
            if steps:
                lines.append(
                    f"{group:{NAMES}}{len(due):5}{len(steps) - len(due):7}{bound + told:>20}  {sources}".rstrip()
                )
        return lines

    def hours(self) -> list[str]:
        """How long it takes here and on more devices, the longest step, and what the numbers are worth."""
        known = [step for step in self.due if self.estimates[step.name]]
        if not known:
            return ["nothing is due" if not self.due else "how long it takes is not known; run one step"]
        seconds = {step.name: self.estimates[step.name].seconds for step in known}
        most = "at most " if any(self.estimates[step.name].bounded for step in known) else ""
        lines = [f"one after the other: {most}{spell(sum(seconds.values()))}"]
        if self.jobs:
            here = spell(makespan(known, seconds, self.jobs))
            lines.append(f"{self.jobs} side by side, as this call would: {most}{here}")
        jobs = [replace(step, cores=1) for step in known]  # on a cluster each has a place of its own
        told = ", ".join(f"{each}: {spell(shortest(jobs, seconds, each))}" for each in CLUSTERS)
        place = "GPUs like this one" if self.threads == math.inf else f"places of {count(int(self.threads), 'core')}"
        lines.append(f"on a cluster, by its {place}: {most}{told}")
        longest = max(known, key=lambda step: seconds[step.name])
        lines.append(f"the longest step: {spell(seconds[longest.name])} ({longest.title})")
        if len(known) < len(self.due):
            lines.append(f"Left out: {count(len(self.due) - len(known), 'step')} of which nothing is known.")
        if any(self.estimates[step.name].source != OWN for step in known):
            lines.append(f"All times are estimates for {self.device}, but those from {OWN!r}.")
        if self.threads < math.inf:
            lines.append("No GPU is here to measure; a call where there is one tells what that would take.")
        return lines

    def disk(self) -> list[str]:
        """What will lie on the disk at most, beside what is free."""
        trainings, recordings = (
            [self.runs[step.name] for step in self.due if step.kind == kind] for kind in ("training", "recording")
        )
        kept = sum(map(checkpoint_bytes, trainings))
        demos = sum(map(recording_bytes, recordings))
        states = sorted(map(state_bytes, trainings), reverse=True)[: self.jobs or max(CLUSTERS)]
        place = next(folder for folder in (root(), *root().parents) if folder.exists())
        free, stays, passes = shutil.disk_usage(place).free, demos + kept, sum(states)
        what = f"demonstrations {gigabytes(demos)}, checkpoints {gigabytes(kept)}"
        needed = f"{gigabytes(stays)} to stay ({what}), {gigabytes(passes)} while {count(len(states), 'training')} run"
        short = ", which may be too little" if stays + passes > free else ""
        return [f"disk, at most: {needed}; free: {gigabytes(free)}{short}"]


def size_of(config: TrainConfig) -> int:
    """By what the costs of two training steps of a method are put in order."""
    return config.num_points * config.batch_size * config.horizon


def recording_bytes(config: TrainConfig) -> int:
    """Bytes of the demonstrations of a run that are still to be recorded, at most."""
    work = Workload.of(config)
    return (work.frames - work.recorded) * frame_bytes(config)


def gigabytes(count: int) -> str:
    """E.g. "1.2 GB"."""
    return f"{count / 1e9:,.1f} GB"
