"""What a policy has seen in training: the ranges of states, actions and clouds that the demonstrations had."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from pathlib import Path

import numpy as np

from mp_lib.acting.facts import PolicyFacts
from mp_lib.system.errors import InputError
from mp_lib.system.files import read_arrays


@dataclass(frozen=True, eq=False)
class Seen:
    """Arrays float32 in the robot's own units; None for what is not known.

    ``cloud`` (N, 3) is one training frame; ``cloud_low`` and ``cloud_high`` (3,) the box of all points, ``centre_…``
    (3,) that of the clouds' centres, ``extent_…`` (3,) the range of the clouds' sizes; ``state_…`` (S,) and
    ``action_…`` (A,) the ranges of states and actions; ``open_closed`` (2, A) the two values of each gripper that has
    no others, NaN for all other numbers (``mp_lib.geometry.grippers``).
    """

    cloud: np.ndarray | None = None
    cloud_low: np.ndarray | None = None
    cloud_high: np.ndarray | None = None
    centre_low: np.ndarray | None = None
    centre_high: np.ndarray | None = None
    extent_low: np.ndarray | None = None
    extent_high: np.ndarray | None = None
    state_low: np.ndarray | None = None
    state_high: np.ndarray | None = None
    action_low: np.ndarray | None = None
    action_high: np.ndarray | None = None
    open_closed: np.ndarray | None = None

    @property
    def arrays(self) -> dict[str, np.ndarray]:
        """What is known, by name."""
        return {name: values for name, values in asdict(self).items() if values is not None}


def read_seen(path: Path, facts: PolicyFacts) -> Seen:
    """What ``path`` says that a policy has seen; an InputError if it is damaged, or of other sizes than the policy."""
    found = read_arrays(path)
    names = {field.name for field in fields(Seen)}
    sized = {"state": facts.state_dim, "action": facts.robot_dim}
    sizes = {f"{key}_{end}": (size,) for key, size in sized.items() for end in ("low", "high")}
    sizes |= {"cloud": (np.size(found.get("cloud", ())) // 3, 3), "open_closed": (2, facts.robot_dim)}
    for name in names & {*found}:
        values, size = found[name], sizes.get(name, (3,))
        fits = values.dtype.kind == "f" and values.shape == size
        if not (fits and (name == "open_closed" or np.isfinite(values).all())):  # in the first NaN is no gripper
            told = f"{name} is no array of {size[-1]} finite numbers"
            raise InputError(f"{path}: {told}; restore a copy, or delete the file")
    return Seen(**{name: found[name].astype(np.float32) for name in names & {*found}})


def seen_by(normalizer: Mapping[str, np.ndarray], facts: PolicyFacts) -> Seen:
    """What a policy's normaliser tells: arrays ``state_scale``, ``state_offset`` and so on, as it keeps them.

    A number that hardly moved was only centred: its range is then one too wide, by 1 to either side. Of relative
    actions it tells the network's numbers and not the robot's, so their range is not known.
    """
    found = {}
    for key, name in {"point_cloud": "cloud", "state": "state", "action": "action"}.items():
        if key == "action" and facts.relative:
            continue
        scale, offset = (normalizer[f"{key}_{part}"].astype(np.float64) for part in ("scale", "offset"))
        constant, divisor = scale == 0, np.where(scale == 0, 1, scale)
        for end, side in (("low", -1), ("high", 1)):
            values = np.where(constant, offset, (side - offset) / divisor)
            found[f"{name}_{end}"] = values.astype(np.float32)
    return Seen(**found)
