"""Sentences that hold whatever the numbers are, because they are made of them."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mp_lib.interfaces import RunResult
from mp_lib.overview import protocol
from mp_lib.statistics import wilson_interval


def of_rate(successes: int, episodes: int) -> str:
    """A success rate with its interval, e.g. "17 of 20 episodes (85 %, 95 % interval 64 to 95 %)"."""
    low, high = wilson_interval(successes, episodes)
    return (
        (
            f"{successes} of {episodes} episodes ({successes / episodes:.0%}, "
            f"95 % interval {low:.0%} to {high:.0%} after Wilson)"
        )
        .replace("%", " %")
        .replace("  %", " %")
    )


def join(names: Sequence[str]) -> str:
    """Names as one enumerates them: "a, b and c"."""
    names = list(map(str, names))
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]]))


def no_runs(scale: str) -> str:
    """What to do where there is no run of a scale yet."""
    return (
        f"There is no finished run of the scale `{scale}` yet. Train one in `03_train.ipynb`, "
        f"or all of them with `./run_all.sh {scale}`."
    )


def of_success(result: RunResult) -> str:
    """How often a run succeeded, and under which conditions."""
    config, successes = result.config, result.final["successes"]
    return (
        f"**{config['method']}** on **{config['task']}**, seed {config['seed']}: "
        f"{of_rate(sum(successes), len(successes))}. Conditions: {protocol(config)}."
    )


def of_runs(scale: str, runs: pd.DataFrame) -> str:
    """Which runs a page of tables was made from."""
    if runs.empty:
        return no_runs(scale)
    return (
        f"{len(runs)} finished runs of the scale `{scale}`: {runs['method'].nunique()} methods, "
        f"{runs['task'].nunique()} tasks, {runs['seed'].nunique()} seeds. Runs with changed numbers are left out."
    )


def of_best(table: pd.DataFrame) -> str:
    """Which method succeeds most often, and whether the others are told apart from it. ``table``: ``method_table``."""
    if table.empty:
        return "No task has been trained with every method, so there is nothing to compare."
    names = [row.label + (", no attention" if row.attention == "released" else "") for row in table.itertuples()]
    best = int(table["ours"].to_numpy().argmax())
    row = table.iloc[best]
    behind = [name for name, high in zip(names, table["high"], strict=True) if high < row.low]
    told = f"Intervals apart from it: {join(behind)}." if behind else "No other interval lies wholly below its own."
    return (
        f"Highest rate over {row.tasks} common {'task' if row.tasks == 1 else 'tasks'}: {names[best]} with "
        f"{of_rate(row.successes, row.episodes)}. {told}"
    )
