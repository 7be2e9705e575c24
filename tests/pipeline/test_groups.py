"""Trainings of one shape are one step before their own; nothing of it is in a run's name, and none are on a CPU."""

import pytest

from mp_lib.pipeline import groups
from mp_lib.pipeline.experiment import Experiment
from mp_lib.pipeline.groups import stacks, train_runs
from mp_lib.study.designs import DESIGNS

MAIN = Experiment("paper", DESIGNS["main"], together=9)


def of_kind(steps, kind):
    return [step for step in steps if step.kind == kind]


def test_the_papers_runs_go_into_groups_of_one_shape_and_at_most_nine():
    found = stacks(MAIN.configs(), 9)
    assert sorted(config.name for members in found for config in members) == sorted(c.name for c in MAIN.configs())
    for members in found:
        assert 2 <= len(members) <= 9
        assert len({(config.method, config.batch_size, config.horizon) for config in members}) == 1
        sizes = {(groups.TASKS[config.task].state_dim, groups.TASKS[config.task].action_dim) for config in members}
        assert len(sizes) == 1
    assert max(map(len, found)) == 9  # MetaWorld's three tasks, three seeds


@pytest.mark.parametrize("most", [2, 4, 5])
def test_groups_are_as_even_as_can_be(most):
    sizes = sorted(map(len, stacks([config for config in MAIN.configs() if config.method == "dp3"], most)))
    assert sizes[-1] <= most and sizes[0] >= most // 2


def test_a_run_of_no_others_shape_is_in_no_group():
    assert stacks(Experiment("quick").configs(), 9) == []


def test_a_groups_step_comes_before_those_of_its_runs_and_makes_their_results():
    steps = MAIN.steps(cores=2)
    by_name = {step.name: step for step in steps}
    for group in of_kind(steps, "group"):
        runs = [by_name[name] for name in group.facts["runs"]]
        assert all(run.after == (group.name,) for run in runs)
        assert group.products == tuple(run.products[0] for run in runs)
        assert {*group.needs} == {name for run in runs for name in run.needs}
        assert [given["seed"] for given in group.parameters["runs"]] == [run.parameters["seed"] for run in runs]
        assert steps.index(group) < min(map(steps.index, runs))
    assert len({step.name for step in steps}) == len(steps)


def test_without_groups_the_steps_are_the_same_but_for_them():
    alone = {step.name: step for step in Experiment("paper", DESIGNS["main"]).steps(cores=2)}
    together = {step.name: step for step in MAIN.steps(cores=2) if step.kind != "group"}
    assert not of_kind(alone.values(), "group") and together.keys() == alone.keys()
    for name, step in alone.items():
        assert (step.parameters, step.facts, step.products) == (
            together[name].parameters,
            together[name].facts,
            together[name].products,
        )


def test_a_groups_parameters_are_the_runs_that_their_own_steps_train(monkeypatch):
    """What its notebook trains has the folders of the trainings' steps."""
    seen = []
    monkeypatch.setattr(groups, "demonstrations_of", lambda config: None)
    monkeypatch.setattr(groups, "train_group", lambda trainings, **how: seen.extend(trainings) or {})
    (group, *_) = of_kind(MAIN.steps(cores=2), "group")
    table = train_runs(group.parameters["runs"], device="cpu")
    assert [training.folder.name for training in seen] == group.facts["runs"]
    assert [product.parent for product in group.products] == [training.folder for training in seen]
    assert len(table) == len(seen)
