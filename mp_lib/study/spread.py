"""How far trainings of one method differ by their seed: what a scale's recipe is judged by.

The environment seeds are those that recipes are chosen on, and none of the final tables.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator

import numpy as np
import pandas as pd

from mp_lib.learning.evaluation import evaluate, evaluation_path
from mp_lib.model.weights import CHECKPOINT
from mp_lib.presets import METHODS
from mp_lib.statistics import variances_of_a_run
from mp_lib.study.runs import choose_runs
from mp_lib.system.files import read_json, write_atomically
from mp_lib.system.paths import results_path, run_path, supplied
from mp_lib.system.progress import track
from mp_lib.system.provenance import file_hash

CHOICE_SEEDS, EPISODES = 20_000, 50  # environment seeds from which on recipes are chosen, and how many
KEY = ("task", "method", "scale", "recipe", "seed")
COLUMNS = (*KEY, "first_seed", "outcomes")


def spread_path():
    """Where the outcomes on CHOICE_SEEDS are kept."""
    return results_path("spread.csv")


def keep_spread(scale: str) -> int:
    """Play all runs of a scale that were made here on CHOICE_SEEDS and keep the outcomes; returns how many runs."""
    runs = choose_runs(scale, attention="paper")
    runs = runs[~runs["kept"]]
    rows = {tuple(row[key] for key in KEY): row for row in kept_rows()}
    with track(len(runs), "evaluate") as progress:
        for run in runs.to_dict("records"):
            checkpoint = run_path(run["folder"]) / CHECKPOINT
            path = evaluation_path(checkpoint, EPISODES, CHOICE_SEEDS, None)
            found = read_json(path) if path.exists() else {}  # whichever commit made it
            if found.get("checkpoint") != file_hash(checkpoint):
                found = evaluate(checkpoint, EPISODES, CHOICE_SEEDS, device="cpu")
            named = {key: str(run[key]) for key in KEY}
            outcomes = "".join(map(str, found["successes"]))
            rows[tuple(named.values())] = named | {"first_seed": str(CHOICE_SEEDS), "outcomes": outcomes}
            write_rows([rows[key] for key in sorted(rows)])
            progress.advance()
    return len(runs)


def kept_rows() -> list[dict[str, str]]:
    """The rows of ``spread_path``."""
    path = supplied(spread_path())
    if not path.exists():
        return []
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def write_rows(rows: list[dict[str, str]]) -> None:
    """Write the file anew."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    write_atomically(spread_path(), text.getvalue().encode())


def spread_table() -> pd.DataFrame:
    """One row a task, scale, recipe and method: trainings, mean success, deviation between them beyond chance.

    The last two are in points; chance is what single episodes contribute. The row of ``all`` methods has the root mean
    square of their deviations.
    """
    rows = []
    for (task, scale, recipe), group in grouped(kept_rows()):
        found = []
        for method in (name for name in METHODS if name in group):
            outcomes = np.array([[*map(int, each)] for each in group[method]])
            between, alone = variances_of_a_run(outcomes) if len(outcomes) > 1 else (np.nan, np.nan)
            deviation = 100 * np.sqrt(np.maximum(0.0, between - alone))  # unknown of a single training
            found.append((method, len(outcomes), 100 * outcomes.mean(), deviation))
        known = [deviation**2 for *_, deviation in found if not np.isnan(deviation)]
        means = np.mean([mean for _, _, mean, _ in found])
        found.append(("all", sum(each[1] for each in found), means, np.sqrt(np.mean(known)) if known else np.nan))
        rows += [(task, scale, recipe, *each) for each in found]
    return pd.DataFrame(rows, columns=["task", "scale", "recipe", "method", "trainings", "success", "deviation"])


def grouped(rows: list[dict[str, str]]) -> Iterator[tuple[tuple[str, str, int], dict[str, list[str]]]]:
    """Outcomes by method, for each task, scale and recipe."""
    found: dict[tuple[str, str, int], dict[str, list[str]]] = {}
    for row in rows:
        methods = found.setdefault((row["task"], row["scale"], int(row["recipe"])), {})
        methods.setdefault(row["method"], []).append(row["outcomes"])
    yield from sorted(found.items())
