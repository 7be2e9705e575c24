"""What is offered in place of a name that nobody knows."""

import pytest

from mp_lib.presets import METHODS
from mp_lib.sim.tasks import TASKS
from mp_lib.system.names import nearest


@pytest.mark.parametrize(
    ("given", "choices", "meant"),
    [
        ("hydra", METHODS, "dp3_mamba_hydra"),
        ("Mamba_V2", METHODS, "dp3_mamba_v2"),
        ("dp3_mama", METHODS, "dp3_mamba"),
        ("door-opn", TASKS, "metaworld_door-open"),
        ("drawer-open", TASKS, "metaworld_drawer-open"),
        ("pen", TASKS, "adroit_pen"),
        ("loptop", TASKS, "dexart_laptop"),
    ],
)
def test_an_ending_or_a_slip_finds_the_name(given, choices, meant):
    assert nearest(given, choices)[0] == meant


@pytest.mark.parametrize("choices", [METHODS, TASKS])
def test_every_name_is_nearest_to_itself(choices):
    assert all(nearest(name, choices)[0] == name for name in choices)


def test_nothing_is_offered_where_nothing_is_close():
    assert nearest("xyzzy", METHODS) == nearest("", METHODS) == []
    assert len(nearest("dp3", METHODS, count=2)) == 2
    assert sorted(nearest("", METHODS, len(METHODS), 0)) == sorted(METHODS)
