"""Verbs for who maintains the project: what is kept with it is made by them."""

from __future__ import annotations

import argparse
import itertools
import json
import logging
from dataclasses import asdict

from mp_lib.commands.verb import Verb, option
from mp_lib.config import FINAL_SEEDS
from mp_lib.presets import SCALES
from mp_lib.system.errors import InputError, shown
from mp_lib.system.paths import given_path


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
    if given.pack and given.unpack:
        raise InputError("--pack and --unpack were given; give one of them")
    if (given.pack or given.unpack) and given.scales != KEPT_SCALES:
        raise InputError(f"--scales {' '.join(given.scales)} was given; an archive has all rows that are kept")
    if given.pack:
        from mp_lib.publishing.archive import pack

        print(json.dumps(asdict(pack(given.pack)), default=str))
    elif given.unpack:
        from mp_lib.publishing.unpacking import unpack

        print(json.dumps(asdict(unpack(given.unpack))))
    else:
        from mp_lib.study.runs import keep

        count, path = keep(given.scales)
        print(json.dumps({"kept": count, "file": str(path)}))


def keep_episode(given: argparse.Namespace) -> None:
    from mp_lib.insight.episode import keep, watch
    from mp_lib.model.weights import find_checkpoint

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


def keep_acting(given: argparse.Namespace) -> None:
    from mp_lib.insight.deadlines import keep_deadlines
    from mp_lib.insight.delays import keep_delays
    from mp_lib.insight.trained import find

    checkpoints = [find(name) for name in given.policies]
    measured = [keep_delays(each, given.episodes) for each in checkpoints] or [keep_deadlines(given.steps)]
    for row in itertools.chain.from_iterable(measured):
        print(json.dumps(asdict(row)), flush=True)


def documents(given: argparse.Namespace) -> None:
    from mp_lib.insight import kept_success
    from mp_lib.study.buttons import keep_colab
    from mp_lib.study.documents import write_documents

    for path in filter(None, [*write_documents(), *kept_success.keep_all(), keep_colab()]):
        print(path)


def keep_notebooks(given: argparse.Namespace) -> None:
    from mp_lib.pipeline.notebooks import keep

    print(keep())


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
KEPT_SCALES = [name for name in SCALES if name != "smoke"]
KEEP = (
    option("--scales", nargs="+", default=KEPT_SCALES, help=f"of: {', '.join(SCALES)}"),
    option("--pack", type=given_path, metavar="FILE", help="write one archive of all that is kept, with its policies"),
    option("--unpack", type=given_path, metavar="FILE", help="put what such an archive holds where it belongs"),
)
KEEP_SPREAD = (option("--scale", default="quick", help=f"one of: {', '.join(SCALES)} (default: quick)"),)
KEEP_ACTING = (
    option("policies", nargs="*", help="whose success is kept if chunks come late (default: none, but deadlines)"),
    option("--episodes", type=int, default=50, help="of a policy and a delay (default: 50)"),
    option("--steps", type=int, default=2000, help="in which missed deadlines are counted (default: 2000)"),
)
KEEP_EPISODE = (
    option("checkpoint", help="a run's name, its folder, or a file of weights"),
    option("--seed", type=int, default=FINAL_SEEDS, help="of the environment"),
)
VERBS = (
    Verb("fetch", "get public policies of others as experts", fetch, FETCH, True),
    Verb("imitate", "train a small network of our own to act as another expert does", imitate, IMITATE, True),
    Verb("gallery", "draw the ten tasks of the paper into data/results", gallery, maintains=True),
    Verb("keep", "keep finished runs in data/results, which is part of the project", keep, KEEP, True),
    Verb("documents", "write tables and figure of README and docs anew from what is kept", documents, maintains=True),
    Verb("keep-notebooks", "keep what their code is, by which edited ones are told", keep_notebooks, maintains=True),
    Verb("keep-spread", "keep how runs do on the seeds that recipes are chosen on", keep_spread, KEEP_SPREAD, True),
    Verb("keep-acting", "keep how an actor keeps up, or what late chunks cost", keep_acting, KEEP_ACTING, True),
    Verb("keep-episode", "keep one episode of a trained policy there", keep_episode, KEEP_EPISODE, True),
    Verb("scaling", "measure how long twelve runs take on 1 and 2 workers", scaling, maintains=True),
)
