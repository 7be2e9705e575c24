"""The search for quick's second recipe: each lever against the trainings that differ from it in nothing else.

A row of data/results/search.csv is one training and its 50 outcomes on environment seeds from 20000 on.
"""

from __future__ import annotations

import numpy as np
import pandas as pd

from mp_lib.study.sentences import count
from mp_lib.system.paths import results_path, supplied

BASE = "start"  # what every other lever is tried on top of
LEVERS = {
    "released": "first values of the encoder as released",
    BASE: "encoder's features standardised at the start",
    "steps800": "800 steps instead of 1600",
    "steps1200": "1200 steps",
    "steps2400": "2400 steps",
    "steps3200": "3200 steps",
    "batch8": "2400 steps of batch 8",
    "rate25": "rate 2.5e-4 instead of 7e-4",
    "rate4": "rate 4e-4",
    "rate14": "rate 1.4e-3",
    "late": "rate constant for four fifths, then in a line to zero",
    "line": "rate in a line to zero",
    "betas99": "AdamW's betas 0.9, 0.99 instead of 0.95, 0.999",
    "average60": "average's power 0.6 instead of 0.75",
    "turned": "clouds turned by up to 10 degrees",
}
KEY = ["task", "method", "seed"]


def trainings() -> pd.DataFrame:
    """One row a training: lever, task, method, seed, outcomes (a digit an episode)."""
    return pd.read_csv(supplied(results_path("search.csv")), dtype={"outcomes": str})


def search_table() -> pd.DataFrame:
    """One row a lever: what it is, and on each task how often its trainings succeed, in percent.

    In brackets the mean difference, in points, to the trainings of ``BASE`` with the same task, method and seed, and
    how many trainings there are.
    """
    found = trainings()
    found["rate"] = [100 * np.mean([*map(int, each)]) for each in found["outcomes"]]
    base = found[found["lever"] == BASE].set_index(KEY)["rate"]
    tasks, rows = list(dict.fromkeys(found["task"])), []
    for lever, what in LEVERS.items():
        cells = {}
        for task in tasks:
            own = found[(found["lever"] == lever) & (found["task"] == task)].set_index(KEY)["rate"]
            less = (own - base).dropna() if lever != BASE else own.iloc[:0]
            told = f"{less.mean():+.0f}, " if len(less) else ""
            cells[f"`{task}`"] = f"{own.mean():.0f} ({told}{count(len(own), 'training')})" if len(own) else ""
        rows.append({"lever": what} | cells)
    return pd.DataFrame(rows)


def pocket_table() -> pd.DataFrame:
    """The search for pocket_mamba: a row a try, in its order, and on each task its success in percent.

    A row of data/results/search_pocket.csv is one training and how many of 50 episodes succeeded, on environment seeds
    from 20000 on.
    """
    found = pd.read_csv(supplied(results_path("search_pocket.csv")))
    found["rate"] = (100 * found["successes"] / found["episodes"]).round().astype(int).astype(str)
    wide = found.pivot_table(index="what", columns="task", values="rate", aggfunc=", ".join, sort=False, fill_value="")
    return wide.loc[list(dict.fromkeys(found["what"]))].rename(columns="`{}`".format).rename_axis("try").reset_index()
