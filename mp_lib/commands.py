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

from mp_lib.config import ATTENTION, FINAL_SEEDS, METHODS
from mp_lib.interfaces import look_up
from mp_lib.pipeline import options
from mp_lib.scales import SCALES
from mp_lib.system.errors import InputError, one_line, shown
from mp_lib.system.paths import given_path

WHAT = ("chunk", "denoiser", "train_step", "training", "encoder_step", "decision")  # timing.workloads.MAKERS


def option(*names: str, **settings) -> tuple[tuple, dict]:
    """What argparse's ``add_argument`` takes."""
    return names, settings


@dataclass(frozen=True)
class Verb:
    """What one can ask for: ``does`` in one line, its options, and ``act``, which returns the exit status."""

    name: str
    does: str
    act: Callable[[argparse.Namespace], int | None]
    options: Sequence[tuple[tuple, dict]] = ()
    maintains: bool = False  # what a user has no need of

    def parser(self) -> argparse.ArgumentParser:
        """Its command line."""
        does = f"{self.does[0].upper()}{self.does[1:]}."
        parser = options.Parser(f"python -m mp_lib {self.name}", description=does, allow_abbrev=False)
        for names, settings in self.options:
            parser.add_argument(*names, **settings)
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


def run(given: argparse.Namespace) -> int:
    from mp_lib.pipeline.driver import drive

    return drive(given)


def step(given: argparse.Namespace) -> int:
    from mp_lib.pipeline.cluster import Plan

    return int(not Plan.read(given.plan).run(given.name, given.threads))


def check(given: argparse.Namespace) -> None:
    from mp_lib.sim.tasks import find_task
    from mp_lib.sim.trial import check_expert

    with contextlib.redirect_stdout(sys.stderr):  # simulators greet
        spec = find_task(given.task, given.expert).with_objects(given.objects)
        result = check_expert(spec, given.episodes, given.first_seed)
    print(json.dumps(result) if given.json else "  ".join(f"{key} {value}" for key, value in result.items()))


def benchmark(given: argparse.Namespace) -> None:
    # Spinning threads slow small operations down; read when torch is imported.
    os.environ.setdefault("OMP_WAIT_POLICY", "passive")
    for name in (name for name in (PART if given.table else TABLE) if getattr(given, name) is not None):
        instead = "not for the whole table; --only picks parts of it" if given.table else "for --table"
        raise InputError(f"--{name.replace('_', '-')} was given, which is {instead}")
    if given.table:
        from mp_lib.timing.table import fill_table, kept_path

        logging.basicConfig(format="%(message)s")
        logging.getLogger("mp_lib.timing").setLevel(logging.INFO)
        for row in fill_table(
            given.path or kept_path(), given.device, given.precision, given.only or (), given.minutes
        ):
            print(json.dumps(row), flush=True)
        return
    from mp_lib.timing.benchmark import benchmark as measure

    chosen = {name: getattr(given, name) for name in (*PART, "device", "precision") if getattr(given, name) is not None}
    look_up(ATTENTION, chosen.get("attention", "paper"), "attention")
    for row in measure(**{"methods": list(METHODS), "horizons": [16], "what": "chunk"} | chosen):
        print(json.dumps(asdict(row)) if given.json else row, flush=True)


def info(given: argparse.Namespace) -> None:
    from mp_lib.pipeline.info import facts

    print("\n".join(f"{name}: {value}" for name, value in facts().items()))


def inspect(given: argparse.Namespace) -> None:
    from mp_lib.insight.inspection import inspect

    for fact, value in inspect(given.path).items():
        if value:
            print(one_line(f"{fact}: {value}"))


def fetch(given: argparse.Namespace) -> None:
    from mp_lib.data.download import fetch_suite

    for task, path in fetch_suite(given.suite, given.base):
        print(f"{task}  {path}", flush=True)


def imitate(given: argparse.Namespace) -> None:
    from mp_lib.data.imitation import replace_student

    logging.basicConfig(level=logging.INFO, format="%(message)s")
    for row in replace_student(given.task, given.teacher, given.seed, given.episodes):
        print(f"{row['task']}  {row['expert']}  {row['success_rate']:.2f} of {row['episodes']}")


def gallery(given: argparse.Namespace) -> None:
    from mp_lib.insight.gallery import keep

    print(keep())


def keep(given: argparse.Namespace) -> None:
    from mp_lib.study.runs import keep

    count, path = keep(given.scales)
    print(json.dumps({"kept": count, "file": str(path)}))


def keep_episode(given: argparse.Namespace) -> None:
    from mp_lib.insight.episode import keep, watch
    from mp_lib.learning.folder import find_checkpoint

    checkpoint = find_checkpoint(given.checkpoint)
    if checkpoint is None:
        raise InputError(f"checkpoint {shown(given.checkpoint)} given; name a run, its folder, or a file of weights")
    watched = watch(checkpoint, given.seed, device="cpu")
    print(f"{keep(watched)}: {'success' if watched.success else 'failure'}")


