"""Numbers that have several forms of one thing, seen as the thing: how far recorded ones reach, and how they differ."""

from __future__ import annotations

import numpy as np

from mp_lib.geometry.absolute import NEAREST
from mp_lib.geometry.kinds import Layout, Part
from mp_lib.geometry.rotations import NO_LENGTH, TURN, quaternion_of_vector, vector_of_quaternion, wrapped

ROUNDING = 1e-6  # radians: what lies within is one angle, as pi and -pi in float32


def ranges(recorded: np.ndarray, layout: Layout | None) -> np.ndarray:
    """How far each number of recordings (F, A) reaches, (A,) of their type; of equal forms those that lie together.

    An angle's is the shortest arc that holds all, thus at most a turn; orientations are taken in the forms nearest to
    their middle. Other kinds, and all without a layout, reach from the least to the greatest as they are.
    """
    found = np.ptp(recorded, axis=0)
    for part in layout.parts if layout else ():
        if part.kind.name in NEAREST:
            values = recorded[:, part.slice].astype(np.float64)
            reach = np.ptp(NEAREST[part.kind.name](values, middle(values, part.kind.name)), axis=0)
            found[part.slice] = np.where(reach > ROUNDING, reach, 0)
    return found


def middle(values: np.ndarray, kind: str) -> np.ndarray:
    """What all values (F, n) of a kind with several forms lie around: (n,), such that none is cut off the others.

    No recorded value could stand for it: those at the other end may be more than half a turn away from one.
    """
    if kind == "angle":
        inside = np.sort(wrapped(values), axis=0)
        gaps = np.diff(inside, axis=0, append=inside[:1] + TURN)
        widest = gaps.argmax(0)[None]
        before, gap = (np.take_along_axis(each, widest, 0)[0] for each in (inside, gaps))
        return before + gap / 2 + TURN / 2
    quaternions = quaternion_of_vector(values) if kind == "rotation_vector" else values
    mean = np.linalg.eigh(quaternions.T @ quaternions)[1][:, -1]  # the mean of rotations, whatever the signs
    return vector_of_quaternion(mean) if kind == "rotation_vector" else mean


def comparable(states: np.ndarray, known: np.ndarray, layout: Layout | None) -> np.ndarray:
    """States (F, S) as float32 rows whose Euclidean distance tells how much they differ, whatever their forms.

    ``known`` numbers the frames whose deviation is one. A number counts by its own deviation; an angle by sine and
    cosine, an orientation by the products of its quaternion's numbers, which are those of -q, too. These count by their
    common deviation, as one number and as three. Without a layout every number counts as it is.
    """
    deviation = states[known].std(0)
    plain = states / np.where(deviation > 0, deviation, 1)
    if layout is None:
        return plain
    pieces = []
    for part in layout.parts:
        groups = without_forms(states[:, part.slice].astype(np.float64), part)
        for group, freedom in groups:
            spread = np.sqrt(group[known].var(0).sum() / freedom)
            pieces.append(group / (spread if spread > ROUNDING else 1))
        pieces += [] if groups else [plain[:, part.slice]]
    return np.concatenate(pieces, axis=1).astype(np.float32)


def without_forms(values: np.ndarray, part: Part) -> list[tuple[np.ndarray, int]]:
    """The same (F, n) as numbers that all equal forms share, each group with how many it counts as; none if as is."""
    if part.kind.name == "angle":
        return [(np.stack([np.sin(each), np.cos(each)], axis=1), 1) for each in values.T]
    if part.kind.family != "rotation":
        return []
    if part.kind.name == "rotation_vector":
        values = quaternion_of_vector(values)
    # Not as matrices, since a state may hold zeros where nothing was measured, and these are no rotation.
    unit = values / np.maximum(np.linalg.norm(values, axis=1, keepdims=True), NO_LENGTH)
    return [((unit[:, :, None] * unit[:, None]).reshape(len(unit), -1), 3)]
