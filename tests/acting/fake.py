"""A policy without weights, a clock that is wound by hand, and a background that answers when it is told to."""

from concurrent.futures import Future

import numpy as np

from mp_lib.acting.actor import Actor
from mp_lib.acting.facts import PolicyFacts

HORIZON, FRAMES, STEPS, POINTS, STATE, ACTION = 8, 2, 4, 16, 3, 2


class FakeEngine:
    """Its action for step t after "now" is (10 state[0] of now + t, the number of the call); keeps what it was given.

    ``spoilt`` names calls that give NaN, ``broken`` calls that raise.
    """

    def __init__(self, kinds="", seen=None, spoilt=(), broken=(), **facts):
        usual = {"task": "my_arm", "method": "fake", "state_dim": STATE, "robot_dim": ACTION}
        usual |= {"horizon": HORIZON, "n_obs_steps": FRAMES, "n_action_steps": STEPS, "num_points": POINTS}
        usual |= {
            "action_dim": facts.get("robot_dim", ACTION),
            "num_train_steps": 10,
            "num_inference_steps": 2,
            "action_kinds": kinds,
        }
        self.facts = PolicyFacts(**usual | facts)
        self.seen, self.spoilt, self.broken, self.given = seen, spoilt, broken, []

    def predict(self, point_cloud, state, noise):
        call = len(self.given)
        self.given.append((point_cloud, state, noise))
        if call in self.broken:
            raise RuntimeError("the engine has stopped")
        chunk = np.empty((self.facts.horizon, self.facts.robot_dim), np.float32)
        chunk[:, 0] = 10 * state[-1, 0] + np.arange(self.facts.horizon) - self.facts.n_obs_steps + 1
        chunk[:, 1:] = np.nan if call in self.spoilt else call
        return chunk


class Clock:
    """Tells the time that it was set to."""

    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


def delayed(steps):
    """A background in which an answer is there so many control steps after it was asked for."""

    class Slow(Future):
        looked = 0

        def done(self):
            self.looked += 1
            return self.looked > steps

    def start(compute):
        future = Slow()
        try:
            future.set_result(compute())
        except Exception as error:
            future.set_exception(error)
        return future

    return start


def cloud(number=0, points=POINTS):
    return np.random.default_rng(number).normal(size=(points, 3)).astype(np.float32)


def seen(number):
    """An observation whose state says which it is."""
    return {"point_cloud": cloud(number), "state": np.array([number, 0, 0], np.float32)}


def actor_of(engine=None, **options):
    """Limits are off unless given, and the clock stands."""
    return Actor(engine or FakeEngine(), **{"limits": None, "clock": Clock()} | options)
