"""What it costs that chunks come late: an actor in a simulator, in which a chunk takes so many control steps.

Nothing is waited for. In turn the environment goes on with what the arm is told to hold while the chunk is computed;
ahead, what is asked for in the background is answered so many steps later. Without delay the episodes are those of
ordinary rollouts, but for the rounding of another batch and another backend.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch

from mp_lib.acting.actor import Actor
from mp_lib.acting.engine import Engine, OnnxEngine
from mp_lib.acting.exporting import export
from mp_lib.acting.holding import CannotAct
from mp_lib.acting.schedule import Compute
from mp_lib.config import EXPLORING_SEEDS
from mp_lib.insight.deadlines import today
from mp_lib.interfaces import TaskSpec
from mp_lib.learning.evaluation import evaluate, folder_apart, load, outcome
from mp_lib.learning.journal import Journal
from mp_lib.learning.simulators import Episode, Seat
from mp_lib.model.weights import name_of_weights
from mp_lib.study.acting_rows import AHEAD, IN_TURN, ROLLOUT, Delays, keep_row, read_rows
from mp_lib.system.device import device_name
from mp_lib.system.errors import InputError, shown
from mp_lib.system.progress import tracked
from mp_lib.system.provenance import commit, file_hash

DELAYS = (1, 2, 4)  # control steps


def cases(delays: Sequence[int]) -> list[tuple[str, int]]:
    """Who asks for chunks, and how many control steps one takes; without delay an actor's schedules are the same."""
    return [(ROLLOUT, 0), (IN_TURN, 0), *((schedule, delay) for schedule in (IN_TURN, AHEAD) for delay in delays)]


class Later:
    """A background whose answers come ``delay`` control steps after they were asked for; ``step`` lets one pass."""

    def __init__(self, delay: int):
        self.delay, self.now, self.due = delay, 0, []

    def __call__(self, compute: Compute) -> Future:
        """Compute at once, and hand the answer on when it is due."""
        future: Future = Future()
        try:
            hand_on = (future.set_result, compute())
        except CannotAct as error:
            hand_on = (future.set_exception, error)
        self.due.append((self.now + self.delay, *hand_on))
        return future

    def forget(self) -> None:
        """Begin anew, with nothing asked for."""
        self.now, self.due = 0, []

    def step(self) -> None:
        """A control step has passed."""
        self.now += 1
        for when, hand_on, answer in self.due:
            if when == self.now:
                hand_on(answer)


class Latecomer:
    """Plays episodes by an actor whose chunks come ``delay`` control steps late.

    The first chunk of an episode is waited for, since there is nothing to hold yet. An InputError for a delay that a
    chunk has too few actions for.
    """

    def __init__(self, engine: Engine, spec: TaskSpec, schedule: str, delay: int):
        facts = engine.facts
        self.later = Later(delay)
        # In a simulator nothing may move, and it has bounds of its own.
        off = {"limits": None, "no_observation_s": None, "same_cloud_s": None}
        self.ahead, self.holds = (delay, 0) if schedule == AHEAD else (0, delay)
        self.actor = Actor(engine, asynchronous=self.ahead or False, start=self.later, **off)
        if delay > (most := self.actor.usable - self.actor.n_action_steps):
            raise InputError(f"delay {shown(delay)} given; a chunk of this policy can be up to {most} steps late")
        self.seat = Seat(spec, facts.num_points, facts.n_obs_steps)

    def play(self, seed: int) -> Episode:
        """The episode of an environment seed. What no chunk is computed from is not looked at, as in rollouts."""
        answer, told, call = self.seat.start(seed, False), [], 0
        self.actor.reset(seed)
        self.later.forget()
        while True:
            looked = None
            if call == 0 or (call + self.ahead) % self.actor.n_action_steps == 0:  # here it asks
                if told:
                    answer, told = self.seat.play(np.stack(told)), self.held()
                if isinstance(answer, Episode):
                    return answer
                *before, looked = map(vars, answer)
                for each in before:
                    self.actor.observe(each)
            told.append(self.actor.select_action(looked))
            self.later.step()
            call += 1

    def held(self) -> list[np.ndarray]:
        """What the arm is told while it waits for a chunk in turn."""
        return [self.actor.still()] * self.holds

    def close(self) -> None:
        """Free the simulator."""
        self.seat.env.close()


def played(player: Latecomer, seeds: Sequence[int], journal: Journal) -> list[Episode]:
    """An episode a seed; those in ``journal`` are not played again."""
    episodes = []
    for place, seed in enumerate(tracked(seeds, "late chunks")):
        if not (rows := journal.recall(place, [seed])):
            ended = player.play(seed)
            rows = [{"seed": seed, "success": ended.success, "steps": ended.steps}]
            journal.add(place, rows, [])
        episodes += [Episode(**row) for row in rows]
    return episodes


def keep_delays(checkpoint: Path, episodes: int = 50, delays: Sequence[int] = DELAYS) -> Iterator[Delays]:
    """Play what is not kept yet of a checkpoint's ``cases``, from EXPLORING_SEEDS on, and keep it; yields each row.

    Where it was stopped it goes on. Raises the errors of ``evaluate``, as for a task that cannot be simulated, and
    those of ``Latecomer``.
    """
    told = {"policy": name_of_weights(checkpoint), "checkpoint": file_hash(checkpoint), "episodes": episodes}
    told |= {"first_seed": EXPLORING_SEEDS}
    policy, spec = load(checkpoint, device="cpu")
    told |= {"task": spec.name, "method": policy.config.method}
    origin = {"device": device_name(torch.device("cpu")), "commit": commit()}
    kept = {row.key for row in read_rows(Delays)}
    with TemporaryDirectory() as folder:
        engine = None
        for schedule, delay in cases(delays):
            case = told | {"schedule": schedule, "delay": delay, "backend": "torch" if schedule == ROLLOUT else "onnx"}
            if tuple(case[name] for name in Delays.KEY) in kept:
                continue
            if schedule == ROLLOUT:
                found = evaluate(checkpoint, episodes, EXPLORING_SEEDS, jobs=None, device="cpu", backend="torch")
            else:
                engine = engine or exported(checkpoint, spec, Path(folder) / "policy")
                name = f".late-{schedule.replace(' ', '-')}-{delay}-{episodes}.episodes"
                journal = Journal(folder_apart(checkpoint) / name, case | origin)
                with closing(Latecomer(engine, spec, schedule, delay)) as player:
                    found = outcome(played(player, range(EXPLORING_SEEDS, EXPLORING_SEEDS + episodes), journal))
            digits = "".join(map(str, found["successes"]))
            row = Delays(**case | origin, outcomes=digits, lengths=" ".join(map(str, found["steps"])), date=today())
            keep_row(row)
            yield row


def exported(checkpoint: Path, spec: TaskSpec, folder: Path) -> OnnxEngine:
    """A checkpoint under ONNX Runtime; what its actions are is told by its task where it does not say so."""
    export(checkpoint, folder, lambda task: {"action_kinds": spec.action_kinds})
    return OnnxEngine.load(folder)
