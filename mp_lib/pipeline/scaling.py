"""How long a matrix of runs takes on 1 and 2 workers, and would take on more.

The first two are measured: a whole matrix each, in a folder of its own that is removed afterwards. The others are
computed from the times of the single steps. Every worker has one core, and one thread. It takes some minutes.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Mapping
from unittest.mock import patch

import pandas as pd
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from mp_lib.drawing.figures import picture_bytes
from mp_lib.drawing.style import BLACK, COLUMN, GREY, panels, styled
from mp_lib.pipeline.experiment import Experiment
from mp_lib.pipeline.runner import Runner
from mp_lib.pipeline.schedule import makespan
from mp_lib.pipeline.steps import Step
from mp_lib.study.designs import DESIGNS
from mp_lib.system.files import read_json, write_atomically
from mp_lib.system.paths import results_path

TASKS, METHODS, SEEDS = ("metaworld_drawer-open", "metaworld_reach"), ("simple_dp3", "dp3_narrow", "dp3_mamba"), (0, 1)
MEASURED, COMPUTED = (1, 2), (8, 64)
DPI = 190


def matrix() -> list[Step]:
    """The steps of twelve runs at scale smoke, on two tasks, and of their demonstrations."""
    experiment = Experiment("smoke", DESIGNS["width"], TASKS, METHODS, SEEDS, device="cpu")
    return [step for step in experiment.steps(cores=1) if step.kind != "page"]


def measure(workers: int) -> tuple[float, dict[str, float]]:
    """Run the matrix on so many workers; its seconds, and those of each step."""
    with tempfile.TemporaryDirectory() as folder, cores(workers), patch.dict(os.environ, MP_ROOT=folder):
        steps, began = matrix(), time.monotonic()
        if failed := Runner(steps, workers, threads=1).run():
            raise RuntimeError(f"{failed[0]} failed: {next(s for s in steps if s.name == failed[0]).error()}")
        whole = time.monotonic() - began
        return whole, {step.name: read_json(step.stamp)["seconds"] for step in steps}


@contextlib.contextmanager
def cores(count: int):
    """Let this process and those that it starts use so many cores."""
    usable = os.sched_getaffinity(0)
    if len(usable) < count:
        raise RuntimeError(f"{count} workers are to be measured, but this process may use {len(usable)} cores")
    os.sched_setaffinity(0, sorted(usable)[:count])
    try:
        yield
    finally:
        os.sched_setaffinity(0, usable)


def table_of(measured: Mapping[int, tuple[float, dict[str, float]]]) -> pd.DataFrame:
    """Rows (workers, seconds, how, computed_seconds): measured ones, and those computed from one worker's steps."""
    steps, (_, seconds) = matrix(), measured[min(measured)]
    rows = []
    for workers in (*measured, *COMPUTED):
        computed = round(makespan(steps, seconds, workers), 1)
        found = round(measured[workers][0], 1) if workers in measured else computed
        how = "measured" if workers in measured else "computed"
        rows.append({"workers": workers, "seconds": found, "how": how, "computed_seconds": computed})
    return pd.DataFrame(rows)


@styled
def wall_times(table: pd.DataFrame) -> Figure:
    """Minutes against workers: dots are measured, circles computed."""
    figure, axes = panels(1, 1, COLUMN, 2.1)
    (axes,) = axes.flat
    axes.plot(table["workers"], table["computed_seconds"] / 60, color=GREY, linewidth=0.8, zorder=1)
    for how, face in (("measured", BLACK), ("computed", "white")):
        rows = table[table["how"] == how]
        label = how if how == "measured" else "computed from the steps' times on one worker"
        look = {"facecolor": face, "edgecolor": BLACK, "s": 22, "zorder": 2}
        axes.scatter(rows["workers"], rows["seconds"] / 60, label=label, **look)
        for row in rows.itertuples():
            text = f"{row.seconds / 60:.1f}"
            axes.annotate(text, (row.workers, row.seconds / 60), (4, 5), textcoords="offset points", fontsize=7)
    axes.set_xscale("log", base=2)
    axes.set(xlabel="workers, one core each", ylabel="minutes", xticks=table["workers"], xticklabels=table["workers"])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.set_ylim(0, 1.15 * table["seconds"].max() / 60)
    axes.legend(frameon=False, fontsize=6.5, loc="upper right")
    return figure


def keep() -> pd.DataFrame:
    """Measure, and write data/results/wall_times.csv and .png, which docs/cluster.md shows."""
    table = table_of({workers: measure(workers) for workers in MEASURED})
    write_atomically(results_path("wall_times.csv"), table.to_csv(index=False).encode())
    write_atomically(results_path("wall_times.png"), picture_bytes(wall_times(table), "png", DPI))
    return table
