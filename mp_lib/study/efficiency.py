"""What a method costs: parameters, multiply-adds, latency."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Sequence
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from mp_lib.model.pocket import PocketDenoiser
from mp_lib.model.policy import build_denoiser, condition_size
from mp_lib.model.unet import UNet1D
from mp_lib.presets import METHODS, PAPER_METHODS, kind_name, kinds
from mp_lib.study.sentences import count, join
from mp_lib.timing.benchmark import Measurement, check_horizons
from mp_lib.timing.table import COLUMNS, KEY, KINDS, kept_path, read_rows

ACTION_DIM = 26  # of Adroit's hammer, as in the official counts; two steps are observed
BACKEND_LABELS = {
    "official": "as the official code computes it",
    "torch": "PyTorch",
    "compiled": "compiled",
    "onnx": "ONNX Runtime",
    "cuda": "CUDA graph",
}
# Which rows of the benchmark: an action chunk, a denoiser call, many calls at once, a training step.
USUAL = {"num_inference_steps": 10, "stacked": 1}
CHUNK, CALL = ({"what": what, "batch": 1, "threads": 1} | USUAL for what in ("chunk", "denoiser"))
MANY = {"what": "denoiser", "batch": 64, "threads": 2} | USUAL
STEP = {"what": "train_step", "batch": 128, "threads": 2} | USUAL
STEP_ON_GPU = {"what": "training", "batch": 128, "threads": 1} | USUAL
FEW = CHUNK | {"num_inference_steps": 2}


def count_parameters(parameters: Iterable[torch.nn.Parameter]) -> int:
    """How many numbers these are."""
    return sum(each.numel() for each in parameters)


def sketch_denoiser(method: str, attention: str = "paper", horizon: int = 16) -> UNet1D | PocketDenoiser:
    """The denoiser of a method, at the paper's widths or its own, on the meta device: shapes without memory."""
    sizes = {"attention": attention or "paper", "horizon": horizon}
    with torch.device("meta"):
        return build_denoiser(method, ACTION_DIM, condition_size(method), **sizes).eval()


def call(denoiser: UNet1D | PocketDenoiser, horizon: int, batch: int = 1) -> Tensor:
    """What a denoiser gives (batch, horizon, ACTION_DIM) for random numbers."""
    actions, cond = torch.randn(batch, horizon, ACTION_DIM), torch.randn(batch, denoiser.cond_dim)
    return denoiser(actions, torch.arange(batch), cond)


def count_multiply_adds(denoiser: UNet1D | PocketDenoiser, horizon: int) -> int:
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
        carried, run = (sketch_denoiser(name, kind, horizon) for kind in ("paper", attention))
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


def read_table(path: Path) -> pd.DataFrame:
    """``timing.table.read_rows`` as a table; ``ratio_to_dp3_same``, where it was not noted, from rows of one sheet."""
    table = pd.DataFrame(read_rows(path), columns=COLUMNS)
    table = table.astype({name: float for name, kind in KINDS.items() if kind.startswith("float")})
    return table.assign(ratio_to_dp3_same=table["ratio_to_dp3_same"].fillna(quotients(table)))


def quotients(table: pd.DataFrame) -> pd.Series:
    """A row's median as a share of that of DP3 in its sheet, whose methods were timed in turn.

    Training steps have none: theirs of one horizon are two sheets, of which one has no DP3.
    """
    sheet = [name for name in KEY if name not in ("method", "attention")] + ["torch", "commit"]
    timed = table["median_seconds"].where(table["what"] != "train_step")
    return timed / timed.where(table["method"] == "dp3").groupby([table[name] for name in sheet]).transform("max")


def kept_timings() -> pd.DataFrame:
    """The kept benchmark, of one device: ``newest_device``."""
    return newest_device(every_timing())


