"""The kinds of numbers in states and actions, and layouts: which numbers are of which kind."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from mp_lib.system.errors import InputError, shown
from mp_lib.system.names import nearest

EXAMPLE = "position:3 quaternion:4 gripper:1"


@dataclass(frozen=True)
class Kind:
    """What some numbers are.

    ``sizes`` are how many may stand together, None any number; ``hold`` is what to command to stay where one is:
    ``last``, the last command again, or ``zero``. ``relative`` is how an action is told relative to the state:
    ``subtract``, ``wrap`` (a difference in [-pi, pi)), ``compose`` (a rotation as six numbers), or ``keep`` (as it is).
    """

    name: str
    sizes: tuple[int, ...] | None
    hold: str
    relative: str

    @property
    def family(self) -> str:
        """What a part of an action finds its counterpart in the state by: all orientations are of one family."""
        return "rotation" if self.relative == "compose" else self.name

    @property
    def allowed(self) -> str:
        """The sizes in words."""
        return "any number from 1 on" if self.sizes is None else " or ".join(map(str, self.sizes))


# Positions in metres or any other length; angles and rotation vectors in radians. A joint does not turn round and round,
# so that its difference is not wrapped; an angle is the same as itself plus 2 pi. Velocity is the kind for a state's
# forces, too, and for whatever else of it no action commands. A step is a difference that the robot adds by itself.
KINDS = {
    kind.name: kind
    for kind in (
        Kind("position", (1, 2, 3), "last", "subtract"),
        Kind("joint", None, "last", "subtract"),
        Kind("angle", None, "last", "wrap"),
        Kind("rotation_vector", (3,), "last", "compose"),
        Kind("quaternion", (4,), "last", "compose"),  # w x y z, as MuJoCo has it
        Kind("quaternion_xyzw", (4,), "last", "compose"),  # as ROS and SciPy have it
        Kind("velocity", None, "zero", "keep"),
        Kind("step", None, "zero", "keep"),
        Kind("gripper", None, "last", "keep"),
    )
}


@dataclass(frozen=True)
class Part:
    """Numbers ``start`` up to ``stop``, the latter not included, of one kind."""

    kind: Kind
    start: int
    stop: int

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return self.stop - self.start

    @property
    def slice(self) -> slice:
        """The part as an index of the last axis."""
        return slice(self.start, self.stop)

    @property
    def text(self) -> str:
        """As a layout's text has it."""
        return f"{self.kind.name}:{self.size}"


@dataclass(frozen=True)
class Layout:
    """Which of the numbers of a state or an action are of which kind, in their order."""

    parts: tuple[Part, ...]

    @classmethod
    def parse(cls, text: str, size: int | None = None) -> Layout:
        """The layout that a text such as ``position:3 quaternion:4 gripper:1`` tells.

        A kind that has a single size may stand without it. An InputError if a kind is unknown, a size is not allowed,
        or the sizes do not add up to ``size`` (where that is given).
        """
        if not isinstance(text, str) or not text.split():
            raise InputError(f"kinds {shown(text)} given; name every number in order, such as {EXAMPLE!r}")
        parts: list[Part] = []
        for word in text.split():
            kind, count = parsed(word)
            start = parts[-1].stop if parts else 0
            parts.append(Part(kind, start, start + count))
        layout = cls(tuple(parts))
        if size is not None and layout.size != size:
            found = f"kinds {layout.text!r} name {layout.size} numbers, but there are {size}"
            raise InputError(f"{found}; name every number in order, such as {EXAMPLE!r} of 8")
        return layout

    @property
    def size(self) -> int:
        """How many numbers there are."""
        return self.parts[-1].stop

    @property
    def text(self) -> str:
        """The text that ``parse`` reads, always in the same form."""
        return " ".join(part.text for part in self.parts)

    def holds(self, last: np.ndarray) -> np.ndarray:
        """What to command to stay where one is, (..., A), after the last command (..., A): zero for what moves."""
        held = self.checked(last).copy()
        for part in self.parts:
            if part.kind.hold == "zero":
                held[..., part.slice] = 0
        return held

    def checked(self, numbers: np.ndarray, axes: int = 1) -> np.ndarray:
        """The numbers (..., A) as an array of at least so many axes; an InputError if it has others than are named."""
        numbers = np.asarray(numbers)
        if numbers.ndim < axes or numbers.shape[-1] != self.size:
            wanted = f"({', '.join(['...', 'T'][:axes])}, {self.size}) for the kinds {self.text!r}"
            raise InputError(f"numbers of shape {numbers.shape} given; it must be {wanted}: change one of the two")
        return numbers


def parsed(word: str) -> tuple[Kind, int]:
    """The kind and the size that a word such as ``position:3`` names; an InputError if that is none."""
    name, colon, count = word.partition(":")
    kind = KINDS.get(name)
    if kind is None:
        offered = ", ".join(nearest(name, KINDS, len(KINDS), 0))
        raise InputError(f"kind {shown(name)} given; it must be one of: {offered}")
    if not colon and kind.sizes is not None and len(kind.sizes) == 1:
        return kind, kind.sizes[0]
    # Eight digits at most, since Python refuses to read numbers of thousands of them.
    size = int(count) if count.isascii() and count.isdecimal() and len(count) <= 8 else 0
    if size < 1 or (kind.sizes is not None and size not in kind.sizes):
        found = f"size {shown(count)} of {name} given" if colon else f"no size of {name} given"
        raise InputError(f"{found}; it must be {kind.allowed}, written as in {EXAMPLE!r}")
    return kind, size
