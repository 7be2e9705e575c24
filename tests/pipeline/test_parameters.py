"""Parameters are taken as what they mean or refused in one line, wherever the root is; what runs by hand is let be."""

import json
import shlex
import subprocess
import sys

import pytest

from mp_lib.config import UNNAMED, scale_config
from mp_lib.pipeline.experiment import Experiment
from mp_lib.pipeline.parameters import MAY_BE_EMPTY, check_parameters, parameters_of, run_config
from mp_lib.study.designs import DESIGNS
from mp_lib.system.errors import InputError
from tests import ROOT

KINDS = {path.stem: parameters_of(path.read_text()) for path in sorted((ROOT / "notebooks").glob("*.ipynb"))}
OWN = 'task = "reach"\nmethod = "dp3"  # of METHODS\n'
EVERY = [(notebook, name) for notebook, kinds in KINDS.items() for name in kinds]
HUGE = ("jobs", "num_demos", "episodes", "first_seed", "num_inference_steps", "num_windows", "block", "diffusion_step")
CHOSEN = ("task", "method", "scale", "form", "backend")  # of a registry
SINGLE = [(book, name) for book, name in EVERY if name in CHOSEN and (book, name) not in MAY_BE_EMPTY]
WRONG = {  # a value for each kind that means nothing of it
    "str": 5,
    "int": "some",
    "int or None": 0.5,
    "bool": "maybe",
    "dict": "{num_steps: 4}",
    "list[str]": [5],
    "list[int]": "a",
    "list[int] or None": ["a"],
}
TAKEN = [
    ("03_train", "overrides", '{"num_epochs": 4}', {"num_epochs": 4}),
    ("03_train", "num_steps", "400", 400),
    ("03_train", "seed", 0.0, 0),
    ("03_train", "demo_episodes", 3, [3]),
    ("05_tables", "tasks", "metaworld_drawer-open", ["metaworld_drawer-open"]),
    ("05_tables", "seeds", 0, [0]),
    ("05_tables", "figures", "false", False),
    ("07_ablations", "methods", "dp3", ["dp3"]),
    ("04_evaluate", "episodes", "None", None),
]
IMPOSSIBLE = [
    ("03_train", {"form": "eager"}, "unknown form 'eager'; choose one of: auto, torch, compiled, cuda"),
    ("03_train", {"task": "metaworld_drawer"}, "unknown task 'metaworld_drawer'; choose one of: .*_drawer-open"),
    ("03_train", {"jobs": 0}, "03_train: jobs 0 given; it must be at least 1"),
    ("03_train", {"seed": -1}, "03_train: seed -1 given; it must be at least 0"),
    ("03_train", {"overrides": {"seed": 3}}, "overrides has seed; give that as the parameter seed$"),
    ("03_train", {"overrides": {"demonstrator": "dapg"}}, "overrides has demonstrator; .* as the parameter expert$"),
    ("03_train", {"overrides": {"final_episodes": 3}}, "overrides has final_episodes; .* as the parameter episodes$"),
    ("05_tables", {"tasks": ["m"]}, "unknown task 'm'"),
    ("05_tables", {"tasks": ["q" * 5000]}, "unknown task '.{199}…; choose one of"),
    ("02_model_anatomy", {"diffusion_step": 100}, "diffusion_step 100 given; it must be at least 0 and at most 99"),
    ("06_efficiency", {"horizons": [4, 5]}, "horizons 5 given; it must be a multiple of 4"),
    ("03_train", {"form": "cuda", "device": "cpu"}, "form cuda needs a CUDA GPU"),
    ("03_train", {"form": "compiled", "device": "cpu"}, "form compiled needs a C\\+\\+ compiler"),
    ("03_train", {"task": ["metaworld_reach"]}, 'one str, such as "metaworld_reach"; .*: -r task metaworld_reach$'),
    ("03_train", {"seed": [5, 6]}, "it is one int, such as 5; by papermill: -p seed 5$"),
    *((book, {name: 10**30}, f"{name} 10* given; it must be at least") for book, name in EVERY if name in HUGE),
    *((book, {name: value}, "choose one of: ") for book, name in SINGLE for value in ("", None)),
    ("06_efficiency", {"anew": "mamba"}, "unknown method 'mamba'; choose one of: dp3_mamba, pocket_mamba, "),
]


