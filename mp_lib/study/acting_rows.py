"""What is kept of acting policies: missed deadlines, and success where chunks come late; a dataclass a kind of row."""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import ClassVar, TypeVar

from mp_lib.interfaces import look_up
from mp_lib.system.errors import InputError
from mp_lib.system.files import write_atomically
from mp_lib.system.paths import results_path, supplied
from mp_lib.system.values import read_fields

# Who asks for a chunk when: the ordinary rollout, an actor's two schedules, a server's client at every step.
SCHEDULES = (ROLLOUT, IN_TURN, AHEAD, SERVED) = ("rollout", "in turn", "ahead", "served")


@dataclass(frozen=True)
class Kept:
    """A row of the file ``FILE``, which ``KEY`` tells from all others; an InputError for what no such row can hold."""

    FILE: ClassVar[str]
    KEY: ClassVar[tuple[str, ...]]

    schedule: str

    def __post_init__(self):
        read_fields(self)
        look_up(dict.fromkeys(SCHEDULES), self.schedule, "schedule")

    @property
    def key(self) -> tuple:
        """What it is told by: a row that is measured again replaces the one that was there."""
        return tuple(getattr(self, name) for name in self.KEY)


@dataclass(frozen=True)
class Deadlines(Kept):
    """An actor at ``rate`` steps a second for ``steps`` of them.

    ``missed`` commands came after their step had ended; at ``held`` steps the arm held since a chunk was ``late``.
    An answer is what a command took, a chunk what the policy did, both in milliseconds: median and longest. Served, a
    client asks a server for a chunk at every step, and missed are answers that took longer than one.
    """

    FILE = "deadlines.csv"
    KEY = ("scale", "method", "num_inference_steps", "schedule", "backend", "threads", "rate", "steps", "device")
    scale: str
    method: str
    num_inference_steps: int
    backend: str
    threads: int
    rate: int
    steps: int
    missed: int
    held: int
    late: int
    answer_median: float
    answer_longest: float
    chunk_median: float
    chunk_longest: float
    device: str
    cores: int
    commit: str
    date: str


@dataclass(frozen=True)
class Delays(Kept):
    """Episodes on environment seeds from ``first_seed`` on in which a chunk takes ``delay`` control steps.

    ``outcomes`` has a digit an episode, ``lengths`` their steps; ``checkpoint`` is the digest of the weights.
    """

    FILE = "delays.csv"
    KEY = ("task", "policy", "checkpoint", "schedule", "delay", "backend", "first_seed", "episodes")
    policy: str
    checkpoint: str
    task: str
    method: str
    delay: int
    backend: str
    first_seed: int
    episodes: int
    outcomes: str
    lengths: str
    device: str
    commit: str
    date: str

    def __post_init__(self):
        super().__post_init__()
        if not re.fullmatch(f"[01]{{{self.episodes}}}", self.outcomes) or len(self.lengths.split()) != self.episodes:
            raise InputError(f"outcomes and lengths are not those of {self.episodes} episodes")

    @property
    def successes(self) -> int:
        """How many episodes succeeded."""
        return self.outcomes.count("1")


Row = TypeVar("Row", bound=Kept)


def path_of(kind: type[Row]) -> Path:
    """Where rows of a kind are kept."""
    return results_path(kind.FILE)


def read_rows(kind: type[Row]) -> list[Row]:
    """The kept rows of a kind, none if there is no file; an InputError that names the line of a damaged one."""
    path, found = supplied(path_of(kind)), []
    if not path.exists():
        return found
    with path.open(newline="", encoding="utf-8", errors="replace") as file:
        reader = csv.DictReader(file, restval="")
        if {*(reader.fieldnames or ())} != (names := {field.name for field in fields(kind)}):
            raise InputError(f"{path} has not the columns {', '.join(sorted(names))}; restore it from a copy")
        try:
            found += [kind(**row) for row in reader]
        except (InputError, TypeError, csv.Error) as error:  # a TypeError where there are more columns
            where = f"{path}, line {reader.line_num}"
            raise InputError(f"{where}, is damaged ({error}); restore it from a copy") from error
    return found


def keep_row(row: Row) -> None:
    """Write a row beside those that are kept, in the place of one with the same key."""
    rows = {each.key: each for each in read_rows(type(row))} | {row.key: row}
    write_rows(type(row), [rows[key] for key in sorted(rows)])


def write_rows(kind: type[Row], rows: Sequence[Row]) -> None:
    """Write the file of a kind anew, atomically."""
    text = io.StringIO()
    writer = csv.DictWriter(text, [field.name for field in fields(kind)], lineterminator="\n")
    writer.writeheader()
    writer.writerows(map(asdict, rows))
    write_atomically(path_of(kind), text.getvalue().encode())
