"""Demonstrations: experts drive tasks and what a policy would have seen is recorded."""

from __future__ import annotations

import contextlib
import functools
import logging
import math
from collections import deque
from concurrent.futures import Future
from concurrent.futures.process import BrokenProcessPool
from dataclasses import dataclass
from pathlib import Path

import numpy as np

import mp_lib
from mp_lib.config import BOUNDS, COUNT, CURVE_SEEDS, TrainConfig
from mp_lib.data.layout import KEYS
from mp_lib.data.own_tasks import check_task, spec_of
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.interfaces import Environment, TaskSpec
from mp_lib.sim.env import SimulationDiverged
from mp_lib.sim.tasks import find_task
from mp_lib.sim.trial import play
from mp_lib.system.errors import InputError, at_least_one, shown
from mp_lib.system.locks import sole_user
from mp_lib.system.paths import demos_path, given_path
from mp_lib.system.progress import track
from mp_lib.system.provenance import commit, installed
from mp_lib.system.values import check_bounds
from mp_lib.system.workers import Workers, check_main, usable_cores

log = logging.getLogger(__name__)

TRIES_PER_DEMO = 20
# The most points that a suite's cloud can have: its camera's pixels, and DexArt's imagined points.
MOST_POINTS = {"metaworld": 128**2, "adroit": 84**2, "dexart": 84**2 + 96}
SIMULATORS = ("mujoco", "metaworld", "gymnasium-robotics", "numpy", "zarr")


@dataclass(frozen=True)
class Attempt:
    """One episode of the expert; ``episode`` is None if it is no demonstration, ``reason`` then says why.

    ``solved`` says whether it is a success by the task's rule.
    """

    seed: int
    depth_backend: str
    episode: dict[str, np.ndarray] | None = None
    reason: str = ""
    solved: bool = False


class Recorder:
    """Records episodes of one task in one environment, which is made when it is first needed."""

    def __init__(self, spec: TaskSpec, num_points: int):
        self.spec = spec
        self.num_points = num_points

    @functools.cached_property
    def env(self) -> Environment:
        """The environment."""
        return self.spec.make_env(num_points=self.num_points)

    def close(self) -> None:
        """Free the environment, if there is one."""
        if "env" in vars(self):
            self.env.close()

    def attempt(self, seed: int) -> Attempt:
        """Let the expert play the episode of ``seed``."""
        backend, needed = self.env.depth_backend, self.spec.min_success_steps
        frames = {key: [] for key in KEYS}
        try:
            flags = play(self.spec, self.env, seed, frames)
        except SimulationDiverged as error:
            return Attempt(seed, backend, reason=f"the simulation diverged: {error}")
        solved = bool(self.spec.success_rule.judge(flags))
        if sum(flags) < needed:
            reason = f"the goal was met in {sum(flags)} steps, {needed} are needed"
            return Attempt(seed, backend, reason=reason, solved=solved)
        episode = {key: np.array(values, np.float32) for key, values in frames.items()}
        broken = [key for key in KEYS if not np.isfinite(episode[key]).all()]
        if broken:
            return Attempt(seed, backend, reason=f"not finite: {', '.join(broken)}", solved=solved)
        return Attempt(seed, backend, episode, solved=solved)


def collect(
    task: str | TaskSpec,
    num_demos: int,
    path: str | Path,
    *,
    first_seed: int = 0,
    num_points: int | None = None,
    jobs: int | None = None,
) -> ReplayBuffer:
    """Record ``num_demos`` successful episodes of the task's expert at ``path``, or go on recording there.

    Seeds are tried in order from ``first_seed``, and the first successful ones are kept in order, so
    the frames depend neither on ``jobs`` (processes; all usable cores by default) nor on interruptions.
    ``attributes["episodes"]`` holds the seed of each episode, the seeds that failed before it, which of these and of
    its own the task's rule calls solved, and the commit that recorded it.

    Raises ValueError if the task is unknown, ``path`` was recorded otherwise, or clouds or demonstrations would be more
    than the camera gives or evaluations leave, RuntimeError if the
    expert fails too often, a worker process dies or another process records there, and OSError if
    ``path`` cannot be written. What was recorded is kept.
    """
    spec = find_task(task)
    num_points = spec.num_points if num_points is None else num_points
    check_bounds({"num_demos": num_demos, "num_points": num_points, "first_seed": first_seed}, BOUNDS, COUNT)
    at_least_one(jobs=jobs)
    jobs = usable_cores() if jobs is None else jobs
    provenance = _provenance(spec, first_seed, num_points)
    path = Path(path)
    buffer = _existing(path, provenance, num_demos)
    if buffer and buffer.num_episodes == num_demos:
        return buffer
    _check_sizes(spec, num_points, num_demos, first_seed)
    if min(jobs, num_demos - (buffer.num_episodes if buffer else 0)) > 1:
        check_main()  # before a lock is made
    with sole_user(Path(f"{path}.lock"), str(path)):
        return _record(spec, num_demos, path, provenance, jobs)


