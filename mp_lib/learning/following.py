"""A run that somebody else trains, as far as its files tell."""

from __future__ import annotations

import contextlib
import json
import math
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

from mp_lib.learning.folder import is_finished, lock_of
from mp_lib.learning.metrics import read_lines, step_of
from mp_lib.system.errors import InputError, shown
from mp_lib.system.files import read_json
from mp_lib.system.locks import in_use
from mp_lib.system.names import nearest
from mp_lib.system.paths import given_path, run_path
from mp_lib.system.progress import track

SECONDS = 1.0  # between two looks


def watch(name: str | Path = "") -> Path:
    """Show how a run goes on until it ends, or this is interrupted; returns its folder.

    ``name`` is a run or its folder, by default the one that was written last. An InputError if there is none, or nobody
    trains it.
    """
    folder = named(str(name)) if name else newest()
    total = read_json(folder / "config.json").get("num_steps")  # None where epochs are counted, or it is no run of ours
    with contextlib.suppress(KeyboardInterrupt), track(total, f"train {folder.name}") as progress:
        step, told = 0, set()
        while True:
            # In this order: what ends while it is looked at has ended in the record, too.
            going, ended = in_use(lock_of(folder)), is_finished(folder)
            new = [line for line in read_lines(record_of(folder)) if line not in told]
            for row in rows_of(new):
                progress.note(*words_of(row))
            before, step = step, max(step, reached(new))
            progress.advance(step - before)
            told |= {*new}  # by line, as a run that is resumed drops its last ones and writes them again
            if ended:
                break
            if not going:
                raise InputError(f"nobody trains {folder.name}, which has come to step {step}; train it to go on")
            time.sleep(SECONDS)
    return folder


def record_of(folder: Path) -> Path:
    """What a run writes while it goes on."""
    return folder / "metrics.jsonl"


def rows_of(lines: Iterable[str]) -> Iterator[dict]:
    """The rows of a record; damaged ones are left out."""
    return (json.loads(line) for line in lines if step_of(line) < math.inf)


def reached(lines: Iterable[str]) -> int:
    """How many steps a run has made, as far as lines of its record tell."""
    return max((int(row["step"]) + ("loss" in row) for row in rows_of(lines)), default=0)


def words_of(row: dict) -> tuple[str, float | None]:
    """What a row says, and the loss if it holds one."""
    if "loss" in row:
        return f"loss {row['loss']:.4f}", row["loss"]
    if "held_out_error" in row:
        return f"off by {100 * row['held_out_error']:.1f} % of the actions' range at step {row['step']}", None
    rate = row.get("success_rate", row.get("final_success_rate", 0.0))
    return f"{100 * rate:.0f} % solved at step {row['step']}", None


def named(name: str) -> Path:
    """The folder of a run, by its name or its path; an InputError that names the nearest runs."""
    for path in (given_path(name), run_path(name)):
        if (path / "config.json").exists():
            return path
    near = nearest(Path(name).name, [path.parent.name for path in run_path().glob("*/config.json")])
    raise InputError(f"no run {shown(name)} here; " + (f"near: {', '.join(near)}" if near else "see mp_lib.runs()"))


def newest() -> Path:
    """The run whose record was written last."""
    records = sorted(run_path().glob("*/metrics.jsonl"), key=lambda path: path.stat().st_mtime)
    if not records:
        raise InputError("no run has begun here; ./run_all.sh quick, or mp_lib.train, begins one")
    return records[-1].parent
