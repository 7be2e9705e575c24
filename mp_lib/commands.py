"""The verbs of ``python -m mp_lib``: their options here, what they do in the rooms, imported when a verb runs."""

from __future__ import annotations

import argparse
import contextlib
import json
import logging
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mp_lib.config import ATTENTION, FINAL_SEEDS, METHODS, SCALES
from mp_lib.interfaces import look_up
from mp_lib.pipeline import options

WHAT = ("chunk", "denoiser", "train_step", "encoder_step")  # mp_lib.timing.workloads.MAKERS, which needs torch


@dataclass(frozen=True)
class Verb:
    """What one can ask for: ``does`` in one line; ``fill`` adds its options, ``act`` returns the exit status."""

    name: str
    does: str
    fill: Callable[[argparse.ArgumentParser], None]
    act: Callable[[argparse.Namespace], int]
    maintains: bool = False  # what a user has no need of

    def parser(self) -> argparse.ArgumentParser:
        """Its command line."""
        does = f"{self.does[0].upper()}{self.does[1:]}."
        parser = options.Parser(f"python -m mp_lib {self.name}", description=does, allow_abbrev=False)
        self.fill(parser)
        return parser

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        """What a command line gives; the process ends with one line where that cannot be."""
        return self.parser().parse_args(arguments)


class Run(Verb):
    """The verb behind ``./run_all.sh``, whose command line is that script's."""

    def parser(self) -> argparse.ArgumentParser:
        return options.make_parser()

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        return options.parse(arguments)


def fill_nothing(parser: argparse.ArgumentParser) -> None:
    pass


def run(given: argparse.Namespace) -> int:
    from mp_lib.pipeline.driver import drive

    return drive(given)


