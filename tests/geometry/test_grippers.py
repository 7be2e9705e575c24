"""A gripper that has two values in the demonstrations has no others when a policy acts."""

import numpy as np

from mp_lib.geometry.grippers import open_closed, snap_grippers
from mp_lib.geometry.kinds import Layout

LAYOUT = Layout.parse("position:2 gripper:1 gripper:2")


def demonstrations():
    """The first gripper is open or closed, one of the others goes between, one never moves."""
    rng = np.random.default_rng(0)
    actions = rng.choice([-1.0, 1.0], size=(200, 5))
    actions[:, 2] = rng.choice([0.2, 0.8], size=200) + rng.uniform(-1e-3, 1e-3, 200)
    actions[:, 3] = rng.uniform(size=200)
    actions[:, 4] = 0.5
    return actions


def test_only_numbers_with_two_values_are_found():
    values = open_closed(demonstrations())
    assert values.shape == (2, 5)
    np.testing.assert_allclose(values[:, :3], [[-1, -1, 0.2], [1, 1, 0.8]], atol=2e-3)
    assert np.isnan(values[:, 3:]).all() and np.isnan(open_closed(np.zeros((0, 5)))).all()


def test_a_snapped_gripper_has_the_nearer_value_and_everything_else_stays():
    rng = np.random.default_rng(1)
    actions, values = rng.normal(size=(7, 16, 5)).astype(np.float32), open_closed(demonstrations())
    found = snap_grippers(actions, LAYOUT, values)
    assert found.dtype == np.float32 and found.shape == actions.shape
    low, high = values[:, 2].astype(np.float32)
    np.testing.assert_array_equal(found[..., 2], np.where(actions[..., 2] > (low + high) / 2, high, low))
    np.testing.assert_array_equal(np.delete(found, 2, axis=-1), np.delete(actions, 2, axis=-1))
    np.testing.assert_array_equal(snap_grippers(found, LAYOUT, values), found)


def test_without_values_nothing_changes():
    actions = np.random.default_rng(2).normal(size=(4, 5))
    np.testing.assert_array_equal(snap_grippers(actions, LAYOUT, None), actions)
    np.testing.assert_array_equal(snap_grippers(actions, LAYOUT, np.full((2, 5), np.nan)), actions)


def test_what_is_no_number_is_not_hidden():
    values = open_closed(demonstrations())
    assert np.isnan(snap_grippers(np.full(5, np.nan), LAYOUT, values)).all()
