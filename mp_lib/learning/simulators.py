"""Tables of simulated episodes, here or in processes that live as long as their owner; knows no torch."""

from __future__ import annotations

import contextlib
import logging
import time
import traceback
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

import numpy as np

from mp_lib.interfaces import USUAL, Obs, Picture, TaskSpec
from mp_lib.sim.env import SimulationDiverged

log = logging.getLogger(__name__)

PATIENCE = 10.0  # seconds for processes to end by themselves


@dataclass
class Episode:
    """One rollout: its seed, whether it succeeded by the task's rule, its length, and its film if asked for."""

    seed: int
    success: bool
    steps: int
    film: list[np.ndarray] = field(default_factory=list, repr=False)


class Seat:
    """One environment in play: keeps the last To observations and the goal flags of its episode."""

    def __init__(self, spec: TaskSpec, num_points: int, n_obs_steps: int, picture: Picture = USUAL):
        self.spec, self.picture = spec, picture
        self.env = spec.make_env(num_points=num_points)
        self.history: deque[Obs] = deque(maxlen=n_obs_steps)

    def start(self, seed: int, filmed: bool) -> list[Obs]:
        """Begin the episode of ``seed``; its first observation stands for those before it."""
        self.seed, self.flags, self.film = seed, [], [] if filmed else None
        self.env.reset(seed)
        self.history.extend([self.env.observe()] * self.history.maxlen)
        self.shoot()
        return list(self.history)

    def play(self, actions: np.ndarray) -> list[Obs] | Episode:
        """Execute actions (Ta, A); return the new history, or the episode if that has ended.

        Only the last To steps are looked at: nobody sees the others, and looking is what costs.
        """
        for index, action in enumerate(actions):
            try:
                self.flags.append(self.env.step(action))
            except SimulationDiverged as error:
                log.warning("%s, seed %d: %s; counted as a failure", self.spec.name, self.seed, error)
                return Episode(self.seed, False, len(self.flags), self.film or [])
            self.shoot()
            decided = self.spec.success_rule.stops and self.flags[-1]
            if decided or len(self.flags) == self.spec.max_steps:
                success = bool(self.spec.success_rule.judge(self.flags))
                return Episode(self.seed, success, len(self.flags), self.film or [])
            if index >= len(actions) - self.history.maxlen:
                self.history.append(self.env.observe())
        return list(self.history)

    def shoot(self) -> None:
        """Add a picture to the film, if there is one."""
        if self.film is not None and len(self.flags) % self.picture.every == 0:
            self.film.append(self.env.render(self.picture))


class Table:
    """Seats in this process; ``serve`` makes it a worker process."""

    def __init__(self, spec: TaskSpec, num_points: int, n_obs_steps: int):
        self.make_seat = lambda: Seat(spec, num_points, n_obs_steps)
        self.seats: list[Seat] = []

    def start(self, seeds: Sequence[tuple[int, bool]]) -> list:
        """Begin an episode a seat; (seed, filmed) each."""
        while len(self.seats) < len(seeds):
            self.seats.append(self.make_seat())
        return [seat.start(*seed) for seat, seed in zip(self.seats, seeds, strict=False)]

    def play(self, actions: Sequence[np.ndarray | None]) -> list:
        """Execute a chunk a seat; a seat whose episode has ended gets None and gives None."""
        return [None if chunk is None else seat.play(chunk) for seat, chunk in zip(self.seats, actions, strict=False)]

    def call(self, method: str, arguments: Sequence) -> list:
        """``start`` or ``play``, by name as it travels to other processes."""
        return getattr(self, method)(arguments)

    def alive(self) -> bool:
        """Whether it can be called; a table in this process always can."""
        return True

    def close(self) -> None:
        """Free the environments."""
        for seat in self.seats:
            seat.env.close()


