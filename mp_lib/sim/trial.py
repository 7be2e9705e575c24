"""An expert tries a task: one episode of it, and how often it succeeds."""

from __future__ import annotations

import contextlib
import time

import numpy as np

from mp_lib.interfaces import Environment, TaskSpec
from mp_lib.sim.env import SimulationDiverged
from mp_lib.sim.tasks import find_task
from mp_lib.statistics import wilson_interval
from mp_lib.system.progress import track


def play(spec: TaskSpec, env: Environment, seed: int, frames: dict[str, list] | None = None) -> list[bool]:
    """Play one episode and return its goal flags; what is seen and done is appended to ``frames``."""
    env.reset(seed)
    expert = spec.make_expert()
    flags = []
    for _ in range(spec.max_steps):
        obs = env.observe() if frames is not None else None
        # Rounded before it acts, so that replaying the recorded action gives the same episode.
        action = np.asarray(expert.act(env.truth()), np.float32)
        if not np.isfinite(action).all():
            raise SimulationDiverged(f"the expert's action {action} is not finite")
        if frames is not None:
            for key, value in {"point_cloud": obs.point_cloud, "state": obs.state, "action": action}.items():
                frames[key].append(value)
        flags.append(bool(env.step(action)))
        if spec.ends_at_goal and flags[-1]:
            break
    return flags


def check_expert(task: str | TaskSpec, episodes: int = 50, first_seed: int = 0) -> dict:
    """Let the expert play and return task, expert, episodes, success_rate, interval and steps_per_second.

    Success is the suite's own rule; ``interval`` is Wilson's at 95 %. Nothing is looked at, so
    the speed is that of simulator and expert without depth images.
    """
    spec = find_task(task)
    if episodes < 1 or first_seed < 0:
        raise ValueError(f"episodes={episodes}, first_seed={first_seed}; give at least 1 and 0")
    successes = steps = 0
    with contextlib.closing(spec.make_env(num_points=spec.num_points)) as env, track(episodes, spec.name) as progress:
        started = time.perf_counter()
        for seed in range(first_seed, first_seed + episodes):
            flags = []
            with contextlib.suppress(SimulationDiverged):  # which is a failure of the expert
                flags = play(spec, env, seed)
            successes += bool(flags) and bool(spec.success_rule.judge(flags))
            steps += len(flags)
            progress.advance()
        seconds = time.perf_counter() - started
    return {
        "task": spec.name,
        "expert": spec.expert_name,
        "episodes": episodes,
        "success_rate": successes / episodes,
        "interval": wilson_interval(successes, episodes),
        "steps_per_second": steps / seconds,
    }
