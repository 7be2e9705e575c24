"""A client of a policy server: an actor of its own, and what each of its messages is answered with."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Mapping
from dataclasses import asdict

import numpy as np

from mp_lib.acting.actor import Actor
from mp_lib.acting.engine import Engine
from mp_lib.acting.history import NAMES
from mp_lib.acting.packing import pack, unpack
from mp_lib.system.errors import InputError, one_line, shown

log = logging.getLogger(__name__)

RESET, SEED = "reset", "seed"
MOST_POINTS = 2**20  # of a cloud: those of a depth image of 1280 x 720, whose farthest take a second or two to find
LONGEST_LINE = 400  # characters


class SharedEngine:
    """An engine that several threads ask, which answers one after the other."""

    def __init__(self, engine: Engine):
        self.engine, self.facts, self.seen = engine, engine.facts, engine.seen
        self.lock = threading.Lock()

    def predict(self, point_cloud: np.ndarray, state: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """As of ``mp_lib.acting.engine.Engine``."""
        with self.lock:
            return self.engine.predict(point_cloud, state, noise)


class Session:
    """One client's episodes. An observation is what an actor takes, with two things more.

    ``reset`` True begins an episode, whose noise comes from ``seed`` if there is one, before the observation is looked
    at. A client that asks once a chunk is seen once a chunk, and the history is then what it sent, the first of an
    episode standing for those before it; it may send the last To frames at once instead, point_cloud (To, M, 3) and
    state (To, S), the newest last. A message that is no such observation changes nothing. One for which the policy
    fails, or gives actions that are not finite, has begun its episode all the same, and stays in the history.
    """

    def __init__(self, actor: Actor):
        self.actor = actor

    def metadata(self) -> dict:
        """What a client is told first: sizes, steps and units of the policy (``PolicyFacts``), and what is executed."""
        return asdict(self.actor.facts) | {"n_action_steps": self.actor.n_action_steps}

    def answer(self, message: bytes | str) -> bytes | str:
        """What a message is answered with: packed actions (Ta, A) and the time they took, or a line of what is wrong.

        It raises nothing: whatever a policy raises is logged and told.
        """
        began = time.perf_counter()
        try:
            if isinstance(message, str):
                raise InputError("a text was sent; send an observation as one binary message of msgpack")
            actions = self.act(unpack(message))
        except InputError as error:
            return line(error)
        except Exception as error:
            told = line(f"the policy failed ({type(error).__name__}: {error})")
            log.warning("%s", told)
            return told
        return pack({"actions": actions, "server_timing": {"infer_ms": 1000 * (time.perf_counter() - began)}})

    def act(self, observation) -> np.ndarray:
        """The actions (Ta, A) for an observation; an InputError for what is none."""
        if not isinstance(observation, Mapping):
            raise InputError(f"{type(observation).__name__} sent; send a dict with {' and '.join(NAMES)}")
        again, seed = begins(observation)
        *before, now = self.frames_of(observation)
        read = [self.actor.history.read(each) for each in (*before, now)]
        if again:
            self.actor.reset(seed)
        if before:
            self.actor.history.clear()
            for frame in read[:-1]:
                self.actor.history.add(frame)
        return self.actor.predict_action_chunk(now)

    def frames_of(self, observation: Mapping) -> list[Mapping]:
        """The observations that one message holds: one, or those of a whole history."""
        found = {key: next((observation[n] for n in names if n in observation), None) for key, names in NAMES.items()}
        cloud, state = found.values()
        if getattr(cloud, "size", 0) > 3 * MOST_POINTS * self.actor.facts.n_obs_steps:
            raise InputError(f"a cloud has more than {MOST_POINTS} points; crop it, or take every other point")
        if (getattr(cloud, "ndim", 0), getattr(state, "ndim", 0)) != (3, 2):
            return [observation]
        steps = self.actor.facts.n_obs_steps
        if not len(cloud) == len(state) == steps:
            raise InputError(
                f"a history of {len(cloud)} clouds and {len(state)} states sent; the policy sees {steps} of each, "
                "the newest last; without that axis it is a single observation"
            )
        return [dict(zip(found, each, strict=True)) for each in zip(cloud, state, strict=True)]


def begins(observation: Mapping) -> tuple[bool, int | None]:
    """Whether an observation begins an episode, and the seed it gives; an InputError for what cannot be meant."""
    again, seed = observation.get(RESET, False), observation.get(SEED)
    if not isinstance(again, bool | np.bool_):
        raise InputError(f"{RESET} {shown(again)} sent; send True or False")
    if seed is not None and not again:
        raise InputError(f"{SEED} {shown(seed)} sent without {RESET}; an episode's seed comes with {RESET} True")
    return bool(again), int(seed) if isinstance(seed, np.integer) else seed


def line(text: object) -> str:
    """One line that is not long."""
    return one_line(text)[:LONGEST_LINE]
