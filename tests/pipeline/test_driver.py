"""The command line: bad input ends in one clear line; the smoke scale runs to the report."""

import html
import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from mp_lib.__main__ import main
from mp_lib.pipeline import driver
from mp_lib.pipeline.driver import answered
from mp_lib.pipeline.experiment import Experiment
from mp_lib.pipeline.report import build_report
from mp_lib.presets import PAPER_METHODS
from mp_lib.study.designs import DESIGNS, REPORT
from tests import ROOT
from tests.smoke import run_pipeline


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (["huge"], "smoke, quick, pocket, standard, paper"),
        (["smoke", "--task", "metaworld_drawer"], "metaworld_drawer-open"),
        (["smoke", "--methods", "mamba"], "dp3_mamba_hydra"),
        (["smoke", "--attention", "none"], "released"),
        (["smoke", "--expert", "dapg"], "choose one of: default"),
        (["smoke", "--device", "tpu"], "cuda"),
        (["smoke", "--jobs", "0"], "at least 1"),
        (["smoke", "--tasks"], "--task,"),
        (["smoke", "--seeds", "one"], "--seeds"),
        (["smoke", "--experiment", "heights"], "horizon"),
        (["smoke", "--experiment", "horizon", "--attention", "released"], "its own conditions"),
        (["report", "--methods", "dp3"], "it makes no run"),
        (["report", "--expert", "dagp"], "choose one of: default, dapg"),
        (["smoke", "quick"], "one scale"),
    ],
)
def test_bad_argument_ends_in_one_line_that_lists_the_choices(arguments, listed, tmp_path, monkeypatch, capsys):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    try:
        status = main(["run", *arguments])
    except SystemExit as left:
        status = left.code
    (line,) = capsys.readouterr().err.splitlines()
    assert status == 2 and arguments[-1] in line and listed in line
    assert not list(tmp_path.iterdir())


def test_where_no_notebooks_are_nothing_is_made(empty_root, capsys):
    assert main(["run", "smoke"]) == 2
    assert f"there are no notebooks in {empty_root}; run this in a checkout, or set MP_ROOT" in capsys.readouterr().err
    assert not list(empty_root.iterdir())


def test_help_needs_no_package():
    done = subprocess.run(
        [sys.executable, "-I", "-S", "-c", f"import sys; sys.path.insert(0, {str(ROOT)!r}); "
         "import mp_lib.__main__ as m; m.main(['run', '--help'])"],
        capture_output=True,
        text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "--methods" in done.stdout


def test_smoke_scale_runs_to_the_report_in_an_empty_root_and_is_skipped_the_second_time(smoke_run):
    root, report = smoke_run.root, smoke_run.page
    assert report.is_relative_to(root) and {path.name for path in root.iterdir()} == {"data", "figures"}
    page = report.read_text()
    assert "http://" not in page.replace("http://www.w3.org", "")
    assert page.count("<img") >= 8
    for method in PAPER_METHODS:
        folder = root / "data" / "runs" / f"smoke-metaworld_drawer-open-{method}-seed0"
        assert json.loads((folder / "result.json").read_text())["config"]["method"] == method
        present = {path.name for path in folder.iterdir()}
        assert {
            *("config.json", "metrics.jsonl", "policy.safetensors", "policy.json"),
            *("result.json", "03_train.ipynb", "rollout.mp4"),
        } <= present
    second = run_pipeline("smoke", root=root)
    assert second.returncode == 0
    assert second.stdout.count("there already") == second.stdout.count("] ") > len(PAPER_METHODS)
    assert report.exists()


@pytest.mark.parametrize("error", [IndexError("no row"), KeyError("seed"), ValueError("damaged")])
def test_where_there_is_no_answer_there_is_a_report_all_the_same(empty_root, monkeypatch, error):
    def fail(*_, **__):
        raise error

    monkeypatch.setattr(driver, "answer", fail)
    experiment = Experiment("smoke", device="cpu")
    found = answered(experiment)
    (line,) = found.lines()
    page = build_report(experiment, [], found).read_text()
    (log,) = (empty_root / "data" / "steps").glob("*.log")
    assert type(error).__name__ in line and str(log) in line and html.escape(str(log)) in page
    assert "Traceback" in log.read_text() and "in fail" in log.read_text() and "Traceback" not in page


def test_pages_that_read_runs_come_behind_these_and_again_when_there_are_others(empty_root):
    for experiment in Experiment("smoke"), Experiment("smoke", REPORT):
        steps = experiment.steps(2)
        trainings = {step.name for step in steps if step.kind == "training"}
        pages = [step for step in steps if step.kind == "page" and not Path(step.notebook).is_absolute()]
        codes = [(step, (ROOT / "notebooks" / step.notebook).read_text()) for step in pages]
        reading = [step for step, code in codes if re.search("choose_runs|newest_film|ablations.show|specimens", code)]
        assert len(reading) >= 3
        for step in reading:
            assert {*step.after} >= trainings and step.patterns, step.name


def test_the_answer_is_of_the_runs_that_a_page_shows(empty_root):
    experiment = Experiment("smoke", tasks=("metaworld_reach",), methods=("dp3",), seeds=(3,))
    (tables,) = (step for step in experiment.steps(2) if step.notebook == "05_tables.ipynb")
    assert {name: tables.parameters[name] for name in experiment.selection()} == experiment.selection()
    assert experiment.selection()["methods"] == ["dp3"] and experiment.selection()["seeds"] == [3]
    assert Experiment("smoke", DESIGNS["horizon"]).selection() == Experiment("smoke", REPORT).selection() == {}
