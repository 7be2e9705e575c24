"""Trainings of one shape as one step: a GPU computes as many at once as it has room for."""

from __future__ import annotations

import math
from collections.abc import Sequence

import pandas as pd

from mp_lib.config import TrainConfig
from mp_lib.data.recording import demonstrations_of
from mp_lib.learning.folder import folder_of, is_finished
from mp_lib.learning.result import RunResult
from mp_lib.learning.run import train_group
from mp_lib.learning.training import Training, policy_config
from mp_lib.pipeline.parameters import run_config
from mp_lib.sim.tasks import TASKS, find_task
from mp_lib.system.files import read_json

USUAL = 9  # trainings in a group on a GPU: three seeds of three tasks


def stacks(configs: Sequence[TrainConfig], most: int) -> list[list[TrainConfig]]:
    """Runs that can be trained as one, two to ``most`` each, in their order; those of no other's shape are left out."""
    shapes: dict[tuple, list[TrainConfig]] = {}
    for config in configs:
        shapes.setdefault((policy_config(config, TASKS[config.task]), config.batch_size), []).append(config)
    found = []
    for members in shapes.values():
        count = math.ceil(len(members) / most)
        found += [members[place::count] for place in range(count)]
    return [members for members in found if len(members) > 1]


def train_runs(runs: Sequence[dict], **how) -> pd.DataFrame:
    """Train the runs of these parameters of 03_train as one, and return a row each; ``how`` as of ``train_group``.

    A run that fails has its error as ``outcome``; its own notebook goes on from what was saved of it, and says more.
    """
    trainings = []
    for run in runs:
        config = run_config(run)
        store = demonstrations_of(config)
        trainings.append(Training(config, find_task(config.task), store, folder_of(config, store)))
    failures = train_group(trainings, **how)
    return pd.DataFrame([row_of(each, failures) for each in trainings])


def row_of(training: Training, failures: dict) -> dict:
    """What has become of a training."""
    row = {"task": training.config.task, "method": training.config.method, "seed": training.config.seed}
    if not is_finished(training.folder):
        error = failures.get(training.folder)
        return row | {"outcome": str(error).splitlines()[0] if str(error) else type(error).__name__}
    result = RunResult(**read_json(training.folder / "result.json"))
    successes = result.final["successes"]
    seconds = {f"{stage} (s)": round(taken) for stage, taken in result.seconds.items()}
    return row | {"outcome": f"{sum(successes)} of {len(successes)} episodes"} | seconds
