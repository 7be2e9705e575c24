"""A checkpoint is what was saved, to the bit, or it is refused; and nothing in it is ever run."""

import ast
import json
import os
import random
import signal
import subprocess
import sys
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

import mp_lib
from mp_lib.config import PolicyConfig
from mp_lib.model.checkpoint import load_policy, load_tensors, save_policy, save_tensors
from mp_lib.model.policy import build_policy
from mp_lib.presets import METHODS
from mp_lib.system import files
from tests.conftest import small_widths

TINY = PolicyConfig(
    "simple_dp3", 3, 2, horizon=4, n_action_steps=3, down_dims=(8, 8, 8), step_embed_dim=8, num_points=8
)


@pytest.fixture
def saved(tmp_path):
    """A policy that is saved, and its path."""
    torch.manual_seed(0)
    policy = build_policy(TINY).eval()
    policy.normalizer.fit({"state": torch.randn(10, 3), "action": torch.randn(10, 2), "point_cloud": torch.randn(9, 3)})
    save_policy(tmp_path / "policy.safetensors", policy, step=7, task="toy")
    return policy, tmp_path / "policy.safetensors"


def same_tensors(first, second):
    return first.keys() == second.keys() and all(
        first[name].dtype == second[name].dtype and torch.equal(first[name], second[name]) for name in first
    )


@pytest.mark.parametrize("method", METHODS)
def test_a_policy_comes_back_to_the_bit(tmp_path, method):
    torch.manual_seed(0)
    widths = small_widths(method)
    policy = build_policy(
        PolicyConfig(method, 3, 2, attention="released", down_dims=widths, num_points=8, num_inference_steps=3)
    )
    policy.normalizer.fit({"state": torch.randn(10, 3), "action": torch.randn(10, 2), "point_cloud": torch.randn(9, 3)})
    save_policy(tmp_path / "a.safetensors", policy, step=7, task="toy")
    loaded, facts = load_policy(tmp_path / "a.safetensors", method)
    assert loaded.config == policy.config and facts == {"step": 7, "task": "toy"}
    assert not loaded.training and loaded.ddim.steps == [66, 33, 0]
    assert same_tensors(loaded.state_dict(), policy.state_dict())
    history = {"point_cloud": torch.randn(2, 2, 8, 3), "state": torch.randn(2, 2, 3)}
    noise = torch.randn(2, 16, 2)
    assert torch.equal(loaded.act(history, noise), policy.eval().act(history, noise))


def test_a_readable_copy_of_the_header_lies_beside_it(saved):
    header = json.loads(saved[1].with_suffix(".json").read_text())
    assert header["policy"]["method"] == "simple_dp3" and header["step"] == 7
    assert sorted(os.listdir(saved[1].parent)) == ["policy.json", "policy.safetensors"]


def test_tensors_of_any_kind_come_back(tmp_path):
    tensors = {
        "scalar": torch.tensor(3.0),
        "empty": torch.zeros(0, 4),
        "strided": torch.arange(6).reshape(2, 3).T,
        "half": torch.randn(3).to(torch.bfloat16),
        "special": torch.tensor([torch.nan, torch.inf, -0.0]),
    }
    save_tensors(tmp_path / "a.safetensors", tensors, {"a": (1, 2), "b": None, "c": float("nan")})
    found, header = load_tensors(tmp_path / "a.safetensors")
    assert header["a"] == [1, 2] and header["b"] is None and header["c"] != header["c"]
    for name, wanted in tensors.items():
        assert found[name].dtype == wanted.dtype and found[name].shape == wanted.shape
        torch.testing.assert_close(found[name], wanted, rtol=0, atol=0, equal_nan=True)


def test_a_changed_byte_is_refused_or_harmless(saved):
    policy, path = saved
    content = path.read_bytes()
    start = 8 + int.from_bytes(content[:8], "little")  # of the tensors
    drawn = random.Random(0)
    places = [*range(8), *drawn.sample(range(8, start), 500), *drawn.sample(range(start, len(content)), 60)]
    refused = 0
    for place in places:
        changed = bytearray(content)
        changed[place] ^= 1 << drawn.randrange(8)
        path.write_bytes(changed)
        try:
            loaded, facts = load_policy(path)
        except ValueError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            assert place < start, "a byte of a tensor was changed unseen"
            assert loaded.config == policy.config and facts == {"step": 7, "task": "toy"}
            assert same_tensors(loaded.state_dict(), policy.state_dict())
    assert refused > 0.9 * len(places)


@pytest.mark.parametrize("digit", [b'\\"horizon\\": 4', b'\\"num_inference_steps\\": 10', b'\\"step\\": 7'])
def test_a_changed_digit_of_the_header_is_refused(saved, digit):
    content = saved[1].read_bytes()
    assert content.count(digit) == 1
    saved[1].write_bytes(content.replace(digit, digit[:-1] + b"8"))
    with pytest.raises(ValueError, match="damaged: it does not have the checksum"):
        load_policy(saved[1])


def test_swapped_tensors_are_refused(saved):
    tensors, header = load_tensors(saved[1])
    first, second = "obs_encoder.state_mlp.0.bias", "obs_encoder.state_mlp.2.bias"
    text = json.dumps(header | {"checksum": json.loads(saved[1].with_suffix(".json").read_text())["checksum"]})
    tensors[first], tensors[second] = tensors[second], tensors[first]
    save_file(tensors, saved[1], {"header": text})
    with pytest.raises(ValueError, match="damaged"):
        load_policy(saved[1])


