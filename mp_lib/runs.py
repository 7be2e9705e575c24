"""Runs as rows: those finished here, and those kept in data/results/ for whoever has run nothing yet.

``mp_lib.keep`` writes the latter.
"""

from __future__ import annotations

import ast
import contextlib
import functools
import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mp_lib.config import ATTENTION, FINAL_SEEDS, METHODS, SCALES, TrainConfig, scale_config
from mp_lib.designs import Design
from mp_lib.interfaces import look_up
from mp_lib.overview import protocol
from mp_lib.paths import root
from mp_lib.provenance import file_hash
from mp_lib.recordings import OTHER_DEMOS
from mp_lib.sim.tasks import TASKS
from mp_lib.statistics import wilson_interval

BEST = 5  # evaluations whose mean is the paper's score (dp3.yaml, SR_test_L5)
CONFIG = {field.name: field.type for field in fields(TrainConfig)}
MEASURED = {  # what a row holds beside its configuration, and of which kind it is
    "first_seed": int,
    "outcomes": str,
    "successes": int,
    "episodes": int,
    "low": float,
    "high": float,
    "best_five": float,
    "loss": float,
    "expert": str,
    "expert_rate": float,
    "demonstrations": int,
    "depth_backend": str,
    "parameters": int,
    "train_seconds": float,
    "evaluate_seconds": float,
    "peak_memory_bytes": int,
    "device": str,
    "commit": str,
}
DERIVED = ("name", "label", "changed", "protocol", "success_rate", "folder", "kept")
COLUMNS = (*CONFIG, *MEASURED, *DERIVED)


def load_runs(folder: Path | None = None) -> pd.DataFrame:
    """One row a readable finished run below ``folder`` (data/runs by default), sorted; an empty table if there is none.

    An evaluation of a run with another number of denoising steps on the same seeds is a row of its own. Columns: the
    configuration; ``MEASURED``, of which outcomes is a digit an episode, in the order of seeds from first_seed on, low
    and high are Wilson's interval, and best_five is None without a curve; ``DERIVED``, of which changed says in what
    the scale's numbers were changed, and kept is true for rows of data/results/.
    """
    return as_table(row for row in readable_rows(folder or root() / "data" / "runs") if row is not None)


def load_kept() -> pd.DataFrame:
    """The rows of data/results/runs.csv, as ``load_runs``; an empty table if there is no such file."""
    if not kept_path().exists():
        return as_table([])
    return as_table(map(kept_row, pd.read_csv(kept_path(), dtype=str, keep_default_na=False).to_dict("records")))


def kept_path() -> Path:
    """The runs that were measured by this code and are kept with it."""
    return root() / "data" / "results" / "runs.csv"


def curves_path() -> Path:
    """The training curves of the kept runs."""
    return kept_path().with_name("curves.csv")


def as_table(rows) -> pd.DataFrame:
    """Rows as a table, sorted by task, method, attention and seed."""
    table = pd.DataFrame(list(rows), columns=list(COLUMNS))
    order = {name: place for place, name in enumerate(METHODS)}
    table = table.assign(place=table["method"].map(order))
    return table.sort_values(["task", "place", "attention", "seed", "name"]).drop(columns="place")


def readable_rows(folder: Path) -> Iterator[dict | None]:
    """The rows of every result.json below a folder; None for a damaged one, or one that this version does not know."""
    for path in sorted(folder.glob("*/result.json")):
        try:
            row = run_row(path)
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError):
            yield None
            continue
        yield row
        yield from evaluation_rows(row, path.parent)


def count_unreadable() -> int:
    """The number of finished runs that cannot be read."""
    return sum(row is None for row in readable_rows(root() / "data" / "runs"))


def run_row(path: Path) -> dict:
    """The row of one result.json."""
    result = json.loads(path.read_text())
    final, demos = result["final"], result["demonstrations"]
    measured = scores(final["seeds"], final["successes"]) | {
        "best_five": best_five(result["curve"]),
        "loss": result["loss"],
        "expert": demos["expert"],
        "expert_rate": demos.get("expert_rate"),
        "demonstrations": demos["episodes"],
        "depth_backend": demos["depth_backend"],
        "parameters": result["parameters"],
        "train_seconds": result["seconds"]["train"],
        "evaluate_seconds": result["seconds"]["evaluate"],
        "peak_memory_bytes": result["peak_memory_bytes"],
        "device": result["device"],
        "commit": result["commit"],
    }
    return derive(TrainConfig(**result["config"]), measured, path.parent.name, kept=False)


