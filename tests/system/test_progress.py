"""A parent process finds a whole file that says how far things are."""

import json
import os
import threading
from pathlib import Path

import pytest

from mp_lib.system import notebook, progress
from mp_lib.system.errors import Stopped


@pytest.fixture
def file(tmp_path, monkeypatch):
    monkeypatch.setenv(progress.FILE_VARIABLE, str(tmp_path / "bar.json"))
    return tmp_path / "bar.json"


def test_the_file_holds_the_first_and_the_last_count(file):
    with progress.track(7, "record toy") as bar:
        assert json.loads(file.read_text()) == {"description": "record toy", "done": 0, "total": 7}
        bar.advance(3)
        bar.advance()
    assert json.loads(file.read_text()) == {"description": "record toy", "done": 4, "total": 7}
    assert os.listdir(file.parent) == ["bar.json"]


def test_the_file_is_replaced_at_most_twice_a_second(file, monkeypatch):
    now, replaced, replace = [0.0], [], Path.replace
    monkeypatch.setattr(progress.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(Path, "replace", lambda *paths: (replaced.append(now[0]), replace(*paths)))
    with progress.track(1000, "steps") as bar:
        for step in range(1, 1001):
            now[0] = step / 100
            bar.advance()
    between = replaced[:-1]  # the last one says that it is over
    assert len(between) > 15
    assert min(b - a for a, b in zip(between, between[1:], strict=False)) >= 0.5


def test_the_last_count_is_written_when_the_work_fails(file):
    with pytest.raises(KeyError), progress.track(7, "steps") as bar:
        bar.advance(2)
        raise KeyError
    assert json.loads(file.read_text())["done"] == 2


def test_a_file_that_cannot_be_written_stops_nothing(tmp_path, monkeypatch):
    monkeypatch.setenv(progress.FILE_VARIABLE, str(tmp_path / "nowhere" / "bar.json"))
    with progress.track(1, "steps") as bar:
        bar.advance()


def test_the_bar_shows_description_count_and_note(capsys, monkeypatch):
    monkeypatch.delenv(progress.FILE_VARIABLE, raising=False)
    with progress.track(2, "record toy") as bar:
        bar.note("loss 0.5")
        bar.advance(2)
    shown = capsys.readouterr()
    assert shown.out == ""
    assert all(text in shown.err for text in ("record toy", "2/2", "loss 0.5"))


@pytest.mark.parametrize("within", [True, False])
def test_who_stops_it_gets_one_line_in_a_notebook_and_nothing_else_elsewhere(monkeypatch, within):
    monkeypatch.setattr(notebook, "in_notebook", lambda: within)
    with pytest.raises(KeyboardInterrupt) as outer, progress.track(3, "all"), progress.track(7, "record toy") as bar:
        bar.advance(2)
        raise KeyboardInterrupt
    assert isinstance(outer.value, Stopped) == within
    if within:
        line = "Stopped at 2 of 7 (record toy); run this cell again for the whole."
        assert outer.value._render_traceback_() == [line]


def test_a_bar_without_an_end_shows_none(capsys):
    with progress.track(None, "train toy") as bar:
        bar.advance(5)
    assert "5it" in capsys.readouterr().err


def test_what_another_thread_does_is_neither_shown_nor_written(file, capsys):
    def work():
        with progress.track(3, "beside") as bar:
            bar.advance(3)

    with progress.track(5, "before all") as bar:
        thread = threading.Thread(target=work)
        thread.start()
        thread.join()
        bar.advance(2)
    assert json.loads(file.read_text()) == {"description": "before all", "done": 2, "total": 5}
    assert "beside" not in capsys.readouterr().err