def newest_device(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of one device and precision, as numbers of two do not belong side by side.

    Of those on which most methods and structures were measured, so that one begun hides none that is whole; of several
    the one measured last.
    """
    places = table[["device", "precision"]].drop_duplicates(keep="last").to_dict("records")
    found = [pick(table, **place) for place in reversed(places)]
    return max(found, key=lambda rows: len(rows[["method", "attention"]].drop_duplicates()), default=table)


def devices_in(table: pd.DataFrame) -> list[pd.DataFrame]:
    """The rows of each device and precision."""
    return [rows for _, rows in table.groupby(["device", "precision"], sort=False)]


def device_text(table: pd.DataFrame) -> str:
    """What ``table``, of one device, was measured on: its name and precision, and its bandwidth where that was."""
    found = table.dropna(subset="bandwidth").groupby("threads")["bandwidth"].median()
    read = [f"{speed:.0f} GB/s with {count(threads, 'thread')}" for threads, speed in found.items()]
    said = [*sorted({*table["device"]}), *sorted({*table["precision"]}), f"it reads {join(read)}" if read else ""]
    return ", ".join(filter(None, said)) or "not measured yet"


def pick(table: pd.DataFrame, **values) -> pd.DataFrame:
    """The rows with these values."""
    return table[(table[list(values)] == pd.Series(values)).all(axis=1)]


def measured_rows(column: str, horizon: int = 16, **where) -> pd.DataFrame:
    """Rows of the kept benchmark that have a column, of one device: ``newest_device``."""
    return newest_device(pick(read_table(kept_path()), horizon=horizon, **where).dropna(subset=column))


def measured(column: str, horizon: int = 16, **where) -> pd.Series:
    """A column of ``measured_rows`` by (method, attention)."""
    return measured_rows(column, horizon, **where).set_index(["method", "attention"])[column]


def forms_in(table: pd.DataFrame) -> list[str]:
    """The forms, but the official one, in which chunks of ``table`` were timed."""
    timed = {*pick(table, **CHUNK)["backend"]}
    return [name for name in BACKEND_LABELS if name in timed - {"official", "compiled"}]


def relative_costs(counted: dict[int, pd.DataFrame], table: pd.DataFrame, backends: Sequence[str]) -> pd.DataFrame:
    """Costs as ``plots.costs`` draws them: method, attention, quantity, value, share of DP3's, share_eager, text.

    ``counted`` is a ``cost_table`` a horizon, ``table`` as ``read_table``; latencies are those of a chunk at the last
    horizon, against DP3 by the same backend, and as share_eager against DP3 in eager PyTorch.
    """
    first, last = next(iter(counted.values())), list(counted)[-1]
    frames = [cost_rows(first, "parameters, that run", "parameters_that_run", 1e-6, "{:.1f} M")]
    for horizon, costs in counted.items():
        frames.append(cost_rows(costs, f"multiply-adds, T = {horizon}", "multiply_adds", 1e-6, "{:.0f} M"))
    for backend in backends:
        timed = pick(table, horizon=last, backend=backend, **CHUNK)
        shares = {"median_seconds_share": "ratio_to_dp3_same", "median_seconds_eager": "ratio_to_dp3_eager"}
        timed = timed.assign(**{name: timed[ratio] for name, ratio in shares.items()})
        frames.append(cost_rows(timed, f"chunk, {BACKEND_LABELS[backend]}", "median_seconds", 1e3, "{:.0f} ms"))
    return pd.concat(frames, ignore_index=True)


def cost_rows(table: pd.DataFrame, quantity: str, column: str, unit: float, text: str) -> pd.DataFrame:
    """The rows of one quantity."""
    values = unit * table[column]
    rows = table[["method", "attention"]].assign(quantity=quantity, value=values, share=table[f"{column}_share"])
    rows["share_eager"] = table.get(f"{column}_eager", float("nan"))
    return rows.assign(text=[text.format(value) for value in values])


def benchmark_text(table: pd.DataFrame, horizon: int = 16) -> str:
    """What an action chunk of Mamba Policy takes as a share of DP3's, for each way to compute it."""
    said, commits = [], set()
    for backend in ("official", *forms_in(table)):
        rows = pick(table, horizon=horizon, backend=backend, **CHUNK)
        rows = rows[rows["method"].map(lambda name: name in PAPER_METHODS and METHODS[name].mixer is not None)]
        if len(rows):
            same, eager = (percent(rows[f"ratio_to_dp3_{other}"]) for other in ("same", "eager"))
            said.append(f"{same} {BACKEND_LABELS[backend]} ({eager})")
            commits |= {*rows["commit"]}
    if not said:
        return "The benchmark has not been made yet: `python -m mp_lib benchmark --table`."
    return (
        f"At horizon {horizon}, batch 1 and 1 thread, an action chunk of Mamba Policy takes, of the time of DP3 by the "
        f"same means (in brackets: of DP3 in eager PyTorch), {join(said)}. Measured on {device_text(table)}, at commit "
        f"{join(sorted(commits))}."
    )


def percent(shares: pd.Series) -> str:
    """The lowest and the highest of shares."""
    return f"{100 * shares.min():.1f} to {100 * shares.max():.1f} %"


def anew_text(rows: Sequence[Measurement], table: pd.DataFrame) -> str:
    """What was measured just now beside what is kept, a sentence a row."""
    said = []
    for row in rows:
        kept = pick(table, **{key: getattr(row, key) for key in KEY if key != "device"})["ratio_to_dp3_same"]
        beside = f" ({100 * kept.iloc[0]:.1f} % in the kept table)" if len(kept) else ""
        said.append(
            f"{kind_name(row.method, row.attention)}, {BACKEND_LABELS[row.backend]}: {1e3 * row.median_seconds:.0f} "
            f"ms, {100 * row.ratio_to_dp3_same:.1f} % of the time of DP3 by the same means{beside}, "
            f"{100 * row.ratio_to_dp3_eager:.1f} % of that in eager PyTorch."
        )
    return " ".join(said or ["Nothing was measured anew."])