def scores(seeds: Sequence[int], successes: Sequence[int]) -> dict:
    """What episodes on ``seeds`` have found."""
    low, high = wilson_interval(sum(successes), len(successes))
    return {
        "first_seed": seeds[0],
        "outcomes": "".join(map(str, successes)),
        "successes": sum(successes),
        "episodes": len(successes),
        "low": low,
        "high": high,
    }


def evaluation_rows(row: dict, folder: Path) -> Iterator[dict]:
    """The rows of a run's evaluations with other numbers of denoising steps, on the same environment seeds.

    Those that are damaged, or of another checkpoint than the run's, are left out.
    """
    paths = sorted(folder.glob("evaluations/*denoising.json"))
    checkpoint = folder / "policy.safetensors"
    digest = digest_of(checkpoint, checkpoint.stat().st_mtime_ns) if paths and checkpoint.exists() else None
    config = TrainConfig(**{key: row[key] for key in CONFIG})
    for path in paths:
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            found = json.loads(path.read_text())
            same = found["seeds"][0] == row["first_seed"] and len(found["seeds"]) == row["episodes"]
            other = found["num_inference_steps"] != config.num_inference_steps
            if same and other and found["backend"] == "torch" and found["checkpoint"] == digest:
                measured = {key: row[key] for key in MEASURED} | scores(found["seeds"], found["successes"])
                measured |= {"best_five": None, "device": found["device"], "commit": found["commit"]}
                run = replace(config, num_inference_steps=found["num_inference_steps"])
                yield derive(run, measured, row["folder"], kept=False)


@functools.cache
def digest_of(path: Path, changed: int) -> str:
    """The digest of a file that was last ``changed`` then: a page reads all runs several times, weights once."""
    return file_hash(path)


def kept_row(texts: dict[str, str]) -> dict:
    """The row of one line of data/results/runs.csv."""
    config = TrainConfig(**{key: parse(str(kind), texts[key]) for key, kind in CONFIG.items()})
    measured = {key: kind(texts[key]) if texts[key] else None for key, kind in MEASURED.items()}
    return derive(config, measured, "", kept=True)


def parse(kind: str, text: str):
    """A number of a configuration from its text; ``kind`` is its annotation."""
    if not text:
        return None
    return text if kind == "str" else ast.literal_eval(text)


def derive(config: TrainConfig, measured: dict, folder: str, kept: bool) -> dict:
    """A whole row from what a run was and what was measured."""
    return {
        **asdict(config),
        **measured,
        "name": config.name,
        "label": METHODS[config.method].label,
        "changed": changes_of(config, measured["first_seed"], folder),
        "protocol": protocol(asdict(config)),
        "success_rate": measured["successes"] / measured["episodes"],
        "folder": folder or config.name,
        "kept": kept,
    }


def changes_of(config: TrainConfig, first_seed: int, folder: str = "") -> str:
    """What a run changed of its scale, attention aside, e.g. "num_steps=10"; empty for a run as the scale has it.

    Other demonstrations, which the name of its ``folder`` tells, and other environment seeds are changes, too.
    """
    chosen = {"attention": config.attention, "demonstrator": config.demonstrator}
    usual = asdict(scale_config(config.scale, config.task, config.method, config.seed, **chosen))
    changes = [f"{key}={value}" for key, value in asdict(config).items() if usual[key] != value]
    _, marked, store = folder.partition(OTHER_DEMOS)
    changes += [f"demos={store}"] if marked else []
    return ", ".join(changes + ([f"first_seed={first_seed}"] if first_seed != FINAL_SEEDS else []))


def best_five(curve: list[dict]) -> float | None:
    """The paper's score of a run: the mean of its best five evaluations; None if it was not evaluated on the way."""
    rates = sorted((row["successes"] / row["episodes"] for row in curve), reverse=True)[:BEST]
    return float(np.mean(rates)) if rates else None


