"""What drives each suite's demonstrations."""

from __future__ import annotations

import functools
import warnings
from pathlib import Path

import numpy as np

from mp_lib.system.files import read_arrays
from mp_lib.system.paths import experts_path

OWN_NETWORKS = Path(__file__).parent / "assets" / "experts"
NETWORK_ARRAYS = ("w0", "b0", "w1", "b1", "w2", "b2", "in_shift", "in_scale", "out_shift", "out_scale")


class MetaWorldExpert:
    """MetaWorld's scripted policy for one task; ``task`` is MetaWorld's name, such as "stick-push"."""

    def __init__(self, task: str):
        from metaworld.policies import ENV_POLICY_MAP

        self._policy = ENV_POLICY_MAP[f"{task}-v3"]()

    def act(self, truth: dict[str, np.ndarray]) -> np.ndarray:
        """Return the action (4,) float32 in [-1, 1] for ``truth["observation"]`` (39,)."""
        with warnings.catch_warnings():  # it warns of actions beyond 1, which are clipped here
            warnings.simplefilter("ignore", UserWarning)
            action = self._policy.get_action(truth["observation"])
        return np.clip(action, -1, 1).astype(np.float32)


class NetworkExpert:
    """A network of two hidden tanh layers that acts on the simulator's own observation.

    ``arrays`` holds NETWORK_ARRAYS: weights (out, in), biases, and the shift and scale of what goes in and
    comes out. Without randomness: it takes the mean of what it was trained to do.
    """

    def __init__(self, arrays: dict[str, np.ndarray]):
        self._arrays = arrays

    def act(self, truth: dict[str, np.ndarray]) -> np.ndarray:
        """Return the action (A,) float32 in [-1, 1] for ``truth["observation"]``."""
        arrays = self._arrays
        layer = (truth["observation"] - arrays["in_shift"]) / (arrays["in_scale"] + 1e-8)
        for k in (0, 1):
            layer = np.tanh(arrays[f"w{k}"] @ layer + arrays[f"b{k}"])
        action = (arrays["w2"] @ layer + arrays["b2"]) * arrays["out_scale"] + arrays["out_shift"]
        return np.clip(action, -1, 1).astype(np.float32)


@functools.cache
def read_network(path: Path) -> dict[str, np.ndarray]:
    """Return NETWORK_ARRAYS of an .npz; a ValueError that says what to do if it is missing or damaged."""
    if not path.exists():
        raise ValueError(f"there is no expert at {path}; get it with: python -m mp_lib fetch adroit")
    arrays = read_arrays(path)
    if missing := [name for name in NETWORK_ARRAYS if name not in arrays]:
        raise ValueError(f"{path} is no expert: it lacks {', '.join(missing)}; get it again")
    return {name: arrays[name] for name in NETWORK_ARRAYS}


def make_own_network(task: str) -> NetworkExpert:
    """The expert of this project for a task, made by ``mp_lib.data.imitation``."""
    return NetworkExpert(read_network(OWN_NETWORKS / f"{task}.npz"))


def make_fetched_network(task: str) -> NetworkExpert:
    """The expert of others for a task, which ``mp_lib.data.download`` gets."""
    return NetworkExpert(read_network(experts_path() / f"{task}.npz"))
