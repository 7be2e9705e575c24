"""When to compute: something quick at once while somebody moves a control, all of it once that has come to rest."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator

REST = 0.2  # seconds without a change after which a control has come to rest
SETTLE = 0.01  # seconds in which changes that have come together are taken as one


class Pace:
    """Answers what was asked last; what was asked before it is given up, so that a dragged slider queues nothing.

    ``quick`` answers at once and returns whether that was all. If not, ``whole`` goes on piece by piece, and a new
    question ends it between two of them. Both are called in one thread beside the kernel's, which meanwhile hears of
    changes; those come from several threads, as JupyterLab has messages of widgets handled beside cells. That thread
    ends when nothing is left to do. An error is told by ``failed``.
    """

    def __init__(
        self, quick: Callable[[], bool], whole: Callable[[], Iterator[None]], failed: Callable[[Exception], None]
    ):
        self.quick, self.whole, self.failed = quick, whole, failed
        self.changed, self.lock = threading.Event(), threading.Lock()
        self.thread: threading.Thread | None = None

    def ask(self) -> None:
        """Something has changed."""
        with self.lock:
            self.changed.set()
            if self.thread is None:
                self.thread = threading.Thread(target=self.work, daemon=True)
                self.thread.start()

    def work(self) -> None:
        """Answer until nothing new is asked."""
        try:
            while self.is_asked():
                try:
                    self.answer()
                except Exception as error:
                    self.failed(error)
        finally:  # if telling failed, too
            with self.lock:
                if self.thread is threading.current_thread():
                    self.thread = None

    def is_asked(self) -> bool:
        """Whether there is something to do; if not, the next question starts another thread."""
        with self.lock:
            if not self.changed.is_set():
                self.thread = None
            return self.thread is not None

    def answer(self) -> None:
        """Answer once, wholly unless something else is asked meanwhile."""
        time.sleep(SETTLE)
        self.changed.clear()
        if self.quick() or self.changed.wait(REST):
            return
        for _ in self.whole():
            if self.changed.is_set():
                return