def scaling(given: argparse.Namespace) -> None:
    from mp_lib.pipeline.scaling import keep

    print(keep().to_string(index=False))


def keep_spread(given: argparse.Namespace) -> None:
    from mp_lib.study import spread

    print(f"{spread.keep_spread(given.scale)} runs in {spread.spread_path()}")


def documents(given: argparse.Namespace) -> None:
    from mp_lib.insight import kept_success
    from mp_lib.study.documents import write_documents

    for path in filter(None, [*write_documents(), kept_success.keep()]):
        print(path)


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
BENCHMARK = (
    option("--methods", nargs="+", metavar="METHOD", help=f"of: {', '.join(METHODS)} (default: all)"),
    option("--horizons", nargs="+", type=int, metavar="T", help="default: 16"),
    option("--what", help=f"one of: {', '.join(WHAT)} (default: chunk)"),
    option("--attention", help=f"one of: {', '.join(ATTENTION)} (default: paper)"),
    option("--backends", nargs="+", metavar="BACKEND", help="default: all that can run here"),
    option("--threads", type=int, help="default: 1"),
    option("--batch", type=int, help="default: 1, for training steps 128"),
    option("--turns", type=int, help="how often each is measured (default: 7)"),
    option("--num-inference-steps", type=int, help="of denoising, in a chunk (default: 10)"),
    option("--device", default="cpu"),
    option("--precision", default="auto", help="float32, tf32, or auto: tf32 on a GPU that has it (default: auto)"),
    option("--json", action="store_true", help="one JSON object a line, and nothing else on stdout; --table always"),
    option("--table", action="store_true", help="make the whole table, or go on with it; takes hours on a CPU"),
    option("--path", type=given_path, help="of that table (default: data/results/benchmark.csv)"),
    option("--only", nargs="+", metavar="NAME", help="kinds of row, methods, forms that it is to have"),
    option("--minutes", type=float, help="after which no more of it is begun"),
)
TABLE = ("path", "only", "minutes")  # options that are for --table, and those that are not
PART = ("methods", "horizons", "what", "attention", "backends", "threads", "batch", "turns", "num_inference_steps")
INSPECT = (option("path", help="of a data set, weights, a run, or a folder of these"),)
FETCH = (
    option("suite", help="adroit: DAPG's policies"),
    option("--base", help="address of the folder that holds the files, if it is another one"),
)
IMITATE = (
    option("--task", required=True, help="e.g. adroit_door"),
    option("--teacher", default="dapg", help="which of the task's experts to imitate (default: dapg)"),
    option("--seed", type=int, default=0, help="of weights, noise and batches (default: 0)"),
    option("--episodes", type=int, default=50, help="to judge the student by (default: 50)"),
)
KEEP = (option("--scales", nargs="+", default=["quick", "standard", "paper"], help=f"of: {', '.join(SCALES)}"),)
KEEP_SPREAD = (option("--scale", default="quick", help=f"one of: {', '.join(SCALES)} (default: quick)"),)
KEEP_EPISODE = (
    option("checkpoint", help="a run's name, its folder, or a file of weights"),
    option("--seed", type=int, default=FINAL_SEEDS, help="of the environment"),
)
VERBS = {
    verb.name: verb
    for verb in (
        Run("run", "make demonstrations, trainings, tables and the report; ./run_all.sh calls it", run),
        Verb("check", "say how often a task's expert succeeds", check, CHECK),
        Verb("benchmark", "time denoiser calls, action chunks and training steps", benchmark, BENCHMARK),
        Verb("inspect", "say what lies at a path, whether it fits here, and what helps", inspect, INSPECT),
        Verb("info", "say what a bug report needs: versions, device, compiler, depth, paths", info),
        Verb("step", "run one step of a plan, as Snakemake's jobs do", step, STEP, True),
        Verb("fetch", "get public policies of others as experts", fetch, FETCH, True),
        Verb("imitate", "train a small network of our own to act as another expert does", imitate, IMITATE, True),
        Verb("gallery", "draw the ten tasks of the paper into data/results", gallery, maintains=True),
        Verb("keep", "keep finished runs in data/results, which is part of the project", keep, KEEP, True),
        Verb(
            "documents", "write tables and figure of README and docs anew from what is kept", documents, maintains=True
        ),
        Verb("keep-spread", "keep how runs do on the seeds that recipes are chosen on", keep_spread, KEEP_SPREAD, True),
        Verb("keep-episode", "keep one episode of a trained policy there", keep_episode, KEEP_EPISODE, True),
        Verb("scaling", "measure how long twelve runs take on 1 and 2 workers", scaling, maintains=True),
    )
}
