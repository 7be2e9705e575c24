"""Compiled code is kept where nobody else can write, or not at all."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from mp_lib.system import code_cache
from mp_lib.system.code_cache import VARIABLES, fingerprint, keep_compiled_code


@pytest.fixture
def place(tmp_path, monkeypatch):
    """An empty cache folder of the user's."""
    for variable in (*VARIABLES, "MP_CACHE"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    keep_compiled_code.cache_clear()
    yield tmp_path / "mp_lib"
    for variable in VARIABLES:
        os.environ.pop(variable, None)
    keep_compiled_code.cache_clear()


def test_the_folder_is_the_users_own_alone(place):
    folder = keep_compiled_code()
    assert folder == place / fingerprint()
    assert {each.stat().st_mode & 0o777 for each in (folder, folder.parent)} == {0o700}
    assert os.environ["TRITON_CACHE_DIR"] == str(folder / "triton")


@pytest.mark.parametrize("spoil", ["open", "link", "file", "foreign", "inner"])
def test_a_folder_in_which_others_may_have_put_code_is_not_used(place, spoil, monkeypatch, caplog, tmp_path):
    """It stays as it is, and what is compiled goes to a folder that is gone afterwards."""
    elsewhere, inner = tmp_path / "elsewhere", place / fingerprint()
    spoils = {
        "open": lambda: place.mkdir(mode=0o700) or place.chmod(0o770),
        "link": lambda: elsewhere.mkdir(mode=0o700) or place.symlink_to(elsewhere),
        "file": lambda: place.touch(),
        "foreign": lambda: monkeypatch.setattr(os, "getuid", lambda: os.geteuid() + 1),
        "inner": lambda: place.mkdir(mode=0o700) or inner.mkdir() or inner.chmod(0o777),
    }
    spoils[spoil]()
    folder = keep_compiled_code()
    assert place not in folder.parents and folder.stat().st_mode & 0o777 == 0o700
    assert "compiled code is not kept" in caplog.text
    assert all(os.environ[variable] == str(folder / name) for variable, name in VARIABLES.items())


def test_off_keeps_nothing(place):
    code = "from mp_lib.system.code_cache import keep_compiled_code as keep; print(keep(), keep().is_dir())"
    changed = {"env": os.environ | {"MP_CACHE": "off"}, "text": True}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, **changed)
    folder, was_there = done.stdout.split()
    assert was_there == "True" and not Path(folder).exists() and not place.exists()


def test_another_place_can_be_named_and_a_compilers_own_variable_is_left_alone(place, tmp_path, monkeypatch):
    monkeypatch.setenv("MP_CACHE", str(tmp_path / "named"))
    monkeypatch.setenv("TRITON_CACHE_DIR", "mine")
    assert keep_compiled_code().parent == tmp_path / "named"
    assert os.environ["TRITON_CACHE_DIR"] == "mine"


@pytest.mark.parametrize("part", ["version_of", "processor_flags", "gpus", "file_hash"])
def test_other_code_compilers_or_machines_have_folders_of_their_own(part, monkeypatch):
    before = fingerprint()
    monkeypatch.setattr(code_cache, part, lambda *given: ["another"] if part == "gpus" else "another")
    assert fingerprint() != before
