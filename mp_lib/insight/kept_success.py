"""The figure of README: success by the paper's tasks, drawn from kept runs."""

from __future__ import annotations

import hashlib
from pathlib import Path

import pandas as pd
from PIL import Image

from mp_lib.drawing.figures import picture_bytes
from mp_lib.drawing.success import by_task
from mp_lib.sim.tasks import PAPER_TASKS
from mp_lib.study.runs import choose_runs
from mp_lib.study.tables import success_table
from mp_lib.system.files import write_atomically
from mp_lib.system.paths import results_path, supplied

SCALE, COLUMNS, DPI = "quick", 5, 190
SHOWN = ["task", "method", "attention", "ours", "low", "high", "by_run"]
ROWS = "Rows"  # the text of the file that says from which numbers it was drawn


def path() -> Path:
    """Where the figure lies."""
    return results_path("success.png")


def kept_table() -> pd.DataFrame:
    """Success on those of the paper's tasks that have kept runs, in the paper's order, without published rates."""
    runs = choose_runs(SCALE, attention="paper", own=False)
    table = success_table(runs[runs["task"].isin(PAPER_TASKS)])
    order = table["task"].map({task: place for place, task in enumerate(PAPER_TASKS)})
    return table.assign(place=order, published=None).sort_values("place", kind="stable").drop(columns="place")


def digest(table: pd.DataFrame) -> str:
    """What tells the numbers that are shown from others, to a tenth of a point."""
    return hashlib.blake2b(table[SHOWN].round(1).to_csv(index=False).encode(), digest_size=8).hexdigest()


def drawn_from() -> str:
    """The ``digest`` of the numbers that the figure was drawn from; empty where there is none."""
    kept = supplied(path())
    if not kept.exists():
        return ""
    with Image.open(kept) as image:
        return image.text.get(ROWS, "")


def keep() -> Path | None:
    """Draw the figure anew if the numbers are others; returns its path if so."""
    table = kept_table()
    if drawn_from() == digest(table):
        return None
    picture = picture_bytes(by_task(table, COLUMNS), "png", DPI, {ROWS: digest(table)})
    write_atomically(path(), picture)
    return path()
