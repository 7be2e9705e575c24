"""Train a small network of our own to act as another expert does.

Imitation with corrections (DAgger, arXiv 1011.0686): the student drives more and more, with noise, and the teacher
says at every step what it would have done. Nothing of the teacher goes into the student but those answers.
"""

from __future__ import annotations

import csv
import io
import logging
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch

from mp_lib.interfaces import Environment, Expert, TaskSpec
from mp_lib.sim.env import SimulationDiverged
from mp_lib.sim.experts import OWN_NETWORKS, NetworkExpert
from mp_lib.sim.tasks import find_task
from mp_lib.sim.trial import check_expert
from mp_lib.system.files import write_arrays, write_atomically
from mp_lib.system.paths import results_path, supplied

log = logging.getLogger(__name__)

TRAINING_SEEDS, WATCHED_SEEDS = 1_000_000, 2_000_000  # first ones; those below are for whoever judges the student
WATCHED = 20  # episodes a round
COLUMNS = ("task", "expert", "episodes", "first_seed", "success_rate", "low", "high", "command")


@dataclass(frozen=True)
class Recipe:
    """How a student is trained; the same for every task."""

    hidden: int = 48
    rounds: int = 16
    episodes: int = 60  # a round
    noise: float = 0.15  # largest standard deviation of what is added to actions; each episode draws its own
    epochs: int = 30  # a round, over all that was seen so far
    last_epochs: int = 300
    batch_size: int = 512
    learning_rate: float = 3e-3


class Student(torch.nn.Module):
    """Two hidden tanh layers between a fixed shift and scale of observations and actions."""

    def __init__(self, observations: torch.Tensor, action_dim: int, hidden: int):
        super().__init__()
        observation_dim = observations.shape[1]
        sizes = [(observation_dim, hidden), (hidden, hidden), (hidden, action_dim)]
        self.layers = torch.nn.ModuleList(torch.nn.Linear(*size) for size in sizes)
        self.shift = observations.mean(0)
        # What hardly moves must not be blown up, or a disturbance drives all units to their ends.
        self.scale = observations.std(0).clamp_min(1e-2)

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """Actions (B, A) for observations (B, O)."""
        layer = (observations - self.shift) / self.scale
        for linear in self.layers[:-1]:
            layer = torch.tanh(linear(layer))
        return self.layers[-1](layer)

    def arrays(self) -> dict[str, np.ndarray]:
        """What ``mp_lib.sim.experts.NetworkExpert`` reads."""
        found = {"in_shift": self.shift, "in_scale": self.scale}
        found |= {"out_shift": torch.zeros(self.layers[-1].out_features)}
        found |= {"out_scale": torch.ones(self.layers[-1].out_features)}
        for k, linear in enumerate(self.layers):
            found |= {f"w{k}": linear.weight, f"b{k}": linear.bias}
        return {name: tensor.detach().numpy().copy() for name, tensor in found.items()}


class Lessons:
    """Observations (M, O) and what the teacher does there (M, A), as they come together."""

    def __init__(self, spec: TaskSpec, teacher: Expert, recipe: Recipe, seed: int):
        self.spec, self.teacher, self.recipe = spec, teacher, recipe
        self.env: Environment = spec.make_env(num_points=spec.num_points)
        self.random = np.random.default_rng(seed)
        self.next_seed = TRAINING_SEEDS
        self.observations: list[np.ndarray] = []
        self.actions: list[np.ndarray] = []

    def give(self, driver: Expert, share: float) -> None:
        """Play a round: ``driver`` acts in ``share`` of the steps and the teacher in the others."""
        for _ in range(self.recipe.episodes):
            noise = self.recipe.noise * self.random.uniform()
            self.env.reset(self.next_seed)
            self.next_seed += 1
            for _ in range(self.spec.max_steps):
                truth = self.env.truth()
                lesson = self.teacher.act(truth)
                self.observations.append(truth["observation"])
                self.actions.append(lesson)
                action = driver.act(truth) if self.random.uniform() < share else lesson
                try:
                    self.env.step(action + noise * self.random.normal(size=lesson.shape))
                except SimulationDiverged:
                    break

    def tensors(self) -> tuple[torch.Tensor, torch.Tensor]:
        """All lessons so far."""
        return tuple(torch.from_numpy(np.array(rows, np.float32)) for rows in (self.observations, self.actions))


