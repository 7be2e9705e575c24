"""A policy that acts: observations in, one command a step out, and what keeps an arm safe meanwhile."""

from __future__ import annotations

import copy
import logging
import threading
import time
import warnings
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np

from mp_lib.acting.check import Check, check
from mp_lib.acting.engine import Engine, load_engine
from mp_lib.acting.history import Frame, History, completed
from mp_lib.acting.holding import LATE, CannotAct, Report
from mp_lib.acting.limits import DEMONSTRATIONS, limits_of
from mp_lib.acting.schedule import Ahead, Averaged, Compute, InTurn, Pace, Start, in_background
from mp_lib.acting.watch import Watch
from mp_lib.config import BOUNDS
from mp_lib.geometry.kinds import Layout
from mp_lib.model.noise import chunk_noise
from mp_lib.system.errors import InputError, is_count, shown
from mp_lib.system.values import check_bounds, meaning

log = logging.getLogger(__name__)


class Actor:
    """A policy at work, one episode after the other; ``load`` makes one of a run, a file of weights or an export.

    Call ``reset`` before an episode and ``select_action`` at every control step, or ``predict_action_chunk`` for
    the actions of several. An observation is a dict with ``point_cloud`` (M, 3), in the frame and crop of the
    demonstrations and of any number of points, and ``state`` (S,); LeRobot's and DP3's names of both are read, too,
    and a ``stamp`` that tells one observation from the next. Arrays are copied. An action is (A,) float32, in the
    robot's own units.

    Where it must not go on it holds: it commands the last command again, or zero where the numbers are velocities or
    steps, and says why in the log and in ``report``. Use it from one thread.
    """

    def __init__(
        self,
        engine: Engine,
        *,
        n_action_steps: int | None = None,
        asynchronous: bool | int = False,
        limits=DEMONSTRATIONS,
        max_step=None,
        action_kinds: str = "",
        temporal_ensemble_coeff: float | None = None,
        no_observation_s: float | None = 0.2,
        same_cloud_s: float | None = 0.5,
        seed: int = 0,
        clock: Callable[[], float] = time.monotonic,
        start: Start = in_background,
    ):
        """An actor of an engine (``mp_lib.acting.engine``); an InputError for options that cannot be meant.

        Args:
            n_action_steps: how many actions of a chunk are executed; None is the policy's own number.
            asynchronous: compute the next chunk in the background while the last is executed, asked for as many steps
                ahead as answers have taken lately, or as are given. Its first actions, of the steps executed meanwhile,
                are skipped. False: in turn, while the arm waits, which is what can be repeated to the bit.
            limits: bounds of the commands: the range of the demonstrations' actions and 5 % of it to either side; None
                for none, with which grippers are not snapped either; or (low, high), numbers or (A,) each.
            max_step: by how much a number may differ from the last command, a number or (A,); None for any. The first
                command of an episode is not held to it: nothing says where the arm's commands have been.
            action_kinds: what the numbers of an action are, where the policy's file does not say it, such as
                "velocity:6 gripper:1" (``mp_lib.geometry.kinds.Layout``); they decide what to hold means.
            temporal_ensemble_coeff: average, at every step, all chunks that tell it (ACT has 0.01); None: do not. It
                computes a chunk a step, and chunks of several modes average to what none of them does.
            no_observation_s: seconds without a new observation after which the arm holds, until which the actions for
                the steps since the last one go on; None: it holds only when a chunk has no more of them.
            same_cloud_s: seconds with clouds equal to the bit after which it holds; None: not looked at, as in a
                simulator, where nothing may move.
            seed: of the noise of episodes that ``reset`` gives no other one.
            clock: tells the time in seconds.
            start: starts computing in the background, as ``in_background``.
        """
        self.engine, self.facts = engine, engine.facts.with_action_kinds(action_kinds)
        self.usable = self.facts.horizon - self.facts.n_obs_steps + 1  # actions of a chunk from now on
        self.n_action_steps = self.facts.n_action_steps if n_action_steps is None else n_action_steps
        if not (is_count(self.n_action_steps) and self.n_action_steps <= self.usable):
            raise InputError(f"n_action_steps {shown(n_action_steps)} given; a chunk has 1 to {self.usable} to execute")
        self.most_ahead = min(self.n_action_steps, self.usable - 1)  # one action at least is left of a chunk
        kinds = self.facts.action_kinds
        self.layout = Layout.parse(kinds, self.facts.robot_dim) if kinds else None
        self.limits = limits_of(limits, max_step, engine.seen, self.layout, self.facts.robot_dim)
        self.no_observation_s = seconds("no_observation_s", no_observation_s)
        self.same_cloud_s = seconds("same_cloud_s", same_cloud_s)
        self.asynchronous, self.coeff = asynchronous, temporal_ensemble_coeff
        self.clock, self.start, self.seed = clock, start, seed
        self.engine_lock, self.said_unknown = threading.Lock(), False
        self.check_schedule()
        self.reset(seed)

    @classmethod
    def load(
        cls,
        path: str | Path,
        backend: str = "auto",
        *,
        threads: int = 1,
        num_inference_steps: int | None = None,
        **options,
    ) -> Actor:
        """The policy of a run, a folder, a file of weights or an export; ``options`` are those of ``Actor``.

        What is found, under which ``backend``, with how many ``threads`` and denoising steps, is told by
        ``mp_lib.acting.engine.load_engine``, and raises its errors.
        """
        return cls(load_engine(path, backend, threads=threads, num_inference_steps=num_inference_steps), **options)

    def check_schedule(self) -> None:
        """Raise an InputError for choices of when chunks are computed that cannot be meant; warn of averages."""
        steps = 1 if self.asynchronous is True else self.asynchronous
        if self.asynchronous is not False and not (is_count(steps) and steps <= self.most_ahead):
            allowed = f"True, or 1 to {self.most_ahead} steps" if self.most_ahead else "or a chunk of more actions"
            raise InputError(f"asynchronous {shown(self.asynchronous)} given; give False, {allowed}")
        if self.coeff is None:
            return
        self.coeff = meaning("temporal_ensemble_coeff", "float", self.coeff, "0.01")
        if self.asynchronous:
            raise InputError("temporal_ensemble_coeff and asynchronous given; an average needs a chunk at every step")
        warnings.warn(
            "temporal_ensemble_coeff averages chunks: where a cloud allows several ways, the average is none of them",
            stacklevel=3,
        )

    def reset(self, seed: int | None = None) -> None:
        """Begin an episode, whose noise comes from ``seed``, that of before if None; what was planned is forgotten."""
        seed = meaning("seed", "int", self.seed if seed is None else seed)
        check_bounds({"seed": seed}, BOUNDS)
        self.seed = seed
        self.calls, self.last, self.failure = 0, None, ""
        self.counted = Report()
        facts = self.facts
        self.history = History(facts.num_points, facts.state_dim, facts.n_obs_steps, facts.state_kinds)
        self.watch = Watch(self.no_observation_s, self.same_cloud_s)
        self.pace = Pace()
        self.schedule = self.scheduled()

    def scheduled(self) -> InTurn | Ahead | Averaged:
        """When chunks are computed in an episode."""
        if self.coeff is not None:
            return Averaged(self.coeff, self.layout)
        if not self.asynchronous:
            return InTurn(self.n_action_steps)
        pace, most = self.pace, self.most_ahead
        lead = (lambda: min(pace.lead(), most)) if self.asynchronous is True else (lambda: self.asynchronous)
        return Ahead(self.n_action_steps, lead, self.counted, self.start)

    def select_action(self, observation: Mapping | None) -> np.ndarray:
        """The command (A,) of this control step; ``observation`` may be None where none came.

        Raises an InputError for what is no observation of this policy, and where there is nothing to hold yet. What the
        policy raises is raised, too, but in the background: then the arm holds until ``reset``.
        """
        now = self.clock()
        self.pace.step(now)
        self.counted.steps += 1
        try:
            command = self.limited(self.next_action(observation, now))
        except CannotAct as error:
            return self.hold(error)
        self.counted.go_on()
        return command

    def next_action(self, observation: Mapping | None, now: float) -> np.ndarray:
        """What is planned for this step; a CannotAct where nothing is."""
        frame = None if observation is None else self.history.read(observation)
        new = self.watch.is_new(frame)
        self.watch.look(frame, now)
        if self.failure:
            raise CannotAct("policy failed", self.failure)
        if new:
            self.history.add(frame)
        return self.schedule.action(self.ask)

    def ask(self) -> Compute:
        """What computes the actions from now on, from the history as it is; a CannotAct if a chunk of it has none.

        They are (T - To + 1, A), and one less for each action that was commanded since its newest frame.
        """
        age = self.history.age
        if age >= self.usable:
            raise CannotAct("no observation", f"no observation for {age} actions, and a chunk has no more of them")
        whole, start = self.computing(), self.facts.n_obs_steps - 1 + age
        return lambda: whole()[start:]

    def computing(self) -> Compute:
        """What computes a whole chunk (T, A) from the history as it is; a CannotAct if there is none."""
        frames, facts, report, pace = tuple(self.history.frames), self.facts, self.counted, self.pace
        if not frames:
            raise CannotAct("no observation", "there is no observation")
        noise = chunk_noise(self.seed, self.calls, (facts.horizon, facts.action_dim))
        self.calls += 1

        def compute() -> np.ndarray:
            with self.engine_lock:  # a chunk that was dropped may still be computed, which is no time of this one's
                began = self.clock()
                cloud, state = completed(frames, facts.num_points)
                chunk = np.asarray(self.engine.predict(cloud, state, noise), np.float32)
                taken = self.clock() - began
            report.answered(taken)
            pace.answer(taken)
            if not np.isfinite(chunk).all():
                raise CannotAct("bad actions", "the policy's actions are not finite; are the numbers in its units?")
            return chunk

        return compute

    def limited(self, action: np.ndarray) -> np.ndarray:
        """The command for an action; it is the last one from now on."""
        self.last = self.limits.apply(action, self.last)
        self.history.age += 1
        return self.last.copy()

    def hold(self, error: CannotAct) -> np.ndarray:
        """The command that keeps an arm where it is; the plan is dropped unless a chunk is only late."""
        self.counted.hold(error)
        if error.reason == "policy failed":
            self.failure = str(error)
        if error.reason != LATE:
            self.schedule.drop()
            self.history.clear()
        try:
            self.last = self.still()
        except InputError as nothing:
            raise InputError(f"{error}; {nothing}") from error
        return self.last.copy()

    def still(self) -> np.ndarray:
        """The command (A,) that keeps an arm where it is; an InputError if that is the last one and there is none."""
        last = np.full(self.facts.robot_dim, np.nan, np.float32) if self.last is None else self.last
        held = self.layout.holds(last) if self.layout else last
        if not np.isfinite(held).all():
            raise InputError("nothing was commanded yet that could be held")
        if self.layout is None and not self.said_unknown:
            log.warning(
                "kinds of the action are not known, so to hold is the last command again; else give action_kinds"
            )
            self.said_unknown = True
        return np.asarray(held, np.float32)

    def observe(self, observation: Mapping) -> None:
        """Add an observation to the history and ask for nothing, as between two calls of ``predict_action_chunk``."""
        self.history.add(self.history.read(observation))

    def plan(self, observation: Mapping) -> np.ndarray:
        """The whole chunk (T, A) float32 for an observation and those before it, as predicted, computed now.

        Its action number To - 1 is that of now. No limit is put on it and no clock looked at. An InputError where the
        arm would have to hold.
        """
        self.observe(observation)
        return self.computing()()

    def predict_action_chunk(self, observation: Mapping) -> np.ndarray:
        """The commands (Ta, A) to execute now, within the limits, each as the one after the other; computed now.

        All are to be executed: the first of the next call is within ``max_step`` of the last of them, and its
        orientations and angles are in the form nearest to that. What ``select_action`` had planned is forgotten.
        Whoever looks at every step gives the observations between two calls to ``observe``. An InputError where the arm
        would have to hold.
        """
        self.schedule.drop()
        start = self.facts.n_obs_steps - 1
        chunk = self.plan(observation)[start : start + self.n_action_steps]
        self.counted.steps += len(chunk)
        return np.stack([self.limited(action) for action in chunk])

    def check(self, cloud: np.ndarray, state: np.ndarray) -> Check:
        """Whether a cloud (M, 3) and a state (S,) look like the training data: ``ok``, a line each, and a picture."""
        frame = self.sized(cloud, state)
        return check(frame.cloud, frame.state, self.facts.num_points, self.engine.seen)

    def sized(self, cloud, state) -> Frame:
        """A cloud and a state as a frame, whatever their numbers are."""
        given = {"point_cloud": cloud, "state": state}
        return Frame(*(self.history.numbers(key, given) for key in given))

    def report(self) -> Report:
        """What has been done since ``reset``, until now."""
        return copy.deepcopy(self.counted)


def seconds(name: str, given: float | None) -> float | None:
    """A time of an arm's clocks, None for none; an InputError unless it is more than 0."""
    found = meaning(name, "float | None", given, "0.2")
    if found is not None and found <= 0:
        raise InputError(f"{name} {shown(given)} given; it must be more than 0, or None to leave it out")
    return found
