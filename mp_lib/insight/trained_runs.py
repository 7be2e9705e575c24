"""What is trained here, as a table."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from datetime import datetime

import pandas as pd

from mp_lib.learning.folder import lock_of
from mp_lib.learning.following import reached, record_of
from mp_lib.learning.metrics import read_lines
from mp_lib.study.rows import RESULT, load_runs
from mp_lib.study.sentences import with_interval
from mp_lib.system.files import read_json
from mp_lib.system.locks import in_use
from mp_lib.system.paths import run_path

COLUMNS = ("run", "task", "method", "scale", "seed", "state", "success, % (95 % interval)", "minutes", "when")


def table() -> pd.DataFrame:
    """One row a run, newest first: run, task, method, scale, seed, state, success, minutes of training, when."""
    rows = [finished_row(row) for row in load_runs().drop_duplicates("folder").itertuples()] + [*own_rows()]
    ended = {row["run"] for row in rows}
    rows += (row for row in begun_rows() if row["run"] not in ended)
    found = pd.DataFrame(rows, columns=list(COLUMNS))
    return found.sort_values("when", ascending=False, ignore_index=True)


def begun_rows() -> Iterator[dict]:
    """The runs that were begun; folders that hold a ``config.json`` of something else are left out."""
    for path in run_path().glob("*/config.json"):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            config = read_json(path)
            kind = {key: config[key] for key in ("task", "method", "scale", "seed")}
            going = "training" if in_use(lock_of(path.parent)) else "stopped"
            state = f"{going}, step {reached(read_lines(record_of(path.parent)))}"
            yield {"run": path.parent.name} | kind | {"state": state, "when": changed(record_of(path.parent))}


def finished_row(row) -> dict:
    """A row of ``load_runs`` as a reader wants it."""
    kind = {key: getattr(row, key) for key in ("task", "method", "scale", "seed")}
    success = with_interval(100 * row.success_rate, 100 * row.low, 100 * row.high)
    told = {"state": "finished", COLUMNS[6]: success, "minutes": round(row.train_seconds / 60, 1)}
    return {"run": row.folder} | kind | told | {"when": changed(run_path(row.folder) / RESULT)}


def own_rows() -> Iterator[dict]:
    """The finished runs on tasks that cannot be simulated, which have no success but errors."""
    for path in sorted(run_path().glob(f"*/{RESULT}")):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError):
            found = read_json(path)
            if found["final"] is None:
                kind = {key: found["config"][key] for key in ("task", "method", "scale", "seed")}
                share = (found["held_out"] or {"share": {"error": None}})["share"]["error"]
                state = "finished" if share is None else f"finished, off by {100 * share:.1f} % of the actions' range"
                minutes = round(found["seconds"]["train"] / 60, 1)
                yield {"run": path.parent.name} | kind | {"state": state, "minutes": minutes, "when": changed(path)}


def changed(path) -> datetime | None:
    """When a file was last written, to the second."""
    return datetime.fromtimestamp(int(path.stat().st_mtime)) if path.exists() else None
