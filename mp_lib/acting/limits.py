"""What is done to an action before an arm is told it: bounds, snapped grippers, the nearest form, the longest step."""

from __future__ import annotations

import logging
from dataclasses import dataclass

import numpy as np

from mp_lib.geometry.absolute import nearest
from mp_lib.geometry.grippers import gripper_columns, snap_grippers
from mp_lib.geometry.kinds import Layout
from mp_lib.geometry.rotations import NO_LENGTH
from mp_lib.system.errors import InputError, shown

log = logging.getLogger(__name__)

DEMONSTRATIONS = "demonstrations"
MARGIN = 0.05  # of a number's range in the demonstrations, by which it may be beyond


@dataclass(frozen=True)
class Limits:
    """Bounds ``low`` and ``high`` (A,), ``max_step`` (A,) from the last command, ``open_closed`` (2, A) of grippers.

    Each is None where there is none; NaN in ``open_closed`` is a number that is not snapped. ``layout`` tells the
    kinds, if they are known.
    """

    low: np.ndarray | None = None
    high: np.ndarray | None = None
    max_step: np.ndarray | None = None
    open_closed: np.ndarray | None = None
    layout: Layout | None = None

    def apply(self, action: np.ndarray, last: np.ndarray | None) -> np.ndarray:
        """The command (A,) for an action (A,), float32, after the ``last`` command, None if there was none.

        In this order: quaternions get length 1; grippers that were only open or closed are snapped; numbers are kept
        within the bounds, angles and orientations in the form nearest to the bounds' middle; of these then the form
        nearest to the last command is taken, which may lie whole turns beyond the bounds; no number but a snapped
        gripper's changes by more than ``max_step``. A quaternion that was cut has length 1 again, so that its numbers
        may lie slightly beyond bounds and step. The first command has nothing to be near to.
        """
        command = self.unit(np.array(action, np.float64))  # in which a difference and its sum are the number again
        if self.layout:
            command = snap_grippers(command, self.layout, self.open_closed)
        if self.low is not None:
            # Recorded actions and what is relative to a state may have other forms of one orientation: cut as it
            # comes, that would become another one.
            with np.errstate(invalid="ignore"):  # without bounds there is no middle
                middle = (self.low + self.high) / 2
            near = self.near(command, np.where(np.isfinite(middle), middle, command))
            command = self.unit(np.clip(near, self.low, self.high))
        if last is not None:
            command = self.near(command, last)
            if self.max_step is not None:
                step = np.where(self.snapped(), np.inf, self.max_step)
                command = self.unit(last + np.clip(command - last, -step, step))
        return command.astype(np.float32)

    def near(self, command: np.ndarray, reference: np.ndarray) -> np.ndarray:
        """The same command in the form nearest to another one."""
        return nearest(command[None], reference, self.layout)[0] if self.layout else command

    def snapped(self) -> np.ndarray | bool:
        """Which numbers are a snapped gripper's."""
        if self.layout is None or self.open_closed is None:
            return False
        return gripper_columns(self.layout) & np.isfinite(self.open_closed).all(0)

    def unit(self, command: np.ndarray) -> np.ndarray:
        """The command with its quaternions of length 1, but those without a direction."""
        for part in self.layout.parts if self.layout else ():
            length = np.linalg.norm(command[part.slice])
            if part.kind.name.startswith("quaternion") and length > NO_LENGTH:
                command[part.slice] /= length
        return command


def limits_of(limits, max_step, seen, layout: Layout | None, size: int) -> Limits:
    """The limits that are meant by ``limits`` ("demonstrations", None, or low and high) and ``max_step``.

    ``seen`` has action_low, action_high (A,) and, where it is known, open_closed (2, A) of the demonstrations; None
    where nothing is known of them: then there are no bounds, which is said. Raises an InputError for what is neither.
    """
    step = None if max_step is None else numbers("max_step", max_step, size)
    if step is not None and not (step > 0).all():
        raise InputError(f"max_step {shown(max_step)} given; it must be more than 0")
    if limits is None:
        return Limits(max_step=step, layout=layout)
    if isinstance(limits, str) and limits == DEMONSTRATIONS:
        if seen is None or seen.action_low is None or seen.action_high is None:
            log.warning("what the policy was shown is not known: its actions have no bounds; give limits=(low, high)")
            return Limits(max_step=step, layout=layout)
        low, high = (np.asarray(each, np.float64) for each in (seen.action_low, seen.action_high))
        margin = MARGIN * (high - low)
        return Limits(low - margin, high + margin, step, seen.open_closed, layout)
    if not (isinstance(limits, tuple | list) and len(limits) == 2):
        raise InputError(f'limits {shown(limits)} given; give "{DEMONSTRATIONS}", None, or (low, high)')
    low, high = (numbers("limits", each, size) for each in limits)
    if not (low <= high).all():
        raise InputError(f"limits {shown(limits)} given; low must not be above high")
    return Limits(low, high, step, getattr(seen, "open_closed", None), layout)


def numbers(name: str, given, size: int) -> np.ndarray:
    """One number for all of an action, or one for each, as (A,) float64; an InputError for anything else."""
    try:
        found = np.broadcast_to(np.asarray(given, np.float64), (size,))
    except (TypeError, ValueError):
        found = np.full(size, np.nan)
    if np.isnan(found).any():
        raise InputError(f"{name} {shown(given)} given; give a number, or {size} of them")
    return found
