"""Each form of a rotation turns into each other one and back, at half and whole turns, too."""

import numpy as np
import pytest

from mp_lib.geometry.rotations import (
    matrix_of_quaternion,
    matrix_of_six,
    nearest_angle,
    nearest_quaternion,
    nearest_vector,
    quaternion_of_matrix,
    quaternion_of_vector,
    six_of_matrix,
    unit,
    vector_of_quaternion,
    wrapped,
    wxyz,
    xyzw,
)
from mp_lib.system.errors import InputError

CLOSE = {"rtol": 0, "atol": 1e-12}
HALF_TURNS = np.array([[0, 1, 0, 0], [0, 0, 1, 0], [0, 0, 0, 1], [0, 0.6, -0.8, 0], [1e-9, 0, 0.6, 0.8]])


def some_quaternions():
    """Random ones of any length, small turns, none, and half turns."""
    rng = np.random.default_rng(0)
    small = np.array([[1, *(size * rng.normal(size=3))] for size in (0, 1e-12, 1e-9, 1e-6, 1e-3)])
    return np.concatenate([rng.normal(size=(500, 4)) * rng.uniform(0.1, 10, (500, 1)), small, HALF_TURNS, -HALF_TURNS])


def test_matrices_are_rotations_and_quaternions_come_back_up_to_their_sign():
    quaternions = some_quaternions()
    matrices = matrix_of_quaternion(quaternions)
    np.testing.assert_allclose(
        matrices @ np.swapaxes(matrices, -1, -2), np.broadcast_to(np.eye(3), matrices.shape), **CLOSE
    )
    np.testing.assert_allclose(np.linalg.det(matrices), 1, **CLOSE)
    np.testing.assert_array_equal(matrices, matrix_of_quaternion(-quaternions))
    again = nearest_quaternion(quaternion_of_matrix(matrices), quaternions)
    np.testing.assert_allclose(again, unit(quaternions), **CLOSE)


def test_a_quarter_turn_about_z_takes_x_to_y():
    about_z = quaternion_of_vector([0, 0, np.pi / 2])
    np.testing.assert_allclose(about_z, [np.sqrt(0.5), 0, 0, np.sqrt(0.5)], **CLOSE)
    np.testing.assert_allclose(matrix_of_quaternion(about_z) @ [1, 0, 0], [0, 1, 0], **CLOSE)
    np.testing.assert_array_equal(xyzw([1, 2, 3, 4]), [2, 3, 4, 1])
    np.testing.assert_array_equal(wxyz([2, 3, 4, 1]), [1, 2, 3, 4])


@pytest.mark.parametrize("turns", [0, 0.3, 0.5, 0.5 + 1e-9, 0.8, 1, 1.7, 3])
def test_rotation_vectors_of_any_length_come_back_near_themselves(turns):
    axes = np.random.default_rng(1).normal(size=(50, 3))
    vectors = 2 * np.pi * turns * axes / np.linalg.norm(axes, axis=-1, keepdims=True)
    short = vector_of_quaternion(quaternion_of_vector(vectors))
    assert (np.linalg.norm(short, axis=-1) <= np.pi + 1e-12).all()
    if turns not in (1, 3):  # at whole turns rounding decides about the axis
        np.testing.assert_allclose(nearest_vector(short, vectors), vectors, rtol=0, atol=1e-6)
    same = quaternion_of_vector(short)
    np.testing.assert_allclose(
        nearest_quaternion(same, quaternion_of_vector(vectors)), quaternion_of_vector(vectors), **CLOSE
    )


def test_no_rotation_lies_nearest_to_a_whole_turn_about_the_axis_of_the_reference():
    np.testing.assert_allclose(nearest_vector(np.zeros(3), np.array([0, 6, 0])), [0, 2 * np.pi, 0])
    np.testing.assert_array_equal(nearest_vector(np.zeros(3), np.array([0, 3, 0])), np.zeros(3))
    np.testing.assert_array_equal(nearest_vector(np.zeros(3), np.zeros(3)), np.zeros(3))


def test_six_numbers_are_orthonormalised_as_gram_and_schmidt_do():
    rng = np.random.default_rng(2)
    matrices = matrix_of_quaternion(rng.normal(size=(200, 4)))
    np.testing.assert_allclose(matrix_of_six(six_of_matrix(matrices)), matrices, **CLOSE)
    first, second = matrices[..., 0], matrices[..., 1]
    stretched = np.concatenate([3 * first, 0.1 * second + 5 * first], axis=-1)
    np.testing.assert_allclose(matrix_of_six(stretched), matrices, rtol=0, atol=1e-10)


@pytest.mark.parametrize(
    "six", [[0] * 6, [1, 0, 0, 1, 0, 0], [0, 0, 2, 0, 0, -1], [0, 0, 0, 1, 0, 0], [1, 1, 1, 0, 0, 0]]
)
def test_six_numbers_that_span_no_plane_still_give_a_rotation(six):
    matrix = matrix_of_six(six)
    np.testing.assert_allclose(matrix @ matrix.T, np.eye(3), **CLOSE)
    np.testing.assert_allclose(np.linalg.det(matrix), 1, **CLOSE)


def test_angles_are_wrapped_into_one_turn_that_begins_at_minus_pi():
    angles = np.concatenate([np.random.default_rng(3).uniform(-50, 50, 1000), [np.pi, -np.pi, 3 * np.pi, 0, -0.0]])
    angles = np.concatenate([angles, np.nextafter([np.pi, -np.pi], -10), np.nextafter([np.pi, -np.pi], 10)])
    inside = wrapped(angles)
    assert (inside >= -np.pi).all() and (inside < np.pi).all()
    np.testing.assert_allclose(np.exp(1j * inside), np.exp(1j * angles), **CLOSE)
    near = nearest_angle(angles, 20)
    assert (np.abs(near - 20) <= np.pi + 1e-12).all()
    np.testing.assert_allclose(np.exp(1j * near), np.exp(1j * angles), **CLOSE)


def test_a_zero_quaternion_is_an_error_and_what_is_no_number_stays_none():
    for convert in (unit, matrix_of_quaternion, vector_of_quaternion):
        with pytest.raises(InputError, match="length zero"):
            convert(np.array([[1.0, 0, 0, 0], [0, 0, 0, 0]]))
    assert np.isnan(unit([np.nan, 0, 0, 0])).all()
