"""How long a step will take: an ``Estimate``, from what was measured of it or of its like, and where it comes from."""

from __future__ import annotations

import contextlib
import json
import logging
import math
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace

import numpy as np
import torch

from mp_lib.config import TrainConfig
from mp_lib.data.windows import ActionWindows
from mp_lib.learning.folder import is_finished
from mp_lib.learning.group import stepper
from mp_lib.learning.run import same_threads
from mp_lib.learning.trainer import Trainer
from mp_lib.learning.training import policy_config
from mp_lib.pipeline.steps import Step
from mp_lib.pipeline.workload import Workload
from mp_lib.presets import METHODS
from mp_lib.sim.tasks import TASKS
from mp_lib.study.efficiency import every_timing
from mp_lib.study.rows import CONFIG, RESULT, StoredConfig, load_kept, run_row
from mp_lib.system.files import read_json
from mp_lib.system.paths import run_path
from mp_lib.system.workers import usable_cores

log = logging.getLogger(__name__)

# Where a number comes from, best first.
OWN, ALIKE, BENCHMARK = "its last run here", "runs like it, same device", "kept benchmark, same device"
MEASURED, FOREIGN, TYPICAL = "measured now", "runs on other devices", "typical of 2 CPU cores"
# What a step's seconds depend on beside the device.
WIDTHS = ("method", "attention", "width_divisor", "blocks_per_level")
SHAPE = (*WIDTHS, "horizon", "n_obs_steps", "batch_size", "num_points")
# Measured on an AMD EPYC with OpenGL: frames of six tasks of three suites took 5 to 8 ms; a notebook 13 to 27 s beside
# what it is for; pages 6 to 109 s at the scales smoke and quick, 45 s on average.
FRAME_SECONDS, NOTEBOOK_SECONDS, PAGE_SECONDS = 0.008, 20.0, 45.0
ENCODER_POINTS = 512  # of the benchmark's clouds (mp_lib.config.PolicyConfig)
MEASURED_STEPS, SMALL_BATCH = 3, 16  # of a measurement


@dataclass(frozen=True)
class Estimate:
    """``seconds`` of a step, of which ``counted`` are what its own bar counts; ``source`` says where they come from.

    ``bounded``: they are an upper bound.
    """

    seconds: float
    source: str
    counted: float = 0.0
    bounded: bool = False

    @property
    def foreign(self) -> bool:
        """Whether it says how steps compare, but not how long one takes here."""
        return self.source == FOREIGN


@dataclass(frozen=True)
class Known:
    """What a finished run has taken: seconds in all, of a training step, and of an episode of its evaluations."""

    name: str
    task: str
    shape: tuple
    device: str
    here: bool
    seconds: float
    step: float
    episode: float

    @classmethod
    def of(cls, row: Mapping, here: bool) -> Known:
        """From a row of ``mp_lib.study.rows``."""
        config = StoredConfig(**{key: None if is_empty(row[key]) else row[key] for key in CONFIG})
        work, train, evaluate = Workload.of(config), float(row["train_seconds"]), float(row["evaluate_seconds"])
        rates = train / work.steps, evaluate / (work.episodes + row["episodes"])
        return cls(row["name"], config.task, shape_of(config), row["device"], here, train + evaluate, *rates)


def known_runs() -> Iterator[Known]:
    """What the finished runs here and the kept ones have taken, of those that can be read."""
    unreadable = (OSError, ValueError, LookupError, TypeError, ArithmeticError)
    for path in sorted(run_path().glob(f"*/{RESULT}")):
        with contextlib.suppress(*unreadable):
            yield Known.of(run_row(path), here=True)
    with contextlib.suppress(*unreadable):
        for row in load_kept().to_dict("records"):
            with contextlib.suppress(*unreadable):
                yield Known.of(row, here=False)


def kept_timings_on(device: str, threads: float) -> dict[tuple, float]:
    """Seconds of calls in eager PyTorch by (what, batch, method, attention, horizon), from the kept benchmark.

    Those that had more threads than a step has take longer in proportion.
    """
    rows = every_timing()
    rows = rows[(rows["device"] == device) & (rows["backend"] == "torch")].sort_values("threads")
    keys = zip(*(rows[name] for name in ("what", "batch", "method", "attention", "horizon")), strict=True)
    seconds = rows["median_seconds"] * (rows["threads"] / threads).clip(lower=1)
    return dict(zip(keys, map(float, seconds), strict=True))


