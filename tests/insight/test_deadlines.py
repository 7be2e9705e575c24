"""Deadlines are counted against the clock of the robot, and a row is measured once."""

import time

import numpy as np
import pytest

from mp_lib.__main__ import main
from mp_lib.insight import deadlines
from mp_lib.insight.deadlines import SCHEDULES, SIZES, Timed, measure
from mp_lib.study.acting_rows import AHEAD, IN_TURN, Deadlines, read_rows
from tests.acting.fake import FakeEngine

RATE = 100


class Slow(FakeEngine):
    """Takes so many seconds for each chunk but the first."""

    def __init__(self, seconds, **facts):
        super().__init__(**facts)
        self.seconds = seconds

    def predict(self, *given):
        time.sleep(self.seconds if self.given else 0)
        return super().predict(*given)


def test_in_turn_a_chunk_that_takes_longer_than_a_step_is_missed_and_those_behind_it_until_it_is_caught_up():
    found = measure(Slow(0.055), IN_TURN, 7, RATE)  # one chunk within, at the fourth step, over five more
    assert found["missed"] >= 4 and found["held"] == found["late"] == 0
    assert found["answer_longest"] >= 55 > found["answer_median"]
    assert found["chunk_median"] >= 55


def test_ahead_the_arm_holds_instead_and_says_so():
    found = measure(Slow(0.2), AHEAD, 20, RATE)
    assert found["held"] > 5 and found["late"] >= 1
    assert found["answer_median"] < 55


@pytest.mark.parametrize("schedule", SCHEDULES)
def test_an_engine_that_answers_at_once_is_asked_as_often_as_its_chunks_are_long(schedule):
    engine = FakeEngine()
    found = measure(engine, schedule, 16, RATE)
    assert found["held"] == 0 and 4 <= len(engine.given) <= 6
    assert {*found} < {*Deadlines.__dataclass_fields__}


def test_a_timed_engine_is_the_engine():
    engine = FakeEngine()
    timed = Timed(engine)
    given = np.zeros((2, 16, 3), np.float32), np.zeros((2, 3), np.float32), np.zeros((8, 2), np.float32)
    np.testing.assert_array_equal(timed.predict(*given), FakeEngine().predict(*given))
    assert timed.facts is engine.facts and len(timed.seconds) == 1


@pytest.mark.usefixtures("empty_root")
def test_rows_outlive_a_kill_and_are_measured_once(monkeypatch):
    measured, real = [], measure

    def once(engine, schedule, *given):
        measured.append((engine, schedule))
        if len(measured) == 3:
            raise KeyboardInterrupt
        return real(FakeEngine(), schedule, *given)

    monkeypatch.setattr(deadlines, "measure", once)
    monkeypatch.setattr(deadlines, "fresh_engine", lambda *size: size)
    assert main(["keep-acting", "--steps", "5"]) == 130
    assert len(read_rows(Deadlines)) == 2
    for _ in range(2):
        assert main(["keep-acting", "--steps", "5"]) == 0
    assert [engine[:3] for engine, _ in measured] == [SIZES[0]] * 2 + [SIZES[1]] * 3
    rows = read_rows(Deadlines)
    assert {(row.scale, row.method, row.num_inference_steps) for row in rows} == {*SIZES} and len(rows) == 4
    assert all(row.steps == 5 and row.rate == 50 for row in rows)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda size: size[0])
def test_policies_of_both_sizes_act(size):
    found = measure(deadlines.fresh_engine(*size, 1), AHEAD, 20, 50)
    assert 0 < found["chunk_median"] <= found["chunk_longest"]
