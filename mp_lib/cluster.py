"""The same steps by Snakemake, on one machine or on a cluster: it says when and where; a step runs as ever.

The Snakefile asks ``plan`` for the steps, and its rules call ``run_step``. Snakemake comes with the extra [cluster].
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path

from mp_lib.device import visible_gpus
from mp_lib.locks import InUseError, sole_user
from mp_lib.options import experiment_of, parse
from mp_lib.paths import root
from mp_lib.runner import Runner
from mp_lib.steps import Step
from mp_lib.stopping import Stop
from mp_lib.workers import usable_cores

POLL_SECONDS = 5  # between looks at the cluster's queue
STOP_SECONDS = 30  # Snakemake's, to cancel jobs


@dataclass(frozen=True)
class Plan:
    """The steps of an experiment as a graph of files: a step is done when its stamp is there."""

    steps: dict[str, Step]
    device: str = "auto"
    jobs: int = 1

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

    def without(self, names: Sequence[str]) -> Plan:
        """The plan without these steps, and without those that need them."""
        left, gone = {}, set(names)
        for name, step in self.steps.items():
            if name in gone or gone & set(step.needs):
                gone.add(name)
            else:
                left[name] = step
        return replace(self, steps=left)


def plan(arguments: str | Sequence[str], left_out: Sequence[str] = ()) -> Plan:
    """The plan of what ``./run_all.sh`` would run with these arguments, without the steps that are left out."""
    options = parse(shlex.split(arguments) if isinstance(arguments, str) else [str(each) for each in arguments])
    steps = {step.name: step for step in experiment_of(options).steps(usable_cores())}
    return Plan(steps, options.device, options.jobs or 1).without(left_out)


def stamp_of(step: Step) -> str:
    """A step's stamp, below the root, which is Snakemake's working directory."""
    return os.path.relpath(step.stamp, root())


def run_step(plan: Plan, name: str, threads: int) -> None:
    """Run one step here and now; a RuntimeError with its last words if it fails."""
    step = replace(plan.steps[name], needs=(), after=())  # Snakemake has seen to those
    if Runner([step], plan.jobs, visible_gpus(plan.device), threads).run():
        raise RuntimeError(f"{step.title}: {step.error()}")


def run_with_snakemake(
    steps: Sequence[Step], arguments: Sequence[str], jobs: int | None, gpus: int, profile: str = ""
) -> list[str]:
    """Let Snakemake run the steps of a command line; returns the names of those that are not done then.

    Without a profile here, ``jobs`` side by side, those that compute on a GPU spread over ``gpus``; with one as that
    says. Pages come when all else has ended, in whichever way. Raises a ValueError if Snakemake is not installed or the
    profile is missing. What an earlier call has submitted and is still in a cluster's queue is waited for.
    """
    if find_spec("snakemake") is None:
        raise ValueError("--engine snakemake needs the extra [cluster]: python -m pip install -e '.[cluster]'")
    if profile and not Path(profile).is_dir():
        raise ValueError(f"--profile {profile} was given, but there is no such folder; profiles/slurm is one")
    where = on_a_cluster(jobs, profile) if profile else on_this_machine(jobs or 1, gpus)
    with sole_driver() as lock:
        wait_for_earlier_jobs()
        for step in steps:
            if step.stamp.exists() and not step.is_done():
                step.stamp.unlink()  # Snakemake looks at files and dates alone
        call_snakemake("runs", arguments, [], where, lock)
        failed = [step.name for step in steps if step.kind != "page" and not step.is_done()]
        call_snakemake("all", arguments, failed, where, lock)
    return [step.name for step in steps if not step.is_done()]


def on_this_machine(jobs: int, gpus: int) -> list[str]:
    """Snakemake's options for ``jobs`` steps side by side."""
    cores = max(usable_cores(), jobs)
    options = ["--cores", str(cores), "--set-threads", f"recording={cores}"]
    options += [f"{kind}={cores // jobs}" for kind in ("training", "evaluation")]
    if gpus:
        room = gpus * -(-jobs // gpus)
        options += ["--resources", f"gpu={room}", "--set-resources", "training:gpu=1", "evaluation:gpu=1"]
    return options


def on_a_cluster(jobs: int | None, profile: str) -> list[str]:
    """Snakemake's options for a profile, with at most ``jobs`` in the queue if that is given."""
    limit = ["--jobs", str(jobs)] if jobs else []
    return ["--profile", str(Path(profile).resolve()), "--slurm-jobname-prefix", queue_prefix(), *limit]


def call_snakemake(
    target: str, arguments: Sequence[str], left_out: Sequence[str], where: Sequence[str], lock: int
) -> None:
    """Run Snakemake to its end; Ctrl-C and SIGTERM end all that it has started."""
    config = [f"arguments={json.dumps(list(arguments))}", f"left_out={json.dumps(list(left_out))}"]
    command = [
        *(sys.executable, "-m", "snakemake", target, "--snakefile", str(snakefile()), "--directory", str(root())),
        *("--config", *config),
        *("--keep-going", "--rerun-incomplete", "--nolock", "--rerun-triggers", "mtime", "params"),
        *("--quiet", "progress", "rules", "host", "reason", *where),
    ]
    with Stop() as stop:
        process = subprocess.Popen(
            command, env=os.environ | {"MP_ROOT": str(root())}, pass_fds=(lock,), start_new_session=True
        )
        try:
            process.wait()
        except KeyboardInterrupt:
            with stop.hold():
                os.killpg(process.pid, signal.SIGINT)
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(STOP_SECONDS)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
            raise


def snakefile() -> Path:
    """The Snakefile of this checkout."""
    return Path(__file__).parents[1] / "Snakefile"


@contextlib.contextmanager
def sole_driver() -> Iterator[int]:
    """Hold the lock of Snakemake's own folder; another driver, or one whose parent was killed, is waited for."""
    path, of = root() / "data" / "steps" / ".snakemake.lock", "the graph of steps"
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
    """The numbers of this root's jobs in SLURM's queue; none where there is no SLURM."""
    if shutil.which("squeue") is None:
        return []
    states = "PENDING,RUNNING,SUSPENDED,COMPLETING,CONFIGURING"
    command = ["squeue", "--me", "--noheader", "--format=%i %j", f"--states={states}"]
    answer = subprocess.run(command, capture_output=True, text=True, timeout=60)
    lines = [line.split() for line in answer.stdout.splitlines()]
    return [number for number, name in lines if name.startswith(queue_prefix())]
