"""What a method costs: parameters, multiply-adds, latency."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd
import torch
from torch.utils.flop_counter import FlopCounterMode

from mp_lib.config import ATTENTION, METHODS
from mp_lib.model.policy import build_denoiser
from mp_lib.study.sentences import join
from mp_lib.timing.benchmark import Measurement
from mp_lib.timing.table import kept_path, read_table

WITHOUT = {"released": " without attention"}
BACKEND_LABELS = {
    "official": "as the official code computes it",
    "torch": "PyTorch",
    "compiled": "compiled",
    "onnx": "ONNX Runtime",
    "cuda": "CUDA graph",
}


CHUNK, CALL = {"what": "chunk", "batch": 1, "threads": 1}, {"what": "denoiser", "batch": 1, "threads": 1}
MANY, STEP = {"what": "denoiser", "batch": 64, "threads": 2}, {"what": "train_step", "batch": 128, "threads": 2}


def throughput(rows: pd.DataFrame) -> pd.Series:
    """Samples a second."""
    return rows["batch"] / rows["median_seconds"]


def against_dp3(rows: pd.DataFrame) -> pd.Series:
    """How many times as fast as DP3 in eager PyTorch."""
    return 1 / rows["ratio_to_dp3_eager"]


def against_official(rows: pd.DataFrame) -> pd.Series:
    """How many times as fast as the official formulation."""
    return 1 / rows["ratio_to_official"]


READING = (  # name, column, factor or function, rows
    *(
        (f"{noun} {BACKEND_LABELS[name]} (ms)", "median_seconds", 1e3, where | {"backend": name})
        for noun, where in (("call,", CALL), ("chunk,", CHUNK))
        for name in ("official", "torch", "onnx")
    ),
    ("chunk, ONNX Runtime: times as fast as DP3 eager", "", against_dp3, CHUNK | {"backend": "onnx"}),
    ("chunk, ONNX Runtime: times as fast as official", "", against_official, CHUNK | {"backend": "onnx"}),
    *(
        (f"calls a second, batch 64, {BACKEND_LABELS[name]}", "", throughput, MANY | {"backend": name})
        for name in ("torch", "onnx")
    ),
    ("training step (ms)", "median_seconds", 1e3, STEP | {"backend": "torch"}),
    ("training step: times as fast as official", "", against_official, STEP | {"backend": "torch"}),
    ("memory of a chunk (MB)", "peak_megabytes", 1, CHUNK | {"backend": "torch"}),
    ("memory of a training step (MB)", "peak_megabytes", 1, STEP | {"backend": "torch"}),
)


def count_parameters(module: torch.nn.Module) -> int:
    """The number of weights of a module."""
    return sum(each.numel() for each in module.parameters())


def sketch_denoiser(method: str, attention: str, action_dim: int = 26, cond_dim: int = 256) -> torch.nn.Module:
    """The denoiser of a method at the paper's widths on the meta device: shapes without memory."""
    with torch.device("meta"):
        return build_denoiser(method, action_dim, cond_dim, attention=attention or "paper").eval()


def carried_parameters(method: str, action_dim: int = 26, cond_dim: int = 256) -> int:
    """The parameters that the official denoiser of a method carries, its never executed attention included."""
    return count_parameters(sketch_denoiser(method, "paper", action_dim, cond_dim))


def count_multiply_adds(method: str, attention: str, horizon: int, action_dim: int = 26, cond_dim: int = 256) -> int:
    """Multiply-adds of matrix products and convolutions in one denoiser call at batch 1 and the paper's widths."""
    denoiser = sketch_denoiser(method, attention, action_dim, cond_dim)
    with FlopCounterMode(display=False) as counter, torch.no_grad(), torch.device("meta"):
        denoiser(torch.zeros(1, horizon, action_dim), torch.zeros(1, dtype=torch.long), torch.zeros(1, cond_dim))
    return counter.get_total_flops() // 2


def kinds() -> list[tuple[str, str]]:
    """Every method with the attentions it can have: paper and released, or "" where it has none."""
    return [
        (name, attention) for name, method in METHODS.items() for attention in (ATTENTION if method.mixer else ("",))
    ]


def cost_table(horizon: int = 16, action_dim: int = 26, cond_dim: int = 256) -> pd.DataFrame:
    """One row a method and attention: parameters carried and run, multiply-adds of a denoiser call; shares of DP3's."""
    rows = [
        {
            "method": name,
            "label": METHODS[name].label,
            "attention": attention,
            "parameters": carried_parameters(name, action_dim, cond_dim),
            "parameters_that_run": count_parameters(sketch_denoiser(name, attention, action_dim, cond_dim)),
            "multiply_adds": count_multiply_adds(name, attention, horizon, action_dim, cond_dim),
        }
        for name, attention in kinds()
    ]
    table = pd.DataFrame(rows)
    reference = table.set_index("method").loc["dp3"]
    for column in ("parameters", "parameters_that_run", "multiply_adds"):
        table[f"{column}_share"] = table[column] / reference[column]
    return table


def latencies(table: pd.DataFrame, horizon: int, backend: str) -> pd.DataFrame:
    """Action chunks at batch 1 and 1 thread of ``benchmark_table.read_table``: seconds, and the share of DP3's."""
    rows = pick(table, what="chunk", batch=1, threads=1, horizon=horizon, backend=backend)
    return rows.assign(share=rows["ratio_to_dp3_eager"])


