"""Steps of an experiment: each runs one notebook, and is skipped while its parameters and inputs are the same.

A step's key is a digest of its notebook's name, parameters and the contents of its inputs; its stamp
(data/steps/<name>.json) holds the key under which it was last finished.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from dataclasses import dataclass, field
from pathlib import Path

from mp_lib.files import write_atomically
from mp_lib.paths import root
from mp_lib.progress import FILE_VARIABLE
from mp_lib.provenance import file_hash


@dataclass(frozen=True)
class Step:
    """One notebook execution.

    ``inputs`` are files or folders whose content it depends on, ``patterns`` name more of them below the root, such as
    data/runs/*/result.json, whichever there are when it begins; ``facts`` is what else its result depends on.
    ``products`` must be there when it is done. It starts when the steps it ``needs`` are done and those it comes
    ``after`` have ended in any way; ``cores`` is how many it may keep busy.
    """

    name: str
    title: str
    notebook: str
    executed: Path
    parameters: dict = field(default_factory=dict)
    facts: dict = field(default_factory=dict)
    inputs: tuple[Path, ...] = ()
    patterns: tuple[str, ...] = ()
    products: tuple[Path, ...] = ()
    needs: tuple[str, ...] = ()
    after: tuple[str, ...] = ()
    cores: int = 1

    @property
    def stamp(self) -> Path:
        """Where it says that the step is done."""
        return root() / "data" / "steps" / f"{self.name}.json"

    @property
    def log(self) -> Path:
        """What the notebook's process printed."""
        return self.stamp.with_suffix(".log")

    def key(self) -> str:
        """The digest of all that the step's result depends on."""
        found = (path for pattern in self.patterns for path in sorted(root().glob(pattern)))
        inputs = {os.path.relpath(path, root()): file_hash(path) for path in (*self.inputs, *found)}
        text = json.dumps([self.notebook, self.parameters, self.facts, inputs], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def is_done(self) -> bool:
        """Whether it was finished with the same parameters and inputs, and its products are there."""
        if not all(path.exists() for path in (self.stamp, self.executed, *self.products)):
            return False
        try:
            return json.loads(self.stamp.read_text())["key"] == self.key()
        except (ValueError, KeyError):  # a damaged stamp says nothing
            return False

    def finish(self, key: str, seconds: float) -> None:
        """Write the stamp: ``key`` is what the step's key was when it began."""
        stamp = {"key": key, "seconds": round(seconds, 1), "parameters": self.parameters}
        write_atomically(self.stamp, json.dumps(stamp, indent=1).encode())


class Execution:
    """A step's papermill process."""

    def __init__(self, step: Step, threads: int):
        self.step, self.key, self.began = step, step.key(), time.monotonic()
        self.progress_file = step.stamp.with_suffix(".progress")
        for folder in (step.executed.parent, step.stamp.parent):
            folder.mkdir(parents=True, exist_ok=True)
        self.progress_file.unlink(missing_ok=True)
        # Spinning threads take the other step's core away; a waiting thread costs nothing.
        variables = os.environ | {
            FILE_VARIABLE: str(self.progress_file),
            "MP_ROOT": str(root()),
            "OMP_NUM_THREADS": str(threads),
            "OMP_WAIT_POLICY": "passive",
        }
        with open(step.log, "w") as log:
            self.process = subprocess.Popen(papermill_command(step), env=variables, stdout=log, stderr=log)

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.began

    def progress(self) -> dict | None:
        """The last {description, done, total} that the step has written, if any."""
        try:
            return json.loads(self.progress_file.read_text())
        except (OSError, ValueError):
            return None

    def stop(self) -> None:
        """End the process; what it has saved stays."""
        self.process.terminate()
        try:
            self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()

    def error(self) -> str:
        """The last line of what it printed that says something: the exception's own words."""
        lines = [line.strip() for line in self.step.log.read_text(errors="replace").splitlines() if line.strip()]
        return lines[-1] if lines else "no message"


def papermill_command(step: Step) -> list[str]:
    """The command that executes a step's notebook; parameters travel as JSON, which is YAML."""
    notebook = root() / "notebooks" / step.notebook
    return [
        *(sys.executable, "-m", "papermill", str(notebook), str(step.executed)),
        *("--cwd", str(notebook.parent), "--no-progress-bar", "--autosave-cell-every", "5"),
        *("--parameters_yaml", json.dumps(step.parameters)),
    ]
