"""A layout says what each number is, refuses what does not fit, and how a robot is told to stay."""

import numpy as np
import pytest

from mp_lib.geometry.kinds import KINDS, Layout
from mp_lib.system.errors import InputError


def smallest(kind):
    """The least number that may stand together."""
    return kind.sizes[0] if kind.sizes else 1


@pytest.mark.parametrize("kind", KINDS.values(), ids=str)
def test_every_kind_is_read_and_written_as_the_same_text(kind):
    text = f"{kind.name}:{smallest(kind)}"
    layout = Layout.parse(f"  {text}   gripper:2 ", smallest(kind) + 2)
    assert layout.text == f"{text} gripper:2" and Layout.parse(layout.text) == layout
    assert [(part.kind.name, part.start, part.stop) for part in layout.parts] == [
        (kind.name, 0, smallest(kind)),
        ("gripper", smallest(kind), smallest(kind) + 2),
    ]


@pytest.mark.parametrize("kind", KINDS.values(), ids=str)
def test_every_kind_takes_the_sizes_it_allows_and_no_others(kind):
    for size in range(1, 9):
        if kind.sizes is None or size in kind.sizes:
            assert Layout.parse(f"{kind.name}:{size}").size == size
        else:
            with pytest.raises(InputError, match=f"size '{size}' of {kind.name} given; it must be"):
                Layout.parse(f"{kind.name}:{size}")
    for size in ("0", "-1", "", "two", "²", "1.0", "9" * 5000):
        with pytest.raises(InputError, match="must be"):
            Layout.parse(f"{kind.name}:{size}")


def test_a_kind_of_a_single_size_may_stand_without_it():
    assert Layout.parse("quaternion rotation_vector").text == "quaternion:4 rotation_vector:3"
    with pytest.raises(InputError, match="no size of gripper given"):
        Layout.parse("quaternion gripper")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "name every number in order"),
        ("  ", "name every number in order"),
        (None, "name every number in order"),
        ("quaternoin:4", "must be one of: quaternion, "),
        ("position:3", "name 3 numbers, but there are 8"),
    ],
)
def test_what_names_other_numbers_is_an_error_of_one_line(text, said):
    with pytest.raises(InputError, match=said) as raised:
        Layout.parse(text, 8)
    assert "\n" not in str(raised.value)


def test_to_hold_is_the_last_command_for_places_and_zero_for_what_moves():
    layout = Layout.parse("position:2 joint:1 angle:1 quaternion gripper:1 velocity:2 step:1")
    last = np.arange(1.0, 13.0)
    held = layout.holds(last)
    assert np.array_equal(held, [*range(1, 10), 0, 0, 0]) and last[-1] == 12
    assert np.array_equal(layout.holds(np.stack([last, last])), [held, held])
    with pytest.raises(InputError, match="shape"):
        layout.holds(last[:-1])