@pytest.mark.parametrize("kept", [0, 1, 7, 8, 100, 0.5, -1])
def test_a_truncated_file_is_refused(saved, kept):
    content = saved[1].read_bytes()
    saved[1].write_bytes(content[: int(kept * len(content)) if isinstance(kept, float) else kept])
    with pytest.raises(ValueError, match="cannot be read as a checkpoint .*restore a copy"):
        load_policy(saved[1])


def test_what_is_no_checkpoint_is_refused(saved, tmp_path):
    with pytest.raises(ValueError, match=r"nothing.safetensors: there is no such checkpoint; give a .safetensors"):
        load_policy(tmp_path / "nothing.safetensors")
    with pytest.raises(ValueError, match="is a folder; give the file in it"):
        load_policy(tmp_path)
    with pytest.raises(ValueError, match="is no file of torch.save's, nor safetensors"):
        load_policy(saved[1].with_suffix(".json"))
    save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors")
    with pytest.raises(ValueError, match="no state dict of an official U-Net or policy"):
        load_policy(tmp_path / "foreign.safetensors")
    for header in ('{"checksum": 3}', '{"policy": {}', '["checksum"]'):
        save_file({"a": torch.zeros(2)}, tmp_path / "foreign.safetensors", {"header": header})
        with pytest.raises(ValueError, match="damaged"):
            load_policy(tmp_path / "foreign.safetensors")
    save_tensors(tmp_path / "training.safetensors", {"a": torch.zeros(2)}, {"step": 3})
    with pytest.raises(ValueError, match="holds no policy; give the path of a policy.safetensors"):
        load_policy(tmp_path / "training.safetensors")


def test_a_checkpoint_of_another_method_is_refused(saved):
    with pytest.raises(ValueError, match="is a checkpoint of simple_dp3, dp3_mamba was asked for"):
        load_policy(saved[1], "dp3_mamba")


def test_weights_that_do_not_fit_their_configuration_are_refused(saved, tmp_path):
    policy, _ = saved
    config = replace(TINY, method="dp3_narrow", blocks_per_level=None)
    save_tensors(tmp_path / "a.safetensors", policy.state_dict(), {"policy": asdict(config)})
    with pytest.raises(ValueError, match="does not fit dp3_narrow"):
        load_policy(tmp_path / "a.safetensors")
    for header in ({"policy": asdict(TINY) | {"colour": "red"}}, {"policy": asdict(TINY) | {"method": "nope"}}):
        save_tensors(tmp_path / "a.safetensors", policy.state_dict(), header)
        with pytest.raises(ValueError, match="another version of this project|unknown method 'nope'"):
            load_policy(tmp_path / "a.safetensors")


@pytest.mark.parametrize("function", ["os.fsync", "pathlib.Path.replace"])
@pytest.mark.parametrize("error", [OSError("disk full"), KeyboardInterrupt()])
def test_a_write_that_fails_leaves_the_old_file_and_no_other(saved, monkeypatch, function, error):
    policy, path = saved
    before = {name: (path.parent / name).read_bytes() for name in os.listdir(path.parent)}

    def fail(*arguments):
        raise error

    monkeypatch.setattr(function, fail)
    with pytest.raises(type(error)):
        save_policy(path, policy, step=8)
    monkeypatch.undo()
    assert {name: (path.parent / name).read_bytes() for name in os.listdir(path.parent)} == before


WRITE = """
import os, pathlib, signal, sys
from mp_lib.system.files import write_atomically
path = pathlib.Path(sys.argv[1])
write_atomically(path, b"old")
kill = lambda *_: os.kill(os.getpid(), signal.SIGKILL)
setattr(*{"fsync": (os, "fsync"), "rename": (pathlib.Path, "replace")}[sys.argv[2]], kill)
write_atomically(path, b"new")
"""


@pytest.mark.parametrize("moment", ["fsync", "rename"])
def test_a_writer_that_is_killed_leaves_the_old_file(tmp_path, moment):
    done = subprocess.run([sys.executable, "-c", WRITE, str(tmp_path / "file"), moment])
    assert done.returncode == -signal.SIGKILL
    assert (tmp_path / "file").read_bytes() == b"old"
    assert len(list(tmp_path.glob(".file.*.partial"))) == 1  # not under a name that anybody reads


def test_nothing_is_unpickled_but_by_the_reader_that_runs_nothing():
    unsafe = {"pickle", "cPickle", "_pickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
    for path in Path(mp_lib.__file__).parent.rglob("*.py"):
        readers = {"pickle"} if path.name == "unpickle.py" else set()
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Import):
                assert not unsafe & {name.name.split(".")[0] for name in node.names} - readers, path
            elif isinstance(node, ast.ImportFrom):
                assert (node.module or "").split(".")[0] not in unsafe, path
                assert node.module != "torch" or "load" not in {name.name for name in node.names}, path
            elif isinstance(node, ast.Attribute):
                unlimited = ("torch.load", "torch.jit.load", "pickle.load", "pickle.loads", "pickle.Unpickler")
                assert ast.unparse(node) not in unlimited, path
            elif isinstance(node, ast.keyword):
                assert node.arg != "allow_pickle" or ast.unparse(node.value) == "False", path


def test_files_in_a_new_folder_are_written(tmp_path):
    files.write_atomically(tmp_path / "new" / "folder" / "file", b"content")
    assert (tmp_path / "new" / "folder" / "file").read_bytes() == b"content"
