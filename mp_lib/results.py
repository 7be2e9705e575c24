"""From runs to tables beside the published numbers."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pandas as pd

from mp_lib.config import METHODS, TrainConfig
from mp_lib.paths import published_path, root
from mp_lib.statistics import wilson_interval

BEST = 5  # evaluations whose mean is the paper's score (dp3.yaml, SR_test_L5)


def load_runs(folder: Path | None = None) -> pd.DataFrame:
    """One row a finished run below ``folder`` (data/runs by default), sorted; an empty table if there is none.

    Columns: the configuration, label, successes, episodes, success_rate, best_five (None without a
    curve), expert, demonstrations, depth_backend, parameters, seconds, peak_memory_bytes, device, commit, folder.
    """
    folder = folder or root() / "data" / "runs"
    rows = [run_row(path) for path in sorted(folder.glob("*/result.json"))]
    columns = list(run_row_columns())
    table = pd.DataFrame(rows, columns=columns)
    order = {name: place for place, name in enumerate(METHODS)}
    places = table["method"].map(order)
    return table.assign(place=places).sort_values(["task", "place", "attention", "seed"]).drop(columns="place")


def run_row_columns() -> tuple[str, ...]:
    """The names of the columns of ``load_runs``."""
    config = tuple(TrainConfig.__dataclass_fields__)
    return (
        *config,
        *("label", "successes", "episodes", "success_rate", "low", "high", "best_five", "loss", "expert"),
        *("demonstrations", "depth_backend", "parameters", "train_seconds", "evaluate_seconds"),
        *("peak_memory_bytes", "device", "commit", "folder"),
    )


def run_row(path: Path) -> dict:
    """The row of one result.json."""
    result = json.loads(path.read_text())
    successes, (low, high) = result["final"]["successes"], result["final"]["interval"]
    demos = result["demonstrations"]
    return result["config"] | {
        "label": METHODS[result["config"]["method"]].label,
        "successes": sum(successes),
        "episodes": len(successes),
        "success_rate": sum(successes) / len(successes),
        "low": low,
        "high": high,
        "best_five": best_five(result["curve"]),
        "loss": result["loss"],
        "expert": demos["expert"],
        "demonstrations": demos["episodes"],
        "depth_backend": demos["depth_backend"],
        "parameters": result["parameters"],
        "train_seconds": result["seconds"]["train"],
        "evaluate_seconds": result["seconds"]["evaluate"],
        "peak_memory_bytes": result["peak_memory_bytes"],
        "device": result["device"],
        "commit": result["commit"],
        "folder": path.parent.name,
    }


def best_five(curve: list[dict]) -> float | None:
    """The paper's score of a run: the mean of its best five evaluations; None if it was not evaluated on the way."""
    rates = sorted((row["successes"] / row["episodes"] for row in curve), reverse=True)[:BEST]
    return float(np.mean(rates)) if rates else None


def load_metrics(folders: list[str]) -> pd.DataFrame:
    """The logged rows of runs, by folder name: folder, step, loss, learning_rate, success_rate."""
    frames = []
    for name in folders:
        path = root() / "data" / "runs" / name / "metrics.jsonl"
        frames.append(pd.read_json(path, lines=True).assign(folder=name))
    return pd.concat(frames, ignore_index=True)


def load_published() -> pd.DataFrame:
    """The published numbers: table, method, task, value, spread, unit, evidence, source."""
    return pd.read_csv(published_path())


def success_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a task and method: our success beside the published one, which is empty where none is known.

    ``ours`` is the rate over the episodes of all seeds in percent, ``low`` and ``high`` its Wilson
    interval, ``over_seeds`` the standard deviation of the seeds' rates (empty for one seed).
    """
    published = load_published().query("table == 'success'").set_index(["method", "task"])
    rows = []
    for (task, method, attention), group in runs.groupby(["task", "method", "attention"], sort=False):
        successes, episodes = int(group["successes"].sum()), int(group["episodes"].sum())
        low, high = wilson_interval(successes, episodes)
        known = published.index.isin([(METHODS[method].published, task)])
        row = published[known].iloc[0] if known.any() else pd.Series(dtype=object)
        rows.append(
            {
                "task": task,
                "method": method,
                "label": METHODS[method].label,
                "attention": attention if METHODS[method].mixer else "",
                "ours": 100 * successes / episodes,
                "low": 100 * low,
                "high": 100 * high,
                "over_seeds": 100 * group["success_rate"].std(ddof=1) if len(group) > 1 else None,
                "successes": successes,
                "episodes": episodes,
                "seeds": len(group),
                "published": row.get("value"),
                "published_spread": row.get("spread"),
                "source": row.get("source", ""),
                "parameters": int(group["parameters"].iloc[0]),
                "train_minutes": group["train_seconds"].mean() / 60,
                "expert": group["expert"].iloc[0],
            }
        )
    return pd.DataFrame(rows)
