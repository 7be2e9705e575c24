"""The same steps by Snakemake, on one machine or on a cluster: it says when and where; a step runs as ever.

The Snakefile reads the ``Plan`` of a call, and each of its jobs runs one step of it.
Snakemake comes with the extra [cluster].
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from mp_lib.interfaces import look_up
from mp_lib.pipeline.options import experiment_of
from mp_lib.pipeline.runner import Runner
from mp_lib.pipeline.steps import ON_GPU, Step
from mp_lib.system.device import apart, visible_gpus
from mp_lib.system.errors import InputError, at_least_one
from mp_lib.system.extras import require
from mp_lib.system.files import read_json, write_atomically
from mp_lib.system.locks import InUseError, sign, sole_user
from mp_lib.system.paths import given_path, name_of, package, root, step_path, supplied
from mp_lib.system.stopping import Stop
from mp_lib.system.workers import usable_cores

POLL_SECONDS = 5  # between looks at the cluster's queue
STOP_SECONDS = 90  # Snakemake's, to end jobs here or cancel them there


@dataclass(frozen=True)
class Plan:
    """The steps of a call as a graph of files: a step is done when its stamp is there.

    ``jobs`` run side by side on this machine; None on a cluster, which sees to that.
    """

    steps: dict[str, Step]
    device: str = "auto"
    jobs: int | None = None

    @classmethod
    def of(cls, options: argparse.Namespace, jobs: int | None = None, left_out: Sequence[str] = ()) -> Plan:
        """The plan of what ``./run_all.sh`` runs with these options, without the steps that are left out."""
        steps = {step.name: step for step in experiment_of(options).steps(usable_cores())}
        return cls(steps, options.device, jobs).without(left_out)

    @classmethod
    def read(cls, path: str | Path) -> Plan:
        """The plan that ``write_plan`` wrote; a ValueError if there is none or the file is damaged."""
        path = given_path(path)
        if not path.is_file():
            raise InputError(f"there is no plan {path}; ./run_all.sh --engine snakemake writes one into data/steps")
        found = read_json(path)
        try:
            return cls.of(argparse.Namespace(**found.pop("options")), **found)
        except (LookupError, TypeError, AttributeError) as error:
            raise ValueError(f"{path} is no plan of this version ({error}); call ./run_all.sh again") from error

    def names(self, kind: str) -> str:
        """A regular expression that matches the names of the steps of a kind."""
        return "|".join(re.escape(step.name) for step in self.of_kinds(kind)) or "(?!)"

    def stamps(self, *kinds: str) -> list[str]:
        """The stamps of all steps of these kinds, below the root."""
        return [stamp_of(step) for step in self.of_kinds(*kinds)]

    def of_kinds(self, *kinds: str) -> list[Step]:
        """The steps of these kinds."""
        return [step for step in self.steps.values() if step.kind in kinds]

    def before(self, name: str) -> list[str]:
        """The stamps of all that comes before a step."""
        names = dict.fromkeys((*self.steps[name].needs, *self.steps[name].after))
        return [stamp_of(self.steps[each]) for each in names if each in self.steps]

    def told(self, name: str) -> str:
        """What a step was told, so that it runs again when that changes."""
        step = self.steps[name]
        return json.dumps([step.notebook, step.parameters, step.facts], sort_keys=True)

    def cores(self, name: str) -> int:
        """The cores that a step keeps busy here: one that wants all of them runs alone."""
        return self.steps[name].cores

    def without(self, names: Sequence[str]) -> Plan:
        """The plan without these steps, and without those that need them."""
        left, gone = {}, set(names)
        for name, step in self.steps.items():
            if name in gone or gone & set(step.needs):
                gone.add(name)
            else:
                left[name] = step
        return replace(self, steps=left)

    def run(self, name: str, threads: int) -> bool:
        """Run one step here and now, and say whether that went well; ``threads`` are what a cluster allots it.

        An InputError for a step that the plan does not have, or no thread.
        """
        at_least_one(threads=threads)
        step = replace(look_up(self.steps, name, "step"), needs=(), after=())  # Snakemake has seen to those
        if self.jobs is None:
            hide_gpus_of_others()
        gpus = apart(visible_gpus, self.device) if step.kind in ON_GPU else ()
        if self.jobs is not None:
            return not Runner([step], self.jobs, gpus).run()
        return not Runner([step], 1, gpus, threads).run()


def stamp_of(step: Step) -> str:
    """A step's stamp, below the root, which is Snakemake's working directory."""
    return name_of(step.stamp)


def hide_gpus_of_others() -> None:
    """In a SLURM job that asked for no GPU, hide those that it sees all the same."""
    allotted = ("SLURM_JOB_GPUS", "SLURM_STEP_GPUS", "SLURM_GPUS_ON_NODE", "SLURM_GPUS")
    if "SLURM_JOB_ID" in os.environ and not any(name in os.environ for name in allotted):
        os.environ["CUDA_VISIBLE_DEVICES"] = ""


def check_snakemake(profile: str) -> None:
    """Raise a ValueError if Snakemake is not installed, or there is no such profile."""
    require("cluster")
    found = profile_path(profile)
    if profile and not [*found.glob("config*.yaml")]:
        what = "that has no config.yaml" if found.is_dir() else "there is no such folder"
        raise InputError(f"--profile {profile} was given, but {what}: {found}; profiles/slurm is one")


def run_with_snakemake(
    name: str, steps: Sequence[Step], options: argparse.Namespace, jobs: int | None, profile: str = ""
) -> list[str]:
    """Let Snakemake run the steps of a call; returns the names of those that are not done then.

    ``name`` is the experiment's. Without a profile ``jobs`` run here side by side; with one at most so many are in the
    queue, or as many as the profile says. Pages come when all else has ended, in whichever way. Raises a RuntimeError
    if Snakemake cannot start or the queue does not answer. What an earlier call has submitted and is still in the queue
    is waited for.
    """
    where, here = (on_a_cluster(jobs, profile), None) if profile else (on_this_machine(jobs), jobs)
    with sole_driver() as lock:
        if profile:
            wait_for_earlier_jobs()
        for step in steps:
            if step.stamp.exists() and not step.is_done():
                step.stamp.unlink()  # Snakemake looks at files and dates alone
        call_snakemake("runs", write_plan(name, options, here), where, lock)
        failed = [step.name for step in steps if step.kind != "page" and not step.stamp.exists()]
        call_snakemake("all", write_plan(name, options, here, failed), where, lock)
    return [step.name for step in steps if not step.stamp.exists()]


def write_plan(name: str, options: argparse.Namespace, jobs: int | None, left_out: Sequence[str] = ()) -> Path:
    """Write down what ``Plan.read`` needs, and return the file: no words of a user's go through a shell."""
    text = json.dumps({"options": vars(options), "jobs": jobs, "left_out": list(left_out)}, indent=1)
    digest = hashlib.blake2b(text.encode(), digest_size=4).hexdigest()
    path = step_path(f"{name}-{digest}.plan")
    write_atomically(path, text.encode())
    return path


