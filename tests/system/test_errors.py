"""What is said of what somebody brought is one line, whatever a path or a value holds."""

import pickle

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from mp_lib.__main__ import main
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.insight.inspection import inspect
from mp_lib.model.checkpoint import from_official, load_policy
from mp_lib.model.weights import find_checkpoint
from mp_lib.system.errors import InputError, MissingFileError, MissingNameError, Stopped, at_least_one
from mp_lib.system.extras import MissingExtraError
from mp_lib.system.files import read_json
from mp_lib.system.locks import InUseError
from tests.data.test_strange_stores import write
from tests.model.test_official import make_policy, save_as_released

STRANGE = "a\nb\r\x1b[31m\u2028é"  # the last of which a line may hold
SHOWN = "a\\nb\\r\\x1b[31m\\u2028é"
READERS = {
    "a store": ReplayBuffer.open,
    "weights": load_policy,
    "official weights": from_official,
    "a checkpoint": find_checkpoint,
    "anything": inspect,
}


def test_an_error_is_one_line_and_stays_it_between_processes():
    error = InputError(f"{STRANGE}: no")
    assert str(error) == str(pickle.loads(pickle.dumps(error))) == f"{SHOWN}: no"


ONE_LINE = (InputError, MissingFileError, MissingNameError, Stopped, InUseError, MissingExtraError)


@pytest.mark.parametrize("kind", ONE_LINE)
def test_a_notebook_shows_one_line_of_what_people_do(kind):
    assert kind("the line")._render_traceback_() == [str(pickle.loads(pickle.dumps(kind("the line"))))] == ["the line"]


@pytest.mark.parametrize("content", [None, b"", b"text", b"PK\x03\x04", b"\x89HDF\r\n\x1a\n"])
@pytest.mark.parametrize("reader", READERS)
def test_a_path_with_a_line_break_is_named_in_one_line(reader, content, tmp_path, monkeypatch):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    path = tmp_path / f"{STRANGE}.ckpt"
    if content is not None:
        path.write_bytes(content)
        if reader == "a checkpoint":
            path = path.rename(tmp_path / STRANGE) / "x"
    with pytest.raises((InputError, FileNotFoundError)) as error:
        READERS[reader](str(path))
    assert SHOWN in str(error.value) and len(str(error.value).splitlines()) == 1


def test_what_is_read_from_such_a_path_is_logged_in_one_line_each(tmp_path, caplog, monkeypatch, capsys):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    clouds = np.ones((150, 32, 6), "f4")
    write(tmp_path / STRANGE, data__point_cloud=clouds)
    ReplayBuffer.open(tmp_path / STRANGE)
    save_as_released(tmp_path / f"{STRANGE}.ckpt", make_policy("simple_dp3"))
    load_policy(tmp_path / f"{STRANGE}.ckpt")
    assert len(caplog.messages) == 2  # of the store, and of the weights
    assert all(SHOWN in each and len(each.splitlines()) == 1 for each in caplog.messages)
    assert main(["inspect", STRANGE]) == 0
    assert all(": " in line for line in capsys.readouterr().out.splitlines())
    assert main(["inspect", f"{STRANGE}/nothing"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1


def test_names_in_a_file_are_said_in_one_line(tmp_path):
    save_file({STRANGE: torch.zeros(1).to(torch.int8)}, tmp_path / "x.safetensors")
    with pytest.raises(InputError) as error:
        load_policy(tmp_path / "x.safetensors")
    assert SHOWN in str(error.value)


def test_json_that_is_damaged_is_named_in_one_line(tmp_path):
    for text in ("{", "[]"):
        (tmp_path / STRANGE).write_text(text)
        with pytest.raises(InputError) as error:
            read_json(tmp_path / STRANGE)
        assert SHOWN in str(error.value)


@pytest.mark.parametrize("given", [0, -1, 1.5, True, False, "3"])
def test_a_truth_value_is_no_number(given):
    with pytest.raises(InputError, match=f"episodes {given!r} given; it must be at least 1 and whole"):
        at_least_one(episodes=given)
    at_least_one(episodes=3, jobs=None, num_windows=np.int64(2))
