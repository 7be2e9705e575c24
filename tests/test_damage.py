"""Damaged files: every reader gives what was written, or one line that names the file, and nothing else happens."""

import json
import random
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from mp_lib.data.recording import collect
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.learning.film import write_film
from mp_lib.learning.run import train
from tests import ROOT
from tests.conftest import TOY
from tests.learning.toy_run import CONFIG
from tests.readers import MAKERS, frames_of

FILES = 200  # damaged files a reader


def flip(content: bytes, chance: random.Random) -> bytes:
    place = chance.randrange(len(content))
    return content[:place] + bytes([content[place] ^ 1 << chance.randrange(8)]) + content[place + 1 :]


def cut(content: bytes, chance: random.Random) -> bytes:
    return content[: chance.randrange(len(content))]


def blank(content: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(len(content)), chance.randrange(1, 513)
    return content[:start] + bytes(len(content[start : start + length])) + content[start + length :]


def scatter(content: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(len(content)), chance.randrange(1, 65)
    return content[:start] + chance.randbytes(length) + content[start + length :]


def drop(content: bytes, chance: random.Random) -> bytes:
    start, length = chance.randrange(len(content)), chance.randrange(1, 65)
    return content[:start] + content[start + length :]


DAMAGES = (flip, cut, blank, scatter, drop)


def equal(first, second) -> bool:
    """Whether two answers of a reader hold the same arrays or tensors by name."""
    as_arrays = [{name: np.asarray(value) for name, value in each.items()} for each in (first, second)]
    return as_arrays[0].keys() == as_arrays[1].keys() and all(
        np.array_equal(value, as_arrays[1][name]) for name, value in as_arrays[0].items()
    )


def damaged(reader, number, chance):
    """Damage a file of what is read; the file and its content before."""
    files = sorted(path for path in reader.path.rglob("*") if path.is_file()) or [reader.path]
    file = chance.choice(files)
    content = file.read_bytes()
    file.write_bytes(DAMAGES[number % len(DAMAGES)](content, chance))
    return file, content


@pytest.mark.slow
@pytest.mark.parametrize("name", MAKERS)
def test_a_reader_gives_what_was_written_or_names_the_file(name, finished, tmp_path, toy_demos, monkeypatch):
    monkeypatch.setenv("MP_ROOT", str(tmp_path / CONFIG.name))
    folder = tmp_path / CONFIG.name
    shutil.copytree(finished[0], folder)
    reader, chance = MAKERS[name](folder, toy_demos), random.Random(name)
    expected, refused = reader.read(reader.path), 0
    for number in range(FILES):
        file, content = damaged(reader, number, chance)
        try:
            found = reader.read(reader.path)
        except ValueError as error:
            refused += 1
            assert reader.path.name in str(error) or folder.name in str(error), error
            assert len(str(error).strip().splitlines()) == 1, error
        else:
            assert not reader.same or equal(found, expected), f"file {number}, {file.name}"
        file.write_bytes(content)
    assert refused or not reader.same
    if reader.same:
        assert equal(reader.read(reader.path), expected)


def test_recording_goes_on_behind_what_a_killed_writer_left(tmp_path, toy_demos):
    """Frames behind the last whole episode are dropped with a message, and recorded again."""
    store = tmp_path / "toy.zarr"
    shutil.copytree(toy_demos.path, store)
    attributes = json.loads((store / ".zattrs").read_text())
    attributes["episodes"].pop()
    (store / ".zattrs").write_text(json.dumps(attributes))
    assert equal(frames_of(collect(TOY, 3, store, jobs=1).path), frames_of(toy_demos.path))


SMALL_DISK = """
import resource, sys
from pathlib import Path
import numpy as np
from mp_lib.learning import fitting, run as module
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.data.recording import collect
from mp_lib.learning.film import write_film
from tests.conftest import TOY
from tests.learning.toy_run import CONFIG
fitting.SAVE_SECONDS, fitting.SAVE_SHARE = -1.0, float("inf")
path, size = Path(sys.argv[1]), int(sys.argv[2])
"""
LIMIT = "resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))\n"


def on_a_small_disk(path, size, before, then):
    """The last line of a process in which no file grows beyond ``size`` bytes: to one process a full disk."""
    code = f"{SMALL_DISK}{before}\n{LIMIT}{then}\n"
    command = [sys.executable, "-c", code, str(path), str(size)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1, done.stderr
    return done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("size", [10, 3_000, 100_000])
def test_a_run_on_a_full_disk_ends_in_one_line_and_goes_on_when_there_is_room(finished, tmp_path, toy_demos, size):
    """At 10 bytes not even config.json fits, at 3000 no training, and at 100000 what is saved is kept."""
    folder = tmp_path / "run"
    before = f"demos = ReplayBuffer.open({str(toy_demos.path)!r})"
    said = on_a_small_disk(folder, size, before, "module.train(CONFIG, TOY, demos, path, device='cpu')")
    assert re.fullmatch(
        r"OSError: .*cannot write .*/run/.*; choose a folder that may be written and has space left", said
    )
    assert not (folder / "result.json").exists() and not list(folder.glob(".*partial*"))
    result = train(CONFIG, TOY, toy_demos, folder, device="cpu")
    assert result.final == json.loads((finished[0] / "result.json").read_text())["final"]
    assert (folder / "policy.safetensors").read_bytes() == (finished[0] / "policy.safetensors").read_bytes()


def test_recording_on_a_full_disk_keeps_whole_episodes(tmp_path):
    expected = frames_of(collect(TOY, 12, tmp_path / "whole.zarr", jobs=1).path)
    said = on_a_small_disk(tmp_path / "toy.zarr", 2_500, "", "collect(TOY, 12, path, jobs=1)")
    assert re.fullmatch(r"OSError: .*cannot write .*toy.zarr: .*; choose a folder .*", said)
    assert 0 < ReplayBuffer.open(tmp_path / "toy.zarr").num_episodes < 12
    assert equal(frames_of(collect(TOY, 12, tmp_path / "toy.zarr", jobs=1).path), expected)


def test_half_a_film_is_no_film(tmp_path):
    noise = "noise = list(np.random.default_rng(0).integers(0, 255, (60, 128, 128, 3), dtype=np.uint8))"
    write_film(tmp_path / "film.mp4", [np.zeros((32, 32, 3), np.uint8)] * 3)
    film = (tmp_path / "film.mp4").read_bytes()
    said = on_a_small_disk(tmp_path / "film.mp4", 20_000, noise, "write_film(path, noise)")
    assert re.fullmatch(r"OSError: .*cannot write .*film.mp4: .*", said)
    assert (tmp_path / "film.mp4").read_bytes() == film and len(list(tmp_path.iterdir())) == 1
