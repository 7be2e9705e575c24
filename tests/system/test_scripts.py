"""Processes that a script starts import it again: where that cannot go well, one line says so first."""

import json
import os
import subprocess
import sys

import pytest

from mp_lib.system.workers import is_guarded
from tests import ROOT

BEGIN = """
import pathlib
from tests.conftest import TOY
from mp_lib.data.recording import collect
"""
# What is refused, and made, by a script that stands under no guard: a line of JSON each.
EACH = """
import json
from mp_lib.learning.evaluation import evaluate
from mp_lib.learning.rollout import rollout
from mp_lib.learning.run import train
from mp_lib.sim.tasks import TASKS
from tests.learning.test_rollout import make_policy
from tests.learning.toy_run import CONFIG
def tell(error=None):
    made = [path.name for path in pathlib.Path().rglob("*") if "script" not in path.name and path.is_file()]
    print(json.dumps([str(error), len(made), [name for name in made if name.endswith(".lock")]]))
try: collect(TOY, 3, pathlib.Path("toy.zarr"), jobs=2)
except ValueError as error: tell(error)
store = collect(TOY, 3, pathlib.Path("toy.zarr"), jobs=1)
tell()
try: train(CONFIG, TOY, store, pathlib.Path("run"), device="cpu", jobs=2)
except ValueError as error: tell(error)
try: rollout(make_policy(), TOY, range(4), jobs=2)
except ValueError as error: tell(error)
train(CONFIG, TOY, store, pathlib.Path("run"), device="cpu", jobs=1)
tell()
TASKS["toy"] = TOY
try: evaluate(pathlib.Path("run/policy.safetensors"), 4, jobs=2)
except ValueError as error: tell(error)
"""
CALL = "collect(TOY, 3, pathlib.Path('toy.zarr'), jobs=2)"
GUARDED = f"def main():\n    {CALL}\n\nif __name__ == '__main__':\n    main()\n"


def run_script(text, folder, how):
    """What a script of this text does, as ``how`` says."""
    (folder / "script.py").write_text(BEGIN + text)
    variables = os.environ | {"PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", "MP_ROOT": str(folder)}
    command = [sys.executable, "-B", *(BEGIN + text if each == "{text}" else each for each in how)]
    given = BEGIN + text if how == ("-",) else None
    return subprocess.run(command, cwd=folder, env=variables, input=given, capture_output=True, text=True)


@pytest.mark.parametrize("how", [("script.py",), ("-",)])
def test_without_a_guard_all_that_starts_processes_says_so_before_anything_is_made(how, tmp_path):
    done = run_script(EACH, tmp_path, how)
    assert done.returncode == 0, done.stderr
    first, recorded, *refused, trained, last = map(json.loads, done.stdout.splitlines())
    errors = [each[0] for each in (first, *refused, last)]
    assert len(errors) == 4 and all("or use jobs=1" in error and "\n" not in error for error in errors), errors
    where = "standard input" if how == ("-",) else "script.py, line "
    assert all(where in error for error in errors), errors
    assert first[1:] == [0, []] and last[1:] == trained[1:]
    assert all(each[1:] == recorded[1:] for each in refused)


@pytest.mark.parametrize(("text", "how"), [(GUARDED, ("-m", "script")), (CALL, ("-c", "{text}"))])
def test_what_can_be_imported_again_runs(text, how, tmp_path):
    done = run_script(text, tmp_path, how)
    assert done.returncode == 0 and "Traceback" not in done.stderr, done.stderr
    assert (tmp_path / "toy.zarr").exists()


@pytest.mark.parametrize(
    ("script", "guarded"),
    [
        ("if __name__ == '__main__':\n    it()", True),
        ("if '__main__' == __name__ and ready:\n    it()", True),
        ("import multiprocessing\nif multiprocessing.parent_process() is None:\n    it()", True),
        ("from multiprocessing import current_process\nif not current_process().daemon:\n    it()", True),
        ("try:\n    if __name__ == '__main__':\n        it()\nfinally:\n    pass", True),
        ("found = it() if __name__ == '__main__' else None", True),
        ("it()", False),
        ("it()  # __name__", False),
        ("it('__name__')", False),
        ("print(__name__, it())", False),
        ("with log(__name__):\n    it()", False),
        ("if ready:\n    it()", False),
        ("if __name__ == '__main__':\n    pass\nit()", False),
    ],
)
def test_a_guard_is_an_if_around_the_call_that_asks_who_runs_it(script, guarded):
    lines = [f"{line}\n" for line in script.split("\n")]
    (line,) = (number for number, text in enumerate(lines, 1) if " it(" in f" {text}")
    assert is_guarded(lines, line) == guarded
