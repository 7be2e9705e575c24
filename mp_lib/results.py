"""From runs to tables beside the published numbers."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
import pandas as pd

from mp_lib.config import ATTENTION, METHODS, SCALES, TrainConfig, scale_config
from mp_lib.interfaces import RunResult, look_up
from mp_lib.overview import protocol
from mp_lib.paths import published_path, root
from mp_lib.recordings import OTHER_DEMOS
from mp_lib.sentences import BEST_COLUMN
from mp_lib.sim.tasks import TASKS, remarks_on
from mp_lib.statistics import wilson_interval

BEST = 5  # evaluations whose mean is the paper's score (dp3.yaml, SR_test_L5)


def load_runs(folder: Path | None = None) -> pd.DataFrame:
    """One row a readable finished run below ``folder`` (data/runs by default), sorted; an empty table if there is none.

    Columns: the configuration, label, changed (of the scale's numbers), protocol, successes, outcomes (a digit an
    episode, in the order of seeds), episodes, success_rate, best_five (None without a curve), expert, demonstrations,
    depth_backend, parameters, seconds, peak_memory_bytes, device, commit, folder.
    """
    rows = [row for row in readable_rows(folder or root() / "data" / "runs") if row is not None]
    columns = list(run_row_columns())
    table = pd.DataFrame(rows, columns=columns)
    order = {name: place for place, name in enumerate(METHODS)}
    places = table["method"].map(order)
    return table.assign(place=places).sort_values(["task", "place", "attention", "seed"]).drop(columns="place")


def readable_rows(folder: Path) -> Iterator[dict | None]:
    """The row of every result.json below a folder; None for one that is damaged, or that this version does not know."""
    for path in sorted(folder.glob("*/result.json")):
        try:
            yield run_row(path)
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError):
            yield None


def count_unreadable() -> int:
    """The number of finished runs that cannot be read."""
    return sum(row is None for row in readable_rows(root() / "data" / "runs"))


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
            "outcomes",
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
    config = asdict(TrainConfig(**result["config"]))
    return config | {
        "label": METHODS[config["method"]].label,
        "changed": changes_of(config, path.parent.name),
        "protocol": protocol(config),
        "successes": sum(successes),
        "outcomes": "".join(map(str, successes)),
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


def changes_of(config: dict, folder: str = "") -> str:
    """What a run changed of its scale, attention aside, e.g. "num_steps=10"; empty for a run as the scale has it.

    Other demonstrations are a change, too; the name of its ``folder`` tells.
    """
    config = TrainConfig(**config)
    chosen = {"attention": config.attention, "demonstrator": config.demonstrator}
    usual = asdict(scale_config(config.scale, config.task, config.method, config.seed, **chosen))
    changes = [f"{key}={value}" for key, value in asdict(config).items() if usual[key] != value]
    _, marked, store = folder.partition(OTHER_DEMOS)
    return ", ".join(changes + ([f"demos={store}"] if marked else []))


def choose_runs(
    scale: str,
    tasks: Sequence[str] = (),
    methods: Sequence[str] = (),
    seeds: Sequence[int] = (),
    attention: str = "",
    expert: str = "default",
) -> pd.DataFrame:
    """The finished runs of a scale whose numbers nobody changed; of all tasks, methods or seeds where none are named.

    ``attention`` chooses among the runs of methods that can have one; empty: both. One run a task, method,
    attention and seed; those on demonstrations of another ``expert`` of the tasks are left out. An unknown scale,
    task, method or attention raises a ValueError that lists those that exist.
    """
    look_up(SCALES, scale, "scale")
    if attention:
        look_up(ATTENTION, attention, "attention")
    for registry, names, noun in ((TASKS, tasks, "task"), (METHODS, methods, "method")):
        for name in names:
            look_up(registry, name, noun)
    runs = load_runs()
    wanted = (runs["scale"] == scale) & (runs["changed"] == "") & (runs["demonstrator"] == expert)
    for column, names in (("task", tasks), ("method", methods), ("seed", seeds)):
        if len(names):
            wanted &= runs[column].isin(names)
    if attention:
        bare = [name for name, method in METHODS.items() if not method.mixer]
        wanted &= runs["method"].isin(bare) | (runs["attention"] == attention)
    return runs[wanted].drop_duplicates(["task", "method", "attention", "seed"])


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
    remarks = remarks_on(result.config["task"], result.demonstrations["expert"])
    rows = {
        "protocol": protocol(result.config),
        "demonstrations": f"{result.demonstrations['episodes']} of {result.demonstrations['expert']}",
        **({"remark": ". ".join(remarks)} if remarks else {}),
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
    """The logged rows of runs, by folder name, of those that can be read: folder, step, loss, learning_rate, ...

    ``success_rate`` is there if any run was evaluated on the way.
    """
    frames = []
    for name in folders:
        path = root() / "data" / "runs" / name / "metrics.jsonl"
        with contextlib.suppress(OSError, ValueError):
            frames.append(pd.read_json(path, lines=True).assign(folder=name))
    columns = ["step", "loss", "learning_rate", "success_rate", "folder"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def load_published() -> pd.DataFrame:
    """The published numbers: table, method, task, value, spread, unit, evidence, source."""
    return pd.read_csv(published_path())


def success_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a task and method: our success beside the published one, which is empty where none is known.

    ``comparable`` is false for a task that is a re-creation. ``ours`` is the rate over the episodes of all seeds in
    percent, ``low`` and ``high`` its Wilson interval, ``over_seeds`` the standard deviation of the seeds' rates (empty
    for one seed). ``best_five`` and ``best_five_over_seeds`` are mean and standard deviation of the seeds' scores as
    the paper takes them, in percent, empty unless all were evaluated on the way.
    """
    published = load_published().query("table == 'success'").set_index(["method", "task"])
    rows = []
    for (task, method, attention), group in runs.groupby(["task", "method", "attention"], sort=False):
        successes, episodes = int(group["successes"].sum()), int(group["episodes"].sum())
        low, high = wilson_interval(successes, episodes)
        known = published.index.isin([(METHODS[method].published, task)])
        scores = 100 * pd.to_numeric(group["best_five"])
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
                "best_five": scores.mean(skipna=False),
                "best_five_over_seeds": scores.std(ddof=1, skipna=False),
                "successes": successes,
                "episodes": episodes,
                "seeds": len(group),
                "published": row.get("value"),
                "published_spread": row.get("spread"),
                "source": row.get("source", ""),
                "comparable": task not in TASKS or not TASKS[task].remark,
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
    rows = list(table.itertuples())
    best_five = {BEST_COLUMN: [with_spread(row.best_five, row.best_five_over_seeds, ".0f") for row in rows]}
    return pd.DataFrame(
        {
            "task": table["task"],
            "method": [row.label + (", no attention" if row.attention == "released" else "") for row in rows],
            "success, % (95 % interval)": [f"{row.ours:.0f} ({row.low:.0f} to {row.high:.0f})" for row in rows],
            **(best_five if table["best_five"].notna().any() else {}),
            "episodes (seeds)": [f"{row.episodes} ({row.seeds})" for row in rows],
            "published, %": [published_cell(row) for row in rows],
            "parameters (M)": table["parameters"] / 1e6,
            "training (min)": table["train_minutes"],
        }
    )


def published_cell(row) -> str:
    """The published rate of a row of ``success_table``, in brackets where it cannot be compared."""
    value = with_spread(row.published, row.published_spread, "g")
    return value if row.comparable or not value else f"({value})"


def with_spread(value: float | None, spread: float | None, form: str) -> str:
    """E.g. "99 ± 1"; nothing for a value that is not known, no spread for a spread that is not."""
    if pd.isna(value):
        return ""
    return f"{value:{form}}" + ("" if pd.isna(spread) else f" ± {spread:.0f}")