@pytest.fixture(params=["checkout", "elsewhere", "an earlier checkout"])
def somewhere(request, monkeypatch, tmp_path):
    """The project's own root, one without notebooks, and one whose notebooks are not those of this package."""
    if request.param != "checkout":
        monkeypatch.setenv("MP_ROOT", str(tmp_path))
    if request.param == "an earlier checkout":
        (tmp_path / "notebooks").mkdir()
        for name in KINDS:
            cells = [{"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": ["metod = 1"]}]
            (tmp_path / "notebooks" / f"{name}.ipynb").write_text(json.dumps({"cells": cells}))


@pytest.fixture
def own_notebook(monkeypatch, tmp_path):
    """A checkout whose notebook has parameters without annotations."""
    monkeypatch.setattr("mp_lib.pipeline.parameters.notebooks_path", lambda: tmp_path)
    cells = [
        {"cell_type": "code", "metadata": {}, "source": ["seed = 1"]},
        {"cell_type": "code", "metadata": {"tags": ["parameters"]}, "source": OWN.splitlines(keepends=True)},
    ]
    (tmp_path / "03_train.ipynb").write_text(json.dumps({"cells": cells}))


def executed(*sources, **values):
    """The globals of a notebook that has executed these cells; IPython's list begins with an empty one."""
    return {"In": ["", *sources], "anything": 1, **values}


@pytest.mark.parametrize("name", ["metod", "seed"])
def test_an_unknown_parameter_is_refused_with_the_choices(own_notebook, name):
    with pytest.raises(InputError, match=f"unknown parameter '{name}'; choose one of: task, method$"):
        check_parameters("03_train", executed(OWN, f'# Parameters\ntask = "reach"\n{name} = "x"\n', "now"))


@pytest.mark.parametrize("notebook", KINDS)
@pytest.mark.parametrize("source", ["# Parameters\nmetod = 1\n", "# Parameters\nmetod: int = 1\n"])
def test_a_misspelt_parameter_is_refused_wherever_the_root_is(somewhere, notebook, source):
    names = executed("", source, metod=1, __annotations__={"metod": int})
    with pytest.raises(InputError, match="unknown parameter 'metod'; choose one of: ") as refused:
        check_parameters(notebook, names)
    listed = str(refused.value).partition("choose one of: ")[2].split(", ")
    nearest = [name for name in KINDS[notebook] if name == "method"]
    assert listed == nearest + [name for name in KINDS[notebook] if name not in nearest]


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
def test_known_parameters_and_cells_run_by_hand_pass(own_notebook, sources):
    assert check_parameters("03_train", executed(*sources)) is None


def test_a_notebook_of_the_readers_own_is_not_looked_at():
    names = executed(OWN, "# Parameters\nmetod = 1\n", seed="3")
    assert check_parameters("my_own", names) is None and names["seed"] == "3"


@pytest.mark.parametrize(("notebook", "name", "given", "meant"), TAKEN)
def test_what_means_one_thing_is_put_in_its_place(somewhere, notebook, name, given, meant):
    names = executed("", **{name: given})
    check_parameters(notebook, names)
    assert names[name] == meant and type(names[name]) is type(meant) and names["anything"] == 1


@pytest.mark.parametrize(("notebook", "name"), EVERY)
def test_what_means_nothing_is_refused_in_one_line_with_a_command_that_works(somewhere, notebook, name):
    kind = KINDS[notebook][name]
    names = executed("", **{name: WRONG[kind]})
    with pytest.raises(InputError) as refused:
        check_parameters(notebook, names)
    said, _, command = str(refused.value).partition("; by papermill: ")
    assert said.startswith(f"{notebook}: {name} ") and kind in said and "\n" not in said
    flag, named, value = shlex.split(command)
    assert (flag, named) == ("-r" if "str" in kind else "-p", name)
    assert check_parameters(notebook, {name: value}) is None


@pytest.mark.parametrize(("notebook", "given", "said"), IMPOSSIBLE)
def test_what_a_later_step_would_trip_over_is_refused_at_once(monkeypatch, notebook, given, said):
    monkeypatch.setattr("mp_lib.model.step_forms.has_compiler", lambda: False)
    with pytest.raises(InputError, match=said) as refused:
        check_parameters(notebook, executed("", **given))
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 600