def is_empty(value: object) -> bool:
    """Whether a table holds nothing there."""
    return isinstance(value, float) and math.isnan(value)


def shape_of(config: TrainConfig) -> tuple:
    """What the seconds of a run's steps depend on."""
    usual = {"blocks_per_level": config.blocks_per_level or METHODS[config.method].blocks_per_level}
    return tuple((asdict(config) | usual)[key] for key in SHAPE)


class Estimator:
    """Tells what steps take on a device of that name, each with ``threads`` of a CPU, or whatever there are (inf).

    ``runs`` are those of the steps by name, as ``Experiment.runs`` gives them. ``measure`` times a training step of a
    run where nothing is known of its like, once a method; without it such runs are told from other devices, or not.
    """

    def __init__(
        self,
        runs: Mapping[str, TrainConfig],
        device: str,
        threads: float = math.inf,
        measure: Callable[[TrainConfig], float] | None = None,
    ):
        self.runs, self.device, self.threads, self.measure = runs, device, threads, measure
        self.known, self.timings = [*known_runs()], kept_timings_on(device, threads)
        self.measured: dict[str, tuple[float | None, tuple]] = {}  # by method: seconds of a step, and of which shape

    def of(self, step: Step) -> Estimate | None:
        """The estimate of a step that is due; None where nothing is known that it could come from."""
        kinds = ("recording", "group", "training", "evaluation")
        return getattr(self, step.kind if step.kind in kinds else "page")(step)

    def page(self, step: Step) -> Estimate:
        return last_time(step) or Estimate(PAGE_SECONDS, TYPICAL)

    def recording(self, step: Step) -> Estimate:
        work = Workload.of(self.runs[step.name])
        counted = (work.frames - work.recorded) * FRAME_SECONDS / min(step.cores, usable_cores())
        guess = Estimate(counted + NOTEBOOK_SECONDS, TYPICAL, counted, work.bounded)
        return guess if work.recorded else last_time(step, counted) or guess

    def group(self, step: Step) -> Estimate | None:
        """At most as long as its runs take one after the other."""
        runs = [self.training(replace(step, name=name)) for name in step.facts["runs"]]
        if None in runs:
            return None
        seconds, counted = sum(run.seconds for run in runs), sum(run.counted for run in runs)
        return Estimate(seconds - (len(runs) - 1) * NOTEBOOK_SECONDS, runs[0].source, counted, bounded=True)

    def training(self, step: Step) -> Estimate | None:
        config = self.runs[step.name]
        work, shape = Workload.of(config), shape_of(config)
        own = [run for run in self.known if run.here and run.name == step.name and run.device == self.device]
        if step.after or is_finished(run_path(config.name)):
            return Estimate(NOTEBOOK_SECONDS, TYPICAL)  # its notebook alone is due; a group trains it, or has
        if own and not work.trained:
            return Estimate(own[0].seconds + NOTEBOOK_SECONDS, OWN, work.steps * own[0].step)
        if not work.trained and (last := last_time(step)):
            return last
        seconds, source, bounded = self.training_step(config, shape)
        if seconds is None:
            return None
        episode, _ = self.episode(config, shape)
        counted = (work.steps - work.trained) * seconds
        counted += work.episodes * (1 - work.trained / work.steps) * episode
        whole = counted + work.final * episode + NOTEBOOK_SECONDS
        return Estimate(whole, source, counted, work.bounded or bounded)

    def evaluation(self, step: Step) -> Estimate | None:
        config = self.runs[step.name]
        episode, source = self.episode(config, shape_of(config))
        if last := last_time(step):
            return last
        counted = config.final_episodes * episode
        return Estimate(counted + NOTEBOOK_SECONDS, source, counted) if episode else None

    def training_step(self, config: TrainConfig, shape: tuple) -> tuple[float | None, str, bool]:
        """Seconds of a training step, where they come from, whether they are a bound; None where that is nowhere."""
        alike = [run for run in self.known if run.shape == shape]
        if seconds := self.median(alike, config, "step"):
            return seconds, ALIKE, False
        if seconds := self.benchmarked(config):
            return seconds, BENCHMARK, False
        seconds, of = self.measured_step(config, shape)
        if seconds is not None:
            return seconds, MEASURED, of != shape
        elsewhere = [run.step for run in alike]
        return (statistics.median(elsewhere) if elsewhere else None), FOREIGN, False

    def median(self, runs: list[Known], config: TrainConfig, what: str) -> float | None:
        """The median of what the nearest runs have taken on this device: of the same task or suite, those from here."""
        same = [run for run in runs if run.device == self.device]
        suite = TASKS[config.task].suite
        near = {run: (run.task == config.task, run.task.startswith(suite), run.here) for run in same}
        best = [getattr(run, what) for run in same if near[run] == max(near.values())]
        return statistics.median(best) if best else None

    def episode(self, config: TrainConfig, shape: tuple) -> tuple[float, str]:
        """Seconds of an episode of an evaluation, and where they come from; 0 where that is nowhere.

        From runs of this shape, or else of this method and as long as the benchmark's chunks of actions take on top.
        """
        alike = [run for run in self.known if run.shape == shape]
        if seconds := self.median(alike, config, "episode"):
            return seconds, ALIKE
        method = [run for run in self.known if run.shape[0] == config.method]
        elsewhere = [run.episode for run in alike or method or self.known]
        seconds = self.median(method, config, "episode") or (statistics.median(elsewhere) if elsewhere else 0.0)
        chunks = TASKS[config.task].max_steps / config.n_action_steps
        return seconds + chunks * (self.timing(config, "chunk", 1) or 0.0), FOREIGN

    def benchmarked(self, config: TrainConfig) -> float | None:
        """Seconds of a training step in the kept benchmark: the denoiser's, and the encoder's by the cloud's points."""
        denoiser = self.timing(config, "train_step", config.batch_size)
        encoder = self.timings.get(("encoder_step", config.batch_size, "dp3", "", 16))  # that of all methods
        return denoiser + encoder * config.num_points / ENCODER_POINTS if denoiser and encoder else None

    def timing(self, config: TrainConfig, what: str, batch: int) -> float | None:
        """Seconds of a call in the kept benchmark on this device, which has the paper's widths alone."""
        own = METHODS[config.method]
        whole = config.width_divisor == 1 and config.blocks_per_level in (None, own.blocks_per_level)
        attention = config.attention if own.mixer else ""
        return self.timings.get((what, batch, config.method, attention, config.horizon)) if whole else None

    def measured_step(self, config: TrainConfig, shape: tuple) -> tuple[float | None, tuple]:
        """Seconds of a training step of this method, and of which shape, measured when it is first asked for."""
        if self.measure and config.method not in self.measured:
            seconds = None
            try:
                seconds = self.measure(config)
            except (RuntimeError, ValueError, OSError, MemoryError) as error:
                log.warning("%s could not be measured: %s", config.method, str(error).splitlines()[0])
            self.measured[config.method] = seconds, shape
        return self.measured.get(config.method, (None, shape))


