"""Files of strangers: what tries to run something, or to leave its folder, is refused, and nothing of it happens."""

import json
import pickle
import shutil
import subprocess
import zipfile
from dataclasses import asdict
from pathlib import Path

import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
import zarr
from numcodecs import Pickle

from mp_lib.config import PolicyConfig
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.drawing.display import Markdown, show_table
from mp_lib.learning.evaluation import stored_evaluation
from mp_lib.model.checkpoint import from_official, load_policy, save_tensors
from mp_lib.model.policy import build_policy
from mp_lib.pipeline.steps import Step, papermill_command
from mp_lib.system.errors import InputError
from mp_lib.system.files import read_arrays
from mp_lib.system.unpickle_policy import read_pickled_policy
from tests.data.test_strange_stores import write
from tests.model.test_official import make_policy, save_as_released


class Trap:
    """Makes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


@pytest.fixture
def trap(tmp_path):
    """A trap, and the proof that it works where everything may be unpickled."""
    path = tmp_path / "sprung"
    pickle.loads(pickle.dumps(Trap(path)))
    assert path.exists()
    path.unlink()
    yield Trap(path)
    assert not path.exists()


def spoiled_store(folder, toy_demos, array, change):
    """A copy of a store with other metadata of one array."""
    shutil.copytree(toy_demos.path, folder)
    metadata = json.loads((folder / array / ".zarray").read_text())
    (folder / array / ".zarray").write_text(json.dumps(metadata | change))
    return folder


@pytest.mark.parametrize("array", ["data/point_cloud", "data/state", "data/action", "meta/episode_ends"])
@pytest.mark.parametrize("place", ["compressor", "filters"])
def test_a_data_set_that_is_stored_as_a_pickle_is_refused(tmp_path, toy_demos, trap, array, place):
    codec = Pickle().get_config()
    change = {"compressor": codec, "filters": None} if place == "compressor" else {"filters": [codec]}
    store = spoiled_store(tmp_path / "toy.zarr", toy_demos, array, change)
    for chunk in (store / array).glob("[0-9]*"):
        chunk.write_bytes(pickle.dumps(trap))
    # zarr does not take pickles for numbers; should it, the layout's own list of codecs does not.
    with pytest.raises(
        ValueError, match="is stored through pickle; nothing was read|metadata of an array cannot be read"
    ):
        ReplayBuffer.open(store)


def test_a_data_set_of_objects_is_refused(tmp_path, toy_demos, trap):
    change = {"dtype": "|O", "filters": [Pickle().get_config()], "fill_value": None}
    store = spoiled_store(tmp_path / "toy.zarr", toy_demos, "meta/episode_ends", change)
    (store / "meta" / "episode_ends" / "0").write_bytes(pickle.dumps(trap))
    with pytest.raises(ValueError, match="toy.zarr"):
        ReplayBuffer.open(store)


@pytest.mark.parametrize("zipped", [False, True])
@pytest.mark.parametrize(
    "change",
    [
        {"codecs": [{"name": "numcodecs.pickle", "configuration": {}}]},
        {"codecs": [{"name": "bytes"}, {"name": "numcodecs.pickle", "configuration": {}}]},
        {"codecs": [{"name": "bytes"}, {"name": "numcodecs.packbits", "configuration": {}}]},
        {"data_type": "object", "codecs": [{"name": "numcodecs.pickle"}]},
        {"data_type": "variable_length_bytes", "fill_value": "", "codecs": [{"name": "vlen-bytes"}]},
    ],
)
def test_a_data_set_of_format_3_runs_nothing(tmp_path, trap, change, zipped):
    store = tmp_path / "a.zarr"
    write(store, zarr_format=3)
    metadata = json.loads((store / "data" / "state" / "zarr.json").read_text())
    (store / "data" / "state" / "zarr.json").write_text(json.dumps(metadata | change))
    for chunk in (store / "data" / "state" / "c").rglob("[0-9]*/*"):
        chunk.write_bytes(pickle.dumps(trap))
    if zipped:
        store = Path(shutil.make_archive(str(tmp_path / "a"), "zip", store))
    with pytest.raises(InputError, match=f"{store.name}.*(is stored through|cannot be read|give numbers)"):
        ReplayBuffer.open(store)


def test_a_zip_leaves_its_folder_and_its_size_to_nobody(tmp_path):
    """Nothing is unpacked to the disk, and what would take gigabytes is not read."""
    write(tmp_path / "a.zarr")
    path = Path(shutil.make_archive(str(tmp_path / "in" / "a"), "zip", tmp_path / "a.zarr"))
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr("../../outside", b"text")
    before = sorted(tmp_path.rglob("*"))
    assert ReplayBuffer.open(path).num_episodes == 2
    assert sorted(tmp_path.rglob("*")) == before
    with zipfile.ZipFile(path, "a") as archive:
        archive.infolist()[-1].file_size = 2**31 - 1  # so it says
        archive._didModify = True
    with pytest.raises(InputError, match="would take more than 1 GiB; nothing was read"):
        ReplayBuffer.open(path)


@pytest.mark.parametrize("place", ["cfg", "state_dicts", "best"])
def test_what_lies_beside_weights_is_not_run(tmp_path, trap, place):
    save_as_released(tmp_path / "x.ckpt", make_policy("simple_dp3"), **{place: {"policy": trap}})
    with pytest.raises(InputError, match=r"x.ckpt.*nothing of it was run"):
        load_policy(tmp_path / "x.ckpt")
    (tmp_path / "arrays.ckpt").write_bytes((tmp_path / "x.ckpt").read_bytes())
    torch.save({"weights": np.array([trap], object)}, tmp_path / "arrays.ckpt")
    with pytest.raises(InputError, match=r"arrays.ckpt"):
        load_policy(tmp_path / "arrays.ckpt")


def test_a_configuration_that_goes_round_ends(tmp_path):
    config = {"policy": {"horizon": "${a}"}, "a": "${policy.horizon}"}
    config["policy"]["noise_scheduler"] = config
    save_as_released(tmp_path / "x.ckpt", make_policy("simple_dp3"), cfg=config)
    with pytest.raises(InputError, match="configuration says horizon"):
        load_policy(tmp_path / "x.ckpt")


def test_metadata_of_a_group_do_not_stand_for_those_of_its_arrays(tmp_path, toy_demos, trap):
    store = tmp_path / "toy.zarr"
    shutil.copytree(toy_demos.path, store)
    zarr.consolidate_metadata(store, zarr_format=2)
    text = (store / ".zmetadata").read_text()
    assert '"zstd"' in text
    (store / ".zmetadata").write_text(text.replace('"zstd"', '"pickle"'))
    assert ReplayBuffer.open(store).content_hash() == toy_demos.content_hash()


def test_checkpoints_that_are_pickles_are_refused(tmp_path, trap):
    torch.save({"weights": trap}, tmp_path / "policy.ckpt")
    with pytest.raises(ValueError, match="nothing of it was run"):
        from_official(tmp_path / "policy.ckpt", "dp3_mamba")
    (tmp_path / "policy.safetensors").write_bytes(pickle.dumps(trap))
    with pytest.raises(ValueError, match="cannot be read as a checkpoint"):
        load_policy(tmp_path / "policy.safetensors")


@pytest.mark.parametrize("change", [{"down_dims": (2**20,) * 3}, {"state_dim": 10**9}, {"horizon": "sixteen"}])
def test_a_checkpoint_cannot_ask_for_memory_or_be_nonsense(tmp_path, change):
    config = PolicyConfig("simple_dp3", 3, 2, num_points=8, down_dims=(16, 16, 16))
    save_tensors(tmp_path / "p.safetensors", build_policy(config).state_dict(), {"policy": asdict(config) | change})
    with pytest.raises(ValueError, match="p.safetensors (does not fit simple_dp3|was saved by another version)"):
        load_policy(tmp_path / "p.safetensors")


def test_experts_that_are_pickles_are_refused(tmp_path, trap):
    np.savez(tmp_path / "expert.npz", w0=np.array([trap], object))
    with pytest.raises(ValueError, match="expert.npz is damaged .*allow_pickle=False"):
        read_arrays(tmp_path / "expert.npz")
    with pytest.raises(ValueError, match="nothing of it was run"):
        read_pickled_policy(pickle.dumps(trap), "door.pickle")


def test_an_evaluation_does_not_say_where_its_film_is(tmp_path):
    (tmp_path / "secret.mp4").touch()
    (tmp_path / "evaluations").mkdir()
    path = tmp_path / "evaluations" / "1.json"
    path.write_text(json.dumps({"film": "../secret.mp4"}))
    assert stored_evaluation(path, {}) is None
    path.with_suffix(".mp4").touch()
    assert stored_evaluation(path, {})["film"] == "1.mp4"


TEXTS = [
    '"; import os; os._exit(7); "',
    "'\n1/0\n'",
    "$(exit 7)`exit 7`; exit 7",
    "!exit 7",
    "{{1/0}} %%bash \\",
    "null",
    "1e3",
]


def test_parameters_of_a_notebook_are_literals(tmp_path):
    given = {f"text{place}": text for place, text in enumerate(TEXTS)}
    notebook = nbformat.v4.new_notebook(
        cells=[
            nbformat.v4.new_code_cell(f"{' = '.join(given)} = ''", metadata={"tags": ["parameters"]}),
            nbformat.v4.new_code_cell(f"import json; json.dump([{', '.join(given)}], open('texts.json', 'w'))"),
        ],
        metadata={"kernelspec": {"name": "python3", "display_name": "python3", "language": "python"}},
    )
    nbformat.write(notebook, tmp_path / "it.ipynb")
    step = Step("it", "it", str(tmp_path / "it.ipynb"), tmp_path / "done.ipynb", parameters=given)
    done = subprocess.run(papermill_command(step), capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "texts.json").read_text()) == TEXTS


def test_data_are_text_in_sentences_and_tables():
    hostile = "<script>alert(1)</script>"
    assert "<script" not in Markdown(f"Demonstrations come from: {hostile}.").data
    assert "<script" not in show_table(pd.DataFrame({"expert": [hostile]})).data


def test_no_shell_is_built_from_text():
    """No module of the package starts a shell."""
    for path in (Path(__file__).parents[1] / "mp_lib").rglob("*.py"):
        text = path.read_text()
        assert not any(word in text for word in ("shell=True", "os.system", "os.popen", "getoutput")), path


def test_a_codec_that_is_not_known_to_be_harmless_is_refused(tmp_path, toy_demos):
    change = {"filters": [{"id": "packbits"}]}
    store = spoiled_store(tmp_path / "toy.zarr", toy_demos, "data/state", change)
    with pytest.raises(
        ValueError, match="state is stored through packbits; nothing was read; give a store that uses zstd"
    ):
        ReplayBuffer.open(store)