def on_this_machine(jobs: int) -> list[str]:
    """Snakemake's options for ``jobs`` steps side by side."""
    return ["--cores", str(max(usable_cores(), jobs)), "--resources", f"steps={jobs}"]


def on_a_cluster(jobs: int | None, profile: str) -> list[str]:
    """Snakemake's options for a profile, with at most ``jobs`` in the queue if that is given."""
    limit = ["--jobs", str(jobs)] if jobs else []
    return ["--profile", str(profile_path(profile)), "--slurm-jobname-prefix", queue_prefix(), *limit]


def profile_path(profile: str) -> Path:
    """The folder of a profile that was given, or of one that comes with the project."""
    return supplied(given_path(profile))


def call_snakemake(target: str, plan: Path, where: Sequence[str], lock: int) -> None:
    """Run Snakemake to its end; Ctrl-C and SIGTERM end all that it has started. Steps may fail, it must not."""
    began = time.time()
    command = [
        *(sys.executable, "-m", "snakemake", target, "--snakefile", str(snakefile()), "--directory", str(root())),
        *("--config", f"plan={name_of(plan)}"),
        *("--keep-going", "--rerun-incomplete", "--nolock", "--rerun-triggers", "mtime", "params"),
        *("--quiet", "progress", "rules", "host", "reason", *where),
    ]
    with Stop() as stop:
        with stop.hold():
            variables = os.environ | {"MP_ROOT": str(root())}
            process = subprocess.Popen(
                command, env=variables, pass_fds=(lock,), start_new_session=True, preexec_fn=hear_interrupts
            )
            sign(lock, process.pid)
        try:
            status = process.wait()
        except KeyboardInterrupt:
            with stop.hold():
                os.killpg(process.pid, signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_SECONDS)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            raise
    logs = plan.parent.glob("*.log")
    if status and not any(log.stat().st_mtime >= began - 1 for log in logs):
        raise RuntimeError(f"Snakemake ended with status {status} before any step began; its own words stand above")


def hear_interrupts() -> None:
    """Undo what a shell's "&" does to all that it starts: SIGINT, by which Snakemake is told to stop, is ignored."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


def snakefile() -> Path:
    """The Snakefile of this checkout."""
    return package().parent / "Snakefile"


@contextlib.contextmanager
def sole_driver() -> Iterator[int]:
    """Hold the lock of Snakemake's own folder; another driver, or one whose parent was killed, is waited for."""
    path, of = step_path(".snakemake.lock"), "the graph of steps"
    with contextlib.ExitStack() as stack:
        try:
            lock = stack.enter_context(sole_user(path, of, patience=0))
        except InUseError as error:
            print(f"waiting: {error}", flush=True)
            lock = stack.enter_context(sole_user(path, of, patience=float("inf")))
        yield lock


def queue_prefix() -> str:
    """What the names of this root's jobs begin with in a cluster's queue."""
    return "mp-" + hashlib.blake2b(str(root().resolve()).encode(), digest_size=6).hexdigest()


def wait_for_earlier_jobs() -> None:
    """Wait until no job of an earlier call is left in SLURM's queue, so that nothing is submitted twice."""
    told = False
    while earlier := queued_jobs():
        if not told:
            numbers = " ".join(earlier)
            print(f"waiting for {len(earlier)} jobs of an earlier call: {numbers} (or scancel them)", flush=True)
        told = True
        time.sleep(POLL_SECONDS)


def queued_jobs() -> list[str]:
    """The numbers of this root's jobs in SLURM's queue; a RuntimeError if it does not answer, none without SLURM."""
    if shutil.which("squeue") is None:
        return []
    states = "PENDING,RUNNING,SUSPENDED,COMPLETING,CONFIGURING"
    command = ["squeue", "--me", "--noheader", "--format=%i %j", f"--states={states}"]
    try:
        answer = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True)
    except subprocess.SubprocessError as error:
        said = (getattr(error, "stderr", "") or str(error)).strip().splitlines()[-1]
        raise RuntimeError(f"SLURM's queue does not answer ({said}), nothing was submitted; call again") from error
    jobs = [line.strip().partition(" ") for line in answer.stdout.splitlines()]
    return [number for number, _, name in jobs if name.startswith(queue_prefix())]
