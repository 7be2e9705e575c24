"""Deadlines are counted against the clock of the robot, and a row is measured once."""

import time
from functools import partial

import numpy as np
import pytest

from mp_lib.__main__ import main
from mp_lib.insight import deadlines
from mp_lib.insight.deadlines import MEASURES, SIZES, Timed, commanded, served, write_fresh
from mp_lib.study.acting_rows import Deadlines, read_rows
from mp_lib.system.errors import InputError
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
    found = commanded(Slow(0.055), False, 7, RATE)  # one chunk within, at the fourth step, over five more
    assert found["missed"] >= 4 and found["held"] == found["late"] == 0
    assert found["answer_longest"] >= 55 > found["answer_median"]
    assert found["chunk_median"] >= 55


def test_ahead_the_arm_holds_instead_and_says_so():
    found = commanded(Slow(0.2), True, 20, RATE)
    assert found["held"] > 5 and found["late"] >= 1
    assert found["answer_median"] < 55


@pytest.mark.parametrize("asynchronous", [False, True])
def test_an_engine_that_answers_at_once_is_asked_as_often_as_its_chunks_are_long(asynchronous):
    engine = FakeEngine()
    found = commanded(engine, asynchronous, 16, RATE)
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
    measured = []

    def once(schedule, folder, *_):
        measured.append((folder.read_text(), schedule))
        if len(measured) == 3:
            raise KeyboardInterrupt
        return commanded(FakeEngine(), False, 3, RATE)

    monkeypatch.setattr(deadlines, "MEASURES", {schedule: partial(once, schedule) for schedule in MEASURES})
    monkeypatch.setattr(deadlines, "write_fresh", lambda scale, *given: given[-1].write_text(scale))
    assert main(["keep-acting", "--steps", "5"]) == 130
    assert len(read_rows(Deadlines)) == 2
    for _ in range(2):
        assert main(["keep-acting", "--steps", "5"]) == 0
    first, second = ([(scale, schedule) for schedule in MEASURES] for scale, *_ in SIZES)
    assert measured == [*first, first[-1], *second]
    rows = read_rows(Deadlines)
    assert {(row.scale, row.method, row.num_inference_steps) for row in rows} == {*SIZES}
    assert len(rows) == len(SIZES) * len(MEASURES)
    assert all(row.steps == 5 and row.rate == 50 for row in rows)


@pytest.mark.usefixtures("empty_root")
def test_a_server_that_does_not_start_is_a_line(tmp_path):
    with pytest.raises(InputError, match="has not started"):
        served(tmp_path / "nothing", 1, 2)


@pytest.mark.slow
@pytest.mark.parametrize("size", SIZES, ids=lambda size: size[0])
def test_policies_of_both_sizes_act_in_each_way(size, tmp_path):
    write_fresh(*size, tmp_path / "policy")
    for measure in MEASURES.values():
        found = measure(tmp_path / "policy", 1, 20)
        assert 0 < found["chunk_median"] <= found["chunk_longest"]
        assert found["answer_longest"] >= found["answer_median"] > 0
