"""What a method costs: parameters, multiply-adds, latency."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence

import pandas as pd
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mp_lib.config import METHODS, kind_name, kinds
from mp_lib.model.policy import build_denoiser
from mp_lib.model.unet import UNet1D
from mp_lib.study.sentences import join
from mp_lib.timing.benchmark import Measurement, check_horizons
from mp_lib.timing.table import KEY, kept_path, read_table

ACTION_DIM, COND_DIM = 26, 256  # Adroit's hammer with two observed steps, the sizes of the official counts
BACKEND_LABELS = {
    "official": "as the official code computes it",
    "torch": "PyTorch",
    "compiled": "compiled",
    "onnx": "ONNX Runtime",
    "cuda": "CUDA graph",
}
# Which rows of the benchmark: an action chunk, a denoiser call, many calls at once, a training step.
CHUNK, CALL = {"what": "chunk", "batch": 1, "threads": 1}, {"what": "denoiser", "batch": 1, "threads": 1}
MANY, STEP = {"what": "denoiser", "batch": 64, "threads": 2}, {"what": "train_step", "batch": 128, "threads": 2}
READING = (  # name, column of ``with_readings``, rows
    *(
        (f"{noun} {BACKEND_LABELS[name]} (ms)", "milliseconds", where | {"backend": name})
        for noun, where in (("call,", CALL), ("chunk,", CHUNK))
        for name in ("official", "torch", "onnx")
    ),
    ("chunk, ONNX Runtime: times as fast as DP3 eager", "against_dp3", CHUNK | {"backend": "onnx"}),
    ("chunk, ONNX Runtime: times as fast as official", "against_official", CHUNK | {"backend": "onnx"}),
    *(
        (f"calls a second, batch 64, {BACKEND_LABELS[name]}", "samples_per_second", MANY | {"backend": name})
        for name in ("torch", "onnx")
    ),
    ("training step (ms)", "milliseconds", STEP | {"backend": "torch"}),
    ("training step: times as fast as official", "against_official", STEP | {"backend": "torch"}),
    ("memory of a chunk (MB)", "peak_megabytes", CHUNK | {"backend": "torch"}),
    ("memory of a training step (MB)", "peak_megabytes", STEP | {"backend": "torch"}),
)


def count_parameters(parameters: Iterable[torch.nn.Parameter]) -> int:
    """How many numbers these are."""
    return sum(each.numel() for each in parameters)


def sketch_denoiser(method: str, attention: str = "paper") -> UNet1D:
    """The denoiser of a method at the paper's widths on the meta device: shapes without memory."""
    with torch.device("meta"):
        return build_denoiser(method, ACTION_DIM, COND_DIM, attention=attention or "paper").eval()


def call(denoiser: UNet1D, horizon: int, batch: int = 1) -> Tensor:
    """What a denoiser gives (batch, horizon, ACTION_DIM) for random numbers."""
    actions, cond = torch.randn(batch, horizon, ACTION_DIM), torch.randn(batch, COND_DIM)
    return denoiser(actions, torch.arange(batch), cond)


def count_multiply_adds(denoiser: UNet1D, horizon: int) -> int:
    """Multiply-adds of matrix products and convolutions in one call of a sketch at batch 1."""
    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device("meta"):
        call(denoiser, horizon)
    return counter.get_total_flops() // 2


def cost_table(horizon: int = 16) -> pd.DataFrame:
    """One row a method and attention: parameters carried and run, multiply-adds of a denoiser call; shares of DP3's.

    Carried are those of the official denoiser, its never executed attention included.
    """
    return counted_costs(horizon).copy()


@functools.cache  # it takes seconds, and a page asks several times
def counted_costs(horizon: int) -> pd.DataFrame:
    """``cost_table``, to be read only."""
    rows = []
    for name, attention in kinds():
        carried, run = sketch_denoiser(name), sketch_denoiser(name, attention)
        counts = [count_parameters(each.parameters()) for each in (carried, run)]
        rows.append((name, METHODS[name].label, attention, *counts, count_multiply_adds(run, horizon)))
    costs = ["parameters", "parameters_that_run", "multiply_adds"]
    table = pd.DataFrame(rows, columns=["method", "label", "attention", *costs])
    reference = table.set_index("method").loc["dp3"]
    return table.assign(**{f"{column}_share": table[column] / reference[column] for column in costs})


def cost_tables(horizons: Sequence[int]) -> dict[int, pd.DataFrame]:
    """``cost_table`` at each of these horizons; an InputError where there can be none."""
    check_horizons(horizons)
    return {horizon: cost_table(horizon) for horizon in horizons}


def every_timing() -> pd.DataFrame:
    """The kept benchmark, of all devices."""
    return read_table(kept_path())


def kept_timings() -> pd.DataFrame:
    """The kept benchmark, of the device that was measured last."""
    return newest_device(every_timing())