@pytest.mark.parametrize("name", ["task", "method"])
@pytest.mark.parametrize("nothing", ["", None])
def test_weights_may_say_their_task_and_method_themselves(name, nothing):
    names = executed("", **{name: nothing})
    check_parameters("04_evaluate", names)
    assert names[name] == ""


PAPERMILL = [  # arguments, what the notebook's last line says
    ("03_train", ["-p", "seed", "0.5"], "03_train: seed 0.5 given; it is int"),
    ("03_train", ["-p", "overrides", '{"horizon": 10}'], "horizon 10 given; it must be a multiple of 4"),
    ("03_train", ["-y", "{overrides: {learning_rate: -1e-4}}"], "learning_rate -0.0001 given; it must be more than 0"),
    ("03_train", ["-p", "overrides", '{"split": "relased"}'], "unknown split 'relased'; choose one of: all, released"),
    ("03_train", ["-p", "demos", "data/mine.zarr"], "{root}/data/mine.zarr"),
    ("05_tables", ["-p", "figurs", "false"], "unknown parameter 'figurs'"),
]


@pytest.mark.slow
@pytest.mark.parametrize(("notebook", "arguments", "said"), PAPERMILL)
def test_papermill_ends_in_that_line_and_nothing_is_made(tmp_path, monkeypatch, notebook, arguments, said):
    root, there = tmp_path / "root", tmp_path / "there"
    there.mkdir()
    monkeypatch.setenv("MP_ROOT", str(root))
    command = [sys.executable, "-m", "papermill", str(ROOT / "notebooks" / f"{notebook}.ipynb"), "out.ipynb"]
    done = subprocess.run([*command, *arguments], cwd=there, capture_output=True, text=True)
    assert done.returncode and said.format(root=root) in done.stderr.strip().splitlines()[-1]
    assert not root.exists()


def test_numbers_of_a_run_are_its_own_parameters_and_none_is_the_scales():
    given = {
        "scale": "quick",
        "task": "metaworld_reach",
        "method": "dp3",
        "seed": 1,
        "attention": "paper",
        "expert": "default",
    }
    usual = run_config(given | {"num_steps": None, "num_demos": None, "episodes": None, "overrides": {}})
    assert usual == scale_config("quick", "metaworld_reach", "dp3", 1)
    own = run_config(given | {"num_steps": 40, "num_demos": 3, "episodes": 2, "overrides": {"learning_rate": 1e-4}})
    assert (own.num_steps, own.num_demos, own.final_episodes, own.learning_rate) == (40, 3, 2, 1e-4)


def test_a_task_of_ones_own_may_be_named_where_its_demonstrations_are_given():
    check_parameters("03_train", {"task": "my_arm", "demos": "my_arm.zarr"})
    for wrong in (
        {"task": "my_arm", "demos": ""},
        {"task": "metaworld_arm", "demos": "my_arm.zarr"},
        {"task": "my_arm"},
    ):
        with pytest.raises(InputError, match="unknown task '(my|metaworld)_arm'"):
            check_parameters("03_train", wrong)
    with pytest.raises(InputError, match="unknown task 'my_arm'"):
        check_parameters("01_demonstrations", {"task": "my_arm", "demos": "my_arm.zarr"})


def test_weights_to_go_on_from_are_a_parameter_and_no_override(finished):
    given = {"scale": "smoke", "task": "toy", "method": "simple_dp3", "seed": 0, "attention": "paper"}
    given |= {"expert": "default", "overrides": {}, "init": str(finished[0])}
    kept, fitted = (run_config(given | {"normalizer": way}) for way in ("", "fit"))
    assert (kept.normalizer, fitted.normalizer) == ("kept", "fit") and kept.init == fitted.init != UNNAMED
    with pytest.raises(InputError, match="overrides has init; give that as the parameter init"):
        check_parameters("03_train", {"overrides": {"init": "x"}})


@pytest.mark.parametrize("name", sorted(DESIGNS))
def test_the_step_of_a_run_means_that_run(name):
    experiment = Experiment("smoke", DESIGNS[name])
    for config in {experiment.trained(each) for each in experiment.configs()}:
        step = experiment.training(config)
        assert run_config(step.parameters) == config
        check_parameters("03_train", dict(step.parameters))