def demonstrations_of(config: TrainConfig, jobs: int | None = None, demos: str = "") -> ReplayBuffer:
    """The demonstrations that a run is trained on, read if they are there and recorded if not.

    ``demos`` is the path of a store to read instead, as ``given_path`` takes it and in whatever way ``ReplayBuffer``
    reads; of it all episodes are taken, as many as ``num_demos`` says, or ``demo_episodes``. An InputError if it does
    not fit the task, an expert is named who would record, or ``jobs`` is below 1.
    """
    at_least_one(jobs=jobs)
    check_task(config, demos)
    if demos:
        if config.demonstrator != "default":
            given = f"expert {config.demonstrator} and demos {shown(demos)} given"
            raise InputError(f"{given}: who showed is told by the store")
        if config.demo_seed:
            raise InputError(f"demo_seed {config.demo_seed} and demos {shown(demos)} given: nothing is recorded")
        store = ReplayBuffer.open(given_path(demos))
        return store.check(spec_of(config.task, store)).choose(config.num_demos, config.demo_episodes)
    spec = find_task(config.task, config.demonstrator)
    if config.demo_episodes is not None:
        raise InputError("demo_episodes are chosen from a store; give its path as demos, or num_demos alone")
    num_demos = config.num_demos or spec.num_demos
    sizes = {"num_points": config.num_points, "first_seed": config.demo_seed}
    return collect(spec, num_demos, store_path(config), jobs=jobs, **sizes)


def store_path(config: TrainConfig) -> Path:
    """Where the demonstrations that a run is trained on lie if they are recorded here."""
    num_demos = config.num_demos or find_task(config.task).num_demos
    return demos_path(config.task, config.num_points, num_demos, config.demonstrator, config.demo_seed)


def _check_sizes(spec: TaskSpec, num_points: int, num_demos: int, first_seed: int) -> None:
    """Raise an InputError for clouds larger than the task's camera gives, and for seeds that evaluations play."""
    most = MOST_POINTS.get(spec.suite, num_points)
    if num_points > most:
        other = "to train on a store whose clouds have more, give its path as demos"
        raise InputError(f"num_points {num_points} given; clouds of {spec.suite} have at most {most:,}; {other}")
    most = seeds_from(first_seed)
    if num_demos > most:
        begun = f" from environment seed {first_seed} on" if first_seed else ""
        other = "later seeds belong to evaluations; to train on a store that has more, give its path as demos"
        raise InputError(f"num_demos {num_demos} given; at most {most:,} are recorded{begun}, as {other}")


def seeds_from(first_seed: int) -> int:
    """How many environment seeds there are from one of demonstrations on until those of evaluations begin."""
    return CURVE_SEEDS - first_seed % CURVE_SEEDS


