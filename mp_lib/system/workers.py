"""Processes that share a list of jobs and do not outlive the one that started them."""

from __future__ import annotations

import ast
import inspect
import linecache
import multiprocessing.connection
import os
import sys
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from typing import Any

from mp_lib.system.errors import InputError

ASKED = {"__name__", "current_process", "parent_process"}  # by a script that tells whether it is only imported
GUARD = 'put the call under `if __name__ == "__main__":`, or use jobs=1'
STEP_BYTES = 2 * 2**30  # a training at scale quick and its notebook take 1.4 GiB


class Workers:
    """Call ``work`` in ``jobs`` processes, or in this one if that is 1.

    ``work`` is pickled once for each process and lives as long as that, so it may be a bound method of
    something that is slow to make. If a process dies, ``result()`` raises BrokenProcessPool. An InputError if this
    script cannot start processes.
    """

    def __init__(self, work: Callable[[Any], Any], jobs: int):
        self.ahead = 1 if jobs == 1 else 2 * jobs  # calls in flight: enough to keep every process busy
        self._work = work
        self._pool = None
        if jobs > 1:
            check_main()
            # Not forked: a process that has an OpenGL context or threads cannot be copied.
            context = multiprocessing.get_context("spawn")
            self._pool = ProcessPoolExecutor(jobs, context, _start, (work,))

    def submit(self, argument: Any) -> Future:
        """Return the future of ``work(argument)``; without processes it is called here and now."""
        if self._pool is None:
            done = Future()
            done.set_result(self._work(argument))
            return done
        try:
            return self._pool.submit(_call, argument)
        except BrokenProcessPool as error:  # a process died since the last call; result() is where to hear of it
            broken = Future()
            broken.set_exception(error)
            return broken

    def __enter__(self) -> Workers:
        return self

    def __exit__(self, *_) -> None:
        if self._pool:
            self._pool.shutdown(cancel_futures=True)


def check_main() -> None:
    """Raise an InputError if a process that is started now could not import the script that is running.

    It imports that first, and what does not stand under ``if __name__ == "__main__":`` runs there again. Without a
    script, as in a notebook, at a prompt or with -c, it imports nothing.
    """
    main = sys.modules["__main__"]
    path, spec = getattr(main, "__file__", None), getattr(main, "__spec__", None)
    if path is None or (spec and spec.name.split(".")[-1] == "__main__"):  # as python -m mp_lib, which is not imported
        return
    if path == "<stdin>":
        raise InputError(
            f"standard input cannot be read again by processes that a script on it starts; save it and {GUARD}"
        )
    frame = inspect.currentframe()
    while frame and not (frame.f_globals is vars(main) and frame.f_code.co_name == "<module>"):
        frame = frame.f_back
    if frame and frame.f_code.co_filename == path and not is_guarded(linecache.getlines(path), frame.f_lineno):
        line = f"{path}, line {frame.f_lineno}"
        raise InputError(f"{line} would run again in each process that it starts; {GUARD}")


def is_guarded(script: list[str], line: int) -> bool:
    """Whether that line of a script stands within an ``if`` that asks whether the script is only imported."""
    nodes = [node for node in ast.walk(ast.parse("".join(script))) if isinstance(node, ast.If | ast.IfExp)]
    tests = [node.test for node in nodes if node.lineno <= line <= node.end_lineno]
    names = {getattr(part, "id", getattr(part, "attr", "")) for test in tests for part in ast.walk(test)}
    return bool(names & ASKED)


def usable_cores() -> int:
    """Return the number of cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def default_jobs(gpus: int) -> int:
    """How many steps to run side by side: one a GPU; without one, one a core up to four, then one on two cores.

    On a CPU no more than the machine has memory for, at ``STEP_BYTES`` a step. Nothing of the moment counts, as the
    threads that a step gets, and so its last bits, follow from it.
    """
    import psutil  # not by acting and training

    if gpus:
        return gpus
    cores = usable_cores()
    room = psutil.virtual_memory().total // STEP_BYTES
    return int(max(1, min(max(min(4, cores), cores // 2), room)))


_work: Callable[[Any], Any] | None = None  # of this worker process


def _start(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    threading.Thread(target=_end_with_parent, daemon=True).start()


def _end_with_parent() -> None:
    # A pool's processes wait for work for ever if their parent is killed.
    multiprocessing.connection.wait([multiprocessing.parent_process().sentinel])
    os._exit(1)


def _call(argument: Any) -> Any:
    return _work(argument)
