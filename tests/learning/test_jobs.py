"""How many processes work is said wrongly in one line, before anything is recorded, trained or played."""

import json
import subprocess

import pytest

from mp_lib.data.recording import collect, demonstrations_of
from mp_lib.learning.evaluation import evaluate
from mp_lib.learning.rollout import rollout
from mp_lib.learning.run import train
from mp_lib.pipeline.parameters import check_parameters
from mp_lib.pipeline.steps import Step, papermill_command
from mp_lib.system.errors import InputError
from tests import ROOT
from tests.conftest import TOY
from tests.learning.test_rollout import make_policy
from tests.learning.toy_run import CONFIG

CALLS = {  # what works with several processes
    "collect": lambda folder, store, jobs: collect(TOY, 3, folder / "toy.zarr", jobs=jobs),
    "demonstrations_of": lambda folder, store, jobs: demonstrations_of(CONFIG, jobs, str(store.path)),
    "train": lambda folder, store, jobs: train(CONFIG, TOY, store, folder / "run", device="cpu", jobs=jobs),
    "rollout": lambda folder, store, jobs: rollout(make_policy(), TOY, range(2), jobs=jobs),
    "evaluate": lambda folder, store, jobs: evaluate(folder / "policy.safetensors", jobs=jobs),
}


@pytest.mark.parametrize("jobs", [0, -1, 1.5, "2"])
@pytest.mark.parametrize("name", CALLS)
def test_a_number_of_processes_that_cannot_be_is_refused_first(name, jobs, toy_demos, tmp_path):
    with pytest.raises(InputError, match=f"^jobs {jobs!r} given; it must be at least 1 and whole, or None") as caught:
        CALLS[name](tmp_path, toy_demos, jobs)
    assert "\n" not in str(caught.value) and not [*tmp_path.iterdir()]


NOTEBOOKS = sorted(
    path.stem for path in (ROOT / "notebooks").glob("*.ipynb") if '"jobs: ' in path.read_text(encoding="utf-8")
)


@pytest.mark.parametrize("name", NOTEBOOKS)
def test_so_it_is_in_a_notebook(name):
    with pytest.raises(InputError, match="jobs 0 given; it must be at least 1"):
        check_parameters(name, {"jobs": 0})


def test_papermill_ends_in_that_line_and_nothing_is_made(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    step = Step("it", "it", "03_train.ipynb", tmp_path / "executed.ipynb", {"jobs": 0})
    done = subprocess.run(papermill_command(step), capture_output=True, text=True)
    assert done.returncode != 0
    assert "03_train: jobs 0 given; it must be at least 1" in done.stderr.strip().splitlines()[-1]
    assert not (tmp_path / "data").exists()
    assert json.loads(step.executed.read_text())["metadata"]["kernelspec"]["name"] == "python3"


def test_notebooks_that_play_or_record_take_it():
    assert {"01_demonstrations", "03_train", "04_evaluate", "09_what_if"} <= {*NOTEBOOKS}
