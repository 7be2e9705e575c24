"""A run of another process is watched line by line of its record, whatever happens to that meanwhile."""

import json
from unittest.mock import Mock

import pytest

from mp_lib.learning import following
from mp_lib.learning.folder import PRODUCTS
from mp_lib.system import notebook
from mp_lib.system.errors import InputError
from mp_lib.system.files import write_json


def row(step, **values):
    return json.dumps({"step": step, "loss": step / 10} | values) + "\n"


class Watched:
    """A run's folder; at each look the next of ``events`` happens, behind the last one it is finished."""

    def __init__(self, folder, monkeypatch, num_steps, events):
        write_json(folder / "config.json", {"num_steps": num_steps})
        self.folder, self.events, self.noted, self.made, self.total = folder, [*events], [], 0, "none"
        monkeypatch.setattr(following, "SECONDS", 0)
        monkeypatch.setattr(following, "track", self.track)
        monkeypatch.setattr(following, "in_use", lambda lock: self.look())

    def track(self, total, description):
        self.total = total
        return self

    def __enter__(self):
        return self

    def __exit__(self, *_):
        pass

    def note(self, text, value):
        self.noted.append(text)

    def advance(self, number):
        self.made += number

    def look(self):
        """Whether somebody trains it, as ``in_use`` says; what happens next comes before anything else is looked at."""
        if self.events:
            following.record_of(self.folder).write_text(self.events.pop(0))
            return True
        return False

    def finish(self):
        for name in PRODUCTS:
            (self.folder / name).touch()


@pytest.fixture
def watched(tmp_path, monkeypatch):
    return lambda num_steps, *events: Watched(tmp_path, monkeypatch, num_steps, events)


def told(run):
    with pytest.raises(InputError, match="nobody trains .*, which has come to step") as error:
        following.watch(run.folder)
    return str(error.value)


def test_each_row_is_noted_once_and_the_bar_goes_as_far_as_the_record(watched):
    run = watched(8, row(0), row(0) + row(1), row(0) + row(1) + row(3))
    assert "has come to step 4" in told(run) and run.made == 4 and run.total == 8
    assert run.noted == ["loss 0.0000", "loss 0.1000", "loss 0.3000"]


def test_after_a_resume_what_comes_again_is_not_noted_twice_and_what_is_new_is(watched):
    before, after = row(0) + row(1) + row(2), row(0) + row(1, loss=7)
    run = watched(8, before, row(0), after, after + row(2) + row(4))
    assert "step 5" in told(run) and run.made == 5
    assert run.noted == ["loss 0.0000", "loss 0.1000", "loss 0.2000", "loss 7.0000", "loss 0.4000"]


@pytest.mark.parametrize("damaged", ["{", "[]", "3", '{"loss": 1}', '{"step": NaN}', '{"step": "x"}'])
def test_a_damaged_line_is_left_out(watched, damaged):
    run = watched(8, row(0) + damaged + "\n" + row(1))
    assert "step 2" in told(run) and len(run.noted) == 2


def test_who_stops_watching_is_shown_no_error_in_a_notebook_either(tmp_path, monkeypatch):
    write_json(tmp_path / "config.json", {"num_steps": 8})
    monkeypatch.setattr(notebook, "in_notebook", lambda: True)
    monkeypatch.setattr(following, "in_use", Mock(side_effect=KeyboardInterrupt))
    assert following.watch(tmp_path) == tmp_path


def test_of_epochs_nobody_knows_how_many_steps_they_have(watched):
    run = watched(None, row(4))
    told(run)
    assert run.total is None and run.made == 5


def test_a_run_that_ends_while_it_is_looked_at_has_ended(watched, monkeypatch):
    run, released = watched(8, row(7)), []

    def in_use(lock):
        going = run.look()
        if not going:
            run.finish()  # between the two looks: its lock is free, and its result is there
        released.append(going)
        return going

    monkeypatch.setattr(following, "in_use", in_use)
    assert following.watch(run.folder) == run.folder and released == [True, False] and run.made == 8
