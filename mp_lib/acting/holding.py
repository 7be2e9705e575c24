"""Why an arm is told to hold, and how often it was."""

from __future__ import annotations

import logging
from collections import Counter
from dataclasses import dataclass, field

from mp_lib.system.errors import InputError

log = logging.getLogger(__name__)

LATE = "late chunk"
REASONS = {  # to hold, each with what it means
    LATE: "no new chunk came in time",
    "no observation": "no observation came for a while, or for as many steps as a chunk has actions",
    "same cloud": "the clouds are equal to the bit for a while, as of a camera that has stopped",
    "bad observation": "the state is not finite or has a quaternion of zeros, or the cloud has too few points",
    "bad actions": "the policy's actions are not finite",
    "policy failed": "the policy failed, which ``reset`` makes up for",
}


class CannotAct(InputError):
    """The arm has to hold now; ``reason`` is one of REASONS."""

    def __init__(self, reason: str, text: str):
        super().__init__(text)
        self.reason = reason


@dataclass
class Report:
    """What an actor has done since ``reset``.

    ``steps`` it was asked for, ``chunks`` it was given by the policy, ``held`` steps by reason (REASONS), ``late``
    chunks that had not come when the last one was executed, the ``longest_answer`` of the policy in seconds, and the
    last thing that went wrong (``said``).
    """

    steps: int = 0
    chunks: int = 0
    late: int = 0
    longest_answer: float = 0.0
    held: Counter = field(default_factory=Counter)
    said: str = ""
    holding: str = field(default="", repr=False)  # for which reason it holds now

    def hold(self, error: CannotAct) -> None:
        """Count a step at which the arm holds, and say so at the first of those that follow one another.

        Late chunks are said once an episode: a computer that is too slow is so all the time.
        """
        self.held[error.reason] += 1
        if error.reason != self.holding and not (error.reason == LATE and self.late > 1):
            log.warning("hold: %s", error)
        self.holding, self.said = error.reason, str(error)

    def go_on(self) -> None:
        """Say that the arm does not hold any more."""
        if self.holding not in ("", LATE):
            log.warning("go on after %s", self.holding)
        self.holding = ""

    def answered(self, seconds: float) -> None:
        """Count a chunk that the policy took so long for."""
        self.chunks += 1
        self.longest_answer = max(self.longest_answer, seconds)

    def __str__(self) -> str:
        told = ", ".join(f"{count} of {reason}" for reason, count in self.held.items()) or "none"
        said = f"; last: {self.said}" if self.said else ""
        answer = f"longest answer {1000 * self.longest_answer:.0f} ms"
        return f"{self.steps} steps, {self.chunks} chunks, {self.late} late, held steps: {told}, {answer}{said}"