def kept_timings() -> pd.DataFrame:
    """The kept benchmark, of the device that was measured last."""
    return newest_device(read_table(kept_path()))


def newest_device(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of the device that was measured last: numbers of two devices do not belong side by side."""
    return table[table["device"] == table["device"].iloc[-1]] if len(table) else table


def pick(table: pd.DataFrame, **values) -> pd.DataFrame:
    """The rows with these values."""
    return table[(table[list(values)] == pd.Series(values)).all(axis=1)]


def relative_costs(counted: dict[int, pd.DataFrame], table: pd.DataFrame, backends: Sequence[str]) -> pd.DataFrame:
    """Costs as ``plots.costs`` draws them: method, attention, quantity, value, share of DP3's, text.

    ``counted`` is a ``cost_table`` a horizon, ``table`` as ``benchmark_table.read_table``; latencies are those of the
    last horizon.
    """
    first, last = next(iter(counted.values())), list(counted)[-1]
    frames = [cost_rows(first, "parameters, that run", "parameters_that_run", 1e-6, "{:.1f} M")]
    for horizon, costs in counted.items():
        frames.append(cost_rows(costs, f"multiply-adds, T = {horizon}", "multiply_adds", 1e-6, "{:.0f} M"))
    for backend in backends:
        timed = latencies(table, last, backend).rename(columns={"share": "median_seconds_share"})
        quantity = f"chunk, {BACKEND_LABELS[backend]}"
        frames.append(cost_rows(timed, quantity, "median_seconds", 1e3, "{:.0f} ms"))
    return pd.concat(frames, ignore_index=True)


def cost_rows(table: pd.DataFrame, quantity: str, column: str, unit: float, text: str) -> pd.DataFrame:
    """The rows of one quantity."""
    values = unit * table[column]
    rows = table[["method", "attention"]].assign(quantity=quantity, value=values, share=table[f"{column}_share"])
    return rows.assign(text=[text.format(value) for value in values])


def reading_table(costs: pd.DataFrame) -> pd.DataFrame:
    """``cost_table`` as a reader wants it: millions, and percent of DP3."""
    return pd.DataFrame(
        {
            "method": costs["label"],
            "attention": costs["attention"].replace({"paper": "yes", "released": "no"}),
            "parameters carried (M)": costs["parameters"] / 1e6,
            "that run (M)": costs["parameters_that_run"] / 1e6,
            "saved against DP3 (%)": 100 * (1 - costs["parameters_share"]),
            "multiply-adds (M)": costs["multiply_adds"] / 1e6,
            "saved against DP3 (%) ": 100 * (1 - costs["multiply_adds_share"]),
        }
    )


def benchmark_reading(table: pd.DataFrame, horizon: int) -> pd.DataFrame:
    """The kept benchmark as a reader wants it: a row a quantity, a column a method and attention.

    ``table`` as ``benchmark_table.read_table``, of one device. What was not measured is empty, or has no row.
    """
    costs = cost_table(horizon)
    names = [f"{row.label}{WITHOUT.get(row.attention, '')}" for row in costs.itertuples()]
    shown = pd.DataFrame(
        {
            "parameters (M)": costs["parameters"] / 1e6,
            "that run (M)": costs["parameters_that_run"] / 1e6,
            "multiply-adds (M)": costs["multiply_adds"] / 1e6,
        }
    )
    keys = pd.MultiIndex.from_frame(costs[["method", "attention"]])
    for name, column, factor, where in READING:
        rows = pick(table, horizon=horizon, **where).set_index(["method", "attention"])
        values = factor(rows) if callable(factor) else factor * rows[column]
        shown[name] = values.reindex(keys).to_numpy() if len(rows) else float("nan")
    shown = shown.dropna(axis="columns", how="all").set_axis(names).T
    return shown.reset_index(names=f"horizon {horizon}")


def benchmark_text(table: pd.DataFrame, horizon: int = 16) -> str:
    """What an action chunk of Mamba Policy takes as a share of DP3's, for each way to compute it."""
    said, commits = [], set()
    for backend in ("official", "torch", "onnx"):
        rows = latencies(table, horizon, backend)
        rows = rows[rows["method"].map(lambda name: METHODS[name].mixer is not None)]
        if len(rows):
            low, high = rows["share"].min(), rows["share"].max()
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
        kept = pick(
            table,
            **{key: getattr(row, key) for key in ("what", "batch", "threads", "backend", "method", "horizon")},
            attention=row.attention,
        )
        beside = f" ({kept['ratio_to_dp3_eager'].iloc[0]:.1%} in the kept table)" if len(kept) else ""
        name = f"{METHODS[row.method].label}{WITHOUT.get(row.attention, '')}, {BACKEND_LABELS[row.backend]}"
        said.append(
            f"{name}: {1e3 * row.median_seconds:.0f} ms, {row.ratio_to_dp3_eager:.1%} of the time of DP3 in eager "
            f"PyTorch{beside}."
        )
    return " ".join(said or ["Nothing was measured anew."]).replace("%", " %")
