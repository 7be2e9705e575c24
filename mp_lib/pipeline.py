"""``python -m mp_lib.pipeline``: run an experiment's steps, as many side by side as there are cores, and report."""

from __future__ import annotations

import argparse
import sys
import time

from mp_lib.config import ATTENTION, METHODS, SCALES

EXPERIMENTS = "first, main, variants, width, attention, horizon, demonstrations, denoising, size"  # mp_lib/designs.py


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str):
        options = ", ".join(name for action in self._actions for name in action.option_strings)
        self.exit(2, f"run_all.sh: {message}; the options are: {options}\n")


def parse(arguments: list[str] | None) -> argparse.Namespace:
    """The command line."""
    parser = Parser(
        prog="./run_all.sh",
        allow_abbrev=False,
        description="Demonstrations, training, evaluation, tables, figures and one HTML report. "
        "A step is skipped if its results are there for the same parameters and inputs.",
        epilog="Also: ./run_all.sh lab (JupyterLab), ./run_all.sh test [--all] (linter and tests). With any of them "
        "--env active uses the environment one is in instead of .venv.",
    )
    parser.add_argument(
        "scale",
        nargs="*",
        default=["quick"],
        help=f"one of: {', '.join(SCALES)} (default: quick); `report`, or `report paper`, shows what there is",
    )
    parser.add_argument(
        "--experiment", default="first", help=f"one of: {EXPERIMENTS} (default: first, one small table)"
    )
    parser.add_argument("--task", nargs="+", default=[], metavar="TASK", help="default: the experiment's own")
    parser.add_argument(
        "--methods",
        nargs="+",
        default=[],
        metavar="METHOD",
        help=f"of: {', '.join(METHODS)} (default: the experiment's)",
    )
    parser.add_argument("--seeds", nargs="+", type=int, default=[], metavar="SEED", help="default: the experiment's")
    parser.add_argument("--attention", default="paper", help=f"one of: {', '.join(ATTENTION)} (default: paper)")
    parser.add_argument(
        "--expert", default="default", help="which of the task's experts demonstrates, e.g. dapg for Adroit"
    )
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:1 (default: auto)")
    parser.add_argument("--jobs", type=int, help="steps side by side (default: one a GPU, or by cores and memory)")
    options = parser.parse_args(arguments)
    options.report_only = options.scale[0] == "report"
    scales = options.scale[options.report_only :] or ["quick"]
    if len(scales) > 1:
        parser.error(f"{' '.join(options.scale)} given; give one scale, of {', '.join(SCALES)}")
    options.scale = scales[0]
    ignored = ("experiment", "task", "methods", "seeds", "attention")
    given = {name: value for name in ignored if (value := getattr(options, name)) != parser.get_default(name)}
    if options.report_only and given:
        parser.error(f"report was given with {given}; it runs nothing and shows all that there is")
    return options


def main(arguments: list[str] | None = None) -> int:
    """Run the command line and return its exit status; the last line printed is the report's path."""
    options = parse(arguments)
    # Imported only now: --help needs no package but Python's own.
    from mp_lib.designs import DESIGNS, REPORT
    from mp_lib.device import choose_device, visible_gpus
    from mp_lib.experiment import Experiment
    from mp_lib.interfaces import look_up
    from mp_lib.report import build_report
    from mp_lib.runner import Runner, spell_seconds
    from mp_lib.workers import default_jobs, usable_cores

    began = time.monotonic()
    try:
        choose_device(options.device)  # an error now rather than in every training
        gpus = visible_gpus(options.device)
        jobs = default_jobs(len(gpus)) if options.jobs is None else options.jobs
        if jobs < 1:
            raise ValueError(f"--jobs {jobs} was given; it must be at least 1")
        experiment = Experiment(
            options.scale,
            REPORT if options.report_only else look_up(DESIGNS, options.experiment, "experiment"),
            tuple(dict.fromkeys(options.task)),
            tuple(dict.fromkeys(options.methods)),
            tuple(dict.fromkeys(options.seeds)),
            options.attention,
            options.device,
            options.expert,
        )
        steps = experiment.steps(usable_cores())
        print(f"{experiment.name}: {len(steps)} steps, {jobs} side by side", flush=True)
        failed = Runner(steps, jobs, gpus).run()
        report = build_report(experiment, [step for step in steps if step.name not in failed])
    except (ValueError, OSError, RuntimeError) as error:
        print(f"run_all.sh: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("run_all.sh: stopped; the next call goes on from here", file=sys.stderr)
        return 130
    print(f"{len(steps) - len(failed)} of {len(steps)} steps done in {spell_seconds(time.monotonic() - began)}")
    for name in failed:
        print(f"failed: {name}", file=sys.stderr)
    print(report, flush=True)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
