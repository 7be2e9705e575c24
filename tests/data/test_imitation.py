"""A student learns from answers alone, the same way for the same seed; what is known of it is kept by task."""

import csv
import logging
import re

import numpy as np
import pytest
import torch

from mp_lib.__main__ import main
from mp_lib.data import imitation as module
from mp_lib.data.imitation import COLUMNS, Lessons, Recipe, Student, fit, imitate, write_rows
from mp_lib.sim.experts import NETWORK_ARRAYS, NetworkExpert
from mp_lib.sim.tasks import TASKS

PEN = TASKS["adroit_pen"]
TINY = Recipe(hidden=6, rounds=2, episodes=1, epochs=1, last_epochs=1, batch_size=16)


class Still:
    """A driver whose action tells it from the teacher."""

    def act(self, truth):
        return np.zeros(PEN.action_dim, np.float32)


def test_a_student_is_fixed_by_its_seed(caplog):
    caplog.set_level(logging.INFO)
    first, second, other = (imitate(PEN, PEN.make_expert(), seed, TINY) for seed in (0, 0, 1))
    assert set(first) == set(NETWORK_ARRAYS) and first["w1"].shape == (6, 6)
    for name in ("w0", "w1", "w2", "in_shift"):
        np.testing.assert_array_equal(first[name], second[name])
        assert not np.array_equal(first[name], other[name])
    assert "round 2: 100 lessons" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--task", "adroit_pen", "--teacher", "default"], "'default' was given as teacher of adroit_pen.*dapg"),
        (["--task", "dexart_laptop", "--teacher", "default"], "allowed are: none"),
        (["--task", "metaworld_reach"], "'dapg' was given as teacher of metaworld_reach"),
        (["--task", "adroit_pen", "--episodes", "0"], "episodes 0 given; it must be at least 1"),
    ],
)
def test_what_cannot_be_imitated_is_refused_before_anything_is_trained(arguments, said, monkeypatch, capsys):
    monkeypatch.setattr(module, "imitate", lambda *_: pytest.fail("it was trained"))
    assert main(["imitate", *arguments]) == 2
    assert re.search(said, capsys.readouterr().err)


@pytest.mark.parametrize("share", [0, 1])
def test_lessons_are_the_teachers_whoever_drives(share):
    teacher = PEN.make_expert()
    lessons = Lessons(PEN, teacher, TINY, seed=0)
    lessons.give(Still(), share)
    lessons.env.close()
    observations, actions = lessons.tensors()
    assert observations.shape == (50, 45) and actions.shape == (50, 24)
    expected = [teacher.act({"observation": observation}) for observation in lessons.observations]
    np.testing.assert_array_equal(actions.numpy(), expected)


def test_a_student_learns_and_its_arrays_act_as_it_does():
    torch.manual_seed(0)
    observations = torch.randn(400, 5) * torch.tensor([1, 2, 3, 4, 0.0]) + 1
    actions = torch.tanh(observations[:, :2] - 1)
    student = Student(observations, 2, 16)
    fit(student, observations, actions, Recipe(batch_size=50), epochs=60)
    with torch.no_grad():
        answers = student(observations)
    assert (answers - actions).square().mean() < 0.01
    expert = NetworkExpert(student.arrays())
    acted = [expert.act({"observation": observation}) for observation in observations.numpy()]
    np.testing.assert_allclose(acted, answers.clamp(-1, 1), atol=1e-5)


def test_rows_of_a_task_replace_those_that_are_there(tmp_path):
    path = tmp_path / "experts.csv"
    for task, rate in (("b", 0.1), ("a", 0.2), ("b", 0.3)):
        write_rows(path, [dict.fromkeys(COLUMNS, 0) | {"task": task, "success_rate": rate}])
    with open(path, newline="") as file:
        rows = list(csv.DictReader(file))
    assert [(row["task"], row["success_rate"]) for row in rows] == [("a", "0.2"), ("b", "0.3")]
