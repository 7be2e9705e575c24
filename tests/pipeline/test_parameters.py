"""A parameter that a notebook does not have is refused; what is run by hand is not."""

import json

import pytest

from mp_lib.pipeline.parameters import check_parameters

OWN = 'task = "reach"\nmethod = "dp3"  # of METHODS\n'


@pytest.fixture(autouse=True)
def notebook(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    cells = [
        {"cell_type": "code", "metadata": {}, "source": ["seed = 1"]},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": OWN.splitlines(keepends=True)},
    ]
    (tmp_path / "notebooks").mkdir()
    (tmp_path / "notebooks" / "03_train.ipynb").write_text(json.dumps({"cells": cells}))


def executed(*sources):
    """The globals of a notebook that has executed these cells; IPython's list begins with an empty one."""
    return {"In": ["", *sources], "anything": 1}


@pytest.mark.parametrize("name", ["metod", "seed"])
def test_an_unknown_parameter_is_refused_with_the_choices(name):
    with pytest.raises(ValueError, match=f"unknown parameter '{name}'; choose one of: task, method$"):
        check_parameters("03_train", executed(OWN, f'# Parameters\ntask = "reach"\n{name} = "x"\n', "now"))


@pytest.mark.parametrize(
    "sources",
    [
        (OWN, '# Parameters\nmethod = "x"\ntask = "y"\n', "now"),
        (OWN, "# Parameters\n", "now"),
        (OWN, "now"),
        ("metod = 1", OWN, "now", "more = 2", "now"),
        (),
    ],
)
def test_known_parameters_and_cells_run_by_hand_pass(sources):
    assert check_parameters("03_train", executed(*sources)) is None


def test_a_notebook_elsewhere_is_not_checked():
    assert check_parameters("my_own", executed(OWN, "# Parameters\nmetod = 1\n")) is None
    assert check_parameters("03_train", {}) is None