def newest_device(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the device that was measured last: numbers of two devices do not belong side by side."""
    return table[table["device"] == table["device"].iloc[-1]] if len(table) else table


def pick(table: pd.DataFrame, **values) -> pd.DataFrame:
    """The rows with these values."""
    return table[(table[list(values)] == pd.Series(values)).all(axis=1)]


def measured(column: str, horizon: int = 16, **where) -> pd.Series:
    """A column of ``kept_timings`` by (method, attention), where it was measured."""
    return pick(kept_timings(), horizon=horizon, **where).set_index(["method", "attention"])[column].dropna()


def with_readings(table: pd.DataFrame) -> pd.DataFrame:
    """``timing.table.read_table`` with milliseconds, samples a second, and how many times as fast as another it is."""
    return table.assign(
        milliseconds=1e3 * table["median_seconds"],
        samples_per_second=table["batch"] / table["median_seconds"],
        against_dp3=1 / table["ratio_to_dp3_eager"],
        against_official=1 / table["ratio_to_official"],
    )


def relative_costs(counted: dict[int, pd.DataFrame], table: pd.DataFrame, backends: Sequence[str]) -> pd.DataFrame:
    """Costs as ``plots.costs`` draws them: method, attention, quantity, value, share of DP3's, text.

    ``counted`` is a ``cost_table`` a horizon, ``table`` as ``timing.table.read_table``; latencies are those of a chunk
    at the last horizon, against DP3 in eager PyTorch.
    """
    first, last = next(iter(counted.values())), list(counted)[-1]
    frames = [cost_rows(first, "parameters, that run", "parameters_that_run", 1e-6, "{:.1f} M")]
    for horizon, costs in counted.items():
        frames.append(cost_rows(costs, f"multiply-adds, T = {horizon}", "multiply_adds", 1e-6, "{:.0f} M"))
    for backend in backends:
        timed = pick(table, horizon=last, backend=backend, **CHUNK)
        timed = timed.assign(median_seconds_share=timed["ratio_to_dp3_eager"])
        frames.append(cost_rows(timed, f"chunk, {BACKEND_LABELS[backend]}", "median_seconds", 1e3, "{:.0f} ms"))
    return pd.concat(frames, ignore_index=True)


def cost_rows(table: pd.DataFrame, quantity: str, column: str, unit: float, text: str) -> pd.DataFrame:
    """The rows of one quantity."""
    values = unit * table[column]
    rows = table[["method", "attention"]].assign(quantity=quantity, value=values, share=table[f"{column}_share"])
    return rows.assign(text=[text.format(value) for value in values])


def benchmark_reading(table: pd.DataFrame, horizon: int) -> pd.DataFrame:
    """The kept benchmark as a reader wants it: a row a quantity, a column a method and attention.

    ``table`` as ``timing.table.read_table``, of one device. What was not measured is empty, or has no row.
    """
    costs, table = cost_table(horizon), with_readings(table)
    names = [kind_name(*kind) for kind in kinds()]
    shown = pd.DataFrame(
        {
            "parameters (M)": costs["parameters"] / 1e6,
            "that run (M)": costs["parameters_that_run"] / 1e6,
            "multiply-adds (M)": costs["multiply_adds"] / 1e6,
        }
    )
    keys = pd.MultiIndex.from_frame(costs[["method", "attention"]])
    for name, column, where in READING:
        values = pick(table, horizon=horizon, **where).set_index(["method", "attention"])[column]
        shown[name] = values.reindex(keys).to_numpy() if len(values) else float("nan")
    shown = shown.dropna(axis="columns", how="all").set_axis(names).T
    return shown.reset_index(names=f"horizon {horizon}")


def benchmark_text(table: pd.DataFrame, horizon: int = 16) -> str:
    """What an action chunk of Mamba Policy takes as a share of DP3's, for each way to compute it."""
    said, commits = [], set()
    for backend in ("official", "torch", "onnx"):
        rows = pick(table, horizon=horizon, backend=backend, **CHUNK)
        rows = rows[rows["method"].map(lambda name: METHODS[name].mixer is not None)]
        if len(rows):
            low, high = rows["ratio_to_dp3_eager"].min(), rows["ratio_to_dp3_eager"].max()
            said.append(f"{100 * low:.1f} to {100 * high:.1f} % {BACKEND_LABELS[backend]}")
            commits |= {*rows["commit"]}
    if not said:
        return "The benchmark has not been made yet: `python -m mp_lib benchmark --table`."
    devices = join(sorted(table["device"].unique()))
    return (
        f"At horizon {horizon}, batch 1 and 1 thread, an action chunk of Mamba Policy takes, of the time of DP3 in "
        f"eager PyTorch, {join(said)}. Measured on {devices} at commit {join(sorted(commits))}."
    )


def anew_text(rows: Sequence[Measurement], table: pd.DataFrame) -> str:
    """What was measured just now beside what is kept, a sentence a row."""
    said = []
    for row in rows:
        kept = pick(table, **{key: getattr(row, key) for key in KEY if key != "device"})["ratio_to_dp3_eager"]
        beside = f" ({100 * kept.iloc[0]:.1f} % in the kept table)" if len(kept) else ""
        said.append(
            f"{kind_name(row.method, row.attention)}, {BACKEND_LABELS[row.backend]}: {1e3 * row.median_seconds:.0f} "
            f"ms, {100 * row.ratio_to_dp3_eager:.1f} % of the time of DP3 in eager PyTorch{beside}."
        )
    return " ".join(said or ["Nothing was measured anew."])
