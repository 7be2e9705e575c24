"""What simulates lives as long as its owner, is used again where that changes nothing, and never after an error."""

import contextlib
import os
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from functools import partial
from multiprocessing import Pipe

import numpy as np
import psutil
import pytest

from mp_lib.learning.rollout import rollout
from mp_lib.learning.simulators import Episode, RemoteTables, Seat, Simulators, serve
from mp_lib.sim.tasks import TASKS
from tests.conftest import TOY, ToyEnv
from tests.learning.test_rollout import NEVER, Script, trajectories
from tests.sim.test_suites import every_row


def observations(seat, seed, filmed, steps):
    """All that a seat shows of an episode of random actions, in chunks of three."""
    actions, seen = np.random.default_rng(seed), seat.start(seed, filmed)
    for _ in range(steps // 3):
        answer = seat.play(actions.uniform(-1, 1, (3, seat.spec.action_dim)))
        seen += [] if isinstance(answer, Episode) else answer
    return np.concatenate([np.ravel(part) for obs in seen for part in (obs.point_cloud, obs.state)])


@every_row
def test_a_seat_that_was_used_gives_the_same_episode_as_a_new_one(task):
    new, used = Seat(TASKS[task], 256, 2), Seat(TASKS[task], 256, 2)
    try:
        before = observations(used, 7, True, 12)
        expected = observations(new, 5, False, 9)
        assert not np.array_equal(before[: len(expected)], expected)
        np.testing.assert_array_equal(observations(used, 5, False, 9), expected)
    finally:
        new.env.close()
        used.env.close()


@pytest.fixture
def started(monkeypatch):
    """All simulating processes that are started."""
    processes, start = [], RemoteTables.start_process

    def start_and_note(tables):
        start(tables)
        processes.append(tables.processes[-1])

    monkeypatch.setattr(RemoteTables, "start_process", start_and_note)
    return processes


def play(simulators, spec=NEVER):
    """Roll out, and see that the episodes are those of new environments."""
    expected = trajectories(rollout(Script(), NEVER, range(5), films=5))
    assert trajectories(rollout(Script(), spec, range(5), simulators=simulators, films=5)) == expected


def test_processes_are_kept_while_the_same_is_asked_for_and_end_with_their_owner(started):
    with Simulators(2) as simulators:
        play(simulators)
        play(simulators)
        assert len(started) == 2
        play(simulators, replace(NEVER, remark="another"))
        assert len(started) == 4
        assert [process.is_alive() for process in started] == [False, False, True, True]
    assert not any(process.is_alive() for process in started)


def test_environments_of_this_process_are_kept_as_well():
    made, closed = [], []

    class Env(ToyEnv):
        def close(self):
            closed.append(self)

    def make_env(num_points):
        made.append(Env(num_points, goal=()))
        return made[-1]

    with Simulators(1) as simulators:
        spec = replace(NEVER, make_env=make_env)
        play(simulators, spec)
        play(simulators, spec)
        assert len(made) == 5 and not closed
    assert closed == made


def test_no_more_processes_start_than_there_are_seats(started):
    with Simulators(4) as simulators:
        rollout(Script(), NEVER, [3], simulators=simulators)
        assert len(started) == 1
        play(simulators)
        assert len(started) == 4


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_process_that_ended_between_two_rollouts_is_not_asked(started, number, capfd):
    """The system kills one that takes too much memory; a terminal's Ctrl-C, which its owner survives, is for all."""
    with Simulators(2) as simulators:
        play(simulators)
        os.kill(started[1].pid, number)
        started[1].join(10)
        assert started[1].exitcode == (0 if number == signal.SIGINT else -number)
        play(simulators)
    assert "Traceback" not in capfd.readouterr().err


@pytest.mark.parametrize("jobs", [1, 2])
def test_after_an_error_everything_is_new(jobs, started, monkeypatch):
    closed = []
    monkeypatch.setattr(ToyEnv, "close", lambda env: closed.append(env))
    failing = replace(TOY, make_env=partial(ToyEnv, fails=3))
    with Simulators(jobs) as simulators:
        for _ in range(2):
            with pytest.raises(KeyError, match="no such drawer in seed 3"):
                rollout(Script(), failing, range(5), simulators=simulators)
            assert not any(process.is_alive() for process in started)
        assert len(closed) == (10 if jobs == 1 else 0) and len(started) == (4 if jobs == 2 else 0)
        play(simulators)


class Interrupted:
    """A connection at which Ctrl-C comes once, while its answer is waited for."""

    def __init__(self, connection):
        self.send, self.close, self.connection = connection.send, connection.close, connection

    def recv(self):
        self.recv = self.connection.recv
        raise KeyboardInterrupt


def test_answers_that_nobody_waited_for_are_not_taken_for_others():
    with Simulators(2) as simulators:
        play(simulators)
        with pytest.raises(KeyboardInterrupt), simulators.tables(NEVER, 8, 2) as tables:
            tables.connections[0] = Interrupted(tables.connections[0])
            tables.call("start", [(seed, False) for seed in range(40, 45)])
        policy = Script()
        rollout(policy, NEVER, range(5), simulators=simulators)
    assert [history["state"][:, -1, 2].tolist() for history in policy.histories] == [[*range(5)]] * 4


OWNER = """
import os, signal
from tests.learning.test_simulators import *
simulators = Simulators(2)
play(simulators)
with simulators.tables(NEVER, 8, 2) as tables:
    print(*(process.pid for process in tables.processes), flush=True)
    {end}
"""


def is_running(pid):
    with contextlib.suppress(psutil.NoSuchProcess):
        return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE
    return False


@pytest.mark.parametrize("end", ["os.kill(os.getpid(), signal.SIGKILL)", "pass"])
def test_no_process_outlives_its_owner_however_that_ends(end):
    done = subprocess.run([sys.executable, "-c", OWNER.format(end=end)], capture_output=True, text=True)
    pids, deadline = [int(word) for word in done.stdout.split()], time.monotonic() + 10
    assert len(pids) == 2, done.stderr
    while any(map(is_running, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(is_running, pids))


def test_a_process_that_dies_is_one_clear_error():
    with pytest.raises(RuntimeError, match="a simulating process died .*run again with fewer jobs") as caught:
        rollout(Script(), replace(TOY, make_env=partial(ToyEnv, dies=3)), range(6), jobs=2)
    assert "\n" not in str(caught.value)


def make_env_that_ends_its_process(num_points):
    os._exit(1)


def test_a_process_that_dies_at_once_is_the_same_error():
    with pytest.raises(RuntimeError, match="a simulating process died"):
        rollout(Script(), replace(TOY, make_env=make_env_that_ends_its_process), range(6), jobs=2)


def test_an_error_in_a_process_is_raised_here():
    with pytest.raises(KeyError, match="no such drawer in seed 3") as caught:
        rollout(Script(), replace(TOY, make_env=partial(ToyEnv, fails=3)), range(6), jobs=2)
    assert "conftest.py" in "".join(caught.value.__notes__)


class Stubborn(Exception):
    """An error that cannot be unpickled: its constructor takes two arguments and keeps one."""

    def __init__(self, drawer, seed):
        super().__init__(f"drawer {drawer} in seed {seed}")


class Clash:
    """An environment with errors of all kinds."""

    def __init__(self, error):
        self.error = error

    def reset(self, seed):
        raise self.error

    def close(self):
        pass


@pytest.mark.parametrize(
    ("error", "found", "text"),
    [
        (KeyError("drawer"), KeyError, "drawer"),
        (OSError(28, "no space left"), OSError, "no space left"),
        (Stubborn(3, 4), RuntimeError, "Stubborn in a simulating process: drawer 3 in seed 4"),
    ],
)
def test_any_error_travels(error, found, text):
    ours, theirs = Pipe()
    spec = replace(TOY, make_env=lambda num_points: Clash(error))
    worker = threading.Thread(target=serve, args=(theirs, spec, 8, 2))
    worker.start()
    for _ in range(2):  # it goes on serving
        ours.send(("start", [(0, False)]))
        assert ours.poll(10)
        answer = ours.recv()
        assert type(answer) is found and text in str(answer)
    ours.close()
    worker.join(10)
    assert not worker.is_alive()


def test_a_server_ends_quietly_when_nobody_waits_for_its_answer():
    ours, theirs = Pipe()
    errors = []
    waiting, answered = threading.Event(), threading.Event()

    class Slow(ToyEnv):
        def reset(self, seed):
            waiting.set()
            assert answered.wait(10)
            super().reset(seed)

    def work():
        try:
            serve(theirs, replace(TOY, make_env=Slow), 8, 2)
        except BaseException as error:
            errors.append(error)

    worker = threading.Thread(target=work)
    worker.start()
    ours.send(("start", [(0, False)]))
    assert waiting.wait(10)
    ours.close()
    answered.set()
    worker.join(10)
    assert not worker.is_alive() and not errors
