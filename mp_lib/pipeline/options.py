"""The command line of ``./run_all.sh``: what was asked for, checked, and the experiment that it means."""

from __future__ import annotations

import argparse
import re
from collections.abc import Sequence
from typing import TYPE_CHECKING

from mp_lib.interfaces import NAMED_HERE, look_up
from mp_lib.presets import ATTENTION, METHODS, SCALES

if TYPE_CHECKING:
    from mp_lib.pipeline.experiment import Experiment

EXPERIMENTS = (
    "first, main, variants, mamba3, pocket, core, width, attention, horizon, demonstrations, denoising, size, start, "
    "recordings, score"
)
ENGINES = ("papermill", "snakemake")
WITHOUT_RUNS = ("report", "site")  # the designs that show what there is
NEGATIVE = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and takes -1e-1 for a number."""

    def __init__(self, *names, **settings):
        super().__init__(*names, **settings)
        self._negative_number_matcher = NEGATIVE  # argparse's own knows no exponent before Python 3.14

    def error(self, message: str):
        names = [name for action in self._actions for name in action.option_strings]
        for given in re.findall(r"--([\w-]+)", message):
            called = f"--{NAMED_HERE.get(given.replace('-', '_'))}".replace("_", "-")
            message += f" (it is called {called} here)" if called in names else ""
        options = ", ".join(names)
        self.exit(2, f"{self.prog.removeprefix('./')}: {message}; the options are: {options}\n")


def make_parser() -> Parser:
    """What ``./run_all.sh`` takes."""
    parser = Parser(
        prog="./run_all.sh",
        allow_abbrev=False,
        description="Demonstrations, training, evaluation, tables, figures and one HTML report. "
        "A step is skipped if its results are there for the same parameters and inputs.",
        epilog="Also: ./run_all.sh demo (a trained policy at work), ./run_all.sh lab [--anew] (JupyterLab), "
        "./run_all.sh test [--all] (linter and tests), ./run_all.sh setup (the environment alone). With any of them "
        "--env active installs into the environment one is in, and uses that instead of .venv.",
    )
    add, scales = parser.add_argument, f"one of: {', '.join(SCALES)} (default: quick)"
    shown = (
        "`report`, or `report paper`, shows what there is; `site` writes it, with notebooks and documents, into site/"
    )
    add("scale", nargs="*", default=["quick"], help=f"{scales}; {shown}")
    add("--experiment", default="first", help=f"one of: {EXPERIMENTS} (default: first, one small table)")
    add("--task", nargs="+", default=[], metavar="TASK", help="default: the experiment's own")
    add("--methods", nargs="+", default=[], metavar="METHOD", help=f"of: {', '.join(METHODS)} (default: its own)")
    add("--seeds", nargs="+", type=int, default=[], metavar="SEED", help="default: the experiment's")
    add("--attention", default="paper", help=f"one of: {', '.join(ATTENTION)} (default: paper)")
    add("--expert", default="default", help="which of the task's experts demonstrates, e.g. dapg for Adroit")
    add("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    add("--jobs", type=int, help="steps side by side (default: one a GPU, or by cores and memory)")
    add("--together", type=int, help="trainings of one shape that a GPU computes as one, at most (default: 9; CPU: 1)")
    add("--engine", default="papermill", help=f"one of: {', '.join(ENGINES)} (default: papermill)")
    add("--kept", action="store_true", help="take runs whose rows are kept in data/results as made")
    add(
        "--edited", action="store_true", help="run notebooks as they are, also edited ones, which the report then names"
    )
    add("--plan", action="store_true", help="say what is due, how long it takes here and on clusters, and run nothing")
    add("--profile", default="", help="a folder with Snakemake's profile, such as profiles/slurm")
    return parser


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """A command line, checked."""
    parser = make_parser()
    options = parser.parse_args(arguments)
    options.shows = options.scale[0] if options.scale[0] in WITHOUT_RUNS else ""
    scales = options.scale[bool(options.shows) :] or ["quick"]
    if len(scales) > 1:
        parser.error(f"{' '.join(options.scale)} given; give one scale, of {', '.join(SCALES)}")
    options.scale = scales[0]
    ignored = ("experiment", "task", "methods", "seeds", "attention")
    given = {name: value for name in ignored if (value := getattr(options, name)) != parser.get_default(name)}
    if options.shows and given:
        parser.error(f"{options.shows} was given with {given}; it makes no run and shows all that there is")
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d+)?", options.device):
        parser.error(f"--device {options.device} was given; choose one of: auto, cpu, mps, cuda, cuda:1")
    if options.jobs is not None and options.jobs < 1:
        parser.error(f"--jobs {options.jobs} was given; it must be at least 1")
    if options.together is not None and options.together < 1:
        parser.error(f"--together {options.together} was given; it must be at least 1")
    if options.engine not in ENGINES:
        parser.error(f"--engine {options.engine} was given; choose one of: {', '.join(ENGINES)}")
    if options.profile and options.engine != "snakemake":
        parser.error(f"--profile {options.profile} was given, which is for --engine snakemake")
    return options


def experiment_of(options: argparse.Namespace) -> Experiment:
    """The experiment that a command line asks for; a ValueError that lists the choices for what does not exist."""
    # Imported only now: --help needs no package but Python's own.
    from mp_lib.pipeline.experiment import Experiment
    from mp_lib.study.designs import DESIGNS, SHOWING

    return Experiment(
        options.scale,
        SHOWING.get(options.shows) or look_up(DESIGNS, options.experiment, "experiment"),
        tuple(dict.fromkeys(options.task)),
        tuple(dict.fromkeys(options.methods)),
        tuple(dict.fromkeys(options.seeds)),
        options.attention,
        options.device,
        options.expert,
        options.together or 1,
        options.kept,
        options.edited,
    )
