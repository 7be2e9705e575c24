"""What a LeRobot data set says of itself beside its frames: kinds by feature, and tasks by episode."""

import json

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mp_lib.config import scale_config
from mp_lib.data.recording import demonstrations_of
from mp_lib.exchange.conversion import Wishes, convert
from mp_lib.exchange.lerobot_export import export
from mp_lib.sim.tasks import find_task
from mp_lib.system.errors import InputError
from tests.exchange.layouts import ACTION, POINTS, STATE, made_up, write_store

KINDS = {"state": "position:3 gripper:1", "action": "step:1 gripper:1"}


@pytest.fixture
def exported_lab(tmp_path):
    """The folder of an exported store of three episodes, whose numbers have kinds."""
    return export(write_store(tmp_path / "lab.zarr", made_up(), kinds=KINDS).path, tmp_path / "lerobot", 25)


def edit_features(folder, **change):
    """Change what info.json says of features."""
    info = json.loads((folder / "meta/info.json").read_text())
    for key, said in change.items():
        info["features"][key] |= said
    (folder / "meta/info.json").write_text(json.dumps(info))


def edit_tasks(folder, *tasks):
    """Change what meta/episodes says of the tasks of each episode."""
    file = folder / "meta/episodes/chunk-000/file-000.parquet"
    rows = pq.read_table(file).to_pylist()
    table = pa.Table.from_pylist([row | {"tasks": each} for row, each in zip(rows, tasks, strict=True)])
    pq.write_table(table, file)


def made_of(folder, name="arm.zarr", **wishes):
    """What is made of a data set."""
    return convert(folder, folder.with_name(name), Wishes(points=POINTS, **wishes))


def attributes_of(folder, **wishes):
    """What a store says that is made of a data set."""
    return made_of(folder, **wishes).store.attributes


def test_kinds_go_with_the_keys_that_are_chosen(exported_lab):
    said = attributes_of(exported_lab, state=["action"], action="observation.state")
    assert said["kinds"] == {"state": KINDS["action"], "action": KINDS["state"]}


def test_kinds_of_keys_that_are_joined_are_joined(exported_lab):
    said = attributes_of(exported_lab, state=["observation.state", "action"])
    assert said["kinds"]["state"] == f"{KINDS['state']} {KINDS['action']}"


def test_numbers_of_which_some_have_no_kind_have_none(exported_lab):
    edit_features(exported_lab, action={"info": None})
    assert "kinds" not in attributes_of(exported_lab, state=["observation.state", "action"])


@pytest.mark.parametrize("said", ["x", ["x"], 3, True])
def test_facts_of_a_feature_that_have_no_names_are_one_line(said, exported_lab):
    edit_features(exported_lab, action={"info": said})
    with pytest.raises(InputError, match="info.json: features are no list of kinds and shapes"):
        attributes_of(exported_lab)


@pytest.mark.parametrize("tasks", [3, "pick", [3], [["pick"]], {"pick": 1}])
def test_tasks_that_are_no_words_are_one_line(tasks, exported_lab):
    edit_tasks(exported_lab, tasks, tasks, tasks)
    with pytest.raises(InputError, match="episode 0: tasks is .*, no list of words"):
        attributes_of(exported_lab)


@pytest.mark.parametrize("kinds", [None, "position:3 gripper:1", [3], {"state": None}, {}])
def test_a_store_without_kinds_of_ours_is_exported_without(kinds, tmp_path):
    store = write_store(tmp_path / "lab.zarr", made_up(), kinds=kinds)
    folder = export(store.path, tmp_path / "lerobot", 25)
    assert not any("info" in each for each in json.loads((folder / "meta/info.json").read_text())["features"].values())


def test_kinds_that_do_not_fit_are_not_exported(tmp_path):
    store = write_store(tmp_path / "lab.zarr", made_up(), kinds={"state": "position:3"})
    with pytest.raises(InputError, match="lab.zarr, state: kinds .* name 3 numbers, but there are 4"):
        export(store.path, tmp_path / "lerobot", 25)
    assert not (tmp_path / "lerobot").exists()


def test_the_name_that_the_files_say_is_the_tasks(exported_lab):
    edit_tasks(exported_lab, ["pick"], ["pick"], ["pick"])
    made = made_of(exported_lab)
    assert made.store.attributes["task"] == "pick" and not [note for note in made.notes if "task" in note]
    assert made_of(exported_lab, "other.zarr", task="mine").store.attributes["task"] == "mine"


@pytest.mark.parametrize("name", ["metaworld_nope", "metaworld_reach"])
def test_a_name_like_ours_under_which_nothing_could_be_trained_does_not_count(name, exported_lab):
    edit_tasks(exported_lab, [name], [name], [name])
    made = made_of(exported_lab)
    assert made.store.attributes["task"] == "arm"
    assert [note for note in made.notes if note.startswith(f"the files call the task {name}, which is left out: ")]
    found = demonstrations_of(scale_config("smoke", "arm", "dp3"), demos=str(made.store.path))
    assert found.num_episodes == 3


@pytest.mark.parametrize("name", ["metaworld_nope", "metaworld_reach"])
@pytest.mark.parametrize("place", ["task", "path"])
def test_a_name_like_ours_that_is_given_is_one_line(name, place, exported_lab):
    edit_tasks(exported_lab, None, None, None)
    given = {"task": name} if place == "task" else {"name": f"{name}.zarr"}
    with pytest.raises(InputError, match=f"{name}.*; or give a name of your own as --task") as error:
        made_of(exported_lab, **given)
    assert "\n" not in str(error.value) and not [*exported_lab.parent.glob("*metaworld*")]


@pytest.mark.parametrize("state", [9, 39])
def test_a_task_of_ours_with_its_sizes_keeps_its_name(state, tmp_path):
    spec = find_task("metaworld_reach")
    known = state in (spec.state_dim, *spec.other_states)
    episodes = [
        each | {STATE: np.ones((len(each[STATE]), state)), ACTION: np.ones((len(each[ACTION]), 4))}
        for each in made_up()
    ]
    store = write_store(tmp_path / "lab.zarr", episodes, task="metaworld_reach")
    said = attributes_of(export(store.path, tmp_path / "lerobot", 25))
    assert said["task"] == ("metaworld_reach" if known else "arm")


def test_episodes_of_several_tasks_are_said(exported_lab):
    edit_tasks(exported_lab, ["pick"], ["place", "pick"], ["push"])
    made = made_of(exported_lab)
    assert made.store.attributes["task"] == "pick"
    assert "episodes of 3 tasks are together under the name pick: pick, place, push" in made.notes


def test_tasks_of_episodes_that_are_left_out_do_not_count(exported_lab):
    edit_tasks(exported_lab, ["pick"], ["push"], ["push"])
    made = made_of(exported_lab, without=["0"])
    assert made.store.attributes["task"] == "push" and not [note for note in made.notes if "task" in note]