def imitate(spec: TaskSpec, teacher: Expert, seed: int = 0, recipe: Recipe = Recipe()) -> dict[str, np.ndarray]:
    """Train a student round by round and return its arrays; how it does on the way is logged."""
    torch.manual_seed(seed)
    lessons = Lessons(spec, teacher, recipe, seed)
    lessons.give(teacher, 0)
    student = Student(lessons.tensors()[0], spec.action_dim, recipe.hidden)
    for number in range(1, recipe.rounds + 1):
        last = number == recipe.rounds
        fit(student, *lessons.tensors(), recipe, recipe.last_epochs if last else recipe.epochs)
        driver = NetworkExpert(student.arrays())
        watched = check_expert(replace(spec, make_expert=lambda driver=driver: driver), WATCHED, WATCHED_SEEDS)
        rate = watched["success_rate"]
        log.info("%s, round %d: %d lessons, success %.2f", spec.name, number, len(lessons.actions), rate)
        if not last:
            lessons.give(driver, min(1, number / 3))
    lessons.env.close()
    return student.arrays()


def fit(student: Student, observations: torch.Tensor, actions: torch.Tensor, recipe: Recipe, epochs: int) -> None:
    """Lower the squared error to the teacher's actions (M, A), the rate falling along a cosine to 0."""
    steps = epochs * (len(observations) // recipe.batch_size)
    optimizer = torch.optim.Adam(student.parameters(), lr=recipe.learning_rate)
    schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps)
    for _ in range(steps):
        chosen = torch.randint(len(observations), (recipe.batch_size,))
        loss = torch.nn.functional.mse_loss(student(observations[chosen]), actions[chosen])
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        schedule.step()


def judge(spec: TaskSpec, arrays: dict[str, np.ndarray], teacher: TaskSpec, episodes: int) -> list[dict]:
    """How often student and teacher succeed on the same fresh seeds, as rows of COLUMNS but the command."""
    student, rows = replace(spec, make_expert=lambda: NetworkExpert(arrays)), []
    for result in (check_expert(each, episodes) for each in (student, teacher)):
        low, high = (round(bound, 3) for bound in result["interval"])
        rows.append({key: result.get(key, 0) for key in COLUMNS[:-1]} | {"low": low, "high": high})
    return rows


def write_rows(path: Path, rows: list[dict]) -> None:
    """Write the rows of a task in place of those that the table at ``path`` has of it."""
    kept = []
    before = supplied(path)
    if before.exists():
        with open(before, newline="") as file:
            kept = [row for row in csv.DictReader(file) if row["task"] != rows[0]["task"]]
    text = io.StringIO()
    writer = csv.DictWriter(text, COLUMNS, lineterminator="\n")
    writer.writeheader()
    writer.writerows(sorted(kept + rows, key=lambda row: row["task"]))
    write_atomically(path, text.getvalue().encode())


def replace_student(task: str, teacher: str, seed: int, episodes: int) -> list[dict]:
    """Train the shipped student of a task anew, judge it and its teacher, and keep network and rows of COLUMNS.

    Raises a ValueError for what cannot be imitated, or fewer than one of the ``episodes`` to judge by.
    """
    if episodes < 1:
        raise ValueError(f"episodes {episodes} given; it must be at least 1")
    spec = find_task(task)
    if teacher not in spec.other_experts:  # the shipped student rests on another's network
        allowed = ", ".join(spec.other_experts) or "none: its own expert is no network"
        raise ValueError(f"{teacher!r} was given as teacher of {task}; allowed are: {allowed}")
    shown = spec.with_expert(teacher)
    torch.set_num_threads(1)  # the layers are too small to share
    arrays = imitate(spec, shown.make_expert(), seed)
    rows = judge(spec, arrays, shown, episodes)
    write_arrays(OWN_NETWORKS / f"{spec.name}.npz", arrays)  # only now, since network and table belong together
    command = f"python -m mp_lib imitate --task {task} --teacher {teacher} --seed {seed} --episodes {episodes}"
    write_rows(results_path("adroit_experts.csv"), [row | {"command": command} for row in rows])
    return rows
