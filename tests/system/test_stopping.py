"""Signals raise KeyboardInterrupt, never within what is held, and are left as they were found."""

import os
import signal
import threading

import pytest

from mp_lib.system.stopping import SIGNALS, Stop

NUMBERS = [getattr(signal, name) for name in SIGNALS]


@pytest.fixture(autouse=True)
def heard_hangups():
    """SIGHUP as a terminal's user has it; nohup leaves it ignored."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.parametrize("number", NUMBERS)
def test_a_signal_interrupts_what_is_not_held(number):
    with pytest.raises(KeyboardInterrupt, match=signal.Signals(number).name), Stop():
        os.kill(os.getpid(), number)
        raise AssertionError("not interrupted")


@pytest.mark.parametrize("number", NUMBERS)
def test_what_is_held_is_finished_first(number):
    done = []
    with Stop() as stop, pytest.raises(KeyboardInterrupt):
        with stop.hold():
            os.kill(os.getpid(), number)
            os.kill(os.getpid(), number)
            done.append("all of it")
        done.append("too much")
    assert done == ["all of it"]


def test_it_is_told_once():
    with Stop() as stop:
        with pytest.raises(KeyboardInterrupt), stop.hold():
            os.kill(os.getpid(), signal.SIGTERM)
        with stop.hold():
            pass


def test_an_error_in_what_is_held_is_not_covered_up():
    with Stop() as stop, pytest.raises(ZeroDivisionError), stop.hold():
        os.kill(os.getpid(), signal.SIGTERM)
        1 / 0  # noqa: B018


def test_handlers_are_set_back_and_ignored_signals_stay_ignored():
    before = {number: signal.getsignal(number) for number in NUMBERS}
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Stop():
            os.kill(os.getpid(), signal.SIGHUP)
            assert signal.getsignal(signal.SIGTERM) != before[signal.SIGTERM]
        assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGHUP, before[signal.SIGHUP])
    assert {number: signal.getsignal(number) for number in NUMBERS} == before


def test_other_threads_change_no_handler():
    found = []

    def enter():
        before = signal.getsignal(signal.SIGTERM)
        with Stop():
            found.append(signal.getsignal(signal.SIGTERM) == before)

    thread = threading.Thread(target=enter)
    thread.start()
    thread.join()
    assert found == [True]