def fill_step(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("plan", help="the file that ./run_all.sh --engine snakemake wrote into data/steps")
    parser.add_argument("name", help="of the step")
    parser.add_argument("threads", type=int, help="that the scheduler allots it")


def step(given: argparse.Namespace) -> int:
    from mp_lib.pipeline.cluster import Plan

    return int(not Plan.read(given.plan).run(given.name, given.threads))


def fill_check(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("task", help="name of the task, e.g. metaworld_drawer-open")
    parser.add_argument("--expert", default="default", help="which of the task's experts, e.g. dapg for Adroit")
    parser.add_argument("--objects", default="default", help='DexArt also has "unseen" ones')
    parser.add_argument("--episodes", type=int, default=50, help="that it plays (default: 50)")
    parser.add_argument("--first-seed", type=int, default=0, help="of the environment (default: 0)")
    parser.add_argument("--json", action="store_true", help="print one line of JSON")


def check(given: argparse.Namespace) -> int:
    from mp_lib.sim.tasks import find_task
    from mp_lib.sim.trial import check_expert

    with contextlib.redirect_stdout(sys.stderr):  # simulators greet
        spec = find_task(given.task, given.expert).with_objects(given.objects)
        result = check_expert(spec, given.episodes, given.first_seed)
    print(json.dumps(result) if given.json else "  ".join(f"{key} {value}" for key, value in result.items()))
    return 0


def fill_benchmark(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--methods", nargs="+", default=list(METHODS), metavar="METHOD")
    parser.add_argument("--horizons", nargs="+", type=int, default=[16], metavar="T")
    parser.add_argument("--what", default="chunk", help=f"one of: {', '.join(WHAT)} (default: chunk)")
    parser.add_argument("--attention", default="paper", help=f"one of: {', '.join(ATTENTION)} (default: paper)")
    parser.add_argument("--backends", nargs="+", metavar="BACKEND", help="default: all that can run here")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--batch", type=int, help="default: 1, for training steps 128")
    parser.add_argument("--turns", type=int, default=7, help="how often each is measured (default: 7)")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--json", action="store_true", help="one JSON object a line, and nothing else on stdout")
    parser.add_argument("--table", action="store_true", help="make the whole table, or go on with it; takes hours")
    parser.add_argument("--path", type=Path, help="of that table (default: data/results/benchmark.csv)")


def benchmark(given: argparse.Namespace) -> int:
    # Spinning threads slow small operations down; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    if given.table:
        from mp_lib.timing.table import fill_table, kept_path

        for sheet in fill_table(given.path or kept_path(), given.device):
            print(f"horizon {sheet.horizon}: {sheet.what}, batch {sheet.batch}, {sheet.threads} threads", flush=True)
        return 0
    from mp_lib.timing.benchmark import benchmark

    chosen = {key: value for key, value in vars(given).items() if key not in ("json", "table", "path")}
    look_up(ATTENTION, given.attention, "attention")
    for row in benchmark(**chosen):
        print(json.dumps(asdict(row)) if given.json else row, flush=True)
    return 0


def info(given: argparse.Namespace) -> int:
    from mp_lib.pipeline.info import facts

    for name, value in facts().items():
        print(f"{name}: {value}")
    return 0


def fill_fetch(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("suite", help="adroit: DAPG's policies")
    parser.add_argument("--base", help="address of the folder that holds the files, if it is another one")


def fetch(given: argparse.Namespace) -> int:
    from mp_lib.data.download import fetch_suite

    for task, path in fetch_suite(given.suite, given.base):
        print(f"{task}  {path}", flush=True)
    return 0


def fill_imitate(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--task", required=True, help="e.g. adroit_door")
    parser.add_argument("--teacher", default="dapg", help="which of the task's experts to imitate (default: dapg)")
    parser.add_argument("--seed", type=int, default=0, help="of weights, noise and batches (default: 0)")
    parser.add_argument("--episodes", type=int, default=50, help="to judge the student by (default: 50)")


def imitate(given: argparse.Namespace) -> int:
    from mp_lib.data.imitation import replace_student

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for row in replace_student(given.task, given.teacher, given.seed, given.episodes):
        print(f"{row['task']}  {row['expert']}  {row['success_rate']:.2f} of {row['episodes']}")
    return 0


def gallery(given: argparse.Namespace) -> int:
    from mp_lib.insight.gallery import keep

    print(keep())
    return 0


def fill_keep(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--scales", nargs="+", default=["quick", "paper"], help=f"of: {', '.join(SCALES)}")


def keep(given: argparse.Namespace) -> int:
    from mp_lib.study.runs import keep

    count, path = keep(given.scales)
    print(json.dumps({"kept": count, "file": str(path)}))
    return 0


def fill_keep_episode(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("checkpoint", type=Path, help="a policy.safetensors")
    parser.add_argument("--seed", type=int, default=FINAL_SEEDS, help="of the environment")


def keep_episode(given: argparse.Namespace) -> int:
    from mp_lib.insight.episode import keep, watch

    watched = watch(given.checkpoint, given.seed, device="cpu")
    print(f"{keep(watched)}: {'success' if watched.success else 'failure'}")
    return 0


def scaling(given: argparse.Namespace) -> int:
    from mp_lib.pipeline.scaling import keep

    print(keep().to_string(index=False))
    return 0


VERBS = {
    verb.name: verb
    for verb in (
        Run("run", "make demonstrations, trainings, tables and the report; ./run_all.sh calls it", fill_nothing, run),
        Verb("step", "run one step of a plan, as Snakemake's jobs do", fill_step, step),
        Verb("check", "say how often a task's expert succeeds", fill_check, check),
        Verb("benchmark", "time denoiser calls, action chunks and training steps", fill_benchmark, benchmark),
        Verb("info", "say what a bug report needs: versions, device, compiler, depth, paths", fill_nothing, info),
        Verb("fetch", "get public policies of others as experts", fill_fetch, fetch, True),
        Verb("imitate", "train a small network of our own to act as another expert does", fill_imitate, imitate, True),
        Verb("gallery", "draw the ten tasks of the paper into data/results", fill_nothing, gallery, True),
        Verb("keep", "keep finished runs in data/results, which is part of the project", fill_keep, keep, True),
        Verb("keep-episode", "keep one episode of a trained policy there", fill_keep_episode, keep_episode, True),
        Verb("scaling", "measure how long twelve runs take on 1 and 2 workers", fill_nothing, scaling, True),
    )
}
