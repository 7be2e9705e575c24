"""Verbs for one policy: trained, played, listed, watched, timed, looked at."""

from __future__ import annotations

import argparse
import json
import logging
import os
from dataclasses import asdict

from mp_lib.commands.verb import Verb, option
from mp_lib.config import EXPLORING_SEEDS
from mp_lib.interfaces import look_up
from mp_lib.presets import ATTENTION, METHODS, SCALES
from mp_lib.system.errors import InputError, one_line, shown
from mp_lib.system.paths import given_path

WHAT = ("chunk", "denoiser", "train_step", "training", "encoder_step", "decision")  # timing.workloads.MAKERS


def train(given: argparse.Namespace) -> None:
    from mp_lib import front

    pairs = [text.partition("=") for text in given.set]
    if wrong := [text for text, (key, equals, _) in zip(given.set, pairs, strict=True) if not (key and equals)]:
        raise InputError(f"--set {shown(wrong[0])} given; write NAME=VALUE, such as num_steps=400")
    numbers = {key: value for key, _, value in pairs}
    if taken := [name for name in ("task", "method", *ARGUMENTS) if name in numbers]:
        raise InputError(f"--set {taken[0]} given; that is an argument of its own, see python -m mp_lib train --help")
    chosen = {name: getattr(given, name) for name in ARGUMENTS}
    print(front.train(given.task, given.method, **chosen, **numbers))


def extend(given: argparse.Namespace) -> None:
    from mp_lib import front

    chosen = {name: getattr(given, name) for name in ("demos", "device", "jobs", "save_every")}
    print(front.extend(given.policy, given.num_steps, **chosen))


def evaluate(given: argparse.Namespace) -> None:
    from mp_lib.insight.trained import find
    from mp_lib.learning.evaluation import evaluate
    from mp_lib.study.sentences import of_evaluation

    checkpoint = find(given.policy, given.task, given.scale, given.seed)
    how = {name: getattr(given, name) for name in ("episodes", "first_seed", "num_inference_steps", "device", "jobs")}
    found = evaluate(checkpoint, **how, task="" if given.policy in METHODS else given.task)
    print(json.dumps(found) if given.json else of_evaluation(found, checkpoint))


def runs(given: argparse.Namespace) -> None:
    from mp_lib import front

    table = front.runs()
    if given.json:
        print(table.to_json(orient="records", date_format="iso"))
    else:
        print("nothing is trained here yet" if table.empty else table.to_string(index=False, na_rep=""))


def live(given: argparse.Namespace) -> None:
    from mp_lib import front

    front.live(given.run)


def demo(given: argparse.Namespace) -> None:
    from mp_lib.insight import demo, trained

    policy = trained.load(given.policy or str(trained.shipped()[0]))
    played, page = demo.show(policy, given.seed)
    print(f"{played!r}\n{page}")


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


def inspect(given: argparse.Namespace) -> None:
    from mp_lib.insight.inspection import inspect

    for fact, value in inspect(given.path).items():
        if value:
            print(one_line(f"{fact}: {value}"))


ARGUMENTS = ("scale", "seed", "device", "jobs", "demos", "init", "normalizer", "save_every")  # of training
TRAIN = (
    option("task", help="e.g. metaworld_drawer-open, or a name of your own for what --demos shows"),
    option("method", help=f"one of: {', '.join(METHODS)}"),
    option("--scale", default="", help=f"one of: {', '.join(SCALES)} (default: the method's own, quick or pocket)"),
    option("--seed", type=int, default=0, help="of weights, batches and noise (default: 0)"),
    option("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)"),
    option("--jobs", type=int, help="processes that simulate (default: one a core)"),
    option("--demos", default="", help="path of a store to train on (default: demonstrations are recorded)"),
    option("--init", default="", help="a run, a folder or a file of weights to go on from"),
    option("--normalizer", default="", help="with --init: kept as it is there, or fit to the data (default: kept)"),
    option("--save-every", type=int, help="steps after each of which the policy is kept, too"),
    option("--set", nargs="+", default=[], metavar="NAME=VALUE", help="numbers of the scale, e.g. num_steps=400"),
)
EXTEND = (
    option("policy", help="a finished run, or a method, whose newest run is taken"),
    option("num_steps", type=int, help="how many more steps"),
    option("--demos", default="", help="path of the store that it was trained on, if it was given one"),
    option("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)"),
    option("--jobs", type=int, help="processes that simulate (default: one a core)"),
    option("--save-every", type=int, help="steps after each of which the policy is kept, too"),
)
EVAL = (
    option("policy", help="a method, whose newest run is taken, a run, a folder, or a file of weights"),
    option("--task", default="", help="on which it was trained, where a file does not say it (default: any)"),
    option("--scale", default="", help=f"of a method, one of: {', '.join(SCALES)} (default: any)"),
    option("--seed", type=int, help="of a method's training (default: any)"),
    option("--episodes", type=int, default=10, help="default: 10"),
    option("--first-seed", type=int, default=EXPLORING_SEEDS, help=f"of the environment (default: {EXPLORING_SEEDS})"),
    option("--num-inference-steps", type=int, help="of denoising (default: as in training)"),
    option("--device", default="auto", help="auto, cpu, cuda or mps (default: auto)"),
    option("--jobs", type=int, help="processes that simulate (default: one a core)"),
    option("--json", action="store_true", help="print one line of JSON"),
)
RUNS = (option("--json", action="store_true", help="print one line of JSON"),)
LIVE = (option("run", nargs="?", default="", help="its name or folder (default: the one that was written last)"),)
DEMO = (
    option(
        "policy",
        nargs="?",
        default="",
        help="a method, a run, a folder, or a file (default: the first that comes along)",
    ),
    option("--seed", type=int, default=EXPLORING_SEEDS, help=f"of the environment (default: {EXPLORING_SEEDS})"),
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
VERBS = (
    Verb("demo", "play a trained policy: film, cloud and predicted paths on one page", demo, DEMO),
    Verb("train", "train one policy, or go on where it was stopped", train, TRAIN),
    Verb("extend", "train a finished run further", extend, EXTEND),
    Verb("eval", "play a trained policy on new environment seeds", evaluate, EVAL),
    Verb("runs", "list what is trained here", runs, RUNS),
    Verb("live", "watch a training of another process", live, LIVE),
    Verb("benchmark", "time denoiser calls, action chunks and training steps", benchmark, BENCHMARK),
    Verb("inspect", "say what lies at a path, whether it fits here, and what helps", inspect, INSPECT),
)
