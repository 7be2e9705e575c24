"""The figures of README: success by task, drawn from kept runs; each says from which numbers it was drawn."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from PIL import Image

from mp_lib.drawing.figures import picture_bytes
from mp_lib.drawing.success import by_task
from mp_lib.sim.tasks import PAPER_TASKS
from mp_lib.study import beyond
from mp_lib.study.designs import POCKET_TASKS
from mp_lib.study.runs import choose_runs
from mp_lib.study.tables import success_table
from mp_lib.system.files import write_atomically
from mp_lib.system.paths import results_path, supplied

SCALE, COLUMNS, DPI = "quick", 5, 190
SHOWN = ["task", "method", "label", "attention", "ours", "low", "high", "by_run"]
ROWS = "Rows"  # the text of a file that says from which numbers it was drawn


@dataclass(frozen=True)
class KeptFigure:
    """A figure of success on ``tasks``, in their order, by the kept runs that ``choose`` gives."""

    file: str
    tasks: Sequence[str]
    choose: Callable[[], pd.DataFrame]

    def path(self) -> Path:
        """Where it lies."""
        return results_path(self.file)

    def table(self) -> pd.DataFrame:
        """Success on those of its tasks that have kept runs, without published rates."""
        runs = self.choose()
        runs = runs[runs["task"].isin(self.tasks)]
        table = success_table(runs) if len(runs) else pd.DataFrame(columns=SHOWN)
        order = table["task"].map({task: place for place, task in enumerate(self.tasks)})
        return table.assign(place=order, published=None).sort_values("place", kind="stable").drop(columns="place")

    def drawn_from(self) -> str:
        """The ``digest`` of the numbers that it was drawn from; empty where there is none."""
        kept = supplied(self.path())
        if not kept.exists():
            return ""
        with Image.open(kept) as image:
            return image.text.get(ROWS, "")

    def keep(self, table: pd.DataFrame) -> Path | None:
        """Draw it anew if there are numbers and they are others; returns its path if so."""
        if table.empty or self.drawn_from() == digest(table):
            return None
        picture = picture_bytes(by_task(table, COLUMNS), "png", DPI, {ROWS: digest(table)})
        write_atomically(self.path(), picture)
        return self.path()


def digest(table: pd.DataFrame) -> str:
    """What tells the numbers that are shown from others, to a tenth of a point."""
    return hashlib.blake2b(table[SHOWN].round(1).to_csv(index=False).encode(), digest_size=8).hexdigest()


FIGURES = (
    KeptFigure("success.png", PAPER_TASKS, lambda: choose_runs(SCALE, attention="paper", own=False)),
    KeptFigure("pocket.png", POCKET_TASKS, lambda: beyond.pocket_runs(own=False)),
)


def keep_all() -> list[Path]:
    """Draw anew those whose numbers are others; returns their paths."""
    return [path for figure in FIGURES if (path := figure.keep(figure.table()))]
