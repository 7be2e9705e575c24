"""Whether an actor keeps up: commands at a rate that a robot sets, with observations that are made up."""

from __future__ import annotations

import statistics
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from mp_lib.acting.actor import Actor
from mp_lib.acting.engine import Engine, OnnxEngine
from mp_lib.acting.exporting import write_export
from mp_lib.acting.facts import facts_of
from mp_lib.acting.holding import LATE
from mp_lib.config import scale_config
from mp_lib.model.policy import build_policy
from mp_lib.sim.tasks import find_task
from mp_lib.study.acting_rows import AHEAD, IN_TURN, Deadlines, keep_row, read_rows
from mp_lib.system.device import device_name
from mp_lib.system.provenance import commit
from mp_lib.system.workers import usable_cores

TASK = "metaworld_drawer-open"  # whose sizes the states and actions have
SIZES = (("quick", "dp3_mamba_v2", 10), ("paper", "dp3_mamba_v2", 2))  # scale, method, denoising steps
SCHEDULES = {IN_TURN: False, AHEAD: True}  # each with Actor's ``asynchronous``
RATE = 50  # commands a second
CLOUDS = 16  # that are made up, one after the other


class Timed:
    """An engine that notes how long each of its chunks took, in seconds."""

    def __init__(self, engine: Engine):
        self.engine, self.facts, self.seen, self.seconds = engine, engine.facts, engine.seen, []

    def predict(self, point_cloud: np.ndarray, state: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """As of ``mp_lib.acting.engine.Engine``."""
        began = time.perf_counter()
        chunk = self.engine.predict(point_cloud, state, noise)
        self.seconds.append(time.perf_counter() - began)
        return chunk


def keep_deadlines(steps: int, threads: int = 1) -> Iterator[Deadlines]:
    """Measure and keep what is not kept yet of SIZES and SCHEDULES, a row at a time; yields each.

    Weights are fresh ones, which take the same time as trained ones. The machine should do nothing else.
    """
    kept = {row.key for row in read_rows(Deadlines)}
    for scale, method, denoising in SIZES:
        engine = None
        for schedule in SCHEDULES:
            told = {"scale": scale, "method": method, "num_inference_steps": denoising, "schedule": schedule}
            told |= {"backend": "onnx", "threads": threads, "rate": RATE, "steps": steps}
            told |= {"device": device_name(torch.device("cpu")), "cores": usable_cores()}
            if tuple(told[name] for name in Deadlines.KEY) in kept:
                continue
            engine = engine or fresh_engine(scale, method, denoising, threads)
            found = measure(engine, schedule, steps, RATE)
            row = Deadlines(**told | found, commit=commit(), date=today())
            keep_row(row)
            yield row


def today() -> str:
    """The date, UTC, as rows have it."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def fresh_engine(scale: str, method: str, num_inference_steps: int, threads: int) -> OnnxEngine:
    """A policy of a scale's sizes with fresh weights, under ONNX Runtime."""
    spec = find_task(TASK)
    config = scale_config(scale, TASK, method, num_inference_steps=num_inference_steps)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = build_policy(config.policy(spec.state_dim, spec.action_dim)).eval()
    facts = facts_of(policy.config, {"task": TASK}, "").told({"action_kinds": spec.action_kinds})
    with tempfile.TemporaryDirectory() as folder:
        write_export(policy, facts, None, Path(folder))
        return OnnxEngine.load(folder, threads)


def measure(engine: Engine, schedule: str, steps: int, rate: float) -> dict:
    """Let an actor command ``steps`` times at a ``rate``, by the machine's clock; what ``Deadlines`` has of it.

    The first chunk of an episode is waited for, as there is nothing to hold: it is computed before the clock starts. A
    command is missed where it comes after its step has ended, also since the one before took too long.
    """
    timed, facts = Timed(engine), engine.facts
    actor = Actor(timed, asynchronous=SCHEDULES[schedule], limits=None, same_cloud_s=None)
    made_up = np.random.default_rng(0).normal(size=(CLOUDS, facts.num_points, 3)).astype(np.float32)
    state = np.zeros(facts.state_dim, np.float32)
    actor.select_action({"point_cloud": made_up[-1], "state": state})
    missed, answers, first = 0, [], len(timed.seconds)
    began = time.perf_counter()
    for step in range(steps):
        time.sleep(max(0.0, began + step / rate - time.perf_counter()))
        asked = time.perf_counter()
        actor.select_action({"point_cloud": made_up[step % CLOUDS], "state": state})
        answered = time.perf_counter()
        answers.append(answered - asked)
        missed += answered > began + (step + 1) / rate
    report, chunks = actor.report(), timed.seconds[first:] or timed.seconds
    found = {"missed": missed, "held": report.held[LATE], "late": report.late}
    for name, seconds in {"answer": answers, "chunk": chunks}.items():
        spans = {"median": statistics.median(seconds), "longest": max(seconds)}
        found |= {f"{name}_{kind}": round(1000 * span, 2) for kind, span in spans.items()}
    return found
