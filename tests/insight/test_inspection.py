"""Whatever lies at a path is told apart, and what cannot be read is refused in one line."""

import shlex
import shutil

import numpy as np
import pytest
import torch
import zarr

from mp_lib.__main__ import main
from mp_lib.config import PolicyConfig
from mp_lib.data.recording import collect
from mp_lib.exchange.conversion import Wishes, convert
from mp_lib.insight.inspection import inspect
from mp_lib.learning.folder import PRODUCTS
from mp_lib.model.checkpoint import save_policy
from mp_lib.model.policy import build_policy
from mp_lib.presets import U_NETS
from mp_lib.system.errors import InputError
from mp_lib.system.paths import run_path
from tests.conftest import TOY
from tests.data.test_strange_stores import write
from tests.exchange.layouts import made_up, write_npz
from tests.model.test_official import make_policy, save_as_released
from tests.study.finished import write_run

METAWORLD = {"state": 9, "action": 4}


@pytest.fixture(autouse=True)
def own_root(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    return collect(TOY, 2, tmp_path_factory.mktemp("demos") / "toy.zarr", jobs=1).path


def tiny(path, **facts):
    save_policy(path, build_policy(PolicyConfig("simple_dp3", 9, 4, down_dims=(16, 24), num_points=32)), **facts)


@pytest.mark.parametrize("zarr_format", [2, 3])
def test_a_store_of_others_is_told_by_its_arrays(tmp_path, zarr_format):
    write(tmp_path / "mine.zarr", {"episodes": 2, "task": "pour water"}, zarr_format, data__action=np.ones((150, 4)))
    said = inspect("mine.zarr")  # relative to the project
    assert said["what"] == "demonstrations, by others" and said["demonstrations"] == "2" and said["frames"] == "150"
    assert "tasks of" in said["fits"] and "give the task that is meant" in said["fits"]
    assert said == inspect(tmp_path / "mine.zarr")


def test_what_reading_leaves_out_is_a_fact(tmp_path):
    clouds = np.ones((150, 32, 6), "f4")
    clouds[7, :3] = np.nan
    write(tmp_path / "a.zarr", data__point_cloud=clouds)
    assert "colours" in inspect("a.zarr")["left out"] and "3 points" in inspect("a.zarr")["left out"]


def test_sizes_that_no_task_has_are_said(tmp_path):
    write(tmp_path / "a.zarr", data__state=np.zeros((150, 7)), data__action=np.zeros((150, 8)))
    assert inspect("a.zarr")["fits"] == "no task here: none has a state of 7 numbers and actions of 8"


def test_a_recording_says_who_showed(recorded):
    said = inspect(recorded)
    assert said["what"] == "demonstrations, recorded here" and said["expert"] == TOY.expert_name


def test_an_imported_store_says_where_it_comes_from_and_what_its_numbers_are(tmp_path):
    source = write_npz(tmp_path / "lab", made_up())
    kinds = {"state_kinds": "position:3 gripper:1", "action_kinds": "step:1 gripper:1"}
    convert(source, tmp_path / "arm.zarr", Wishes(fps=20, **kinds))
    said = inspect("arm.zarr")
    assert said["what"] == "demonstrations, imported" and said["source"] == "lab" and said["frames a second"] == "20"
    assert said["kinds of a state"] == "position:3 gripper:1" and said["kinds of an action"] == "step:1 gripper:1"
    convert(source, tmp_path / "plain.zarr")
    assert not {"frames a second", "kinds of a state", "kinds of an action"} & {*inspect("plain.zarr")}


@pytest.mark.parametrize("method", U_NETS)
def test_official_weights_are_told_with_what_is_assumed(method, tmp_path):
    save_as_released(tmp_path / "latest.ckpt", make_policy(method))
    said = inspect("latest.ckpt")
    assert said["what"].startswith("weights of ") and "horizon" in said["assumed"] and "released" in said["what"]
    (tmp_path / "outputs" / "checkpoints").mkdir(parents=True)
    shutil.move(tmp_path / "latest.ckpt", tmp_path / "outputs" / "checkpoints" / "latest.ckpt")
    found = inspect("outputs")
    assert found | {"helps": ""} == said | {"helps": ""}


def test_weights_say_which_task_they_are_for(tmp_path):
    tiny(tmp_path / "a.safetensors", task="metaworld_assembly")
    tiny(tmp_path / "b.safetensors")
    assert inspect("a.safetensors")["fits"] == "metaworld_assembly"
    assert "give the task that is meant" in inspect("b.safetensors")["fits"]


def test_a_run_says_whether_it_has_ended(tmp_path):
    run = tmp_path / "data" / "runs" / "mine"
    run.mkdir(parents=True)
    (run / "config.json").write_text("{}")
    assert inspect(run)["what"] == "a run that has not ended" and "goes on with it" in inspect(run)["helps"]
    tiny(run / "policy.safetensors", task="metaworld_assembly")
    for name in PRODUCTS[2:]:
        (run / name).write_bytes(b"")
    config = write_run("metaworld_assembly", "simple_dp3", [1, 0, 1, 1])
    shutil.copy(run_path(config.name) / "result.json", run)
    assert inspect(run)["what"].startswith("a finished run: weights of simple_dp3")
    assert inspect(run)["result"].startswith("3 of 4 episodes")
    for text in ("{}", '{"final": [1]}', '{"final": {"successes": [1]}}'):
        (run / "result.json").write_text(text)
        with pytest.raises(InputError, match="result.json is no result"):
            inspect(run)


def test_a_folder_is_told_by_what_is_in_it(tmp_path, recorded):
    write(tmp_path / "some" / "b.zarr")
    tiny(tmp_path / "some" / "c" / "policy.safetensors")
    shutil.copytree(recorded, tmp_path / "some" / "a.zarr")
    (tmp_path / "some" / "notes.txt").write_text("")
    kinds = {"a.zarr": "demonstrations", "b.zarr": "demonstrations", "c": "weights"}
    said = inspect("some")
    assert said == {"what": "a folder of what can be read", **kinds, "helps": said["helps"]}
    assert main(shlex.split(said["helps"])[3:]) == 0


def test_what_cannot_be_read_is_refused_in_one_line(tmp_path, capsys):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.txt").write_text("text")
    torch.save({"pytorch-lightning_version": "2", "state_dict": {}}, tmp_path / "lightning.ckpt")
    zarr.create_group(tmp_path / "group.zarr", zarr_format=2)
    for name in ("empty", "text.txt", "lightning.ckpt", "group.zarr", "nothing"):
        assert main(["inspect", name]) == 2
        said = capsys.readouterr()
        assert said.out == "" and name in said.err and len(said.err.splitlines()) == 1, name


def test_what_helps_can_be_pasted(tmp_path):
    """The command names the whole path, quoted, and a task where the file does not say it."""
    notebook = ["papermill", "notebooks/03_train.ipynb", "out.ipynb"]
    write(tmp_path / "my demos.zarr", data__action=np.ones((150, 4)))
    given = ["-p", "task", "TASK", "-p", "demos", str(tmp_path / "my demos.zarr")]
    given += ["-p", "overrides", '{"num_points": 32}']  # fewer than the usual scale asks for
    assert shlex.split(inspect("my demos.zarr")["helps"]) == [*notebook, *given]
    write(tmp_path / "others.zarr", data__state=np.zeros((150, 7)))
    assert " -p task my_task " in inspect("others.zarr")["helps"], "under a name of one's own it can be trained"
    notebook[1] = "notebooks/04_evaluate.ipynb"
    for name, facts, given in (
        ("a.safetensors", {"task": "metaworld_assembly"}, []),
        ("b.safetensors", {}, ["-p", "task", "TASK"]),
    ):
        tiny(tmp_path / name, **facts)
        wanted = [*notebook, "-p", "checkpoint", str(tmp_path / name), *given]
        assert shlex.split(inspect(name)["helps"]) == wanted
    save_policy(tmp_path / "c.ckpt", build_policy(PolicyConfig("simple_dp3", 7, 8, down_dims=(16, 24))))
    assert inspect("c.ckpt")["helps"] == "" and "no task here" in inspect("c.ckpt")["fits"]


def test_the_verb_prints_a_line_a_fact(tmp_path, capsys):
    write(tmp_path / "a.zarr")
    assert main(["inspect", "a.zarr"]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "what: demonstrations, by others" and all(": " in line for line in lines)
