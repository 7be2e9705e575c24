"""Runs trained as one: each keeps its own folder, result and past, and what becomes of one leaves the others alone."""

import math
from dataclasses import replace

import pytest
import torch

from mp_lib.learning import fitting
from mp_lib.learning.group import Group
from mp_lib.learning.run import train, train_group
from mp_lib.learning.stages import Run
from mp_lib.learning.training import Training
from mp_lib.model.step_forms import NEEDS
from mp_lib.system.files import read_json
from mp_lib.system.locks import sole_user
from tests.conftest import TOY
from tests.learning.toy_run import CONFIG, FILES, rows
from tests.study.finished import comparable

CURVED = replace(CONFIG, eval_every_epochs=2, eval_episodes=3)


@pytest.fixture(autouse=True)
def form_of_groups(monkeypatch):
    """Groups on a CPU, where nothing is recorded."""
    monkeypatch.setitem(NEEDS, "cuda", (lambda device: True, ""))


@pytest.fixture
def trainings(tmp_path, toy_demos):
    """Three that differ in seed and length."""
    configs = [CURVED, replace(CURVED, seed=1, num_steps=12), replace(CURVED, seed=2)]
    return [Training(config, TOY, toy_demos, tmp_path / str(config.seed)) for config in configs]


class Idle:
    """An executor that never begins."""

    def __init__(self, workers):
        self.done = lambda: False

    def submit(self, *given):
        return self

    def shutdown(self, **how):
        pass


def fit(trainings, **changes):
    return train_group(trainings, device="cpu", form="cuda", **changes)


def results(trainings):
    return [comparable(read_json(each.folder / "result.json")) for each in trainings]


def without_group(result):
    return {key: value for key, value in result.items() if key not in ("how", "loss")}


def stop_behind(monkeypatch, step, error=KeyboardInterrupt):
    """Let the update of a group raise when its first run is at that step."""
    update = Group.update

    def stopping(members):
        if members.trainers[0].step == step:
            raise error
        return update(members)

    monkeypatch.setattr(Group, "update", stopping)


def test_each_run_of_a_group_ends_as_alone(trainings, tmp_path):
    assert fit(trainings) == {}
    alone = [each._replace(folder=tmp_path / f"alone{each.folder.name}") for each in trainings]
    for each in alone:
        train(*each[:4], device="cpu", form="cuda")
        assert sorted(path.name for path in each.folder.iterdir()) == FILES
    for together, apart in zip(results(trainings), results(alone), strict=True):
        assert (together["how"]["group"], apart["how"]["group"]) == (3, 1)
        assert without_group(together) == without_group(apart)
        # Rounding grows from 1e-7 of the first loss to some percent within ten steps; test_group.py compares the first.
        assert together["loss"] == pytest.approx(apart["loss"], rel=0.3)
    for one, other in zip(trainings, alone, strict=True):
        assert [row["step"] for row in rows(one.folder)] == [row["step"] for row in rows(other.folder)]
        assert sorted(path.name for path in one.folder.iterdir()) == FILES


def test_a_group_that_was_stopped_goes_on_and_ends_the_same(trainings, tmp_path, monkeypatch, eager_saves):
    whole = [each._replace(folder=tmp_path / f"whole{each.folder.name}") for each in trainings]
    fit(whole)
    with monkeypatch.context() as patch:
        stop_behind(patch, 7)
        with pytest.raises(KeyboardInterrupt):
            fit(trainings)
    assert [read_json(each.folder / "training.json")["step"] for each in trainings] == [7, 7, 7]
    fit(trainings)
    assert results(trainings) == results(whole)
    for one, other in zip(trainings, whole, strict=True):
        assert rows(one.folder) == rows(other.folder)


def test_half_of_a_group_can_be_finished_and_read(trainings):
    fit(trainings[1:])
    assert fit(trainings) == {}
    assert [result["how"]["group"] for result in results(trainings)] == [1, 2, 2]


def test_a_loss_that_is_no_number_ends_that_run_alone(trainings, monkeypatch, tmp_path):
    losses = Group.losses

    def spoiled(members):
        found = losses(members)
        spoils = [each.config.seed == 1 and each.step > 4 for each in members.trainers]
        return torch.where(torch.tensor(spoils), torch.nan, found)

    with monkeypatch.context() as patch:
        patch.setattr(Group, "losses", spoiled)
        failures = fit(trainings)
    assert [*failures] == [trainings[1].folder] and "the loss is nan at step 10" in str(failures[trainings[1].folder])
    assert [(each.folder / "result.json").exists() for each in trainings] == [True, False, True]
    assert math.isfinite(results(trainings[::2])[1]["loss"])
    assert fit(trainings) == {}  # nothing of it was saved


