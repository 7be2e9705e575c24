"""The whole table of ``mp_lib.timing.benchmark``, made once and kept.

Sheets are measured in the order of what they tell, each is written as soon as it is whole, and the next call goes on
where one was stopped. All methods of a sheet are timed in turn, so that every two rows of it can be compared. Rows of
another device stay as they are. Nothing here needs more than torch, numpy, einops and safetensors.
"""

from __future__ import annotations

import csv
import io
import logging
import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import MISSING, asdict, fields
from pathlib import Path

import torch

from mp_lib.system.device import choose_device, device_name
from mp_lib.system.errors import InputError
from mp_lib.system.extras import how_to_install, missing_modules
from mp_lib.system.files import write_atomically
from mp_lib.system.paths import results_path, supplied
from mp_lib.system.precision import use_precision
from mp_lib.system.provenance import commit
from mp_lib.system.workers import check_main
from mp_lib.timing.benchmark import Measurement, measure
from mp_lib.timing.memory import peak_megabytes
from mp_lib.timing.sheets import Sheet, chosen_sheets
from mp_lib.timing.subjects import Subject
from mp_lib.timing.workloads import NEEDED_EXTRAS

log = logging.getLogger(__name__)

KEY = ["what", "batch", "threads", "backend", "method", "attention", "horizon", "device"]
KEY += ["precision", "num_inference_steps", "stacked"]
KINDS = {
    **dict.fromkeys(KEY, "str"),
    **{each.name: each.type for each in fields(Measurement)},
    "peak_megabytes": "float | None",
    "torch": "str",
    "commit": "str",
}
COLUMNS = [*KINDS]
READERS: dict[str, Callable] = {
    "str": str,
    "int": int,
    "float": float,
    "float | None": lambda text: float(text) if text else None,
}
# Of columns that older tables do not have.
DEFAULTS = {each.name: each.default for each in fields(Measurement) if each.default is not MISSING}


def kept_path() -> Path:
    """Where the table is kept."""
    return results_path("benchmark.csv")


def read_rows(path: Path) -> list[dict]:
    """The rows that were measured before, also those that come with the project; none if there is no such file.

    Raises an InputError for a file that is no such table.
    """
    path = supplied(path)
    if not path.exists():
        return []
    with open(path, newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file, restval="")
        found = {*(reader.fieldnames or ())}
        if wrong := sorted(({*COLUMNS} - {*DEFAULTS} - found) | (found - {*COLUMNS})):
            raise InputError(f"{path} is no table of the benchmark: {', '.join(wrong)}; give another --path")
        try:
            return [DEFAULTS | {name: READERS[KINDS[name]](text) for name, text in row.items()} for row in reader]
        except (KeyError, ValueError) as error:
            line = f"{path}, line {reader.line_num}"
            raise InputError(f"{line}, is damaged ({error}); restore it from a copy, or give another --path") from error


def write_rows(path: Path, rows: list[dict]) -> None:
    """Write rows as ``read_rows`` gives them, atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)  # None is written as nothing
    write_atomically(path, text.getvalue().encode())


def key_of(row: dict) -> tuple:
    """What tells a row from all others."""
    return tuple(row[name] for name in KEY)


TRAINING = ("train_step", "training")  # what takes the memory of policies that are held for chunks


def fill_table(
    path: Path, device: str = "cpu", precision: str = "auto", only: Sequence[str] = (), minutes: float | None = None
) -> Iterator[dict]:
    """Measure what ``path`` lacks of the sheets that ``only`` names; yields the rows of a sheet when it is written.

    No sheet is begun after that many minutes; what is left then is said in the log, as is what is left out because a
    simulator is missing. A sheet that fails, as for want of memory, leaves the others; a RuntimeError names it at the
    end.
    """
    check_main()  # now rather than when peaks are measured
    end = check_minutes(minutes) * 60 + time.monotonic()
    chosen = choose_device(device)
    device, name, precision = str(chosen), device_name(chosen), use_precision(precision, chosen)
    origin = {"device": name, "torch": str(torch.__version__), "commit": commit()}
    done = {key_of(row) for row in read_rows(path)}
    waiting = [sheet for sheet in chosen_sheets(device, only) if not {*sheet.keys(device, name, precision)} <= done]
    waiting = [sheet for sheet in waiting if not lacks_simulator(sheet)]
    subjects: dict[tuple, Subject] = {}
    failed = []
    while waiting and time.monotonic() < end:
        sheet = waiting.pop(0)
        log.info("%s", sheet.title)
        torch.set_num_threads(sheet.threads)
        # What was exported serves all sheets of a horizon; training needs the memory.
        subjects = {each: subjects.get(each) for each in sheet.places(device) if sheet.what not in TRAINING}
        subjects = {each: held or Subject(*each) for each, held in subjects.items()}
        try:
            rows = [*measure_sheet(sheet, device, precision, [*subjects.values()] or sheet.subjects(device))]
        except RuntimeError as error:  # torch's for memory, kernels and compilers
            log.warning("%s failed: %s", sheet.title, str(error).strip().split("\n")[0])
            failed, subjects = [*failed, sheet.title], {}
            continue
        keys, rows = {*sheet.keys(device, name, precision)}, [row | origin for row in rows]
        # A row that is measured again replaces what was there.
        write_rows(path, [row for row in read_rows(path) if key_of(row) not in keys] + rows)
        yield from rows
    if waiting:
        left = "; ".join(sheet.title for sheet in waiting)
        log.warning("the time of %g minutes is over, and the same command goes on; left are: %s", minutes, left)
    if failed:
        raise RuntimeError(f"not measured, while all others are in {path}: {'; '.join(failed)}")


def check_minutes(minutes: float | None) -> float:
    """These minutes, without end for None; an InputError unless they are more than 0."""
    if minutes is not None and not minutes > 0:
        raise InputError(f"minutes {minutes:g} given; give more than 0, or none for the whole table")
    return math.inf if minutes is None else minutes


def lacks_simulator(sheet: Sheet) -> bool:
    """Whether a sheet cannot be measured for want of an extra, which is said in the log."""
    extra = NEEDED_EXTRAS.get(sheet.what)
    missing = missing_modules(extra) if extra else []
    if missing:
        log.warning("left out: %s; %s", sheet.title, how_to_install(extra, missing))
    return bool(missing)


def measure_sheet(sheet: Sheet, device: str, precision: str, subjects: list[Subject]) -> Iterator[dict]:
    """A dictionary a row: the measurement, and peak_megabytes where the sheet asks for it."""
    backends = sheet.usable_backends(device)
    for row in list(measure(subjects, sheet.what, backends, sheet.batch, sheet.turns, precision)):
        peak = None
        if row.backend in sheet.memory:
            subject = Subject(row.method, row.attention, row.horizon, device, row.num_inference_steps, row.stacked)
            peak = peak_megabytes(subject, sheet.what, row.backend, sheet.batch, sheet.threads, precision)
        yield asdict(row) | {"peak_megabytes": peak}
