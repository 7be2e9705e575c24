"""Finished runs as rows of a table: those found here, and those kept in data/results/ for whoever has run nothing yet.

``mp_lib.study.runs.keep`` writes the latter.
"""

from __future__ import annotations

import contextlib
import functools
from collections.abc import Iterator, Sequence
from dataclasses import asdict, fields, replace
from pathlib import Path

import numpy as np
import pandas as pd

from mp_lib.config import EARLIER_FINAL_SEEDS, FINAL_SEEDS, TrainConfig, scale_config
from mp_lib.interfaces import look_up
from mp_lib.learning.folder import OTHER_DEMOS
from mp_lib.learning.result import How
from mp_lib.model.weights import CHECKPOINT
from mp_lib.presets import METHODS, SCALES, recipe_of
from mp_lib.statistics import wilson_interval
from mp_lib.study.overview import protocol
from mp_lib.system.files import read_json
from mp_lib.system.memo import Memo
from mp_lib.system.paths import results_path, run_path, supplied
from mp_lib.system.provenance import file_hash

RESULT, EVALUATIONS = "result.json", "evaluations/*denoising.json"  # in the folder of a run
EARLIER_RESULTS = "earlier/"  # below data/results: of recipes that no scale trains by any more
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
    "form": str,
    "precision": str,
    "backend": str,
    "group": int,
}
KEPT = Memo(4)  # rows of files as they are: several questions are asked of the same ones
USUAL = asdict(How())  # how rows were computed that do not say it
GIVEN = [key for key, kind in CONFIG.items() if kind == "float"]  # 1 or 1.0 as it was given, which names hold
DERIVED = ("name", "label", "changed", "protocol", "success_rate", "folder", "kept")
COLUMNS = (*CONFIG, *MEASURED, *DERIVED)


class StoredConfig(TrainConfig):
    """What a run has been that was trained, on whatever data, whichever numbers would be refused today."""

    def check(self) -> None:
        """Nothing is refused."""


def load_runs(folder: Path | None = None) -> pd.DataFrame:
    """One row a readable finished run below ``folder`` (data/runs by default), sorted; an empty table if there is none.

    An evaluation of a run with another number of denoising steps on the same seeds is a row of its own, if it was
    computed as is usual on its device, which its file's name tells. Columns: the
    configuration; ``MEASURED``, of which outcomes is a digit an episode, in the order of seeds from first_seed on, low
    and high are Wilson's interval, and best_five is None without a curve; ``DERIVED``, of which changed says in what
    the scale's numbers were changed, and kept is true for rows of data/results/.
    """
    return as_table(row for row in readable_rows(folder or run_path()) if row is not None)


def runs_of(folders: Sequence[Path]) -> pd.DataFrame:
    """The rows of ``load_runs`` of these folders."""
    return as_table(run_row(folder / RESULT) for folder in folders)


def load_kept(earlier: bool = False) -> pd.DataFrame:
    """The rows of data/results/runs.csv, as ``load_runs``; an empty table if there is no such file.

    ``earlier``: those of earlier recipes, data/results/earlier/runs.csv.
    """
    path = supplied(kept_path(earlier))
    if not path.exists():
        return as_table([])
    try:
        stamp = path.stat()
        key = (str(path), stamp.st_mtime_ns, stamp.st_size, *map(recipe_of, SCALES))
        return as_table(KEPT.get(key, lambda: kept_rows(path)))
    except (ValueError, LookupError, TypeError, ArithmeticError, SyntaxError) as error:
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise ValueError(f"{path} is damaged ({reason}); restore it: git checkout data/results") from error


def kept_rows(path: Path) -> list[dict]:
    """The whole rows of a file of kept ones; an error of any kind for one that is damaged."""
    table = pd.read_csv(path, dtype=str, keep_default_na=False)
    for name in table:  # one that is missing was added later; a damaged name would pass for that
        look_up(CONFIG | MEASURED, name, "column")
    return [kept_row(row) for row in table.to_dict("records")]


def kept_path(earlier: bool = False) -> Path:
    """The runs that were measured by this code and are kept with it; or those of earlier recipes."""
    return results_path(EARLIER_RESULTS * earlier + "runs.csv")


def curves_path(earlier: bool = False) -> Path:
    """The training curves of the kept runs."""
    return results_path(EARLIER_RESULTS * earlier + "curves.csv")


