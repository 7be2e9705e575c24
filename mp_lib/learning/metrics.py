"""The record of a run: JSON lines, mirrored to Weights & Biases."""

from __future__ import annotations

import contextlib
import json
import logging
import netrc
import os
from pathlib import Path
from urllib.parse import urlsplit

from mp_lib.system.extras import how_to_install, missing_modules
from mp_lib.system.files import write_atomically

log = logging.getLogger(__name__)


class Metrics:
    """Appends rows to ``path``; rows that are not before ``step`` are dropped, since they will come again.

    A row that is there already is not written a second time. The mirror follows WANDB_MODE and is offline if that is
    not set; it never asks for a login.
    """

    def __init__(self, path: Path, step: int, mirror: dict):
        kept = [line for line in read_lines(path) if step_of(line) < step]
        write_atomically(path, "".join(f"{line}\n" for line in kept).encode())
        self._kept = set(kept)
        self._file = open(path, "a", buffering=1)  # noqa: SIM115 (closed in close)
        self._run = start_mirror(path.parent, mirror)

    def write(self, step: int, **values: float) -> None:
        """Add one row."""
        line = json.dumps({"step": step, **values})
        if line in self._kept:
            return
        self._file.write(f"{line}\n")
        if self._run:
            self._run.log(values, step=step)

    def close(self) -> None:
        """Finish file and mirror."""
        self._file.close()
        if self._run:
            self._run.finish()


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


def has_login() -> bool:
    """Whether Weights & Biases has a key, so that it need not ask; its own look-ups differ from version to version."""
    if os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_IDENTITY_TOKEN_FILE"):
        return True
    host = urlsplit(os.environ.get("WANDB_BASE_URL", "https://api.wandb.ai")).hostname
    with contextlib.suppress(OSError, netrc.NetrcParseError):
        return netrc.netrc(os.environ.get("NETRC")).authenticators(host) is not None
    return False


def start_mirror(folder: Path, config: dict):
    """A Weights & Biases run; None where WANDB_MODE=disabled, or where wandb is not installed, which is said."""
    mode = os.environ.get("WANDB_MODE", "offline")
    if mode == "disabled":
        return None
    if missing := missing_modules("track"):
        log.warning("the run is recorded in metrics.jsonl alone: %s", how_to_install("track", missing))
        return None
    import wandb

    if mode == "online" and not has_login():
        log.warning("WANDB_MODE=online, but nobody is logged in (`wandb login`): the run is recorded offline")
        mode = "offline"
    settings = wandb.Settings(silent=True, console="off")
    return wandb.init(project="mamba-policy", name=folder.name, dir=folder, config=config, mode=mode, settings=settings)
