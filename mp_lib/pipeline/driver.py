"""Run an experiment's steps, as many side by side as there are cores, and report."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence

from mp_lib.pipeline.cluster import check_snakemake, run_with_snakemake
from mp_lib.pipeline.options import experiment_of
from mp_lib.pipeline.report import build_report
from mp_lib.pipeline.runner import Runner, spell_seconds
from mp_lib.pipeline.steps import Step
from mp_lib.system.device import apart, choose_device, visible_gpus
from mp_lib.system.errors import InputError
from mp_lib.system.paths import notebooks_path, root
from mp_lib.system.workers import default_jobs, usable_cores


def drive(options: argparse.Namespace) -> int:
    """Run what ``options.parse`` read and return the exit status; the last line printed is the report's path."""
    began, started = time.monotonic(), time.time()
    try:
        experiment = experiment_of(options)
        steps = experiment.steps(usable_cores())
        if not notebooks_path().is_dir():
            raise InputError(f"there are no notebooks in {root()}; run this in a checkout, or set MP_ROOT to one")
        if options.engine == "snakemake":
            check_snakemake(options.profile)
        if options.profile:  # where and on what is the cluster's affair
            print(f"{experiment.name}: {len(steps)} steps, by {options.profile}", flush=True)
            failed = run_with_snakemake(experiment.name, steps, options, options.jobs, options.profile)
        else:
            device = apart(choose_device, options.device)  # an error now rather than in every training
            gpus = apart(visible_gpus, options.device)
            jobs = options.jobs or default_jobs(len(gpus) or int(device.type != "cpu"))
            print(f"{experiment.name}: {len(steps)} steps, {jobs} side by side", flush=True)
            if options.engine == "snakemake":
                failed = run_with_snakemake(experiment.name, steps, options, jobs)
            else:
                failed = Runner(steps, jobs, gpus).run()
        report = build_report(experiment, [step for step in steps if step.name not in failed])
    except BrokenPipeError:
        raise
    except (ValueError, OSError, RuntimeError) as error:
        print(f"run_all.sh: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("run_all.sh: stopped; the next call goes on from here", file=sys.stderr)
        return 130
    print(f"{len(steps) - len(failed)} of {len(steps)} steps done in {spell_seconds(time.monotonic() - began)}")
    for step in (step for step in steps if step.name in failed):
        print(f"failed: {step.name}: {reason_of(step, failed, started)}", file=sys.stderr)
    print(report, flush=True)
    return 1 if failed else 0


def reason_of(step: Step, failed: Sequence[str], since: float) -> str:
    """Why a step failed in a call that began at the time ``since``."""
    if {*step.needs} & {*failed}:
        return "a step before it failed"
    if step.log.exists() and step.log.stat().st_mtime >= since:
        return f"{step.error()} (see {step.log})"
    return "its job ended before it began (see Snakemake's words above, and .snakemake/slurm_logs)"
