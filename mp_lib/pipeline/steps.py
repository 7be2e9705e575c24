"""Steps of an experiment: each runs one notebook, and is skipped while its parameters and inputs are the same.

A step's key is a digest of its notebook's name, parameters and the contents of its inputs, and of the notebook's code
where that is not the project's; its stamp (data/steps/<name>.json) holds the key under which it was last finished.
"""

from __future__ import annotations

import contextlib
import functools
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from mp_lib.pipeline.notebooks import Edit, edit_of, refusal
from mp_lib.system.device import processor_model
from mp_lib.system.files import read_json, write_atomically, write_json
from mp_lib.system.locks import sign, sole_user
from mp_lib.system.paths import checkout, name_of, notebooks_path, package, root, step_path, supplied
from mp_lib.system.progress import FILE_VARIABLE
from mp_lib.system.provenance import file_hash
from mp_lib.system.workers import usable_cores

NOTED = ("recording", "training", "evaluation")  # whose notebooks go on from what there is, or read it
KINDS = ("recording", "group", "training", "evaluation", "page")
NOTE = ".edited.txt"
ON_GPU = ("group", "training", "evaluation")  # those that compute on a GPU where there is one


@dataclass(frozen=True)
class Step:
    """One notebook execution.

    ``notebook`` is a name in ``notebooks_path``, or the path of another one. ``inputs`` are files or folders whose
    content it depends on, ``patterns`` name more of them below the root, such as data/runs/*/result.json, whichever
    there are when it begins; ``facts`` is what else its result depends on. ``products`` must be there when it is done.
    It starts when the steps it ``needs`` are done and those it comes ``after`` have ended in any way; ``cores`` is how
    many it may keep busy, ``kind`` is one of KINDS. ``as_edited``: it runs also where its notebook was edited.
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
    kind: str = "page"
    as_edited: bool = False

    @property
    def stamp(self) -> Path:
        """Where it says that the step is done."""
        return step_path(f"{self.name}.json")

    @property
    def log(self) -> Path:
        """What the notebook's process printed."""
        return self.stamp.with_suffix(".log")

    @property
    def edit(self) -> Edit | None:
        """How the code of its notebook differs from the project's now, if that is one of those."""
        return None if Path(self.notebook).is_absolute() else edit_of(self.notebook)

    def refusal(self) -> str:
        """Why it is not run: somebody has edited its notebook, and that is not allowed; else empty."""
        return refusal([self.edit]) if self.edit and not self.as_edited else ""

    def key(self, digest: Callable[[Path], str] = file_hash) -> str:
        """The digest of all that the step's result depends on; ``digest`` gives that of a file or folder."""
        found = (path for pattern in self.patterns for path in sorted(root().glob(pattern)))
        inputs = {name_of(path): digest(supplied(path)) for path in (*self.inputs, *found)}
        edited = [edit.digest] if (edit := self.edit) else []
        text = json.dumps([self.notebook, self.parameters, self.facts, inputs, *edited], sort_keys=True)
        return hashlib.blake2b(text.encode(), digest_size=16).hexdigest()

    def error(self) -> str:
        """The last line of what it printed that says something: the exception's own words."""
        text = self.log.read_text(errors="replace") if self.log.exists() else ""
        lines = [line.strip() for line in text.splitlines() if line.strip()]
        return lines[-1] if lines else "no message"

    def claim(self) -> AbstractContextManager[int]:
        """Its lock, a descriptor; an InUseError at once if another process runs the step."""
        return sole_user(self.stamp.with_suffix(".lock"), self.title, patience=0)

    def is_done(self, digest: Callable[[Path], str] = file_hash) -> bool:
        """Whether it was finished with the same parameters and inputs, and its products are there."""
        if not all(path.exists() for path in (self.stamp, self.executed, *self.products)):
            return False
        try:
            return read_json(self.stamp)["key"] == self.key(digest)
        except (OSError, ValueError, KeyError):  # a damaged stamp says nothing, nor one that was just taken away
            return False

    def finish(self, key: str, seconds: float, edit: Edit | None = None) -> None:
        """Write the stamp: ``key`` is what the step's key was when it began, ``edit`` what its notebook was then."""
        stamp = {"key": key, "seconds": round(seconds, 1), "machine": machine(), "parameters": self.parameters}
        write_json(self.stamp, stamp | ({"edited": edit.told()} if edit else {}))

    def seconds(self) -> float:
        """How long it took when it was last finished; 0 if it never was."""
        with contextlib.suppress(OSError, ValueError, TypeError):
            return float(read_json(self.stamp).get("seconds", 0))
        return 0.0

    def machine(self) -> str:
        """What it was last finished on; empty if it never was, or an older stamp does not say."""
        with contextlib.suppress(OSError, ValueError):
            return str(read_json(self.stamp).get("machine", ""))
        return ""

    def note(self, edit: Edit | None) -> None:
        """Say beside a product, for as long as it is there, that an edited notebook has had a part in it.

        So has one whose products it takes. The project's own notebook only reads a training that such a one has
        finished or goes on with it, after which the stamp says nothing of that.
        """
        if self.kind not in NOTED:
            return
        place = note_of(self.products[0])
        if self.kind == "recording" and not self.products[0].exists():
            place.unlink(missing_ok=True)
        told = [*noted(place), *(line for path in self.inputs for line in noted(note_of(path)))]
        if told := [*dict.fromkeys([*told, *([edit.told()] if edit else [])])]:
            write_atomically(place, "\n".join(told).encode())

    def edited(self) -> list[str]:
        """How notebooks had been edited that its products come from; empty if none had, or it was never finished."""
        told = noted(note_of(self.products[0])) if self.kind in NOTED else []
        with contextlib.suppress(OSError, ValueError):
            told += [str(read_json(self.stamp).get("edited", ""))]
        return [*dict.fromkeys(filter(None, told))]


