"""Run an experiment's steps, as many side by side as there are cores, and report."""

from __future__ import annotations

import argparse
import math
import sys
import time
import traceback
from collections.abc import Sequence

import torch

from mp_lib.pipeline.cluster import check_snakemake, run_with_snakemake
from mp_lib.pipeline.experiment import Experiment
from mp_lib.pipeline.groups import USUAL
from mp_lib.pipeline.notebooks import notebooks_there, refusal
from mp_lib.pipeline.options import experiment_of
from mp_lib.pipeline.plan import Outlook
from mp_lib.pipeline.report import build_report
from mp_lib.pipeline.runner import Runner, spell_seconds
from mp_lib.pipeline.schedule import TimeLeft
from mp_lib.pipeline.steps import Step
from mp_lib.study.answer import Answer, answer
from mp_lib.system.device import apart, choose_device, device_name, visible_gpus
from mp_lib.system.errors import InputError, one_line
from mp_lib.system.files import write_atomically
from mp_lib.system.paths import step_path
from mp_lib.system.workers import default_jobs, usable_cores


def drive(options: argparse.Namespace) -> int:
    """Run what ``options.parse`` read and return the exit status; the answer is printed last, and the report's path."""
    began, started = time.monotonic(), time.time()
    try:
        options.together = together(options)
        experiment = experiment_of(options)
        steps = experiment.steps(usable_cores())
        notebooks_there()
        edited = told_of_edits(steps, options.edited)
        if options.plan:
            print("\n".join(filter(None, [plan(experiment, steps, options), edited])))
            return 0
        if edited and not options.edited:
            raise InputError(edited)
        if edited:
            print(edited, flush=True)
        if options.engine == "snakemake":
            check_snakemake(options.profile)
        if options.profile:  # where and on what is the cluster's affair
            print(f"{experiment.name}: {len(steps)} steps, by {options.profile}", flush=True)
            failed = run_with_snakemake(experiment.name, steps, options, options.jobs, options.profile)
        else:
            device, name, gpus = apart(survey, options.device)  # an error now rather than in every training
            jobs = jobs_on(device, gpus, options)
            threads = share_of(jobs) if device.type == "cpu" else math.inf
            clock = TimeLeft.of(steps, experiment.runs(), jobs, name, threads)
            left = clock.words(steps, ())
            print(
                ", ".join([f"{experiment.name}: {len(steps)} steps, {jobs} side by side", *filter(None, [left])]),
                flush=True,
            )
            if options.engine == "snakemake":
                failed = run_with_snakemake(experiment.name, steps, options, jobs)
            else:
                failed = Runner(steps, jobs, gpus, clock=clock).run()
        found = answered(experiment)
        report = build_report(experiment, [step for step in steps if step.name not in failed], found)
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
    print("\n".join([*found.lines(), str(report)]), flush=True)
    return 1 if failed or not found.verdicts else 0


def answered(experiment: Experiment) -> Answer:
    """The answer; where it cannot be had one line in its place, and no verdicts.

    Hours of trainings end in it: whatever is wrong, the traceback goes to a log, and a report shows what was made.
    """
    try:
        return answer(experiment.scale, experiment.selection(), expert=experiment.expert, kept=experiment.kept)
    except Exception as error:
        log = step_path(f"{experiment.name}-answer.log")
        write_atomically(log, traceback.format_exc().encode())
        return Answer(f"There is no answer: {type(error).__name__}: {one_line(error)} (see {log})", "", {}, [])


def told_of_edits(steps: Sequence[Step], allowed: bool) -> str:
    """Which notebooks of these steps were edited, and what helps unless that is ``allowed``; empty if none were."""
    edits = list(filter(None, {step.notebook: step.edit for step in steps}.values()))
    return f"as edited: {'; '.join(edit.told() for edit in edits)}" if edits and allowed else refusal(edits)


def together(options: argparse.Namespace) -> int:
    """How many trainings of one shape are one step: several on a GPU, here or on a cluster that was asked for one."""
    if options.together:
        return options.together
    kind = options.device.partition(":")[0]
    if kind == "auto" and not options.profile:
        kind = apart(survey, "auto")[0].type
    return USUAL if kind == "cuda" else 1


def survey(name: str) -> tuple[torch.device, str, list[str]]:
    """The device of that name, what people call it, and the GPUs that steps are spread over."""
    device = choose_device(name)
    return device, device_name(device), visible_gpus(name)


def jobs_on(device: torch.device, gpus: Sequence[str], options: argparse.Namespace) -> int:
    """How many steps a call runs side by side on this machine."""
    return options.jobs or default_jobs(len(gpus) or int(device.type != "cpu"))


def share_of(jobs: int) -> int:
    """The cores of a step, as ``Runner`` has it."""
    return max(1, usable_cores() // jobs)


def plan(experiment: Experiment, steps: Sequence[Step], options: argparse.Namespace) -> str:
    """What the call would cost, in words; nothing is run, and nothing written."""
    try:
        device, _, gpus = survey(options.device)
    except InputError:
        if not options.profile:
            raise
        device, gpus = None, []  # where a cluster is called from there may be none
    here = jobs_on(device, gpus, options) if device else default_jobs(0)
    jobs = options.jobs if options.profile else here
    return Outlook.of(experiment.name, steps, experiment.runs(), device, jobs, share_of(here)).text()


def reason_of(step: Step, failed: Sequence[str], since: float) -> str:
    """Why a step failed in a call that began at the time ``since``."""
    if {*step.needs} & {*failed}:
        return "a step before it failed"
    if step.log.exists() and step.log.stat().st_mtime >= since:
        return f"{step.error()} (see {step.log})"
    return "its job ended before it began (see Snakemake's words above, and .snakemake/slurm_logs)"
