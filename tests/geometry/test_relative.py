"""Relative actions come back as they were, and are the same wherever and in whatever form a robot is told."""

import numpy as np
import pytest

from mp_lib.geometry.kinds import KINDS, Layout
from mp_lib.geometry.relative import DECODE, ENCODE, Relative
from mp_lib.geometry.rotations import matrix_of_quaternion, quaternion_of_vector, unit, wxyz, xyzw
from mp_lib.system.errors import InputError

CLOSE = {"rtol": 0, "atol": 1e-6}
ORIENTATIONS = ("rotation_vector", "quaternion", "quaternion_xyzw")
TO_QUATERNION = {"rotation_vector": quaternion_of_vector, "quaternion": np.asarray, "quaternion_xyzw": wxyz}
EVERYTHING = "position:3 joint:6 angle:2 rotation_vector:3 quaternion:4 quaternion_xyzw:4 velocity:2 step:3 gripper:1"


def relative(state, action):
    """The way between two layouts."""
    return Relative(Layout.parse(state), Layout.parse(action))


def random_numbers(rng, layout, shape):
    """States or actions, with angles of several turns and quaternions of any length and sign."""
    return rng.normal(size=(*shape, layout.size)) * rng.choice([0.1, 1, 5], size=(*shape, 1))


def assert_same_commands(found, wanted, layout):
    """The same numbers up to 1e-6, where angles that differ by whole turns, and q and -q, are the same."""
    for part in layout.parts:
        mine, theirs = found[..., part.slice], wanted[..., part.slice]
        if part.kind.name in TO_QUATERNION:
            mine, theirs = (matrix_of_quaternion(TO_QUATERNION[part.kind.name](each)) for each in (mine, theirs))
        elif part.kind.name == "angle":
            mine, theirs = np.exp(1j * mine), np.exp(1j * theirs)
        np.testing.assert_allclose(mine, theirs, **CLOSE)


def test_every_way_that_a_kind_names_there_and_back_exists():
    assert {*ENCODE} == {*DECODE} == {kind.relative for kind in KINDS.values()}


@pytest.mark.parametrize("seed", range(20))
def test_encoding_and_decoding_gives_the_same_commands(seed):
    rng, layout = np.random.default_rng(seed), Layout.parse(EVERYTHING)
    way = Relative(layout, layout)
    actions, now = random_numbers(rng, layout, (4, 16)), random_numbers(rng, layout, (4,))
    encoded = way.encode(actions, now)
    assert encoded.shape == (4, 16, way.size) and way.size == 3 + 6 + 2 + 3 * 6 + 2 + 3 + 1
    assert_same_commands(way.decode(encoded, now), actions, layout)


@pytest.mark.parametrize("of_state", ORIENTATIONS)
@pytest.mark.parametrize("of_action", ORIENTATIONS)
@pytest.mark.parametrize("angle", [0, 1e-9, 1e-4, 1, np.pi - 1e-9, np.pi, np.pi + 1e-9, 5])
def test_every_turn_comes_back_in_the_form_of_the_action(of_state, of_action, angle):
    rng, state, action = np.random.default_rng(0), Layout.parse(of_state), Layout.parse(of_action)
    from_quaternion = {"rotation_vector": rotation_vector, "quaternion": unit, "quaternion_xyzw": xyzw}
    start = unit(rng.normal(size=(50, 4)))
    axes = rng.normal(size=(50, 3))
    turn = matrix_of_quaternion(quaternion_of_vector(angle * axes / np.linalg.norm(axes, axis=-1, keepdims=True)))
    end = quaternion_of_rotation(matrix_of_quaternion(start) @ turn)
    now, actions = from_quaternion[of_state](start), from_quaternion[of_action](end)[:, None]
    way = Relative(state, action)
    encoded = way.encode(actions, now)
    np.testing.assert_allclose(encoded[:, 0], np.concatenate([turn[..., 0], turn[..., 1]], axis=-1), **CLOSE)
    assert_same_commands(way.decode(encoded, now), actions, action)


def quaternion_of_rotation(matrices):
    """By the axis that a rotation keeps, and not as the code does it."""
    found = []
    for matrix in matrices:
        values, vectors = np.linalg.eigh(
            sum(np.kron(matrix[i, j] * np.eye(1), pattern(i, j)) for i in range(3) for j in range(3))
        )
        found.append(vectors[:, np.argmax(values)])
    return np.array(found)


