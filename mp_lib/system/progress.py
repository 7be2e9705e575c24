"""One progress bar: in a terminal, in a notebook, and for a parent process that only sees files."""

from __future__ import annotations

import contextlib
import json
import os
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TypeVar

from tqdm import tqdm

from mp_lib.system.notebook import Bar, in_notebook, stopped_in_one_line

FILE_VARIABLE = "MP_PROGRESS"  # names the JSON file that a parent process polls
Item = TypeVar("Item")
BAR_SECONDS = 1.0
FILE_SECONDS = 0.5


class Progress:
    """Counts to ``total``, or without an end if that is None; made by ``track``."""

    def __init__(self, total: int | None, description: str, file: Path | None, shown: bool = True):
        if shown and in_notebook():
            self._bar = Bar(total, description)
        else:
            self._bar = tqdm(
                total=total, desc=description, mininterval=BAR_SECONDS, dynamic_ncols=False, disable=not shown
            )
        self._state = {"description": description, "done": 0, "total": total or 0}
        self._file = file
        self._written = float("-inf")
        self._write()

    def stopped(self) -> str:
        """What is said where somebody stops it."""
        done, of = self._state["done"], f" of {self._state['total']}" if self._state["total"] else ""
        return f"Stopped at {done}{of} ({self._state['description']}); run this cell again for the whole."

    def advance(self, n: int = 1) -> None:
        """Count ``n`` more."""
        self._state["done"] += n
        self._bar.update(n)
        if time.monotonic() - self._written >= FILE_SECONDS:
            self._write()

    def note(self, text: str, value: float | None = None) -> None:
        """Show ``text`` behind the bar, at its next turn; a notebook draws the ``value``s so far as a curve."""
        self._bar.set_postfix_str(text, refresh=False)
        if value is not None and isinstance(self._bar, Bar):
            self._bar.values.append(value)

    def close(self) -> None:
        """Show and write the last count."""
        self._write()
        self._bar.close()

    def _write(self) -> None:
        self._written = time.monotonic()
        if self._file is None:
            return
        draft = self._file.with_name(f"{self._file.name}.{os.getpid()}.partial")
        # A bar is no reason to lose hours of work, so a full disk is left to whoever writes results.
        with contextlib.suppress(OSError):
            draft.write_text(json.dumps(self._state))
            draft.replace(self._file)


@contextlib.contextmanager
def track(total: int | None, description: str) -> Iterator[Progress]:
    """Show a bar for ``total`` steps while the block runs; None where nobody knows how many there are.

    If the environment variable MP_PROGRESS names a file, ``{"description", "done", "total"}`` is written
    to it as JSON at the start, at the end and at most twice a second between. Only the main thread is told of: what
    others do, they do beside that. Who stops it in a notebook gets one line, how far it came.
    """
    shown = threading.current_thread() is threading.main_thread()
    file = os.environ.get(FILE_VARIABLE) if shown else None
    progress = Progress(total, description, Path(file) if file else None, shown)
    try:
        with stopped_in_one_line(progress.stopped):
            yield progress
    finally:
        progress.close()


def tracked(items: Sequence[Item], description: str) -> Iterator[Item]:
    """One item after the other, under a bar that counts them."""
    with track(len(items), description) as progress:
        for item in items:
            yield item
            progress.advance()
