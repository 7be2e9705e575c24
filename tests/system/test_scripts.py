"""Processes that a script starts import it again: where that cannot go well, one line says so first."""

import os
import subprocess
import sys

import pytest

from tests import ROOT

BEGIN = """
import pathlib, sys
print("running")
from tests.conftest import TOY
from tests.learning.test_rollout import make_policy
from tests.learning.toy_run import CONFIG
from mp_lib.data.recording import collect
from mp_lib.learning.rollout import rollout
from mp_lib.learning.run import train
"""
CALLS = {
    "collect": "collect(TOY, 3, pathlib.Path('toy.zarr'), jobs={jobs})",
    "rollout": "rollout(make_policy(), TOY, range(4), jobs={jobs})",
    "train": "train(CONFIG, TOY, collect(TOY, 3, 'toy.zarr', jobs=1), pathlib.Path('run'), device='cpu', jobs={jobs})",
}
GUARDED = "def main():\n    {call}\n\nif __name__ == '__main__':\n    main()\n"


def run_script(text, folder, *how):
    """What a script of this text does: as a file, or as ``how`` says."""
    (folder / "script.py").write_text(text)
    variables = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}"}
    how = how or ("script.py",)
    command = [sys.executable, *(text if each == "{text}" else each for each in how)]
    given = text if how == ("-",) else None
    return subprocess.run(command, cwd=folder, env=variables, input=given, capture_output=True, text=True)


def last_line(done, folder):
    """What an error says; nothing was begun, and no other process has said anything."""
    assert done.returncode == 1 and done.stdout == "running\n"
    assert done.stderr.count("Traceback") == 1, done.stderr
    assert not (folder / "run" / "config.json").exists()
    return done.stderr.splitlines()[-1]


@pytest.mark.parametrize("name", CALLS)
def test_a_script_without_a_guard_is_told_of_it(name, tmp_path):
    said = last_line(run_script(f"{BEGIN}\n{CALLS[name].format(jobs=2)}\n", tmp_path), tmp_path)
    assert said.startswith("mp_lib.system.errors.InputError: ") and "script.py, line 11 " in said
    assert 'put the call under `if __name__ == "__main__":`, or use jobs=1' in said


@pytest.mark.parametrize(("how", "guarded"), [(("-m", "script"), False), (("-",), False), (("-",), True)])
def test_so_is_a_module_and_standard_input(how, guarded, tmp_path):
    call = CALLS["collect"].format(jobs=2)
    done = run_script(BEGIN + (GUARDED.format(call=call) if guarded else f"\n{call}\n"), tmp_path, *how)
    said = last_line(done, tmp_path)
    assert said.startswith("mp_lib.system.errors.InputError: ") and "or use jobs=1" in said
    assert ("standard input" in said) == (how == ("-",))


OWN_GUARD = "import multiprocessing\nif multiprocessing.current_process().name == 'MainProcess':\n    {call}\n"


@pytest.mark.parametrize(
    ("frame", "jobs", "how"),
    [
        (GUARDED, 2, ("script.py",)),
        (GUARDED, 2, ("-m", "script")),
        (OWN_GUARD, 2, ("script.py",)),
        ("{call}\n", 2, ("-c", "{text}")),
        ("{call}\n", 1, ("script.py",)),
        ("{call}\n", 1, ("-",)),
    ],
)
def test_what_can_be_imported_again_runs(frame, jobs, how, tmp_path):
    done = run_script(BEGIN + frame.format(call=CALLS["collect"].format(jobs=jobs)), tmp_path, *how)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert (tmp_path / "toy.zarr").exists()
