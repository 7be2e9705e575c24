"""One run of the smoke scale and the report behind it, which takes minutes and serves several tests."""

import os
import subprocess
import sys
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from mp_lib.study.designs import REPORT
from tests import ROOT

PAGES = ("05_tables", "07_ablations")


def run_pipeline(*arguments, root=ROOT, cwd=None, **variables):
    return subprocess.run(
        [sys.executable, "-m", "mp_lib", "run", *arguments],
        capture_output=True,
        text=True,
        cwd=cwd,
        env=os.environ | {"MP_ROOT": str(root), "WANDB_MODE": "disabled"} | variables,
    )


def two_pages():
    """The experiment whose report of two pages stands behind the run."""
    from mp_lib.pipeline.experiment import Experiment

    return Experiment("smoke", replace(REPORT, pages=PAGES))


@dataclass
class SmokeRun:
    """A root in which the smoke scale was run, its page and figures, and a report of two pages, made behind it.

    ``said`` is what the run printed.
    """

    root: Path
    said: str
    page: Path
    figures: dict[str, bytes]
    report: Path


@pytest.fixture(scope="session")
def smoke_run(tmp_path_factory):
    """Run in an empty root, which is named from the folder above."""
    from mp_lib.pipeline.report import build_report
    from mp_lib.pipeline.runner import Runner
    from mp_lib.study.answer import answer

    root = tmp_path_factory.mktemp("smoke")
    done = run_pipeline("smoke", root=root.name, cwd=root.parent)
    assert done.returncode == 0, done.stdout + done.stderr
    figures = {path.name: path.read_bytes() for path in (root / "figures").iterdir()}
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MP_ROOT", str(root))
        experiment = two_pages()
        steps = experiment.steps(2)
        assert Runner(steps, 2).run() == [], [step.error() for step in steps]
        report = build_report(experiment, steps, answer("smoke"))
    return SmokeRun(root, done.stdout, Path(done.stdout.splitlines()[-1]), figures, report)