def pattern(row, column):
    """The symmetric matrix P with q^T P q = R[row, column] of a unit quaternion q."""
    units = np.eye(4)
    found = np.zeros((4, 4))
    for first in range(4):
        for second in range(4):
            plus = matrix_of_quaternion(units[first] + units[second])[row, column] if first != second else 0
            one, two = (matrix_of_quaternion(units[each])[row, column] for each in (first, second))
            found[first, second] = one if first == second else plus - (one + two) / 2
    return found


def rotation_vector(quaternions):
    """At most half a turn, by the arc cosine."""
    quaternions = np.where(quaternions[..., :1] < 0, -quaternions, quaternions)
    axes = quaternions[..., 1:] / np.linalg.norm(quaternions[..., 1:], axis=-1, keepdims=True)
    return 2 * np.arccos(np.clip(quaternions[..., :1], -1, 1)) * axes


@pytest.mark.parametrize("kind", ["quaternion", "quaternion_xyzw"])
def test_a_quaternion_its_negative_and_its_double_are_encoded_alike(kind):
    rng, way = np.random.default_rng(1), relative(kind, kind)
    actions, now = rng.normal(size=(30, 2, 4)), rng.normal(size=(30, 4))
    encoded = way.encode(actions, now)
    for factor in (-1, 2, -0.01):
        np.testing.assert_allclose(way.encode(factor * actions, now), encoded, rtol=0, atol=1e-12)
        np.testing.assert_allclose(way.encode(actions, factor * now), encoded, rtol=0, atol=1e-12)


def test_rotation_vectors_that_differ_by_a_turn_are_encoded_alike():
    rng, way = np.random.default_rng(2), relative("rotation_vector", "rotation_vector")
    actions, now = rng.normal(size=(30, 2, 3)), rng.normal(size=(30, 3))
    longer = actions * (1 + 2 * np.pi / np.linalg.norm(actions, axis=-1, keepdims=True))
    np.testing.assert_allclose(way.encode(longer, now), way.encode(actions, now), rtol=0, atol=1e-12)


def test_what_is_decoded_is_the_nearest_of_equal_forms():
    rng, layout = np.random.default_rng(3), Layout.parse("angle:2 quaternion quaternion_xyzw rotation_vector")
    way = Relative(layout, layout)
    actions, now = rng.normal(size=(200, 5, layout.size)), 2 * rng.normal(size=(200, layout.size))
    found = way.decode(way.encode(actions, now), now)
    here = np.broadcast_to(now[:, None], found.shape)
    assert (np.abs(found - here)[..., :2] <= np.pi + 1e-9).all()
    for part in (slice(2, 6), slice(6, 10)):
        assert (np.sum(found[..., part] * here[..., part], axis=-1) >= 0).all()
        np.testing.assert_allclose(np.linalg.norm(found[..., part], axis=-1), 1)
    vectors, near = found[..., 10:], here[..., 10:]
    turn = 2 * np.pi * vectors / np.linalg.norm(vectors, axis=-1, keepdims=True)
    for other in (vectors + turn, vectors - turn):
        assert (np.linalg.norm(vectors - near, axis=-1) <= np.linalg.norm(other - near, axis=-1) + 1e-9).all()


def test_angles_go_the_short_way_across_half_a_turn_and_joints_do_not():
    way = relative("angle:1 joint:1", "angle:1 joint:1")
    encoded = way.encode([[-3.1, -3.1]], [3.1, 3.1])
    np.testing.assert_allclose(encoded, [[2 * np.pi - 6.2, -6.2]])
    np.testing.assert_allclose(way.decode(encoded, [3.1, 3.1]), [[2 * np.pi - 3.1, -3.1]])
    assert -np.pi <= way.encode([[3.1 + np.pi, 0]], [3.1, 0])[0, 0] < np.pi


def test_the_same_movement_is_the_same_wherever_the_robot_stands():
    rng, layout = np.random.default_rng(4), Layout.parse("position:3 joint:2 angle:1 gripper:1 velocity:1")
    way = Relative(layout, layout)
    actions, now = rng.normal(size=(6, 8)), rng.normal(size=8)
    moved = np.array([1, 2, 3, 4, 5, 6, 0, 0])
    np.testing.assert_allclose(way.encode(actions + moved, now + moved), way.encode(actions, now), **CLOSE)
    np.testing.assert_array_equal(way.encode(actions, now)[:, 6:], actions[:, 6:])


