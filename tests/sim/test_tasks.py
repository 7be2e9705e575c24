"""TASKS as a table: complete, importable without a simulator, safe to send to other processes."""

import pickle
import subprocess
import sys
from dataclasses import replace

import pytest

from mp_lib.interfaces import ALL_OF, look_up
from mp_lib.sim.tasks import METAWORLD_TASKS, TASKS
from mp_lib.system.errors import InputError


def test_listing_tasks_imports_no_simulator_and_no_torch():
    code = "import sys, mp_lib.sim.tasks as t; assert len(t.TASKS) >= 50; print(*sys.modules)"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout.split()
    assert not {"torch", "mujoco", "metaworld", "gymnasium"} & set(loaded)


def test_metaworld_tasks_are_those_of_metaworld():
    from mp_lib.sim.metaworld import ALL_V3_ENVIRONMENTS_GOAL_OBSERVABLE as ENVIRONMENTS

    from metaworld.policies import ENV_POLICY_MAP  # isort: skip  # after the backend has been chosen

    assert sorted(f"{task}-v3" for task in METAWORLD_TASKS) == sorted(ENV_POLICY_MAP)
    assert sorted(f"{task}-v3-goal-observable" for task in METAWORLD_TASKS) == sorted(ENVIRONMENTS)


@pytest.mark.parametrize("name", TASKS)
def test_rows_survive_a_trip_to_another_process(name):
    row = pickle.loads(pickle.dumps(TASKS[name]))
    assert row.name == name
    assert row.make_env.args == TASKS[name].make_env.args


@pytest.mark.parametrize("name", TASKS)
def test_rows_make_sense(name):
    row = TASKS[name]
    assert name == f"{row.suite}_{row.make_env.args[-1]}"
    assert row.num_points > 0 and row.num_demos > 0
    assert 0 < row.min_success_steps <= row.max_steps
    assert row.success_rule.judge([True] * row.max_steps)
    assert not row.success_rule.judge([False] * row.max_steps)


@pytest.mark.parametrize("name", [name for name, row in TASKS.items() if row.other_experts])
def test_another_expert_changes_nothing_but_the_expert(name):
    row = TASKS[name]
    assert row.with_expert("default") == row
    for key, other in row.other_experts.items():
        chosen = row.with_expert(key)
        assert (chosen.make_expert, chosen.expert_name, chosen.expert_remark) == (other.make, other.name, other.remark)
        own = {"make_expert": row.make_expert, "expert_name": row.expert_name, "expert_remark": row.expert_remark}
        assert replace(chosen, **own) == row
        assert pickle.loads(pickle.dumps(chosen)).make_expert.args == other.make.args


@pytest.mark.parametrize("name", [name for name, row in TASKS.items() if row.other_objects])
def test_other_objects_change_nothing_but_the_environment(name):
    row = TASKS[name]
    assert row.with_objects("default") == row
    for key in row.other_objects:
        chosen = row.with_objects(key)
        assert pickle.loads(pickle.dumps(chosen)).objects == key
        assert chosen.make_env.keywords == {"instances": key}
        assert replace(chosen, make_env=row.make_env, objects="default") == row
    with pytest.raises(ValueError, match="unknown objects of .*choose one of: default, unseen"):
        row.with_objects("heavy")


@pytest.mark.parametrize("name", [name for name, row in TASKS.items() if row.suite == "dexart"])
def test_only_the_bucket_has_a_state_of_33_numbers(name):
    assert TASKS[name].other_states == ((33,) if name == "dexart_bucket" else ())


@pytest.mark.parametrize(
    ("given", "first"),
    [
        *(("metaworld_drawer", "metaworld_drawer-"), ("drawer-open", "metaworld_drawer-open"), ("pen", "adroit_pen")),
        *((given, "metaworld_") for given in ("", None, [], ["metaworld_reach"], {}, "q" * 5000, "a\nb")),
    ],
)
def test_an_unknown_task_is_answered_with_the_nearest_and_where_all_stand(given, first):
    with pytest.raises(InputError) as refused:
        look_up(TASKS, given, "task")
    (said,) = str(refused.value).splitlines()
    assert len(said) < 600 and f"or another of {len(TASKS)} that {ALL_OF['task']} lists" in said
    assert said.partition("choose one of: ")[2].startswith(first)


def test_what_lists_all_tasks_does_so():
    command = [sys.executable, "-c", f"import mp_lib; print(*{ALL_OF['task']}['task'])"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.split() == [*TASKS]
