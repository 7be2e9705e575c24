"""The record of a run: JSON lines, mirrored to Weights & Biases."""

from __future__ import annotations

import json
import logging
from pathlib import Path

from mp_lib.learning.mirror import Mirror
from mp_lib.system.files import write_atomically

log = logging.getLogger(__name__)


class Metrics:
    """Appends rows to ``path``; rows that are not before ``step`` are dropped, since they will come again.

    A row that is there already is not written a second time. ``config`` goes to the mirror, which follows WANDB_MODE.
    """

    def __init__(self, path: Path, step: int, config: dict):
        kept = [line for line in read_lines(path) if step_of(line) < step]
        write_atomically(path, "".join(f"{line}\n" for line in kept).encode())
        self._kept = set(kept)
        self._file = open(path, "a", buffering=1)  # noqa: SIM115 (closed in close)
        self._mirror = Mirror(path, config)

    def write(self, step: int, **values: float) -> None:
        """Add one row."""
        line = json.dumps({"step": step, **values})
        if line in self._kept:
            return
        self._file.write(f"{line}\n")
        self._mirror.look()

    def close(self) -> None:
        """Finish file and mirror, once; the file is whole before the mirror is waited for."""
        if self._file.closed:
            return
        self._file.close()
        self._mirror.close()


def read_lines(path: Path) -> list[str]:
    """The complete lines of a file, none if there is no file; a torn last line is left out."""
    text = path.read_text(errors="replace") if path.exists() else ""
    return [line for line in text[: text.rfind("\n") + 1].splitlines() if line]


def step_of(line: str) -> float:
    """The step that a line is about; infinite for a damaged one, which so is behind all others."""
    try:
        return float(json.loads(line)["step"])
    except (ValueError, LookupError, TypeError):
        log.warning("a damaged line of metrics was left out: %.80r", line)
        return float("inf")