def runs_of(folders: Sequence[Path]) -> pd.DataFrame:
    """The rows of ``load_runs`` of these folders."""
    return as_table(run_row(folder / "result.json") for folder in folders)


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
    attention and seed; those on demonstrations of another ``expert`` of the tasks are left out. Where nobody has run
    any such here, those kept in data/results/. An unknown scale, task, method or attention raises a ValueError that
    lists those that exist.
    """
    look_up(SCALES, scale, "scale")
    if attention:
        look_up(ATTENTION, attention, "attention")
    for registry, names, noun in ((TASKS, tasks, "task"), (METHODS, methods, "method")):
        for name in names:
            look_up(registry, name, noun)
    bare = [name for name, method in METHODS.items() if not method.mixer]

    def select(runs: pd.DataFrame) -> pd.DataFrame:
        wanted = (runs["scale"] == scale) & (runs["changed"] == "") & (runs["demonstrator"] == expert)
        for column, names in (("task", tasks), ("method", methods), ("seed", seeds)):
            if len(names):
                wanted &= runs[column].isin(names)
        if attention:
            wanted &= runs["method"].isin(bare) | (runs["attention"] == attention)
        return runs[wanted].drop_duplicates(["task", "method", "attention", "seed"])

    found = select(load_runs())
    return found if len(found) else select(load_kept())


def runs_of_design(design: Design, scale: str, expert: str = "default", methods: Sequence[str] = ()) -> pd.DataFrame:
    """The finished runs of an experiment, with the columns arm and value of their conditions.

    Any task and seed counts, not only those that the experiment plans; of methods its own, if none are given. Where
    nobody has run it here, the kept runs; to have run it takes two of its conditions, if it has several.
    """
    for runs in (load_runs(), load_kept()):
        tasks, seeds = sorted(set(runs["task"]) & set(TASKS)), sorted(set(runs["seed"]))
        configs = design.configs(scale, tasks, methods, seeds, demonstrator=expert) if len(runs) else []
        arms = {config.name: arm for arm, config in configs}
        as_planned = ~runs["changed"].str.contains("demos=|first_seed=")
        found = runs[runs["name"].isin(arms) & as_planned]
        chosen = [arms[name] for name in found["name"]]
        found = found.assign(arm=[arm.label for arm in chosen], value=[arm.value for arm in chosen])
        if found["arm"].nunique() >= min(2, len(design.arms)):
            return found.drop_duplicates("name")
    return found.iloc[:0]


def count_changed(scale: str) -> int:
    """The number of finished runs of a scale that ``choose_runs`` leaves out, as they changed the scale's numbers."""
    runs = load_runs().drop_duplicates("folder")  # evaluations come behind their run
    return int(((runs["scale"] == scale) & (runs["changed"] != "")).sum())


def all_files(scale: str) -> list[Path]:
    """All that runs of a scale are read from: results and evaluations found here, and those kept."""
    return [path for pattern in patterns(scale) for path in sorted(root().glob(pattern))]


def patterns(scale: str) -> tuple[str, ...]:
    """What ``all_files`` are called, below the root."""
    runs = f"data/runs/{scale}-*"
    kept = (os.path.relpath(path, root()) for path in (kept_path(), curves_path()))
    return f"{runs}/result.json", f"{runs}/evaluations/*denoising.json", *kept


def result_files(runs: pd.DataFrame) -> list[Path]:
    """What the rows were read from."""
    own, folder = runs[~runs["kept"].astype(bool)], root() / "data" / "runs"
    files = [folder / name / "result.json" for name in sorted(set(own["folder"]))]
    for name in sorted(set(own.loc[own["name"] != own["folder"], "folder"])):
        files += sorted((folder / name).glob("evaluations/*denoising.json"))
    return files + ([kept_path()] if runs["kept"].any() else [])


def load_metrics(runs: pd.DataFrame) -> pd.DataFrame:
    """The logged rows of runs of those that can be read: folder, step, loss, learning_rate, ...

    ``success_rate`` is there if any run was evaluated on the way. Kept curves are thinned.
    """
    frames = []
    for folder in dict.fromkeys(runs.loc[~runs["kept"].astype(bool), "folder"]):
        path = root() / "data" / "runs" / folder / "metrics.jsonl"
        with contextlib.suppress(OSError, ValueError):
            frames.append(pd.read_json(path, lines=True).assign(folder=folder))
    if runs["kept"].any() and curves_path().exists():
        curves = pd.read_csv(curves_path())
        frames.append(curves[curves["folder"].isin(runs.loc[runs["kept"].astype(bool), "folder"])])
    columns = ["step", "loss", "learning_rate", "success_rate", "folder"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)