def _record(spec: TaskSpec, num_demos: int, path: Path, provenance: dict, jobs: int) -> ReplayBuffer:
    settings = provenance["settings"]
    first_seed, num_points = settings["first_seed"], settings["num_points"]
    buffer = _existing(path, provenance, num_demos)
    rows = buffer.attributes["episodes"] if buffer else []
    next_seed = rows[-1]["seed"] + 1 if rows else first_seed
    last_seed = first_seed + min(TRIES_PER_DEMO * num_demos, seeds_from(first_seed)) - 1
    failed, solved, here = [], [], commit()
    jobs = min(jobs, num_demos - len(rows))
    with (
        contextlib.closing(Recorder(spec, num_points)) as recorder,
        Workers(recorder.attempt, jobs) as workers,
        track(num_demos, f"record {spec.name}") as progress,
    ):
        progress.advance(len(rows))
        pending = deque()
        while (kept := buffer.num_episodes if buffer else 0) < num_demos:
            while len(pending) < min(workers.ahead, num_demos - kept) and next_seed <= last_seed:
                pending.append(workers.submit(next_seed))
                next_seed += 1
            if not pending:
                raise RuntimeError(_hopeless(spec, kept, next_seed - first_seed, path))
            attempt = _result(pending.popleft(), spec, kept, path)
            settings["depth_backend"] = attempt.depth_backend
            shapes = {"point_cloud": (num_points, 3), "state": (spec.state_dim,), "action": (spec.action_dim,)}
            buffer = buffer or ReplayBuffer.create(path, shapes, provenance)
            _refuse_difference(path, buffer, provenance)
            solved += [attempt.seed] * attempt.solved
            if attempt.episode is None:
                log.warning("%s: seed %d is no demonstration: %s", spec.name, attempt.seed, attempt.reason)
                failed.append(attempt.seed)
                continue
            facts = {"failed_seeds": failed, "solved_seeds": solved, "commit": here}
            buffer.append(attempt.episode, {"seed": attempt.seed} | facts)
            failed, solved = [], []
            progress.advance()
    return buffer


def _result(future: Future, spec: TaskSpec, kept: int, path: Path) -> Attempt:
    try:
        return future.result()
    except BrokenProcessPool as error:
        raise RuntimeError(
            f"a process that recorded {spec.name} died (out of memory, or a script without a __main__ guard?); "
            f"{kept} demonstrations are kept in {path}; run again to go on, with a smaller jobs or jobs=1"
        ) from error


def _hopeless(spec: TaskSpec, kept: int, tries: int, path: Path) -> str:
    return (
        f"{spec.name}: {spec.expert_name} succeeded in {kept} of {tries} episodes ({kept / tries:.0%}), which is too "
        f"seldom, or no seeds are left before those of evaluations; {kept} demonstrations are kept in {path}; look at "
        f"the expert, or ask for fewer demonstrations, from an earlier seed on"
    )


def _provenance(spec: TaskSpec, first_seed: int, num_points: int) -> dict:
    settings = {
        "first_seed": first_seed,
        "num_points": num_points,
        "max_steps": spec.max_steps,
        "min_success_steps": spec.min_success_steps,
        "objects": spec.objects,
        "revision": spec.revision,
    }
    versions = {"mp_lib": mp_lib.__version__} | installed(*SIMULATORS, spec.package)
    return {"task": spec.name, "expert": spec.expert_name, "settings": settings, "versions": versions}


def _existing(path: Path, provenance: dict, num_demos: int) -> ReplayBuffer | None:
    """Return what was recorded so far, if it was recorded in this way and is not too much."""
    if not path.exists() or (path.is_dir() and not any(path.iterdir())):
        return None
    buffer = ReplayBuffer.open(path)
    _refuse_difference(path, buffer, provenance)
    if buffer.num_episodes > num_demos:
        raise ValueError(
            f"{path} holds {buffer.num_episodes} demonstrations, {num_demos} were asked for; "
            f"ask for {buffer.num_episodes}, or give another path"
        )
    return buffer


def _refuse_difference(path: Path, buffer: ReplayBuffer, provenance: dict) -> None:
    # depth_backend is unknown, and so not compared, until the first episode was played.
    found = {**buffer.attributes, **buffer.attributes.get("settings", {})}
    wanted = {key: provenance[key] for key in ("task", "expert")} | provenance["settings"]
    for key, value in wanted.items():
        if found.get(key) != value:
            raise ValueError(
                f"{path} was recorded with {key}={found.get(key)!r}, {value!r} was asked for; "
                f"ask for the same, give another path or move it away"
            )


def expert_record(attributes: dict) -> tuple[int, int]:
    """How many episodes the expert solved by the policies' rule while a store was recorded, and of how many.

    ``attributes`` are the store's; (0, 0) for one that does not say, such as DP3's.
    """
    rows = [row for row in attributes.get("episodes", []) if {"solved_seeds", "failed_seeds"} <= {*row}]
    return sum(len(row["solved_seeds"]) for row in rows), sum(1 + len(row["failed_seeds"]) for row in rows)


def rate_of(attributes: dict) -> float | None:
    """Frames a second of a store with these attributes; None for one that does not say, such as what is simulated."""
    rate = attributes.get("fps")
    told = isinstance(rate, int | float) and not isinstance(rate, bool) and 0 < rate < math.inf
    return rate if told else None
