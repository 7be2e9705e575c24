"""Rollouts: a policy in a task, several episodes side by side with one batched policy call."""

from __future__ import annotations

import contextlib
import logging
import traceback
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field
from multiprocessing import get_context
from multiprocessing.connection import Connection
from multiprocessing.reduction import ForkingPickler

import numpy as np
import torch

from mp_lib.interfaces import Obs, TaskSpec
from mp_lib.learning.journal import Journal
from mp_lib.model.backends import FrozenPolicy
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.sim.env import SimulationDiverged
from mp_lib.system.errors import at_least_one
from mp_lib.system.progress import track
from mp_lib.system.workers import check_main

log = logging.getLogger(__name__)

# Episodes that share policy calls. A constant: rounding depends on the size of a batch, so results
# would otherwise depend on the number of processes.
GROUP = 10
ROW = ("seed", "success", "steps")  # of an episode in a journal


@dataclass
class Episode:
    """One rollout: its seed, whether it succeeded by the task's rule, its length, and its film if asked for."""

    seed: int
    success: bool
    steps: int
    film: list[np.ndarray] = field(default_factory=list, repr=False)


class Seat:
    """One environment in play: keeps the last To observations and the goal flags of its episode."""

    def __init__(self, spec: TaskSpec, num_points: int, n_obs_steps: int):
        self.spec = spec
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
        if self.film is not None:
            self.film.append(self.env.render())


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

    def close(self) -> None:
        """Free the environments."""
        for seat in self.seats:
            seat.env.close()


def serve(connection: Connection, spec: TaskSpec, num_points: int, n_obs_steps: int) -> None:
    """Answer (method, argument) calls to a table until the other end closes; errors travel back."""
    torch.set_num_threads(1)
    ended = contextlib.suppress(EOFError, ConnectionError)
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
    """The same as ``Table``, with seat i in process i modulo the number of processes."""

    def __init__(self, jobs: int, *arguments):
        context = get_context("spawn")  # not forked: threads and OpenGL contexts cannot be copied
        self.processes, self.connections = [], []
        for _ in range(jobs):
            ours, theirs = context.Pipe()
            process = context.Process(target=serve, args=(theirs, *arguments), daemon=True)
            process.start()
            theirs.close()
            self.processes.append(process)
            self.connections.append(ours)

    def call(self, method: str, arguments: Sequence) -> list:
        """Let every process work on its share at the same time."""
        jobs = len(self.connections)
        answers: list = [None] * len(arguments)
        try:
            for index, connection in enumerate(self.connections):
                connection.send((method, arguments[index::jobs]))
            shares = [connection.recv() for connection in self.connections]
        except (EOFError, ConnectionError):
            raise RuntimeError("a simulating process died (out of memory?); run again with fewer jobs") from None
        for index, share in enumerate(shares):
            if isinstance(share, Exception):
                raise share
            answers[index::jobs] = share
        return answers

    def close(self) -> None:
        """End the processes."""
        for connection in self.connections:
            connection.close()
        for process in self.processes:
            process.join(10)
            process.terminate()


def settle_jobs(jobs: int | None) -> int:
    """How many processes simulate; an InputError if that is no number of them, or this script cannot start any."""
    at_least_one(jobs=jobs)
    jobs = min(GROUP, torch.get_num_threads()) if jobs is None else jobs
    if jobs > 1:
        check_main()
    return jobs


def rollout(
    policy: DiffusionPolicy | FrozenPolicy,
    spec: TaskSpec,
    seeds: Sequence[int],
    *,
    jobs: int | None = 1,
    films: int = 0,
    journal: Journal | None = None,
) -> list[Episode]:
    """Play one episode a seed and return them in order; the first ``films`` of them are filmed.

    Repeatable: the noise of an episode is drawn from its seed alone, and the number of processes that
    simulate (``jobs``; 1 is this process, None one a thread of torch's) changes nothing. Which episodes are
    played together changes no more than the rounding of a batched policy call. The policy is put into
    evaluation mode and runs on the device it is on; ``mp_lib.model.backends.freeze`` makes one that runs under
    another backend.
    An InputError is raised before anything is played if ``jobs`` is below 1, or a script that has no
    ``if __name__ == "__main__":`` around the call asks for more than 1.
    Episodes in ``journal`` are not played again, and those of each group are added to it, with the film of the first.
    """
    jobs = settle_jobs(jobs)
    policy.eval()
    arguments = (spec, policy.config.num_points, policy.config.n_obs_steps)
    tables = Table(*arguments) if jobs == 1 else RemoteTables(jobs, *arguments)
    with contextlib.closing(tables), track(len(seeds), f"roll out {spec.name}") as progress:
        episodes: list[Episode | None] = [None] * len(seeds)
        for first in range(0, len(seeds), GROUP):
            members = seeds[first : first + GROUP]
            if journal and (rows := journal.recall(first, members)):
                episodes[first : first + GROUP] = [Episode(**row) for row in rows]
                progress.advance(len(rows))
                continue
            group = [(seed, first + index < films) for index, seed in enumerate(members)]
            for index, episode in play_group(policy, tables, group):
                episodes[first + index] = episode
                progress.advance()
            if journal:
                ended = episodes[first : first + GROUP]
                journal.add(first, [{key: getattr(each, key) for key in ROW} for each in ended], ended[0].film)
    return episodes


def play_group(policy: DiffusionPolicy | FrozenPolicy, tables: Table | RemoteTables, group: list[tuple[int, bool]]):
    """Yield (place in the group, episode) as episodes end; each round is one policy call for all that still run."""
    config = policy.config
    noise = [torch.Generator().manual_seed(seed) for seed, _ in group]
    answers = tables.call("start", group)
    while running := [index for index, answer in enumerate(answers) if isinstance(answer, list)]:
        histories = [answers[index] for index in running]
        drawn = [torch.randn(config.horizon, config.action_dim, generator=noise[index]) for index in running]
        chunks = policy.act(batch_of(histories, policy), torch.stack(drawn).to(policy.device)).cpu().numpy()
        actions: list = [None] * len(group)
        for index, chunk in zip(running, chunks, strict=True):
            actions[index] = chunk
        answers = tables.call("play", actions)
        yield from ((index, answer) for index, answer in enumerate(answers) if isinstance(answer, Episode))


def batch_of(histories: list[list[Obs]], policy: DiffusionPolicy | FrozenPolicy) -> dict[str, torch.Tensor]:
    """Histories of To observations as a batch: point_cloud (B, To, N, 3), state (B, To, S)."""
    return {
        key: torch.from_numpy(np.stack([[getattr(obs, key) for obs in history] for history in histories])).to(
            policy.device
        )
        for key in ("point_cloud", "state")
    }