def as_table(rows) -> pd.DataFrame:
    """Rows as a table, ``in_order``."""
    rows = list(rows)
    table = pd.DataFrame(rows, columns=list(COLUMNS)).astype({"kept": bool})
    table = table.assign(**{key: pd.Series([row[key] for row in rows], dtype=object) for key in GIVEN})
    return in_order(table)


def in_order(table: pd.DataFrame) -> pd.DataFrame:
    """Rows sorted by task, method, attention and seed."""
    table = table.assign(place=table["method"].map({name: place for place, name in enumerate(METHODS)}))
    return table.sort_values(["task", "place", "attention", "seed", "name"]).drop(columns="place")


def readable_rows(folder: Path) -> Iterator[dict | None]:
    """The rows of every result.json below a folder; None for a damaged one, or one that this version does not know."""
    for path in sorted(folder.glob(f"*/{RESULT}")):
        try:
            if read_json(path)["final"] is None:  # of a task that cannot be simulated, which is in no table
                continue
            row = run_row(path)
        except (OSError, ValueError, LookupError, TypeError, ArithmeticError):
            yield None
        else:
            yield row
            yield from evaluation_rows(row, path.parent)


def count_unreadable() -> int:
    """The number of finished runs that cannot be read."""
    return sum(row is None for row in readable_rows(run_path()))


def run_row(path: Path) -> dict:
    """The row of one result.json."""
    result = read_json(path)
    final, demos = result["final"], result["demonstrations"]
    measured = scores(final["seeds"], final["successes"]) | {
        **{key: result[key] for key in ("loss", "parameters", "peak_memory_bytes", "device", "commit")},
        "best_five": best_five(result["curve"]),
        "expert": demos["expert"],
        "expert_rate": demos.get("expert_rate"),
        "demonstrations": demos["episodes"],
        "depth_backend": demos["depth_backend"],
        "train_seconds": result["seconds"]["train"],
        "evaluate_seconds": result["seconds"]["evaluate"],
        **{key: kind(result.get("how", {}).get(key, USUAL[key])) for key, kind in MEASURED.items() if key in USUAL},
    }
    return derive(StoredConfig(**result["config"]), measured, path.parent.name, kept=False)


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
    paths = sorted(folder.glob(EVALUATIONS))
    checkpoint = folder / CHECKPOINT
    digest = digest_of(checkpoint, checkpoint.stat().st_mtime_ns) if paths and checkpoint.exists() else None
    config = StoredConfig(**{key: row[key] for key in CONFIG})
    for path in paths:
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            found = read_json(path)
            same = found["seeds"][0] == row["first_seed"] and len(found["seeds"]) == row["episodes"]
            other = found["num_inference_steps"] != config.num_inference_steps
            if same and other and found["checkpoint"] == digest:
                measured = {key: row[key] for key in MEASURED} | scores(found["seeds"], found["successes"])
                measured |= {"best_five": None, "precision": found.get("precision", USUAL["precision"])}
                measured |= {key: found[key] for key in ("device", "commit", "backend")}
                run = replace(config, num_inference_steps=found["num_inference_steps"])
                yield derive(run, measured, row["folder"], kept=False)


@functools.cache
def digest_of(path: Path, changed: int) -> str:
    """The digest of a file that was last ``changed`` then: a page reads all runs several times, weights once."""
    return file_hash(path)


def kept_row(texts: dict[str, str]) -> dict:
    """The row of one line of data/results/runs.csv."""
    config = StoredConfig(**{key: texts[key] for key in CONFIG if key in texts})
    texts = {key: str(value) for key, value in USUAL.items()} | texts
    measured = {key: kind(texts[key]) if texts[key] else None for key, kind in MEASURED.items()}
    return derive(config, measured, "", kept=True)


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
    chosen["recipe"] = config.recipe
    usual = asdict(scale_config(config.scale, config.task, config.method, **chosen)) | {"seed": config.seed}
    changes = [f"{key}={value}" for key, value in asdict(config).items() if usual[key] != value]
    _, marked, store = folder.partition(OTHER_DEMOS)
    changes += [f"demos={store}"] if marked else []
    usual_seeds = (FINAL_SEEDS, EARLIER_FINAL_SEEDS)
    return ", ".join(changes + ([f"first_seed={first_seed}"] if first_seed not in usual_seeds else []))


def best_five(curve: list[dict]) -> float | None:
    """The paper's score of a run: the mean of its best five evaluations; None if it was not evaluated so often."""
    rates = sorted((row["successes"] / row["episodes"] for row in curve), reverse=True)[:BEST]
    return float(np.mean(rates)) if len(rates) == BEST else None
