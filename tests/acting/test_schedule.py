"""When chunks are computed: ahead, with the steps that it took skipped; late ones are held for and counted."""

import subprocess
import sys
import threading
import time
from concurrent.futures import Future

import numpy as np
import pytest

from mp_lib.acting.schedule import KNOWN, Pace
from tests import ROOT
from tests.acting.fake import FRAMES, HORIZON, STEPS, Clock, FakeEngine, actor_of, delayed, seen


def play(actor, steps, first=0):
    return np.array([actor.select_action(seen(step)) for step in range(first, first + steps)])


@pytest.mark.parametrize("lead", [1, 2, HORIZON - FRAMES + 1 - STEPS])
@pytest.mark.parametrize("delay", [0, 1])
def test_a_chunk_in_time_goes_on_where_the_last_has_ended(lead, delay):
    """Every action is that of its step, from the newest chunk that has come, and none is missed or told twice."""
    actor = actor_of(asynchronous=lead, start=delayed(delay))
    told = play(actor, 4 * STEPS)
    for step, (action, call) in enumerate(told):
        assert call == step // STEPS
        asked = max(0, call * STEPS - lead)  # the step whose frame it was computed from
        assert action == 10 * asked + step - asked
    report = actor.report()
    assert (report.late, sum(report.held.values())) == (0, 0) and report.chunks >= 4
    states = [given[1][-1, 0] for given in actor.engine.given]
    assert states[:4] == [0, STEPS - lead, 2 * STEPS - lead, 3 * STEPS - lead]


def test_a_late_chunk_is_held_for_and_only_what_was_executed_meanwhile_is_skipped():
    actor = actor_of(asynchronous=2, start=delayed(4))
    told = play(actor, STEPS + 6)
    asked = STEPS - 2
    np.testing.assert_array_equal(told[:STEPS, 0], range(STEPS))
    held = told[STEPS : STEPS + 2]
    np.testing.assert_array_equal(held, [told[STEPS - 1]] * 2)
    np.testing.assert_array_equal(told[STEPS + 2 :, 0], 10 * asked + 2 + np.arange(4))
    report = actor.report()
    assert report.late == 1 and report.held == {"late chunk": 2} and report.steps == STEPS + 6
    assert "2 of late chunk" in str(report) and "1 late" in str(report)


def test_late_chunks_are_said_once_an_episode(caplog):
    actor = actor_of(asynchronous=1, start=delayed(2))
    play(actor, 8 * STEPS)
    assert actor.report().late > 3 and sum("has not come" in each.message for each in caplog.records) == 1


def test_velocities_are_zero_while_a_chunk_is_late():
    actor = actor_of(FakeEngine("velocity:1 gripper:1"), asynchronous=1, start=delayed(3))
    told = play(actor, STEPS + 2)
    assert told[STEPS:, 0].tolist() == [0, 0] and told[STEPS:, 1].tolist() == [0, 0]
    assert told[STEPS - 1, 0] == STEPS - 1


def test_an_error_in_the_background_is_said_once_and_held_for_until_reset(caplog):
    actor = actor_of(FakeEngine(broken=(1,)), asynchronous=1)
    told = play(actor, STEPS)
    for step in range(STEPS, STEPS + 200):
        np.testing.assert_array_equal(actor.select_action(seen(step)), told[-1])
        if not actor.report().held["policy failed"]:
            time.sleep(0.01)  # the thread has not ended yet
    report = actor.report()
    assert report.held["policy failed"] > 100 and "RuntimeError: the engine has stopped" in report.said
    assert sum("the policy failed in the background" in each.message for each in caplog.records) == 2  # with traceback
    assert len(actor.engine.given) == 2
    actor.reset()
    np.testing.assert_array_equal(play(actor, STEPS)[:, 0], range(STEPS))


def test_an_error_in_turn_is_raised():
    actor = actor_of(FakeEngine(broken=(0,)))
    with pytest.raises(RuntimeError, match="has stopped"):
        play(actor, 1)
    np.testing.assert_array_equal(play(actor, 2)[:, 0], [0, 1])


