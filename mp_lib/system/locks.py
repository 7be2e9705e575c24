"""One writer at a time, also on several machines that share a file system."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

from mp_lib.system.errors import InOneLine
from mp_lib.system.extras import WITHOUT_FCNTL
from mp_lib.system.files import writing

try:
    import fcntl
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(WITHOUT_FCNTL, name=error.name) from None

log = logging.getLogger(__name__)

PATIENCE = 5.0  # seconds: a notebook's kernel notices within one or two that the process which started it was killed
POLL_SECONDS = 0.1


class InUseError(InOneLine, RuntimeError):
    """Another process holds the lock; the message names it."""


@contextlib.contextmanager
def sole_user(path: Path, of: str, patience: float | None = None) -> Iterator[int]:
    """Hold the lock file ``path`` while the block runs; the descriptor that is yielded passes the lock to a child.

    The lock ends with the process, and with the children that were given it, however they end. The file stays and
    says who had it last. Raises InUseError, a RuntimeError that names ``of`` and the other's process number and host,
    if that one does not end within ``patience`` seconds (PATIENCE if None), and OSError if the file cannot be written.
    """
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        file = open(path, "a+")  # noqa: SIM115 (closed below; "w" would wipe out who holds it)
    with file:
        wait_for(file, of, PATIENCE if patience is None else patience)
        with writing(path):
            sign(file.fileno(), os.getpid())
        yield file.fileno()


def in_use(path: Path) -> bool:
    """Whether somebody holds the lock file at ``path`` now; nobody where file systems know no locks."""
    with contextlib.suppress(OSError), path.open() as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def sign(lock: int, process: int) -> None:
    """Write down who holds a lock: a process of this host."""
    os.ftruncate(lock, 0)
    os.pwrite(lock, f"{process} on {socket.gethostname()}\n".encode(), 0)


def wait_for(file, of: str, patience: float) -> None:
    """Lock an open file, or raise InUseError after ``patience`` seconds."""
    last = time.monotonic() + patience
    while True:
        try:
            return fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() >= last:
                file.seek(0)
                holder = file.read().strip() or "unknown"
                raise InUseError(f"{of} is in use by process {holder}; wait for it, or end it") from None
        except OSError as error:
            log.warning("%s: this file system knows no locks (%s); let no other process write there", of, error)
            return None
        time.sleep(POLL_SECONDS)
