"""The benchmark as a reader wants it: a row a quantity, grouped by unit, a column a method and attention."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mp_lib.presets import METHODS, PAPER_METHODS, kind_name, kinds
from mp_lib.study.efficiency import BACKEND_LABELS, CALL, CHUNK, FEW, MANY, STEP, STEP_ON_GPU, cost_table, pick

TIMED = ("official", "torch", "onnx", "cuda")
READINGS = {  # unit: (quantity, column of ``with_readings``, rows)
    "milliseconds": (
        *(
            (f"{noun}, {BACKEND_LABELS[name]}", "milliseconds", where | {"backend": name})
            for noun, where in (("call", CALL), ("chunk", CHUNK), ("chunk of two steps", FEW))
            for name in TIMED
        ),
        ("chunk: floor by bandwidth", "floor_milliseconds", CHUNK | {"backend": "torch"}),
        ("training step", "milliseconds", STEP | {"backend": "torch"}),
        ("training step, CUDA graph", "milliseconds", STEP_ON_GPU | {"backend": "cuda"}),
    ),
    "times as fast": (
        *(
            (f"chunk, {BACKEND_LABELS[name]}, as {other}", column, CHUNK | {"backend": name})
            for name in ("onnx", "cuda")
            for other, column in (
                (f"DP3 by {BACKEND_LABELS[name]}", "against_same"),
                ("DP3 eager", "against_dp3"),
                ("official", "against_official"),
            )
        ),
        ("training step, as official", "against_official", STEP | {"backend": "torch"}),
    ),
    "a second": tuple(
        (f"calls of batch 64, {BACKEND_LABELS[name]}", "samples_per_second", MANY | {"backend": name})
        for name in ("torch", "onnx")
    ),
    "megabytes": (
        ("memory of a chunk", "peak_megabytes", CHUNK | {"backend": "torch"}),
        ("memory of a training step", "peak_megabytes", STEP | {"backend": "torch"}),
        ("memory of a training step, CUDA graph", "peak_megabytes", STEP_ON_GPU | {"backend": "cuda"}),
    ),
}


def with_readings(table: pd.DataFrame) -> pd.DataFrame:
    """``read_table`` with milliseconds, samples a second, and how many times as fast as another it is."""
    return table.assign(
        milliseconds=1e3 * table["median_seconds"],
        floor_milliseconds=1e3 * table["floor_seconds"],
        samples_per_second=table["batch"] / table["median_seconds"],
        against_dp3=1 / table["ratio_to_dp3_eager"],
        against_same=1 / table["ratio_to_dp3_same"],
        against_official=1 / table["ratio_to_official"],
    )


def benchmark_readings(table: pd.DataFrame, horizon: int) -> list[pd.DataFrame]:
    """A ``benchmark_reading`` of the paper's methods, and one of those beyond it where any was measured."""
    there = pick(table, horizon=horizon)
    beyond = [name for name in METHODS if name not in PAPER_METHODS and name in {*there["method"]}]
    return [benchmark_reading(table, horizon, names) for names in (PAPER_METHODS, beyond) if names]


def benchmark_reading(table: pd.DataFrame, horizon: int, methods: Sequence[str] = tuple(METHODS)) -> pd.DataFrame:
    """Rows (unit, "horizon 16", a column a method and attention) of what these methods count and take.

    ``table`` as ``efficiency.read_table``, of one device. What was not measured is empty, or has no row; a method of
    which nothing was at this horizon has no column, where there is anything of others.
    """
    costs, table = cost_table(horizon), with_readings(table)
    there = pick(table, horizon=horizon)
    timed = {*zip(there["method"], there["attention"], strict=True)} & {*kinds(methods)} or {*kinds(methods)}
    costs = costs[[kind in timed for kind in zip(costs["method"], costs["attention"], strict=True)]]
    keys = pd.MultiIndex.from_frame(costs[["method", "attention"]])
    shown = {
        ("million", "parameters"): costs["parameters"].to_numpy() / 1e6,
        ("million", "parameters that run"): costs["parameters_that_run"].to_numpy() / 1e6,
        ("million", "multiply-adds of a call"): costs["multiply_adds"].to_numpy() / 1e6,
    }
    for unit, rows in READINGS.items():
        for quantity, column, where in rows:
            found = pick(table, horizon=horizon, **where).set_index(["method", "attention"])[column].astype(float)
            shown[unit, quantity] = found.reindex(keys).to_numpy()
    names = [kind_name(*kind) for kind in keys]
    return (
        pd.DataFrame.from_dict(shown, orient="index", columns=names)
        .set_index(pd.MultiIndex.from_tuples(shown, names=["unit", f"horizon {horizon}"]))
        .dropna(how="all")
        .reset_index()
    )