def last_time(step: Step, counted: float = 0.0) -> Estimate | None:
    """What the step took when it last ended here with the same parameters."""
    with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
        stamp = read_json(step.stamp)
        if stamp["parameters"] == json.loads(json.dumps(step.parameters)):
            seconds = float(stamp["seconds"])
            return Estimate(seconds, OWN, min(counted, seconds))
    return None


def measure_step(config: TrainConfig, device: torch.device, threads: int) -> float:
    """Seconds of a training step of a run on random frames, of three the fastest: the first is slow.

    On a CPU, where large batches take minutes, those of a small one in proportion, which are rather more.
    """
    spec, whole = TASKS[config.task], config.batch_size
    config = replace(config, batch_size=min(whole, SMALL_BATCH)) if device.type == "cpu" else config
    frames = 2 * config.batch_size + config.horizon
    random = np.random.default_rng(0)
    shapes = {"point_cloud": (config.num_points, 3), "state": (spec.state_dim,), "action": (spec.action_dim,)}
    arrays = {key: random.random((frames, *shape), np.float32) for key, shape in shapes.items()}
    lengths = {key: getattr(config, key) for key in ("horizon", "n_obs_steps", "n_action_steps")}
    seconds: list[float] = []
    with torch.random.fork_rng(), same_threads():
        torch.set_num_threads(threads)
        windows = ActionWindows(arrays, np.array([frames]), **lengths)
        take = stepper([Trainer(config, policy_config(config, spec), windows, device, "auto")])
        for _ in range(MEASURED_STEPS):
            began = time.perf_counter()
            take().item()  # which waits for a GPU
            seconds.append(time.perf_counter() - began)
    return min(seconds) * whole / config.batch_size
