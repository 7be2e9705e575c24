"""Changes are answered quickly as they come and wholly at rest; none of them queues."""

import threading
import time

import pytest

pytest.importorskip("anywidget", reason="the extra [view] is not installed")

from mp_lib.viewing import pace
from mp_lib.viewing.pace import Pace


class Answers:
    """Notes what is answered; a whole answer has three pieces, of which each waits for ``going`` on."""

    def __init__(self, known=()):
        self.value, self.known, self.said, self.threads = 0, {*known}, [], set()
        self.going = threading.Event()
        self.going.set()
        self.pace = Pace(self.quick, self.whole, self.said.append)

    def change(self, value):
        self.value = value
        self.pace.ask()

    def quick(self):
        self.threads.add(threading.get_ident())
        if self.value == "broken":
            raise ValueError("broken")
        self.said.append(("quick", self.value))
        return self.value in self.known

    def whole(self):
        for piece in range(3):
            self.said.append((piece, self.value))
            self.going.wait(5)
            yield
        self.said.append(("whole", self.value))

    def end(self):
        """Wait until nothing is done any more."""
        if thread := self.pace.thread:
            thread.join(20)
        assert self.pace.thread is None


@pytest.fixture
def answers(monkeypatch):
    monkeypatch.setattr(pace, "REST", 0.3)
    return Answers(known=[7])


def pieces(value):
    return [(0, value), (1, value), (2, value), ("whole", value)]


def test_changes_that_come_together_are_one(answers, monkeypatch):
    monkeypatch.setattr(pace, "SETTLE", 0.3)
    for value in range(1, 6):
        answers.change(value)
    answers.end()
    assert answers.said == [("quick", 5), *pieces(5)]


def test_while_somebody_moves_nothing_whole_is_begun(answers):
    for value in range(1, 6):
        answers.change(value)
        time.sleep(0.05)
    answers.end()
    assert answers.said[-5:] == [("quick", 5), *pieces(5)]
    assert {kind for kind, _ in answers.said[:-4]} == {"quick"} and len(answers.said) <= 5 + 4


def test_a_change_ends_what_is_computed_for_the_one_before(answers):
    answers.going.clear()
    answers.change(1)
    while (0, 1) not in answers.said:
        time.sleep(0.001)
    answers.change(2)
    answers.going.set()
    answers.end()
    assert answers.said == [("quick", 1), (0, 1), ("quick", 2), *pieces(2)]


def test_what_is_known_is_all_at_once(answers):
    answers.change(7)
    answers.end()
    assert answers.said == [("quick", 7)]


def test_an_error_is_told_and_the_next_change_is_answered(answers):
    answers.change("broken")
    answers.end()
    answers.change(7)
    answers.end()
    assert str(answers.said[0]) == "broken" and answers.said[1:] == [("quick", 7)]


def test_a_change_is_answered_also_after_an_error_that_could_not_be_told(answers, monkeypatch):
    monkeypatch.setattr(threading, "excepthook", lambda told: None)
    answers.pace.failed = lambda error: 1 / 0
    answers.change("broken")
    answers.end()
    answers.change(7)
    answers.end()
    assert answers.said == [("quick", 7)]


def test_changes_may_come_from_any_thread_and_are_answered_in_one_at_a_time(answers):
    asking = [threading.Thread(target=answers.change, args=(value,)) for value in range(1, 30)]
    for each in asking:
        each.start()
    for each in asking:
        each.join()
    answers.end()
    assert answers.said[-4:] == pieces(answers.value) and threading.get_ident() not in answers.threads
