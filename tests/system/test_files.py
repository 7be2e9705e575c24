"""New files and folders are whole or not there, and nothing is lost where they cannot get their names."""

import os
from pathlib import Path

import pytest

from mp_lib.system.errors import InputError
from mp_lib.system.files import new_file
from mp_lib.system.folders import whole_folder


def names_in(folder):
    return sorted(path.name for path in folder.iterdir())


def test_a_new_file_is_there_when_the_block_has_ended(tmp_path):
    with new_file(tmp_path / "below" / "a.zip") as file:
        file.write(b"whole")
        assert not (tmp_path / "below" / "a.zip").exists()
    assert (tmp_path / "below" / "a.zip").read_bytes() == b"whole" and names_in(tmp_path / "below") == ["a.zip"]


def test_an_error_in_the_block_leaves_nothing_and_stays_itself(tmp_path):
    with pytest.raises(FileNotFoundError, match="nowhere"), new_file(tmp_path / "a.zip") as file:
        file.write(b"half")
        Path("nowhere").read_bytes()
    assert names_in(tmp_path) == []


@pytest.mark.parametrize("links", [True, False])
def test_what_appeared_meanwhile_stays(tmp_path, monkeypatch, links):
    if not links:  # a file system that knows none
        monkeypatch.setattr(os, "link", refuse)
    with pytest.raises(InputError, match="exists already"), new_file(tmp_path / "a.zip") as file:
        file.write(b"mine")
        (tmp_path / "a.zip").write_bytes(b"another's")
    assert (tmp_path / "a.zip").read_bytes() == b"another's" and names_in(tmp_path) == ["a.zip"]


def refuse(*_):
    raise OSError("Operation not supported")


def test_it_is_written_where_there_are_no_links(tmp_path, monkeypatch):
    monkeypatch.setattr(os, "link", refuse)
    with new_file(tmp_path / "a.zip") as file:
        file.write(b"whole")
    assert (tmp_path / "a.zip").read_bytes() == b"whole" and names_in(tmp_path) == ["a.zip"]


def test_a_folder_that_was_replaced_comes_back_where_the_new_one_cannot_get_its_name(tmp_path, monkeypatch):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "old").touch()
    rename = Path.rename

    def fail(self, target):
        if self.name.endswith(f"{os.getpid()}.partial"):
            raise OSError(28, "No space left on device")
        return rename(self, target)

    monkeypatch.setattr(Path, "rename", fail)
    with pytest.raises(OSError, match="No space left"), whole_folder(tmp_path / "site", replace_old=True) as draft:
        (draft / "new").touch()
    assert names_in(tmp_path) == ["site"] and names_in(tmp_path / "site") == ["old"]


def test_a_folder_is_replaced_whole(tmp_path):
    (tmp_path / "site").mkdir()
    (tmp_path / "site" / "old").touch()
    with whole_folder(tmp_path / "site", replace_old=True) as draft:
        (draft / "new").touch()
        assert names_in(tmp_path / "site") == ["old"]
    assert names_in(tmp_path) == ["site"] and names_in(tmp_path / "site") == ["new"]
