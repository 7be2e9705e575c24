"""Verbs for experiments, tasks and machines."""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import sys
from collections.abc import Sequence

from mp_lib.commands.verb import Verb, option
from mp_lib.pipeline import options
from mp_lib.system.extras import require
from mp_lib.system.paths import given_path


class Run(Verb):
    """The verb behind ``./run_all.sh``, whose command line is that script's."""

    def parser(self) -> argparse.ArgumentParser:
        return options.make_parser()

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        return options.parse(arguments)


def run(given: argparse.Namespace) -> int:
    from mp_lib.pipeline.driver import drive

    status = drive(given)
    return publish(given) if given.shows == "site" and not (status or given.plan) else status


def publish(given: argparse.Namespace) -> None:
    from mp_lib.publishing.site import write_site
    from mp_lib.system.workers import usable_cores

    experiment = options.experiment_of(given)
    print(write_site(experiment, experiment.steps(usable_cores())))


class Lab(Verb):
    """The verb behind ``./run_all.sh lab``: ``jupyter`` is what it does not know, which is for JupyterLab."""

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        given, rest = self.parser().parse_known_args(arguments)
        given.jupyter = rest
        return given


def lab(given: argparse.Namespace) -> None:
    from mp_lib.pipeline.exploring import lab_command, lab_variables, make_copies

    require("lab", "jupyterlab")
    for line in make_copies(given.anew):
        print(line, flush=True)
    os.execve(sys.executable, lab_command(given.jupyter), os.environ | lab_variables())


def check(given: argparse.Namespace) -> None:
    from mp_lib.sim.tasks import find_task
    from mp_lib.sim.trial import check_expert

    with contextlib.redirect_stdout(sys.stderr):  # simulators greet
        spec = find_task(given.task, given.expert).with_objects(given.objects)
        result = check_expert(spec, given.episodes, given.first_seed)
    print(json.dumps(result) if given.json else "  ".join(f"{key} {value}" for key, value in result.items()))


def info(given: argparse.Namespace) -> None:
    from mp_lib.pipeline.info import facts

    print("\n".join(f"{name}: {value}" for name, value in facts().items()))


def step(given: argparse.Namespace) -> int:
    from mp_lib.pipeline.cluster import Plan

    return int(not Plan.read(given.plan).run(given.name, given.threads))


LAB = (option("--anew", action="store_true", help="make all copies anew; edited ones go to explore/before-<time>"),)
STEP = (
    option("plan", type=given_path, help="the file that ./run_all.sh --engine snakemake wrote into data/steps"),
    option("name", help="of the step"),
    option("threads", type=int, help="that the scheduler allots it"),
)
CHECK = (
    option("task", help="name of the task, e.g. metaworld_drawer-open"),
    option("--expert", default="default", help="which of the task's experts, e.g. dapg for Adroit"),
    option("--objects", default="default", help='DexArt also has "unseen" ones'),
    option("--episodes", type=int, default=50, help="that it plays (default: 50)"),
    option("--first-seed", type=int, default=0, help="of the environment (default: 0)"),
    option("--json", action="store_true", help="print one line of JSON"),
)
VERBS = (
    Run("run", "make demonstrations, trainings, tables and the report; ./run_all.sh calls it", run),
    Lab("lab", "open JupyterLab on copies of the notebooks, in explore/; its own options may follow", lab, LAB),
    Verb("check", "say how often a task's expert succeeds", check, CHECK),
    Verb("info", "say what a bug report needs: versions, device, compiler, depth, paths", info),
    Verb("step", "run one step of a plan, as Snakemake's jobs do", step, STEP, True),
)
