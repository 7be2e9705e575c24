"""Whether an actor keeps up: commands at a rate that a robot sets, with observations that are made up."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from mp_lib.acting.actor import Actor
from mp_lib.acting.engine import Engine, OnnxEngine
from mp_lib.acting.exporting import write_export
from mp_lib.acting.facts import facts_of
from mp_lib.acting.holding import LATE
from mp_lib.acting.latency import measure_latency
from mp_lib.config import scale_config
from mp_lib.model.policy import build_policy
from mp_lib.sim.tasks import find_task
from mp_lib.study.acting_rows import AHEAD, IN_TURN, SERVED, Deadlines, keep_row, read_rows
from mp_lib.system.device import device_name
from mp_lib.system.errors import InputError
from mp_lib.system.provenance import commit
from mp_lib.system.workers import usable_cores

TASK = "metaworld_drawer-open"  # whose sizes the states and actions have
SIZES = (("quick", "dp3_mamba_v2", 10), ("paper", "dp3_mamba_v2", 2))  # scale, method, denoising steps
RATE = 50  # commands a second
CLOUDS = 16  # that are made up, one after the other
SERVER_S = 60.0  # in which a server has to answer


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
    """Measure and keep what is not kept yet of SIZES and MEASURES, a row at a time; yields each.

    Weights are fresh ones, which take the same time as trained ones. The machine should do nothing else.
    """
    kept = {row.key for row in read_rows(Deadlines)}
    for size in SIZES:
        told = dict(zip(("scale", "method", "num_inference_steps"), size, strict=True))
        told |= {"backend": "onnx", "threads": threads, "rate": RATE, "steps": steps}
        told |= {"device": device_name(torch.device("cpu")), "cores": usable_cores()}
        missing = [
            way for way in MEASURES if tuple((told | {"schedule": way})[name] for name in Deadlines.KEY) not in kept
        ]
        if not missing:
            continue
        with tempfile.TemporaryDirectory() as name:
            write_fresh(*size, folder := Path(name) / "policy")
            for schedule in missing:
                found = MEASURES[schedule](folder, threads, steps)
                row = Deadlines(schedule=schedule, **told | found, commit=commit(), date=today())
                keep_row(row)
                yield row


def today() -> str:
    """The date, UTC, as rows have it."""
    return datetime.now(UTC).strftime("%Y-%m-%d")


def write_fresh(scale: str, method: str, num_inference_steps: int, folder: Path) -> None:
    """Write the export of a policy of a scale's sizes with fresh weights."""
    spec = find_task(TASK)
    config = scale_config(scale, TASK, method, num_inference_steps=num_inference_steps)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        policy = build_policy(config.policy(spec.state_dim, spec.action_dim)).eval()
    facts = facts_of(policy.config, {"task": TASK}, "").told({"action_kinds": spec.action_kinds})
    write_export(policy, facts, None, folder)


def commanded(engine: Engine, asynchronous: bool, steps: int, rate: float = RATE) -> dict:
    """Let an actor command ``steps`` times at a ``rate``, by the machine's clock; what ``Deadlines`` has of it.

    The first chunk of an episode is waited for, as there is nothing to hold: it is computed before the clock starts. A
    command is missed where it comes after its step has ended, also since the one before took too long.
    """
    timed, facts = Timed(engine), engine.facts
    actor = Actor(timed, asynchronous=asynchronous, limits=None, same_cloud_s=None)
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
    report = actor.report()
    counts = {"missed": missed, "held": report.held[LATE], "late": report.late}
    return counts | spans(answers, timed.seconds[first:] or timed.seconds)


def served(folder: Path, threads: int, steps: int, rate: float = RATE) -> dict:
    """Ask a server in a process of its own for a chunk at every step; what ``Deadlines`` has of it."""
    command = [sys.executable, "-m", "mp_lib", "serve", str(folder), "--port", "0", "--threads", str(threads)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        patience = threading.Timer(SERVER_S, server.kill)
        patience.start()
        try:
            port = re.search(r"answers at ws://[^ ]+:(\d+)", server.stdout.readline())
            if port is None:
                raise InputError("the server has not started; python -m mp_lib serve says why")
            patience.cancel()
            found = measure_latency(int(port[1]), every=1 / rate, steps=steps)
        finally:
            patience.cancel()
            server.terminate()
    return {"missed": found.late, "held": 0, "late": 0} | spans(found.answers, found.chunks)


def spans(answers: Sequence[float], chunks: Sequence[float]) -> dict[str, float]:
    """Median and longest of what answers and chunks took, in milliseconds."""
    measured = {"answer": answers, "chunk": chunks}
    ends = {"median": statistics.median, "longest": max}
    return {f"{name}_{end}": round(1000 * of(took), 2) for name, took in measured.items() for end, of in ends.items()}


def in_turn(folder: Path, threads: int, steps: int) -> dict:
    """As of ``commanded``: chunk after chunk."""
    return commanded(OnnxEngine.load(folder, threads), False, steps)


def ahead(folder: Path, threads: int, steps: int) -> dict:
    """As of ``commanded``: the next chunk while the last is executed."""
    return commanded(OnnxEngine.load(folder, threads), True, steps)


MEASURES = {IN_TURN: in_turn, AHEAD: ahead, SERVED: served}  # each asked with an export, threads and steps
