"""A name that no task here has is a task of the user's: its sizes are the store's, and nothing of it is simulated."""

import pytest

from mp_lib.config import scale_config
from mp_lib.data.own_tasks import check_task, is_own, own_task, spec_of
from mp_lib.data.recording import demonstrations_of
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.interfaces import TaskSpec
from mp_lib.sim.tasks import TASKS
from mp_lib.system.errors import InputError
from tests.exchange.layouts import made_up, write_store


def test_names_like_those_of_our_suites_have_to_exist():
    suites = {spec.suite for spec in TASKS.values() if not spec.package}
    assert is_own("my_arm") and suites and not any(is_own(f"{suite}_arm") for suite in suites)
    assert not any(map(is_own, (*TASKS, "", None, 5)))


@pytest.mark.parametrize("beginning", TASKS.beginnings)
def test_a_task_of_ours_that_does_not_exist_is_refused_with_and_without_demonstrations(beginning, tmp_path):
    store = write_store(tmp_path / "store", made_up(), task="my_arm")
    config = scale_config("smoke", f"{beginning}arm", "dp3")
    for demos in ("", str(store.path)):
        with pytest.raises(InputError, match=f"unknown task '{beginning}arm'; choose one of: "):
            demonstrations_of(config, demos=demos)


def test_a_task_of_ones_own_needs_demonstrations():
    config = scale_config("smoke", "my_arm", "dp3")
    with pytest.raises(InputError, match="unknown task 'my_arm'; .* or give the demonstrations of a task of your own"):
        demonstrations_of(config)
    check_task(config, "somewhere")


@pytest.mark.parametrize("kinds", [None, {}, {"action": "position:2"}, "position:2", [3], {"state": None}])
def test_sizes_and_kinds_are_what_the_store_says(kinds, tmp_path):
    store = write_store(tmp_path / "store", made_up(), **({"kinds": kinds} if kinds else {}))
    spec = spec_of("my_arm", ReplayBuffer.open(store.path))
    assert (spec.name, spec.state_dim, spec.action_dim, spec.simulated) == ("my_arm", 4, 2, False)
    assert spec.state_kinds == "" and spec.action_kinds == (kinds["action"] if "action" in (kinds or ()) else "")
    assert demonstrations_of(scale_config("smoke", "my_arm", "dp3"), demos=str(store.path)).num_episodes == 3


@pytest.mark.parametrize(
    ("kinds", "said"), [("position:3", "name 3 numbers, but there are 2"), ("pose", "must be one")]
)
def test_kinds_that_do_not_fit_are_one_line_that_names_the_store(kinds, said, tmp_path):
    store = write_store(tmp_path / "store", made_up(), kinds={"action": kinds})
    with pytest.raises(InputError, match=f"{store.path}, action: kind.*{said}") as found:
        spec_of("my_arm", store)
    assert "\n" not in str(found.value)


def test_a_store_that_names_another_task_is_refused(tmp_path):
    store = write_store(tmp_path / "store", made_up(), task="your_arm")
    with pytest.raises(InputError, match="holds your_arm with .*, my_arm with .* is expected"):
        demonstrations_of(scale_config("smoke", "my_arm", "dp3"), demos=str(store.path))


def test_what_only_a_simulator_has_is_refused_in_one_line():
    spec: TaskSpec = own_task("my_arm", 4, 2)
    for make in (lambda: spec.make_env(num_points=8), spec.make_expert):
        with pytest.raises(InputError, match="my_arm exists in recordings alone, so nothing can be played"):
            make()
