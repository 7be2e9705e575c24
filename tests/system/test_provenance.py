"""Where a result comes from: what counts as a change of the package, wherever in it that is; roots and paths."""

import shutil
import subprocess
import sys

import pytest

import mp_lib
from mp_lib.pipeline.cluster import snakefile
from mp_lib.pipeline.experiment import Experiment
from mp_lib.study.designs import REPORT
from mp_lib.system import paths, provenance
from tests import ROOT

SAY = (
    "from mp_lib.system import paths, provenance as p; print(p.commit()); print(paths.checkout()); print(paths.root())"
)


@pytest.fixture
def copy(tmp_path):
    """A checkout of its own, with one commit."""
    folder = tmp_path / "checkout"
    shutil.copytree(ROOT / "mp_lib", folder / "mp_lib", ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", folder)
    (folder / "notebooks").mkdir()
    for command in ("init -q", "add -A", "-c user.name=a -c user.email=a@b commit -qm x"):
        subprocess.run(["git", *command.split()], cwd=folder, check=True)
    return folder


def said(folder, cwd, monkeypatch):
    """Commit, checkout and root as the package in a folder sees them."""
    monkeypatch.setenv("PYTHONPATH", str(folder))
    monkeypatch.delenv("MP_ROOT", raising=False)
    run = subprocess.run([sys.executable, "-B", "-c", SAY], cwd=cwd, capture_output=True, text=True, check=True)
    return run.stdout.split()


@pytest.mark.parametrize("file", ["config.py", "model/scan.py", "model/native.c", "study/claims.py", "sim/new.py"])
def test_a_change_in_any_room_shows(copy, tmp_path, monkeypatch, file):
    commit, checkout, root = said(copy, tmp_path, monkeypatch)
    assert len(commit) == 12 and checkout == root == str(copy)
    with (copy / "mp_lib" / file).open("a") as changed:
        changed.write("\n")
    assert said(copy, tmp_path, monkeypatch)[0] == f"{commit}-changed"


def test_an_installed_package_has_no_commit_and_the_current_folder_as_root(copy, tmp_path, monkeypatch):
    """Also where the folder that it is installed in lies within another checkout."""
    site = copy / "env" / "site-packages"
    shutil.move(copy / "mp_lib", site / "mp_lib")
    assert said(site, tmp_path, monkeypatch) == ["unknown", "None", str(tmp_path)]


def test_paths_of_the_package_are_those_of_this_checkout(monkeypatch):
    monkeypatch.delenv("MP_ROOT", raising=False)
    assert paths.package() == ROOT / "mp_lib" == paths.Path(mp_lib.__file__).parent
    assert paths.root() == paths.checkout() == ROOT
    assert snakefile() == ROOT / "Snakefile" and snakefile().is_file()


def test_a_page_depends_on_all_of_the_package(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    monkeypatch.setattr("mp_lib.pipeline.pages.package", lambda: tmp_path / "mp_lib")
    shutil.copytree(ROOT / "mp_lib", tmp_path / "mp_lib", ignore=shutil.ignore_patterns("__pycache__"))
    keys = {step.name: step.key() for step in Experiment("smoke", REPORT).steps(1)}
    with (tmp_path / "mp_lib" / "system" / "files.py").open("a") as changed:
        changed.write("\n")
    after = {step.name: step.key() for step in Experiment("smoke", REPORT).steps(1)}
    assert keys and all(after[name] != key for name, key in keys.items())


def test_versions_name_python_and_what_is_installed():
    assert {"python", "torch", "numpy", "zarr"} <= {*provenance.versions()}
