"""Rotations as matrices, quaternions, rotation vectors and six numbers, and angles within one turn.

A quaternion is ``w x y z`` here unless it is called otherwise; q and -q are the same rotation. Everything broadcasts over
leading axes and is computed in float64.
"""

from __future__ import annotations

import numpy as np

from mp_lib.system.errors import InputError

TURN = 2 * np.pi
NO_LENGTH = 1e-6  # a quaternion shorter than this has lost its direction, also in float32


def wrapped(angles: np.ndarray) -> np.ndarray:
    """The same angles in [-pi, pi)."""
    angles = np.asarray(angles, np.float64)
    inside = angles - TURN * np.floor((angles + np.pi) / TURN)
    return np.where(inside >= np.pi, -np.pi, inside)  # which rounding may reach


def nearest_angle(angles: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The same angles, whole turns added such that they lie nearest to the reference."""
    return angles - TURN * np.round((angles - reference) / TURN)


def unit(quaternions: np.ndarray) -> np.ndarray:
    """Quaternions of length one; an InputError where one is zero, and thus no rotation."""
    quaternions = np.asarray(quaternions, np.float64)
    length = np.linalg.norm(quaternions, axis=-1, keepdims=True)
    if np.any(length < NO_LENGTH):
        raise InputError("a quaternion of length zero given; it must have a direction: look whether its kind is right")
    return quaternions / length


def wxyz(quaternions_xyzw: np.ndarray) -> np.ndarray:
    """The same quaternions with w first."""
    return np.roll(quaternions_xyzw, 1, axis=-1)


def xyzw(quaternions: np.ndarray) -> np.ndarray:
    """The same quaternions with w last."""
    return np.roll(quaternions, -1, axis=-1)


def nearest_quaternion(quaternions: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Of q and -q the one nearer to the reference, in either order of components."""
    return np.where(np.sum(quaternions * reference, axis=-1, keepdims=True) < 0, -quaternions, quaternions)


def quaternion_of_vector(vectors: np.ndarray) -> np.ndarray:
    """Unit quaternions (..., 4) of rotation vectors (..., 3), axis times angle in radians, of any length."""
    vectors = np.asarray(vectors, np.float64)
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    # numpy's sinc(x) is sin(pi x) / (pi x), so that this is sin(angle / 2) / angle, also at zero.
    return np.concatenate([np.cos(angle / 2), vectors * np.sinc(angle / TURN) / 2], axis=-1)


def vector_of_quaternion(quaternions: np.ndarray) -> np.ndarray:
    """Rotation vectors (..., 3) of at most half a turn of quaternions (..., 4)."""
    quaternions = unit(quaternions)
    quaternions = np.where(quaternions[..., :1] < 0, -quaternions, quaternions)
    sine = np.linalg.norm(quaternions[..., 1:], axis=-1, keepdims=True)
    angle = 2 * np.arctan2(sine, quaternions[..., :1])
    return quaternions[..., 1:] * np.divide(angle, sine, out=np.full_like(sine, 2), where=sine > 0)


def nearest_vector(vectors: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The same rotations as rotation vectors, whole turns about their axes added such that they lie nearest to it."""
    vectors, reference = np.broadcast_arrays(vectors, reference)
    angle = np.linalg.norm(vectors, axis=-1, keepdims=True)
    # No rotation has every axis, thus also the reference's.
    axis = np.where(angle > 0, vectors, reference)
    length = np.linalg.norm(axis, axis=-1, keepdims=True)
    axis = np.divide(axis, length, out=np.zeros_like(axis), where=length > 0)
    turns = np.round((np.sum(axis * reference, axis=-1, keepdims=True) - angle) / TURN)
    return vectors + TURN * turns * axis


def matrix_of_quaternion(quaternions: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of quaternions (..., 4) of any length but zero."""
    w, x, y, z = np.moveaxis(unit(quaternions), -1, 0)
    rows = [
        [1 - 2 * (y * y + z * z), 2 * (x * y - w * z), 2 * (x * z + w * y)],
        [2 * (x * y + w * z), 1 - 2 * (x * x + z * z), 2 * (y * z - w * x)],
        [2 * (x * z - w * y), 2 * (y * z + w * x), 1 - 2 * (x * x + y * y)],
    ]
    return np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)


def quaternion_of_matrix(matrices: np.ndarray) -> np.ndarray:
    """Unit quaternions (..., 4) of rotation matrices (..., 3, 3).

    Four times q's outer product with itself is linear in the matrix; its row with the largest diagonal is the one that
    loses no digits (Shepperd 1978).
    """
    (a, b, c), (d, e, f), (g, h, i) = np.moveaxis(np.asarray(matrices, np.float64), (-2, -1), (0, 1))
    rows = [
        [1 + a + e + i, h - f, c - g, d - b],
        [h - f, 1 + a - e - i, b + d, c + g],
        [c - g, b + d, 1 - a + e - i, f + h],
        [d - b, c + g, f + h, 1 - a - e + i],
    ]
    outer = np.stack([np.stack(row, axis=-1) for row in rows], axis=-2)
    largest = np.argmax(np.diagonal(outer, axis1=-2, axis2=-1), axis=-1)
    return unit(np.take_along_axis(outer, largest[..., None, None], axis=-2)[..., 0, :])


def six_of_matrix(matrices: np.ndarray) -> np.ndarray:
    """The first two columns (..., 6) of rotation matrices, which have no jumps (Zhou et al., arXiv 1812.07035)."""
    return np.concatenate([matrices[..., 0], matrices[..., 1]], axis=-1)


def matrix_of_six(six: np.ndarray) -> np.ndarray:
    """Rotation matrices (..., 3, 3) of six numbers that need not be two orthonormal columns: Gram and Schmidt's.

    Where they span no plane there is no right answer, and some axes are put in: every finite input gives a rotation.
    """
    six = np.asarray(six, np.float64)
    first = direction(six[..., :3], np.broadcast_to(np.eye(3)[0], six[..., :3].shape))
    # The axis that is least along the first cannot be parallel to it.
    spare = np.eye(3)[np.argmin(np.abs(first), axis=-1)]
    second = direction(across(direction(six[..., 3:], spare), first), across(spare, first))
    return np.stack([first, second, np.cross(first, second)], axis=-1)


def across(vectors: np.ndarray, axis: np.ndarray) -> np.ndarray:
    """What of the vectors (..., 3) is at right angles to a unit axis (..., 3)."""
    return vectors - np.sum(vectors * axis, axis=-1, keepdims=True) * axis


def direction(vectors: np.ndarray, otherwise: np.ndarray) -> np.ndarray:
    """Vectors (..., 3) of length one; where one has none, the direction of ``otherwise``."""
    length = np.linalg.norm(vectors, axis=-1, keepdims=True)
    chosen = np.where(length < NO_LENGTH, otherwise, vectors)
    return chosen / np.linalg.norm(chosen, axis=-1, keepdims=True)