@pytest.mark.parametrize("asynchronous", [False, 2])
def test_actions_that_are_not_finite_are_held_for_and_then_computed_anew(asynchronous, caplog):
    actor = actor_of(FakeEngine(spoilt=(1,)), asynchronous=asynchronous, start=delayed(0))
    told = play(actor, 3 * STEPS)
    assert np.isfinite(told).all()
    np.testing.assert_array_equal(told[STEPS], told[STEPS - 1])
    assert actor.report().held["bad actions"] == 1
    assert told[-1, 1] >= 2 and "go on after" in caplog.text
    assert sum("not finite" in each.message for each in caplog.records) == 1


def test_a_chunk_that_was_asked_for_before_reset_is_not_executed():
    futures = []
    actor = actor_of(asynchronous=2, start=lambda compute: (futures.append(Future()), futures[-1])[1])
    play(actor, STEPS)
    assert len(futures) == 1
    actor.reset()
    futures[0].set_result(np.full((HORIZON - 1, 2), 99, np.float32))
    assert 99 not in play(actor, STEPS + 2)


def computing():
    """How many threads compute chunks."""
    return sum(each.name == "mp_lib chunk" for each in threading.enumerate())


def test_an_engine_is_not_called_by_two_threads_at_once_and_a_slow_one_holds_nobody_up():
    gate, busy, most = threading.Event(), [0], [0]

    class Slow(FakeEngine):
        def predict(self, *given):
            busy[0] += 1
            most[0] = max(most[0], busy[0])
            if self.given:
                gate.wait(5)
            busy[0] -= 1
            return super().predict(*given)

    actor = actor_of(Slow(), asynchronous=1)
    began = time.monotonic()
    play(actor, STEPS)
    actor.select_action(None)  # late
    for step in range(10):
        actor.select_action(seen(step) | {"state": np.full(3, np.nan)})  # the chunk is dropped
        play(actor, 2, first=step)
    assert time.monotonic() - began < 4
    report = actor.report()
    assert report.held == {"late chunk": 21, "bad observation": 10} and report.late == 1
    assert computing() == 1
    gate.set()
    deadline = time.monotonic() + 5
    while len(actor.engine.given) < 3 and time.monotonic() < deadline:
        play(actor, 1, first=20)
        time.sleep(0.01)
    assert most == [1] and [given[1][-1, 0] for given in actor.engine.given] == [0, STEPS - 1, 20]


def test_an_answer_takes_no_longer_for_what_it_waits_for():
    clock, gate = Clock(), threading.Event()

    class Slow(FakeEngine):
        def predict(self, *given):
            if len(self.given) == 1:
                gate.wait(5)
            clock.now += 1
            return super().predict(*given)

    actor = actor_of(Slow(), asynchronous=1, clock=clock)
    play(actor, STEPS)
    actor.reset()
    threading.Timer(0.2, gate.set).start()
    play(actor, 1)  # waits for the chunk of the episode before
    assert len(actor.engine.given) == 3 and actor.report().longest_answer == 1


def test_how_far_ahead_is_what_answers_take_in_steps():
    pace, now = Pace(), 0.0
    pace.answer(0.09)
    for _ in range(KNOWN):
        pace.step(now)
        assert pace.lead() == 1
        now += 0.02
    pace.step(now)
    assert pace.lead() == 6  # 1.2 of 0.09 s, in steps of 0.02 s
    pace.answer(0.001)
    assert pace.lead() == 6
    for _ in range(20):
        pace.answer(0.001)
    assert pace.lead() == 1


def test_asked_for_as_far_ahead_as_answers_take():
    clock = Clock()

    class Timed(FakeEngine):
        def predict(self, *given):
            clock.now += 0.025
            return super().predict(*given)

    actor = actor_of(Timed(), asynchronous=True, clock=clock, start=delayed(2))
    for step in range(4 * STEPS):
        clock.now = 0.02 * step
        actor.select_action(seen(step))
    assert actor.schedule.lead() == 2 and actor.report().longest_answer == pytest.approx(0.025)
    assert actor.report().late <= 1  # the first, of which nobody knows yet


def test_a_program_may_end_while_a_chunk_is_computed():
    code = "from tests.acting.fake import *; import time; a = actor_of(asynchronous=1); p = a.engine.predict; "
    code += "a.engine.predict = lambda *given: (time.sleep(0.3), p(*given))[1]; "
    code += "[a.select_action(seen(k)) for k in range(5)]; print('ends')"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, timeout=60)
    assert (done.returncode, done.stdout) == (0, "ends\n")
