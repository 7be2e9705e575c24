"""What a LeRobot data set says of itself beside its frames: kinds by feature, and tasks by episode."""

import json

import pytest

from mp_lib.exchange.conversion import Wishes, convert
from mp_lib.exchange.lerobot_export import export
from tests.exchange.layouts import POINTS, made_up, write_store

KINDS = {"state": "position:3 gripper:1", "action": "step:1 gripper:1"}


@pytest.fixture
def exported(tmp_path):
    """The folder of an exported store of three episodes, whose numbers have kinds."""
    return export(write_store(tmp_path / "lab.zarr", made_up(), kinds=KINDS).path, tmp_path / "lerobot", 25)


def edit_features(folder, **change):
    """Change what info.json says of features."""
    info = json.loads((folder / "meta/info.json").read_text())
    for key, said in change.items():
        info["features"][key] |= said
    (folder / "meta/info.json").write_text(json.dumps(info))


def attributes_of(folder, **wishes):
    """What a store says that is made of a data set."""
    return convert(folder, folder.with_name("arm.zarr"), Wishes(points=POINTS, **wishes)).store.attributes


def test_kinds_go_with_the_keys_that_are_chosen(exported):
    said = attributes_of(exported, state=["action"], action="observation.state")
    assert said["kinds"] == {"state": KINDS["action"], "action": KINDS["state"]}


def test_kinds_of_keys_that_are_joined_are_joined(exported):
    said = attributes_of(exported, state=["observation.state", "action"])
    assert said["kinds"]["state"] == f"{KINDS['state']} {KINDS['action']}"


def test_numbers_of_which_some_have_no_kind_have_none(exported):
    edit_features(exported, action={"info": None})
    assert "kinds" not in attributes_of(exported, state=["observation.state", "action"])
