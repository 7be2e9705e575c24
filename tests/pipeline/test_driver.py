"""The command line: bad input ends in one clear line; the smoke scale runs to the report."""

import json
import subprocess
import sys

import pytest

from mp_lib.__main__ import main
from mp_lib.config import METHODS
from tests import ROOT
from tests.pipeline.conftest import run_pipeline


@pytest.mark.parametrize(
    ("arguments", "listed"),
    [
        (["huge"], "smoke, quick, standard, paper"),
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
        (["report", "--methods", "dp3"], "it runs nothing"),
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
    for method in METHODS:
        folder = root / "data" / "runs" / f"smoke-metaworld_drawer-open-{method}-seed0"
        assert json.loads((folder / "result.json").read_text())["config"]["method"] == method
        present = {path.name for path in folder.iterdir()}
        assert {
            *("config.json", "metrics.jsonl", "policy.safetensors", "policy.json"),
            *("result.json", "03_train.ipynb", "rollout.mp4"),
        } <= present
    second = run_pipeline("smoke", root=root)
    assert second.returncode == 0
    assert second.stdout.count("there already") == second.stdout.count("] ") > len(METHODS)
    assert report.exists()
