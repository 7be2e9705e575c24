"""From runs to tables beside the published numbers."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from mp_lib.config import METHODS, SCALES, TrainConfig, scale_config
from mp_lib.interfaces import RunResult, look_up
from mp_lib.overview import protocol
from mp_lib.paths import published_path, root
from mp_lib.sim.tasks import TASKS
from mp_lib.statistics import wilson_interval

BEST = 5  # evaluations whose mean is the paper's score (dp3.yaml, SR_test_L5)


def load_runs(folder: Path | None = None) -> pd.DataFrame:
    """One row a finished run below ``folder`` (data/runs by default), sorted; an empty table if there is none.

    Columns: the configuration, label, changed (of the scale's numbers), protocol, successes, episodes, success_rate,
    best_five (None without a curve), expert, demonstrations, depth_backend, parameters, seconds,
    peak_memory_bytes, device, commit, folder.
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
        *(
            "label",
            "changed",
            "protocol",
            "successes",
            "episodes",
            "success_rate",
            "low",
            "high",
            "best_five",
            "loss",
            "expert",
        ),
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
        "changed": changes_of(result["config"]),
        "protocol": protocol(result["config"]),
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


def changes_of(config: dict) -> str:
    """What a run changed of its scale, attention aside, e.g. "num_steps=10"; empty for a run as the scale has it."""
    config = TrainConfig(**config)
    usual = asdict(scale_config(config.scale, config.task, config.method, config.seed, attention=config.attention))
    return ", ".join(f"{key}={value}" for key, value in asdict(config).items() if usual[key] != value)


def choose_runs(scale: str, tasks: Sequence[str] = (), methods: Sequence[str] = ()) -> pd.DataFrame:
    """The finished runs of a scale whose numbers nobody changed; of all tasks or methods where none are named.

    An unknown scale, task or method raises a ValueError that lists those that exist.
    """
    look_up(SCALES, scale, "scale")
    for registry, names, noun in ((TASKS, tasks, "task"), (METHODS, methods, "method")):
        for name in names:
            look_up(registry, name, noun)
    runs = load_runs()
    wanted = (runs["scale"] == scale) & (runs["changed"] == "")
    for column, names in (("task", tasks), ("method", methods)):
        if len(names):
            wanted &= runs[column].isin(names)
    return runs[wanted]


def count_changed(scale: str) -> int:
    """The number of finished runs of a scale that ``choose_runs`` leaves out, as they changed the scale's numbers."""
    runs = load_runs()
    return int(((runs["scale"] == scale) & (runs["changed"] != "")).sum())


def result_files(runs: pd.DataFrame) -> list[Path]:
    """The result.json of every run."""
    return [root() / "data" / "runs" / folder / "result.json" for folder in runs["folder"]]


def best_five(curve: list[dict]) -> float | None:
    """The paper's score of a run: the mean of its best five evaluations; None if it was not evaluated on the way."""
    rates = sorted((row["successes"] / row["episodes"] for row in curve), reverse=True)[:BEST]
    return float(np.mean(rates)) if rates else None


def runs_of(folders: Sequence[Path]) -> pd.DataFrame:
    """The rows of ``load_runs`` of these folders."""
    return pd.DataFrame([run_row(folder / "result.json") for folder in folders], columns=list(run_row_columns()))


def result_table(result: RunResult) -> pd.DataFrame:
    """A result as rows: fact, value."""
    seeds = result.final["seeds"]
    rows = {
        "protocol": protocol(result.config),
        "demonstrations": f"{result.demonstrations['episodes']} of {result.demonstrations['expert']}",
        "successes": f"{sum(result.final['successes'])} of {len(seeds)} (seeds {seeds[0]} to {seeds[-1]})",
        "last loss": f"{result.loss:.4g}",
        "parameters": f"{result.parameters:,}",
        "seconds of training": f"{result.seconds['train']:.0f}",
        "seconds of evaluation": f"{result.seconds['evaluate']:.0f}",
        "peak memory": f"{result.peak_memory_bytes / 2**20:.0f} MiB",
        "device": result.device,
        "commit": result.commit,
        "versions": ", ".join(f"{name} {number}" for name, number in result.versions.items()),
    }
    return pd.DataFrame(rows.items(), columns=["fact", "value"])


def load_metrics(folders: Sequence[str]) -> pd.DataFrame:
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
                "protocol": group["protocol"].iloc[0],
            }
        )
    return pd.DataFrame(rows)


def method_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a method and attention over the tasks that all of them have: rate in percent, interval, parameters.

    Episodes of different tasks are pooled, so every task counts by its number of episodes.
    """
    kinds = list(runs.groupby(["method", "attention"], sort=False))
    common = set.intersection(*(set(group["task"]) for _, group in kinds)) if kinds else set()
    rows = []
    for (method, attention), group in kinds:
        group = group[group["task"].isin(common)]
        if group.empty:
            continue
        successes, episodes = int(group["successes"].sum()), int(group["episodes"].sum())
        low, high = wilson_interval(successes, episodes)
        rows.append(
            {
                "method": method,
                "label": METHODS[method].label,
                "attention": attention if METHODS[method].mixer else "",
                "tasks": len(common),
                "successes": successes,
                "episodes": episodes,
                "ours": 100 * successes / episodes,
                "low": 100 * low,
                "high": 100 * high,
                "parameters": int(group["parameters"].iloc[0]),
            }
        )
    columns = ["method", "label", "attention", "tasks", "successes", "episodes", "ours", "low", "high", "parameters"]
    return pd.DataFrame(rows, columns=columns)


def reading_table(table: pd.DataFrame) -> pd.DataFrame:
    """``success_table`` as a reader wants it: percent with interval and published value in one cell each."""
    intervals = [f"{row.ours:.0f} ({row.low:.0f} to {row.high:.0f})" for row in table.itertuples()]
    spreads = ["" if pd.isna(row.published_spread) else f" ± {row.published_spread:.0f}" for row in table.itertuples()]
    published = [
        "" if pd.isna(row.published) else f"{row.published:g}{spread}"
        for row, spread in zip(table.itertuples(), spreads, strict=True)
    ]
    return pd.DataFrame(
        {
            "task": table["task"],
            "method": table["label"],
            "attention": table["attention"].replace({"paper": "yes", "released": "no"}),
            "success, % (95 % interval)": intervals,
            "seeds": table["seeds"],
            "episodes": table["episodes"],
            "published, %": published,
            "source": table["source"].fillna(""),
            "parameters (M)": table["parameters"] / 1e6,
            "training (min)": table["train_minutes"],
            "conditions": table["protocol"],
        }
    )


def what_is_missing(table: pd.DataFrame) -> str:
    """Which cells have no published number, and how to add one."""
    empty = int(table["published"].isna().sum())
    if not empty:
        return "Every row has a published number beside it."
    return (
        f"{empty} of {len(table)} rows have no published number: the success tables of arXiv 2409.07163 could not be "
        "obtained, and narrow or renamed variants were never published. A cell stays empty rather than guessed. "
        "To fill one, append a row with its source to `data/paper/published.csv` and run this notebook again."
    )


def who_demonstrated(table: pd.DataFrame) -> str:
    """Whose demonstrations the policies learned from, which a comparison with published rates depends on."""
    experts = ", ".join(sorted(table["expert"].unique()))
    return (
        f"Demonstrations here come from: {experts}. Published rates rest on the demonstrations of their own authors; "
        "another expert, another simulator version or other seeds shift a success rate by themselves."
    )
