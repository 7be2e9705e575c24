"""Policies that others have published since, as points to stand beside ours: success against size and speed."""

from __future__ import annotations

import pandas as pd

from mp_lib.study.efficiency import kept_timings, pick
from mp_lib.study.tables import load_published

SIZE, SPEED = "parameters of the policy (million)", "time of a chunk, as a share of DP3's"


def sized_peers() -> pd.DataFrame:
    """Published policies: method, cost (million parameters) and success (percent, mean of the paper's ten tasks)."""
    published = load_published()
    sizes = published[published["table"] == "parameters"]
    return with_success(sizes.rename(columns={"value": "cost"}))


def timed_peers() -> pd.DataFrame:
    """Published policies: method, cost (time of a chunk as a share of DP3's on the same GPU) and success (percent)."""
    published = load_published()
    times = published[(published["table"] == "speed") & (published["unit"] == "ms")]
    reference = times.loc[times["method"] == "DP3", "value"]
    if reference.empty:
        return with_success(times.iloc[:0].assign(cost=0.0))
    return with_success(times.assign(cost=times["value"] / reference.iloc[0]))


def with_success(costs: pd.DataFrame) -> pd.DataFrame:
    """Those whose mean success over the ten tasks is published, too."""
    published = load_published()
    rates = published[published["table"] == "ten tasks"].set_index("method")["value"]
    known = costs[costs["method"].isin(rates.index)]
    return known.assign(success=known["method"].map(rates))[["method", "cost", "success"]]


def by_size(table: pd.DataFrame) -> pd.DataFrame:
    """``results.method_table`` with the cost in million parameters."""
    return table.assign(cost=table["parameters"] / 1e6)


def by_speed(table: pd.DataFrame, horizon: int = 16, backend: str = "onnx") -> pd.DataFrame:
    """``results.method_table`` with the cost as a share of DP3's time for a chunk, both by the same backend.

    Times are the kept benchmark's: the paper's widths, batch 1, one thread. What was not timed is left out.
    """
    timed = pick(kept_timings(), what="chunk", batch=1, threads=1, horizon=horizon, backend=backend)
    seconds = timed.set_index(["method", "attention"])["median_seconds"]
    if ("dp3", "") not in seconds.index:
        return table.iloc[:0].assign(cost=0.0)
    share = seconds / seconds["dp3", ""]
    keys = pd.MultiIndex.from_frame(table[["method", "attention"]])
    return table.assign(cost=share.reindex(keys).to_numpy()).dropna(subset="cost")
