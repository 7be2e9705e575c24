"""How far numbers reach and how much they differ does not depend on the forms in which they were recorded."""

import numpy as np
import pytest

from mp_lib.geometry.forms import comparable, ranges
from mp_lib.geometry.kinds import Layout
from mp_lib.geometry.rotations import matrix_of_quaternion, quaternion_of_vector, wrapped, xyzw

TURN = 2 * np.pi


@pytest.mark.parametrize("reach", [0.1, 2.0, 3.5, 6.0])
@pytest.mark.parametrize("start", np.linspace(-np.pi, np.pi, 7))
def test_an_angles_range_is_the_same_wherever_it_lies_and_however_it_is_written(start, reach):
    angles = start + np.random.default_rng(0).permutation(np.linspace(0, reach, 50))
    turns = TURN * np.random.default_rng(1).integers(-2, 3, 50)
    recorded = np.stack([wrapped(angles), angles + turns], axis=1).astype(np.float32)
    np.testing.assert_allclose(ranges(recorded, Layout.parse("angle:2")), reach, atol=1e-5)


@pytest.mark.parametrize("angle", [0.0, 1.7, np.pi])
def test_an_angle_that_is_one_does_not_vary(angle):
    recorded = np.float32([[angle], [angle - TURN], [angle]])
    assert ranges(recorded, Layout.parse("angle:1")) == [0]


@pytest.mark.parametrize("upright", [(0.0, 0.0, 0.0), (np.pi, 0.0, 0.0), (0.0, 2.0, 2.0)])
def test_orientations_are_taken_in_the_forms_that_lie_together(upright):
    generator = np.random.default_rng(0)
    vectors = np.array(upright) + generator.uniform(-0.2, 0.2, (60, 3))
    length = np.linalg.norm(vectors, axis=1, keepdims=True)
    others = np.where(generator.random((60, 1)) < 0.5, vectors, vectors - TURN * vectors / length)
    found, same = (ranges(each.astype(np.float32), Layout.parse("rotation_vector")) for each in (others, vectors))
    np.testing.assert_allclose(found, same, atol=1e-5)
    np.testing.assert_allclose(found, np.ptp(vectors, axis=0), rtol=0.1)  # about half a turn either form may be taken
    quaternions = quaternion_of_vector(vectors)
    signed = (quaternions * generator.choice([-1, 1], (60, 1))).astype(np.float32)
    for kind, values in {"quaternion": signed, "quaternion_xyzw": xyzw(signed)}.items():
        expected = np.ptp(quaternions if kind == "quaternion" else xyzw(quaternions), axis=0)
        np.testing.assert_allclose(ranges(values, Layout.parse(kind)), expected, atol=1e-5)


@pytest.mark.parametrize("layout", [None, Layout.parse("position:3 joint:1 gripper:1")])
def test_other_numbers_are_taken_as_they_are(layout):
    numbers, known = np.random.default_rng(0).normal(size=(20, 5)).astype(np.float32), np.arange(12)
    assert np.array_equal(ranges(numbers, layout), np.ptp(numbers, axis=0))
    assert np.array_equal(comparable(numbers, known, layout), numbers / numbers[known].std(0))


@pytest.mark.parametrize("kind", ["rotation_vector", "quaternion", "quaternion_xyzw"])
def test_the_nearest_orientation_is_the_one_that_takes_the_least_turn(kind):
    vectors = np.random.default_rng(0).normal(0, 2, (80, 3))
    quaternions = quaternion_of_vector(vectors)
    matrices = matrix_of_quaternion(quaternions)
    turns = np.arccos(np.clip((np.einsum("nij,mij->nm", matrices, matrices) - 1) / 2, -1, 1))
    signed = quaternions * np.random.default_rng(1).choice([-1, 1], (80, 1))
    states = {"rotation_vector": vectors, "quaternion": signed, "quaternion_xyzw": xyzw(signed)}[kind]
    rows = comparable(states.astype(np.float32), np.arange(80), Layout.parse(kind))
    apart = np.linalg.norm(rows[:, None] - rows, axis=2)
    np.fill_diagonal(turns, 9)
    np.fill_diagonal(apart, np.inf)
    assert np.array_equal(apart.argmin(1), turns.argmin(1))


def test_a_small_angle_counts_as_any_other_number_does():
    numbers = np.random.default_rng(0).normal(0, 0.05, (100, 1)).astype(np.float32)
    angle, joint = (comparable(numbers, np.arange(100), Layout.parse(f"{kind}:1")) for kind in ("angle", "joint"))
    apart = [np.linalg.norm(each[:, None] - each, axis=2) for each in (angle, joint)]
    np.testing.assert_allclose(*apart, rtol=0.02, atol=1e-4)


def test_states_that_hold_no_rotation_at_all_are_compared():
    states = np.float32([[0, 0, 0, 0], [1, 0, 0, 0], [-1, 0, 0, 0]])
    rows = comparable(states, np.arange(3), Layout.parse("quaternion"))
    assert np.isfinite(rows).all() and np.array_equal(rows[1], rows[2]) and (rows[0] != rows[1]).any()
