"""Being told to stop: Ctrl-C and SIGTERM, at moments at which nothing is half done."""

from __future__ import annotations

import contextlib
import signal
import threading
from collections.abc import Iterator

SIGNALS = ("SIGINT", "SIGTERM", "SIGHUP")


class Stop:
    """While it is entered, SIGTERM and SIGHUP are like Ctrl-C: a KeyboardInterrupt where the process is.

    Within ``hold`` it waits for the end of the block. Python hears signals in the main thread alone; in another
    thread, or where a signal is ignored, nothing changes.
    """

    def __init__(self):
        self._held, self._heard = False, ""
        self._before: dict[int, object] = {}

    def __enter__(self) -> Stop:
        if threading.current_thread() is threading.main_thread():
            for number in (getattr(signal, name) for name in SIGNALS if hasattr(signal, name)):
                if signal.getsignal(number) is not signal.SIG_IGN:  # such as SIGHUP under nohup
                    self._before[number] = signal.signal(number, self._hear) or signal.SIG_DFL
        return self

    def __exit__(self, *_) -> None:
        for number, handler in self._before.items():
            signal.signal(number, handler)

    @contextlib.contextmanager
    def hold(self) -> Iterator[None]:
        """Let the block end before a KeyboardInterrupt is raised."""
        self._held = True
        try:
            yield
        finally:
            self._held = False
        if self._heard:
            heard, self._heard = self._heard, ""
            raise KeyboardInterrupt(heard)

    def _hear(self, number: int, _) -> None:
        name = signal.Signals(number).name
        if not self._held:
            raise KeyboardInterrupt(name)
        self._heard = name