def serve(connection: Connection, spec: TaskSpec, num_points: int, n_obs_steps: int) -> None:
    """Answer (method, argument) calls to a table until the other end closes; errors travel back.

    Ctrl-C, which a terminal sends to all processes in front, ends it as quietly.
    """
    ended = contextlib.suppress(EOFError, ConnectionError, KeyboardInterrupt)
    with contextlib.closing(Table(spec, num_points, n_obs_steps)) as table, ended:
        while True:
            method, argument = connection.recv()
            try:
                answer = table.call(method, argument)
            except Exception as error:
                answer = portable(error)
            connection.send(answer)


def portable(error: Exception) -> Exception:
    """The error with its traceback as a note; a RuntimeError that quotes it where it cannot be pickled."""
    error.add_note(f"in a simulating process:\n{traceback.format_exc()}")
    try:
        ForkingPickler.loads(ForkingPickler.dumps(error))  # what a connection does
    except Exception:
        return RuntimeError(f"{type(error).__name__} in a simulating process: {error}")
    return error


class RemoteTables:
    """The same as ``Table``, in ``jobs`` processes that take seats in turn; no more start than there are seats."""

    def __init__(self, jobs: int, *arguments):
        self.jobs, self.arguments = jobs, arguments
        self.connections: list[Connection] = []
        self.processes: list = []

    def start_process(self) -> None:
        """Start one that serves a table of its own."""
        context = get_context("spawn")  # not forked: threads and OpenGL contexts cannot be copied
        ours, theirs = context.Pipe()
        self.connections.append(ours)
        process = context.Process(target=serve, args=(theirs, *self.arguments), daemon=True)
        process.start()
        theirs.close()
        self.processes.append(process)

    def call(self, method: str, arguments: Sequence) -> list:
        """Let every process work on its share at the same time."""
        jobs = min(self.jobs, len(arguments))
        while len(self.processes) < jobs:
            self.start_process()
        answers: list = [None] * len(arguments)
        try:
            for index, connection in enumerate(self.connections[:jobs]):
                connection.send((method, arguments[index::jobs]))
            shares = [connection.recv() for connection in self.connections[:jobs]]
        except (EOFError, ConnectionError):
            raise RuntimeError("a simulating process died (out of memory?); run again with fewer jobs") from None
        for index, share in enumerate(shares):
            if isinstance(share, Exception):
                raise share
            answers[index::jobs] = share
        return answers

    def alive(self) -> bool:
        """Whether all processes that were started still run."""
        return all(process.is_alive() for process in self.processes)

    def close(self) -> None:
        """End the processes, which they do when their connection closes; one that hangs is killed."""
        for connection in self.connections:
            connection.close()
        deadline = time.monotonic() + PATIENCE
        for process in self.processes:
            process.join(max(0.0, deadline - time.monotonic()))
            process.kill()
            process.join()


class Simulators:
    """The owner of what simulates: ``jobs`` processes, or this one if that is 1, kept from one rollout to the next.

    That changes no episode, as a reset sets an environment back to the bit. None outlives its owner, however that ends.
    """

    def __init__(self, jobs: int):
        self.jobs = jobs
        self._arguments: tuple = ()
        self._tables: Table | RemoteTables | None = None

    @contextlib.contextmanager
    def tables(self, spec: TaskSpec, num_points: int, n_obs_steps: int) -> Iterator[Table | RemoteTables]:
        """The tables for rollouts in the block, those of before if they were for the same and all of them are alive.

        An error in the block ends them, also Ctrl-C: the answer to a call that was not waited for would be taken for
        that to the next one.
        """
        arguments = (spec, num_points, n_obs_steps)
        if self._tables is None or arguments != self._arguments or not self._tables.alive():
            self.close()
            self._arguments = arguments
            self._tables = Table(*arguments) if self.jobs == 1 else RemoteTables(self.jobs, *arguments)
        try:
            yield self._tables
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """End the processes and free the environments; the next call makes new ones."""
        tables, self._tables = self._tables, None
        if tables:
            tables.close()

    def __enter__(self) -> Simulators:
        return self

    def __exit__(self, *_) -> None:
        self.close()
