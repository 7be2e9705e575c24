"""What all suites share: checking of actions, the error for a diverged simulator, success rules."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from mp_lib.interfaces import SuccessRule

ANY_STEP = SuccessRule("any step", any, stops=True)


def _met_in_the_last_two_steps(flags: Sequence[bool]) -> bool:
    return len(flags) >= 2 and all(flags[-2:])


# DP3's score is the mean of the last two flags (env_runner/adroit_runner.py with 2 observed steps), so that one of them
# counts half; a success here is whole.
LAST_TWO_STEPS = SuccessRule("both of the last two steps", _met_in_the_last_two_steps, stops=False)


def _met_in_the_last_step(flags: Sequence[bool]) -> bool:
    return bool(flags) and flags[-1]


# DP3 asks DexArt after an episode whether the goal is met then (env_runner/dexart_runner.py, is_eval_done).
LAST_STEP = SuccessRule("the last step", _met_in_the_last_step, stops=False)


class SimulationDiverged(RuntimeError):
    """The simulator left the numbers that mean anything; the episode cannot go on, a reset starts a new one."""


class WiderDraws:
    """A generator whose uniform numbers come from ranges that are wider by ``percent``; by 0 to the bit the same.

    A draw lies as far from the middle of its range as before, times one factor. ``percent`` may be an array, of the
    shape of what is drawn.
    """

    def __init__(self, generator: np.random.Generator, percent: float | np.ndarray):
        self._generator, self._percent = generator, percent

    def uniform(self, low, high, size=None):
        """As NumPy's."""
        aside = self._percent / 200 * (high - low)
        return self._generator.uniform(low - aside, high + aside, size)


def on_data(env, data):
    """Return a twin of a gymnasium environment that simulates on other ``data`` of its model.

    All else it shares, so this is for environments whose steps replace attributes and change none in place. ``copy``
    will not do: they ask to be copied by making a new simulator.
    """
    twin = object.__new__(type(env))
    twin.__dict__.update(env.__dict__, data=data)
    return twin


def checked_action(action: np.ndarray, action_dim: int) -> np.ndarray:
    """Return ``action`` clipped to [-1, 1]; raise a ValueError if its shape is not (action_dim,) or it has a NaN."""
    action = np.asarray(action, np.float32)
    if action.shape != (action_dim,):
        raise ValueError(f"the action has shape {action.shape}; this task takes shape ({action_dim},)")
    if np.isnan(action).any():
        raise ValueError(f"the action {action} has a NaN; the policy that made it has to be looked at")
    return np.clip(action, -1, 1)
