"""One word, one meaning: in signatures, configurations, parameter cells of notebooks and options of commands."""

import ast
from dataclasses import fields
from pathlib import Path

import pytest

import mp_lib
from mp_lib.commands.table import VERBS
from mp_lib.config import TrainConfig, scale_config
from mp_lib.interfaces import NAMED_HERE
from mp_lib.pipeline.parameters import check_parameters, parameters_of
from tests import ROOT

NUMBER, OPTIONAL = {"int"}, {"int", "int | None"}
MEANINGS = {  # name: how it is annotated wherever it stands
    "num_steps": OPTIONAL,  # of a training
    "num_epochs": OPTIONAL,
    "num_demos": OPTIONAL,  # how many demonstrations
    "demo_episodes": {"Sequence[int] | None"},  # which of a store
    "demos": {"str", "Path", "str | Path"},  # where a store lies
    "store": {"ReplayBuffer"},
    "episodes": OPTIONAL,  # rollouts
    "num_inference_steps": OPTIONAL,  # of denoising
    "noise_seed": OPTIONAL,
    "first_seed": OPTIONAL,  # of the environments
}
PACKAGE = Path(mp_lib.__file__).parent


def signatures():
    """(where, name, annotation) of every parameter in the package."""
    for path in sorted(PACKAGE.rglob("*.py")):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef):
                for each in [*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs]:
                    yield f"{path.name}:{node.name}", each.arg, each.annotation and ast.unparse(each.annotation)


def given_names():
    """(where, name) of everything that a user can set by its name."""
    yield from (("TrainConfig", field.name) for field in fields(TrainConfig))
    for path in sorted((ROOT / "notebooks").glob("*.ipynb")):
        yield from ((path.name, name) for name in parameters_of(path.read_text()))
    for verb in VERBS.values():
        yield from ((verb.name, action.dest) for action in verb.parser()._actions)


def test_a_name_means_the_same_in_every_signature():
    wrong = [
        (where, name, kind) for where, name, kind in signatures() if name in MEANINGS and kind not in MEANINGS[name]
    ]
    assert not wrong


def test_every_meaning_is_in_use_or_kept_for_it():
    used = {name for _, name, _ in signatures()} | {name for _, name in given_names()}
    assert {*MEANINGS} - used <= {"noise_seed"}


def test_no_other_name_of_the_same_thing_can_be_set():
    assert not [(where, name) for where, name in given_names() if name in NAMED_HERE]
    assert not [(where, name) for where, name, _ in signatures() if name in NAMED_HERE]


@pytest.mark.parametrize("other", [name for name, here in NAMED_HERE.items() if here in vars(TrainConfig)])
def test_a_configuration_refuses_another_name_with_the_one_it_has_here(other):
    with pytest.raises(ValueError, match=f"'{other}'; it is called '{NAMED_HERE[other]}' here"):
        scale_config("smoke", "metaworld_reach", "dp3", **{other: 3})


@pytest.mark.parametrize(
    ("notebook", "other"),
    [("01_demonstrations", "n_demos"), ("03_train", "dataset"), ("04_evaluate", "denoising_steps")],
)
def test_a_notebook_refuses_another_name_with_the_one_it_has_here(notebook, other):
    with pytest.raises(ValueError, match=f"'{other}'; it is called '{NAMED_HERE[other]}' here"):
        check_parameters(notebook, {"In": [f"# Parameters\n{other} = 3"]})


def test_a_command_refuses_another_name_with_the_one_it_has_here(capsys):
    with pytest.raises(SystemExit):
        VERBS["check"].parse(["metaworld_reach", "--num-episodes", "3"])
    assert "(it is called --episodes here)" in capsys.readouterr().err
