"""Of equal commands the nearest is chosen, so that a robot never goes the long way round."""

import numpy as np
import pytest

from mp_lib.geometry.absolute import NEAREST, nearest
from mp_lib.geometry.kinds import KINDS, Layout
from mp_lib.system.errors import InputError


def test_it_knows_every_kind_that_turns():
    assert {*NEAREST} == {name for name, kind in KINDS.items() if kind.relative in ("wrap", "compose")}


def test_a_path_that_jumps_between_equal_forms_becomes_a_path_without_jumps():
    angle = np.linspace(0.1, 9, 100)[:, None]
    axis = np.array([[0.6, 0, 0.8]])
    signs = np.random.default_rng(0).choice([-1, 1], size=(100, 1))
    turns = 2 * np.pi * np.random.default_rng(1).integers(-2, 3, size=(100, 1))
    quaternion = np.concatenate([np.cos(angle / 2), np.sin(angle / 2) * axis], axis=-1)
    smooth = np.concatenate([angle, quaternion, angle * axis, angle], axis=-1)
    jumping = np.concatenate([angle + turns, signs * quaternion, (angle + turns) * axis, angle], axis=-1)
    layout = Layout.parse("angle:1 quaternion:4 rotation_vector:3 joint:1")
    found = nearest(jumping, smooth[0], layout)
    np.testing.assert_allclose(found, smooth, atol=1e-9)
    np.testing.assert_array_equal(nearest(smooth, smooth[0], layout), smooth)


@pytest.mark.parametrize("kind", [kind for kind in KINDS.values() if kind.name not in NEAREST], ids=str)
def test_what_has_a_single_form_stays_as_it_is(kind):
    size = kind.sizes[-1] if kind.sizes else 4
    actions = 10 * np.random.default_rng(2).normal(size=(5, size))
    np.testing.assert_array_equal(nearest(actions, np.zeros(size), Layout.parse(f"{kind.name}:{size}")), actions)


def test_leading_axes_broadcast_the_type_is_kept_and_the_input_too():
    layout = Layout.parse("angle:1 gripper:1")
    actions = np.full((3, 4, 2), 7, np.float32)
    found = nearest(actions, np.zeros(2), layout)
    assert found.shape == (3, 4, 2) and found.dtype == np.float32 and (actions == 7).all()
    np.testing.assert_allclose(found[..., 0], 7 - 2 * np.pi, rtol=1e-6)
    assert nearest(actions[0], np.zeros((6, 2)), layout).shape == (6, 4, 2)


def test_another_number_of_numbers_is_an_error():
    for actions, last in ((np.zeros((4, 2)), np.zeros(3)), (np.zeros((4, 3)), np.zeros(2)), (np.zeros(2), np.zeros(2))):
        with pytest.raises(InputError, match="shape"):
            nearest(actions, last, Layout.parse("angle:2"))