@functools.cache
def machine() -> str:
    """This machine's processor and its cores; what a training has computed on stands in its result."""
    cores = usable_cores()
    return f"{processor_model() or 'unknown processor'}, {cores} core{'s' * (cores > 1)}"


def note_of(product: Path) -> Path:
    """Where it is said beside a product that edited notebooks had a part in it."""
    return product.with_name(f"{product.stem}{NOTE}")


def noted(path: Path) -> list[str]:
    """The lines of such a note; none where there is none."""
    return path.read_text(encoding="utf-8").splitlines() if path.exists() else []


class Execution:
    """A step's papermill process, which inherits the step's lock: even if this process is killed, the next one waits.

    ``locks`` are descriptors, the first that which ``Step.claim`` yields; ``release`` is to end this process's hold of
    them. ``variables`` are added to the environment.
    """

    release: Callable[[], None]

    def __init__(self, step: Step, locks: Sequence[int], variables: Mapping[str, str]):
        self.step, self.key, self.edit, self.began = step, step.key(), step.edit, time.monotonic()
        self.progress_file = step.stamp.with_suffix(".progress")
        step.executed.parent.mkdir(parents=True, exist_ok=True)
        self.progress_file.unlink(missing_ok=True)
        step.note(self.edit)
        settings = kernel_variables() | {FILE_VARIABLE: str(self.progress_file)}
        with open(step.log, "w") as log:
            self.process = subprocess.Popen(
                papermill_command(step),
                env=os.environ | settings | variables,
                stdout=log,
                stderr=log,
                pass_fds=locks,
                start_new_session=True,  # a terminal's Ctrl-C would have papermill kill the kernel
            )
        with contextlib.suppress(OSError):  # a full disk; the lock holds all the same
            for lock in locks:
                sign(lock, self.process.pid)

    @property
    def seconds(self) -> float:
        """How long it has been running."""
        return time.monotonic() - self.began

    def progress(self) -> dict | None:
        """The last {description, done, total} that the step has written, if any."""
        try:
            return read_json(self.progress_file)
        except (OSError, ValueError):
            return None

    def interrupt(self) -> None:
        """Ask the notebook's kernel to stop, as JupyterLab's button does; papermill ends when it has.

        A kernel hears nothing between two cells, so this is to be repeated. Papermill without a kernel is ended.
        """
        kernels = self.family(recursive=False)
        if not kernels:
            self.process.terminate()
        for kernel in kernels:
            with contextlib.suppress(psutil.Error):
                kernel.send_signal(signal.SIGINT)

    def kill(self) -> None:
        """End all of it now; what it has saved stays."""
        for process in self.family(recursive=True):
            with contextlib.suppress(psutil.Error):
                process.kill()
        self.process.kill()
        self.process.wait()

    def family(self, recursive: bool) -> list[psutil.Process]:
        """The kernel, or with it all that it has started."""
        try:
            return psutil.Process(self.process.pid).children(recursive)
        except psutil.Error:
            return []


def kernel_variables() -> dict[str, str]:
    """What is added to the environment of whatever starts kernels."""
    # Our own kernel python3 goes before all that are installed; Jupyter replaces its command, python, by the
    # interpreter that it runs in itself, which is ours.
    paths = {"JUPYTER_PATH": before("JUPYTER_PATH", package() / "pipeline" / "jupyter")} | package_first()
    # Spinning threads take the other step's core away; a waiting thread costs nothing.
    return {"MP_ROOT": str(root()), "OMP_WAIT_POLICY": "passive"} | paths


def package_first() -> dict[str, str]:
    """The variable by which a checkout's notebooks import its own package, whichever is installed."""
    return {"PYTHONPATH": before("PYTHONPATH", checkout())} if checkout() else {}


def before(variable: str, folder: Path) -> str:
    """A variable that lists folders, with this one before all others."""
    return os.pathsep.join([str(folder), *filter(None, [os.environ.get(variable)])])


def papermill_command(step: Step) -> list[str]:
    """The command that executes a step's notebook; parameters travel as JSON, which is YAML."""
    notebook = notebooks_path() / step.notebook
    return [
        *(sys.executable, "-m", "papermill", str(notebook), str(step.executed)),
        *("--cwd", str(notebook.parent), "--no-progress-bar", "--autosave-cell-every", "5"),
        *("--parameters_yaml", json.dumps(step.parameters)),
    ]
