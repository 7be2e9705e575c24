"""The mirror of a record at Weights & Biases, for which no training waits."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import subprocess
import sys
import threading
from pathlib import Path
from typing import IO

from mp_lib.system.extras import how_to_install, missing_modules

log = logging.getLogger(__name__)

PROGRAM = "from mp_lib.learning.wandb_run import main; main()"
LIVE_SECONDS = 15  # for the rest of a live mirror, which has most of its record already
OFFLINE_SECONDS = 60  # for a whole one, at 3000 rows a second
KILL_SECONDS = 5  # wandb's service notices within two that who started it is gone


class Mirror:
    """Has the rows of ``record`` mirrored, with ``config``, by a process of its own.

    With WANDB_MODE=online they are mirrored live. By default, and if that fails, they are written for `wandb sync` when
    the record is closed; WANDB_MODE=disabled leaves that out. What fails is said once and harms nothing.
    """

    def __init__(self, record: Path, config: dict):
        folder = os.path.abspath(os.path.expanduser(os.environ.get("WANDB_DIR") or record.parent))
        self._order = {"record": str(record.absolute()), "folder": os.path.join(folder, "wandb"), "config": config}
        mode = os.environ.get("WANDB_MODE", "")
        self._mode = "offline" if mode in ("", "dryrun") else mode  # wandb's older word
        self._process: subprocess.Popen | None = None
        self._said = ""
        if self._mode != "disabled" and (missing := missing_modules("track")):
            log.warning("the run is recorded in metrics.jsonl alone: %s", how_to_install("track", missing))
            self._mode = "disabled"
        if self._mode not in ("disabled", "offline"):
            self._start(LIVE_SECONDS)

    def look(self) -> None:
        """Say so if a live mirror has ended before its record."""
        if self._process and not self._reader.is_alive():
            self._end(0)

    def close(self) -> None:
        """Let the live mirror end; where there is none, write one."""
        if self._mode == "disabled" or (self._process and self._end(LIVE_SECONDS)):
            return
        self._mode = "offline"
        self._start(OFFLINE_SECONDS)
        if self._process:
            self._end(OFFLINE_SECONDS)

    def _start(self, seconds: int) -> None:
        environment = dict(os.environ) | {"PYTHONPATH": os.pathsep.join(filter(None, sys.path))}
        environment.pop("WANDB_SERVICE", None)  # a process that somebody else's wandb has started
        order = self._order | {"mode": self._mode, "seconds": seconds + 5}  # which count if this process is killed
        try:
            self._process = subprocess.Popen(
                [sys.executable, "-P", "-c", PROGRAM],
                env=environment,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,  # a terminal's Ctrl-C is not meant for it
                text=True,
                errors="replace",
            )
        except OSError as error:
            self._warn(str(error))
            return
        self._reader = threading.Thread(target=self._read, args=[self._process.stdout], daemon=True)
        self._reader.start()
        with contextlib.suppress(OSError):  # it is gone already, and the reader knows why
            self._process.stdin.write(json.dumps(order, default=str) + "\n")
            self._process.stdin.flush()

    def _read(self, output: IO[str]) -> None:
        with output:
            self._output = output.read()  # ends with the process and with wandb's service, which inherits the pipe

    def _end(self, seconds: int) -> bool:
        """Whether the process ends well in that time; it is killed if not."""
        process, self._process = self._process, None
        with contextlib.suppress(OSError):  # it may be gone
            process.stdin.close()
        late = True
        try:
            self._reader.join(seconds)
            late = self._reader.is_alive()
        finally:
            if late:  # or interrupted
                process.kill()
            self._reader.join(KILL_SECONDS)
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(KILL_SECONDS)
        if late:
            self._warn("wandb did not answer in time")
        elif process.returncode:
            self._warn(self._output.strip().rpartition("\n")[2] or f"wandb ended with code {process.returncode}")
        return not late and process.returncode == 0

    def _warn(self, reason: str) -> None:
        if reason == self._said:
            return
        self._said = reason
        if self._mode == "offline":
            log.warning("the run is recorded in metrics.jsonl, but not for Weights & Biases: %.300s", reason)
        else:
            log.warning(
                "the run is recorded in metrics.jsonl, but WANDB_MODE=%s failed (%.300s); "
                "when it has ended, `wandb sync %s` sends what was written offline",
                *(self._mode, reason, self._order["folder"]),
            )
