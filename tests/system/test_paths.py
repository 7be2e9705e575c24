"""What is made lies below one root; what comes with the project is found where that has none; a path is one thing."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.drawing.figures import origin
from mp_lib.pipeline.cluster import profile_path
from mp_lib.pipeline.experiment import Experiment
from mp_lib.pipeline.info import facts
from mp_lib.pipeline.steps import Step, papermill_command
from mp_lib.study.claims import other_files
from mp_lib.study.designs import REPORT
from mp_lib.study.rows import kept_path, load_kept
from mp_lib.study.runs import all_files, keep
from mp_lib.study.tables import load_published
from mp_lib.system import paths
from mp_lib.system.errors import InputError
from mp_lib.system.provenance import file_hash
from tests import ROOT
from tests.study.finished import write_run

SUPPLIED = ("data/results/runs.csv", "data/paper/published.csv", "profiles/slurm", "docs")


@pytest.fixture
def other_root(monkeypatch, tmp_path):
    """An empty root beside the checkout."""
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    return tmp_path


@pytest.mark.parametrize("given", [".", "made", "./made", "~/made"])
def test_a_relative_root_is_taken_once_from_where_the_process_is(monkeypatch, tmp_path, given):
    (tmp_path / "made").mkdir()
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("MP_ROOT", given)
    monkeypatch.chdir(tmp_path)
    wanted = tmp_path / Path(given).name
    assert paths.root() == wanted
    monkeypatch.chdir("/")
    assert paths.root() == wanted and os.environ["MP_ROOT"] == str(wanted)
    child = [sys.executable, "-c", "from mp_lib.system.paths import root; print(root())"]
    done = subprocess.run(child, cwd="/", env=os.environ | {"PYTHONPATH": str(ROOT)}, capture_output=True, text=True)
    assert done.stdout.strip() == str(wanted), done.stderr


@pytest.mark.parametrize("root", ["made", ".", "~", "~/made", "~root", "~root/made", "a~"])
def test_run_all_means_by_a_root_what_python_means(tmp_path, monkeypatch, root):
    monkeypatch.setenv("HOME", "/home/of/somebody")
    python = tmp_path / "bin" / "python"
    python.parent.mkdir()
    code = "from mp_lib.system.paths import root; print(root())"
    python.write_text(f'#!/bin/sh\nPYTHONPATH="{ROOT}" exec "{sys.executable}" -c "{code}"\n')
    python.chmod(0o755)
    variables = os.environ | {"MP_ROOT": root, "PATH": f"{python.parent}:{os.environ['PATH']}"}
    command = [ROOT / "run_all.sh", "--env", "active", "--help"]
    done = subprocess.run(command, cwd=tmp_path, env=variables, capture_output=True, text=True)
    assert Path(done.stdout.strip()) == tmp_path / os.path.expanduser(root), done.stderr


def test_a_home_of_nobody_is_refused_in_one_line(monkeypatch):
    for what in (lambda: paths.given_path("~nobody-here/a"), lambda: ReplayBuffer.open("~nobody-here/a"), paths.root):
        monkeypatch.setenv("MP_ROOT", "~nobody-here/b" if what is paths.root else "/made")
        with pytest.raises(
            InputError, match=r"^(path|MP_ROOT) '~nobody-here/[ab]' given; .* is './~nobody-here/[ab]'$"
        ):
            what()


def test_a_path_that_somebody_gave_begins_at_the_root(monkeypatch, other_root):
    home, inside = Path("/elsewhere"), other_root / "data" / "mine.zarr"
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.chdir("/")
    assert {paths.given_path(text) for text in ("data/mine.zarr", "./data/mine.zarr", str(inside))} == {inside}
    assert paths.given_path("~/mine.zarr") == paths.given_path(home / "mine.zarr") == home / "mine.zarr"


@pytest.mark.parametrize("name", SUPPLIED)
def test_what_comes_with_the_project_is_found_until_the_root_has_its_own(other_root, name):
    assert paths.supplied(other_root / name) == ROOT / name
    assert paths.name_of(ROOT / name) == paths.name_of(other_root / name) == name
    (other_root / name).mkdir(parents=True)
    assert paths.supplied(other_root / name) == other_root / name


def test_notebooks_are_those_of_the_package_that_they_call(monkeypatch, other_root):
    (other_root / "notebooks").mkdir()
    (other_root / "notebooks" / "03_train.ipynb").write_text("{}")
    assert paths.notebooks_path() == ROOT / "notebooks"
    command = papermill_command(Step("it", "it", "03_train.ipynb", other_root / "executed.ipynb"))
    assert str(ROOT / "notebooks" / "03_train.ipynb") in command and str(other_root / "notebooks") not in command
    pages = [step for step in Experiment("smoke", REPORT).steps(1) if not Path(step.notebook).is_absolute()]
    assert pages and all(ROOT / "notebooks" / step.notebook in step.inputs for step in pages)
    monkeypatch.setattr(paths, "checkout", lambda: None)
    assert paths.notebooks_path() == other_root / "notebooks"


def test_what_is_nowhere_and_what_lies_elsewhere_stay_as_they_are(other_root, tmp_path_factory):
    elsewhere = tmp_path_factory.mktemp("elsewhere") / "a"
    assert paths.supplied(other_root / "data" / "no") == other_root / "data" / "no"
    assert paths.supplied(elsewhere) == elsewhere


def test_another_root_shows_the_kept_results_and_the_published_numbers(other_root):
    assert len(load_kept()) and len(load_published())
    assert {ROOT / "data" / "results" / "runs.csv"} < {*all_files("quick")} and len(other_files()) == 2
    assert profile_path("profiles/slurm") == ROOT / "profiles" / "slurm"
    found = origin("it", [other_root / "data" / "results" / "runs.csv"], {})["inputs"]
    assert found == {"data/results/runs.csv": file_hash(ROOT / "data" / "results" / "runs.csv")}
    assert facts()["root (MP_ROOT)"] == str(other_root) and not list(other_root.iterdir())


def test_what_is_kept_in_another_root_lies_there_with_what_the_project_had(other_root):
    project = ROOT / "data" / "results" / "runs.csv"
    before, content = len(load_kept()), project.read_bytes()
    write_run("metaworld_reach", "dp3", [1, 0])
    assert keep(["smoke"]) == (1, kept_path()) and kept_path() == other_root / "data" / "results" / "runs.csv"
    assert len(load_kept()) == before + 1 and project.read_bytes() == content
