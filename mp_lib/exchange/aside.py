"""A recording that is read in a process of its own.

Libraries in C that parse a damaged file may end the process that they run in: of HDF5 files with flipped bits about one
in ten thousand did (h5py 3.16). What crosses is JSON and the bytes of arrays; nothing is unpickled.
"""

from __future__ import annotations

import dataclasses
import json
import math
import os
import subprocess
import sys
import traceback
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import BinaryIO

import numpy as np

from mp_lib.exchange.reading import RESTORE, Entry, Recording
from mp_lib.system.errors import InputError, MissingFileError

ERRORS = {each.__name__: each for each in (InputError, MissingFileError, PermissionError, OSError)}
PATIENCE = 10  # seconds
FACTS = ("episodes", "fps", "tasks", "kinds", "units")


class Aside:
    """A ``Recording`` as of ``mp_lib.exchange.reading``, which a class of that kind reads in another process."""

    def __init__(self, kind: type, path: Path):
        self.path = path
        code = f"import sys; sys.path[:] = {sys.path!r}; from {__name__} import serve; "
        code += f"from {kind.__module__} import {kind.__name__} as kind; serve(kind, sys.argv[1])"
        # What the library says as it ends would be a second line.
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen([sys.executable, "-c", code, str(path)], **pipes)
        weakref.finalize(self, stop, self.process)
        facts = self.ask("facts")
        self.episodes: list[str] = facts["episodes"]
        self.fps, self.tasks = facts["fps"], facts["tasks"]
        self.kinds, self.units = facts["kinds"], facts["units"]
        self._entries: tuple[str, dict[str, Entry]] = ("", {})

    def entries(self, episode: str) -> dict[str, Entry]:
        """As of ``Recording``."""
        if self._entries[0] != episode:
            found = {
                key: Entry(tuple(shape), dtype, fault) for key, shape, dtype, fault in self.ask("entries", episode)
            }
            self._entries = (episode, found)
        return self._entries[1]

    def read(self, episode: str, key: str, start: int, stop: int) -> np.ndarray:
        """As of ``Recording``."""
        told = self.ask("read", episode, key, start, stop)
        shape, dtype = tuple(told["shape"]), np.dtype(told["dtype"])
        content = self.process.stdout.read(math.prod(shape) * dtype.itemsize)
        if len(content) < math.prod(shape) * dtype.itemsize:
            raise self.ended()
        return np.frombuffer(content, dtype).reshape(shape)

    def ask(self, *question):
        """What the other process answers; the error that it met, or an InputError if it has ended."""
        try:
            self.process.stdin.write(json.dumps(question).encode() + b"\n")
            self.process.stdin.flush()
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = b""
        if not answer.endswith(b"\n"):
            raise self.ended()
        told = json.loads(answer)
        if "error" in told:
            name, said = told["error"]
            raise ERRORS.get(name, RuntimeError)(said)
        return told["found"]

    def ended(self) -> InputError:
        """The error for a file whose reader has not survived it."""
        return InputError(
            f"{self.path} is damaged: reading it ended the reader (exit {self.process.wait()}); {RESTORE}"
        )


def stop(process: subprocess.Popen) -> None:
    """Let a process end, which it does when nobody asks any more; one that hangs in a damaged file is killed."""
    for pipe in (process.stdin, process.stdout):
        try:
            pipe.close()
        except OSError:  # it has ended before
            continue
    try:
        process.wait(PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


def serve(kind: Callable[[Path], Recording], path: str) -> None:
    """Answer questions on standard input about the recording at a path, until there are none."""
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # nothing that a library prints is an answer
    opened = None
    for line in sys.stdin.buffer:
        what, *given = json.loads(line)
        try:
            opened = opened or kind(Path(path))
            ANSWERS[what](answers, opened, *given)
        except Exception as error:  # to be raised where it was asked
            known = type(error).__name__ in ERRORS
            said = str(error) if known else traceback.format_exc()
            tell(answers, {"error": [type(error).__name__, said]})


def tell(answers: BinaryIO, what: dict, content: bytes | memoryview = b"") -> None:
    """Send an answer, with an array's bytes behind it."""
    answers.write(json.dumps(what).encode() + b"\n")
    answers.write(content)
    answers.flush()


def tell_facts(answers: BinaryIO, recording: Recording) -> None:
    tell(answers, {"found": {name: getattr(recording, name) for name in FACTS}})


def tell_entries(answers: BinaryIO, recording: Recording, episode: str) -> None:
    found = recording.entries(episode)
    tell(answers, {"found": [[key, *dataclasses.astuple(entry)] for key, entry in found.items()]})


def tell_frames(answers: BinaryIO, recording: Recording, *which) -> None:
    found = np.ascontiguousarray(recording.read(*which))
    tell(answers, {"found": {"shape": found.shape, "dtype": found.dtype.str}}, found.tobytes())


ANSWERS = {"facts": tell_facts, "entries": tell_entries, "read": tell_frames}
