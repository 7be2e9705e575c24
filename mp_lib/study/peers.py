"""Policies that others have published since, as points to stand beside ours: success against size and speed."""

from __future__ import annotations

import pandas as pd

from mp_lib.study.efficiency import CHUNK, measured
from mp_lib.study.tables import load_published

SIZE, SPEED = "parameters of the policy (million)", "time of a chunk, as a share of DP3's"


def by_size(table: pd.DataFrame) -> tuple[pd.DataFrame, pd.DataFrame]:
    """``tables.method_table`` and published policies, both with the cost in million parameters."""
    return table.assign(cost=table["parameters"] / 1e6), with_success(published("table == 'parameters'"))


def by_speed(table: pd.DataFrame, backend: str = "onnx") -> tuple[pd.DataFrame, pd.DataFrame]:
    """``tables.method_table`` and published policies, both with the cost as a share of DP3's time for a chunk.

    Our times are the kept benchmark's by one backend: the paper's widths, batch 1, one thread; theirs of one GPU. What
    was not timed is left out.
    """
    ours, theirs = measured("median_seconds", backend=backend, **CHUNK), published("table == 'speed' and unit == 'ms'")
    share = ours / ours.get(("dp3", ""), float("nan"))
    keys = pd.MultiIndex.from_frame(table[["method", "attention"]])
    timed = table.assign(cost=share.reindex(keys).to_numpy(float)).dropna(subset="cost")
    reference = theirs[theirs.index == "DP3"]  # the first where several were typed in
    return timed, with_success(theirs / (reference.iloc[0] if len(reference) else float("nan")))


def published(where: str) -> pd.Series:
    """The published numbers for which ``where`` holds, by method."""
    return load_published().query(where).set_index("method")["value"]


def with_success(costs: pd.Series) -> pd.DataFrame:
    """Published policies: method, cost and success (percent, mean of the paper's ten tasks), where both are known."""
    rates = published("table == 'ten tasks'")
    known = costs[costs.index.isin(rates.index)].dropna()
    return pd.DataFrame({"method": known.index, "cost": known.to_numpy(), "success": rates[known.index].to_numpy()})