def test_the_same_turn_is_the_same_however_the_robot_is_turned():
    rng, way = np.random.default_rng(5), relative("rotation_vector", "quaternion")
    now, turn = matrix_of_quaternion(rng.normal(size=(2, 4)))
    for start in (np.eye(3), now):
        begin = rotation_vector(quaternion_of_rotation(start[None])) if start is now else np.zeros((1, 3))
        encoded = way.encode(quaternion_of_rotation((start @ turn)[None])[:, None], begin)
        np.testing.assert_allclose(encoded[0, 0], [*turn[:, 0], *turn[:, 1]], **CLOSE)


def test_the_nth_part_of_a_kind_goes_with_the_nth_of_the_state():
    two_arms = "velocity:2 position:3 quaternion position:3 gripper:1 rotation_vector"
    way = relative(two_arms, "position:3 rotation_vector position:3 quaternion_xyzw")
    now = np.random.default_rng(6).normal(size=16)
    actions = np.concatenate([now[2:5] + 1, [0, 0, 0], now[9:12] + 2, xyzw(quaternion_of_vector(now[13:]))])
    encoded = way.encode(actions[None], now)[0]
    np.testing.assert_allclose(encoded[[0, 1, 2, 9, 10, 11]], [1, 1, 1, 2, 2, 2])
    first = matrix_of_quaternion(now[5:9]).T
    np.testing.assert_allclose(encoded[3:9], [*first[:, 0], *first[:, 1]])
    np.testing.assert_allclose(encoded[12:], [1, 0, 0, 0, 1, 0], **CLOSE)


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.relative != "keep"], ids=str)
def test_a_part_without_a_counterpart_is_an_error_that_says_which(kind):
    size = kind.sizes[-1] if kind.sizes else 2
    for state, had in (("gripper:1", 0), (f"{kind.name}:{size}", 1)):
        text = " ".join([f"{kind.name}:{size}"] * (had + 1))
        with pytest.raises(InputError, match=f"{kind.name}:{size} is number {had + 1} of .* actions='absolute'"):
            relative(state, text)
    if kind.sizes is None or len(kind.sizes) > 1:
        with pytest.raises(InputError, match="of one size"):
            relative(f"{kind.name}:1", f"{kind.name}:{size}")


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.relative == "keep"], ids=str)
def test_what_is_kept_needs_no_counterpart(kind):
    way = relative("position:3", f"{kind.name}:2")
    np.testing.assert_array_equal(way.decode(way.encode([[1, 2]], [0, 0, 0]), [0, 0, 0]), [[1, 2]])


@pytest.mark.parametrize("dtype", [np.float32, np.float64, int])
def test_leading_axes_broadcast_and_the_type_is_kept(dtype):
    way = relative("position:3 quaternion", "position:3 quaternion gripper:1")
    actions, now = np.ones((5, 1, 4, 8), dtype), np.ones((3, 7))
    encoded = way.encode(actions, now)
    assert encoded.shape == (5, 3, 4, 10) and encoded.dtype == (np.float64 if dtype is int else dtype)
    decoded = way.decode(encoded, now.astype(np.float32))
    assert decoded.shape == (5, 3, 4, 8) and decoded.dtype == encoded.dtype
    np.testing.assert_allclose(decoded[..., 3:7], 0.5, **CLOSE)


def test_what_a_network_predicts_of_a_rotation_becomes_one():
    way = relative("quaternion", "quaternion")
    found = way.decode(np.random.default_rng(7).normal(size=(20, 4, 6)), np.random.default_rng(8).normal(size=(20, 4)))
    np.testing.assert_allclose(np.linalg.norm(found, axis=-1), 1)
    assert np.isfinite(way.decode(np.zeros((1, 6)), [1, 0, 0, 0])).all()


def test_other_shapes_and_zero_quaternions_are_errors_of_one_line():
    way = relative("position:3 quaternion", "position:3 quaternion")
    good = np.ones((2, 7))
    for call in (
        lambda: way.encode(good[:, :6], good[0]),
        lambda: way.encode(good[0], good[0]),
        lambda: way.encode(good, good[0, :6]),
        lambda: way.decode(np.ones((2, 7)), good[0]),
        lambda: way.decode(np.ones(9), good[0]),
        lambda: way.decode(np.ones((2, 9)), good[0, :3]),
        lambda: way.encode(np.zeros((2, 7)), good[0]),
        lambda: way.encode(good, np.zeros(7)),
        lambda: way.decode(np.ones((2, 9)), np.zeros(7)),
    ):
        with pytest.raises(InputError, match="must") as raised:
            call()
        assert "\n" not in str(raised.value)
