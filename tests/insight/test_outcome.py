"""What 03_train shows after a training is there for every task, with a simulator and without, by the same calls."""

import shutil

import numpy as np
import pytest
from IPython.display import HTML, Image, Video

from mp_lib.drawing.display import Markdown
from mp_lib.insight import outcome
from mp_lib.insight.demonstrations import names_by_kinds, names_in
from mp_lib.interfaces import TaskSpec
from mp_lib.sim.tasks import TASKS
from mp_lib.study.rows import StoredConfig
from mp_lib.system.paths import run_path


@pytest.fixture(params=["own", "finished"])
def run(request, monkeypatch, tmp_path):
    """A finished run where runs are looked for, its result, and the store that it was trained on."""
    folder, result = request.getfixturevalue(request.param)
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    store = request.getfixturevalue({"own": "own_demos", "finished": "toy_demos"}[request.param])
    return shutil.copytree(folder, run_path(folder.name)), result, store


def test_every_run_has_a_curve_and_says_what_it_has_no_picture_of(run):
    folder, result, store = run
    assert outcome.curves(folder, result).axes[0].lines
    assert isinstance(outcome.film(folder, result), Video if result.final else Markdown)
    kinds = [type(each) for each in outcome.held_out(folder, result, store)]
    assert kinds == ([Image, HTML, Image] if result.held_out else [Markdown])


def test_tables_hold_the_numbers_of_the_result(own, own_demos):
    folder, result = own
    found = result.held_out
    table = outcome.shares(found, ["position", "gripper"])
    means = 100 * np.array([found["share"][key] for key in outcome.TABLES.values()])
    np.testing.assert_allclose(table.groupby("who", sort=False)["share"].mean(), means, rtol=1e-6)
    units = outcome.in_units(found, ["position", "gripper"])
    np.testing.assert_allclose(units["off by: policy"], np.mean(found["error"], axis=0))
    config = StoredConfig(**result.config)
    spec = outcome.spec_of(config.task, own_demos)
    chunks = outcome.some_chunks(folder, config, own_demos, spec, names_in(spec)[1], [1])
    assert {*chunks["number"]} == {"gripper"} and chunks["moment"].nunique() == outcome.MOMENTS
    done = own_demos.read()["action"][:, 1]
    assert np.isin(chunks["recorded"].to_numpy(np.float32), done).all()


def test_of_many_numbers_those_are_drawn_in_which_a_policy_is_farthest_off():
    found = {"range": [1.0] * 9 + [0.0], "error": [[0.9, *np.linspace(0.1, 0.8, 8), 5.0]]}
    assert outcome.farthest(found) == [0, 4, 5, 6, 7, 8]


@pytest.mark.parametrize(
    ("kinds", "names"),
    [
        ("position:3 gripper:1", ["position x", "position y", "position z", "gripper"]),
        ("quaternion_xyzw:4", [f"quaternion xyzw {letter}" for letter in "xyzw"]),
        ("joint:2 angle:1 joint:1", ["joint A 1", "joint A 2", "angle", "joint B"]),
    ],
)
def test_numbers_are_named_by_their_kinds(kinds, names):
    assert names_by_kinds(kinds) == names


@pytest.mark.parametrize("task", TASKS)
def test_every_number_of_a_task_has_a_name_of_its_own(task):
    spec: TaskSpec = TASKS[task]
    states, actions = names_in(spec)
    assert (len(states), len(actions)) == (spec.state_dim, spec.action_dim)
    assert len({*states}) == len(states) and len({*actions}) == len(actions)