def test_a_run_that_fails_at_its_end_leaves_the_others_alone(trainings, monkeypatch):
    finish = Run.finish

    def failing(run):
        if run.config.seed == 1:
            raise OSError("the disk is full")
        return finish(run)

    monkeypatch.setattr(Run, "finish", failing)
    assert [str(error) for error in fit(trainings).values()] == ["the disk is full"]
    assert len(results(trainings[::2])) == 2


def test_a_run_that_another_process_works_in_is_left_to_it(trainings, tmp_path):
    with sole_user(tmp_path / ".1.lock", "it"):
        failures = fit(trainings)
    assert [*failures] == [trainings[1].folder] and "is in use by" in str(failures[trainings[1].folder])
    assert len(results(trainings[::2])) == 2


def test_where_memory_ends_one_half_is_trained_after_the_other(trainings, monkeypatch):
    sizes, make = [], Group.__init__

    def limited(members, trainers):
        sizes.append(len(trainers))
        if len(trainers) > 1:
            raise torch.OutOfMemoryError("CUDA out of memory")
        make(members, trainers)

    monkeypatch.setattr(Group, "__init__", limited)
    assert fit(trainings) == {}
    assert sizes == [3, 1, 2, 1, 1]
    assert [result["how"]["group"] for result in results(trainings)] == [1, 1, 1]
    monkeypatch.setattr(Group, "__init__", lambda *_: (_ for _ in ()).throw(torch.OutOfMemoryError("none at all")))
    with pytest.raises(torch.OutOfMemoryError):
        fit([trainings[0]._replace(folder=trainings[0].folder.with_name("alone"))])


def test_runs_of_other_shapes_or_begun_in_another_form_are_no_part_of_a_group(trainings, monkeypatch):
    sizes, make = [], Group.__init__
    monkeypatch.setattr(Group, "__init__", lambda self, trainers: sizes.append(len(trainers)) or make(self, trainers))
    trainings[1] = trainings[1]._replace(config=replace(trainings[1].config, batch_size=4))
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "stepper", lambda trainers: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            train(*trainings[2][:4], device="cpu", form="torch")
    assert fit(trainings) == {}
    assert sizes == [1, 1]
    assert [result["how"]["form"] for result in results(trainings)] == ["cuda", "cuda", "torch"]


@pytest.mark.parametrize("stop", [None, 12])
def test_evaluations_beside_a_training_find_what_those_between_steps_find(trainings, tmp_path, monkeypatch, stop):
    whole = [each._replace(folder=tmp_path / f"whole{each.folder.name}") for each in trainings]
    fit(whole)
    monkeypatch.setattr(fitting, "BESIDE", ("cpu",))
    if stop:
        with monkeypatch.context() as patch:
            stop_behind(patch, stop)
            with pytest.raises(KeyboardInterrupt):
                fit(trainings)
    fit(trainings)
    for one, other in zip(results(trainings), results(whole), strict=True):
        assert one["curve"] == other["curve"] and len(one["curve"]) == (1 if other["config"]["seed"] == 1 else 3)
        assert one["final"] == other["final"] and one["loss"] == other["loss"]


def test_an_evaluation_that_was_stopped_beside_its_training_is_made_again(trainings, monkeypatch):
    """Its weights are saved with the training, which has gone on meanwhile."""
    monkeypatch.setattr(fitting, "BESIDE", ("cpu",))
    evaluate, seen = Run.evaluate, []
    with monkeypatch.context() as patch:
        patch.setattr(fitting, "ThreadPoolExecutor", Idle)
        stop_behind(patch, 9)
        with pytest.raises(KeyboardInterrupt):
            fit(trainings[:1])
    header = read_json(trainings[0].folder / "training.json")
    assert (header["step"], header["facts"]["waiting"], header["facts"]["curve"]) == (9, 5, [])
    monkeypatch.setattr(Run, "evaluate", lambda run, *given: (seen.append(given[0]), evaluate(run, *given))[1])
    fit(trainings[:1])
    assert seen[0] == 5 and [row["step"] for row in results(trainings[:1])[0]["curve"]] == [5, 15, 25]
