"""A stored checkpoint again: rolled out, written down, compared with what its run has found."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np

from mp_lib.config import BOUNDS, FINAL_SEEDS, PolicyConfig
from mp_lib.data.own_tasks import is_own, own_task, refuse_simulation
from mp_lib.interfaces import TaskSpec
from mp_lib.learning.folder import stored_result
from mp_lib.learning.how import deviation, precision_of, settle
from mp_lib.learning.journal import Journal
from mp_lib.learning.rollout import rollout, settle_jobs
from mp_lib.learning.simulators import Episode
from mp_lib.model.actions import robot_dim
from mp_lib.model.backends import FrozenPolicy, freeze, scoring_backend
from mp_lib.model.checkpoint import load_policy
from mp_lib.model.weights import CHECKPOINT
from mp_lib.sim.changes import Disturbance
from mp_lib.sim.tasks import TASKS, find_task
from mp_lib.statistics import contrast, wilson_interval
from mp_lib.system.device import choose_device, device_name
from mp_lib.system.errors import InputError, at_least_one
from mp_lib.system.files import read_json, write_json
from mp_lib.system.locks import sole_user
from mp_lib.system.paths import evaluations_path, run_path
from mp_lib.system.provenance import commit, file_hash
from mp_lib.system.values import check_bounds, meaning


def load(
    checkpoint: Path,
    num_inference_steps: int | None = None,
    device: str = "auto",
    backend: str = "auto",
    *,
    task: str = "",
    method: str = "",
) -> tuple[FrozenPolicy, TaskSpec]:
    """The policy on a device under a backend, and its task; with another number of denoising steps if one is given.

    ``task`` and ``method`` are for what a file does not say of itself. Raises an InputError if it says another, or
    neither says one, or the policy's sizes are not the task's.
    """
    at_least_one(num_inference_steps=num_inference_steps)
    policy, facts = load_policy(checkpoint, method or None)
    spec = task_of(checkpoint, policy.config, facts.get("task"), task, facts.get("simulated", True))
    if num_inference_steps is not None:
        policy = policy.with_steps(num_inference_steps)
    policy.to(choose_device(device))
    return freeze(policy, scoring_backend(backend, policy.device)), spec


def task_of(checkpoint: Path, config: PolicyConfig, said: str | None, given: str, simulated: bool = True) -> TaskSpec:
    """The task that a policy acts in: what its file says, or what was given where that is no task of ours.

    A file may say that it is a task of the user's, of which there is no simulator.
    """
    if not given and said and simulated is False and is_own(said):
        return own_task(said, config.state_dim, robot_dim(config), config.state_kinds, config.action_kinds)
    if given and said in TASKS and said != given:
        raise InputError(f"{checkpoint} says that it was trained on {said}, task {given} was given; leave task empty")
    if not given and said not in TASKS:
        found = f"names the task {said!r}, which is none of ours" if said else "does not say its task"
        raise InputError(f"{checkpoint} {found}; give task, such as metaworld_assembly")
    spec = find_task(given or said)
    if config.state_dim not in (spec.state_dim, *spec.other_states) or robot_dim(config) != spec.action_dim:
        raise InputError(
            f"{checkpoint} takes a state of {config.state_dim} numbers and gives actions of {robot_dim(config)}, "
            f"{spec.name} has {spec.state_dim} and {spec.action_dim}; give the task that it was trained on"
        )
    return spec.with_state(config.state_dim)


def evaluate(
    checkpoint: Path,
    episodes: int | None = None,
    first_seed: int = FINAL_SEEDS,
    num_inference_steps: int | None = None,
    jobs: int | None = 1,
    device: str = "auto",
    backend: str = "auto",
    precision: str = "auto",
    *,
    task: str = "",
    method: str = "",
    disturbance: Disturbance | None = None,
) -> dict:
    """Roll a checkpoint out and return what was found, which is kept where ``evaluation_path`` says.

    It is read again while checkpoint, commit and device are the same and its film is there.
    ``episodes`` None: as many as its run played at its end, or 20 if it is of no run. ``backend`` is one of
    ``mp_lib.model.backends.BACKENDS``, ``precision`` tf32 or float32; auto is what trainings take on that device, and
    another evaluation has a name of its own. ``task`` and ``method`` as of ``load``. Under a ``disturbance`` something
    is otherwise in every episode than in the task, for which an InputError is raised where the task has no such change.
    Keys: checkpoint (its digest), commit, device, task, method, num_inference_steps, backend, precision, seeds,
    successes (0 or 1 each), steps, interval, film and file (names in the same folder); change and strength of a
    disturbance.
    """
    at_least_one(episodes=episodes, num_inference_steps=num_inference_steps, jobs=jobs)
    first_seed = meaning("first_seed", "int", first_seed)
    check_bounds({"first_seed": first_seed}, BOUNDS)
    checkpoint = Path(checkpoint)
    if episodes is None:
        final = stored_result(checkpoint).get("final")
        episodes = len(final["seeds"]) if final else 20
    chosen = choose_device(device)
    how = settle("auto", precision, chosen, backend=backend)
    named = (deviation(how, chosen), task, disturbance)
    path = evaluation_path(checkpoint, episodes, first_seed, num_inference_steps, *named)
    origin = {"checkpoint": file_hash(checkpoint), "commit": commit(), "device": device_name(chosen)}
    origin |= {key: value for key, value in (("task", task), ("method", method)) if value}
    origin |= asdict(disturbance) if disturbance else {}
    if found := stored_evaluation(path, origin):
        return found
    policy, spec = load(checkpoint, num_inference_steps, device, how.backend, task=task, method=method)
    if not spec.simulated:
        refuse_simulation(spec.name)
    spec = disturbance.of(spec) if disturbance else spec
    settle_jobs(jobs, policy.device)  # before a lock is made
    film, seeds = path.with_suffix(".mp4"), range(first_seed, first_seed + episodes)
    with precision_of(how, chosen), sole_user(path.with_name(f".{path.stem}.lock"), str(path)):
        if found := stored_evaluation(path, origin):  # by whoever had the lock before
            return found
        journal = Journal(path.with_name(f".{path.stem}.episodes"), origin, film)
        played = rollout(policy, spec, seeds, jobs=jobs, films=1, journal=journal)
        found = origin | {"task": spec.name, "method": policy.config.method}
        found |= {"num_inference_steps": policy.config.num_inference_steps}
        found |= {"backend": how.backend, "precision": how.precision}
        found |= outcome(played) | {"film": film.name, "file": path.name}
        write_json(path, found)
        journal.forget()
    return found


def compare_backends(checkpoint: Path, backend: str, usual: str = "torch", episodes: int = 50, **given) -> dict:
    """A checkpoint on the same environment seeds and noise under a backend and the ``usual`` one.

    ``given`` is for ``evaluate``, which keeps both. Keys: episodes, successes (by backend), alike (episodes that ended
    alike), and difference, the backend's success rate less the usual one's with its interval for paired episodes
    (``mp_lib.statistics.contrast``).
    """
    found = {name: evaluate(checkpoint, episodes, backend=name, **given)["successes"] for name in (backend, usual)}
    ours, theirs = (np.array([each]) for each in found.values())
    return {
        "episodes": episodes,
        "successes": {name: sum(each) for name, each in found.items()},
        "alike": int((ours == theirs).sum()),
        "difference": contrast([[ours], [theirs]], (1, -1)),
    }


def outcome(played: Sequence[Episode]) -> dict:
    """What episodes have found: seeds, successes, steps and interval."""
    successes = [int(episode.success) for episode in played]
    return {
        "seeds": [episode.seed for episode in played],
        "successes": successes,
        "steps": [episode.steps for episode in played],
        "interval": wilson_interval(sum(successes), len(played)),
    }


def stored_evaluation(path: Path, origin: dict[str, str]) -> dict | None:
    """The evaluation at ``path`` if it is whole, of this origin, and has its film; None if not."""
    try:
        found = read_json(path)
        same = all(found[key] == value for key, value in origin.items())
        # Not the name that it holds: data say nothing about where to look.
        film = path.with_suffix(".mp4")
        return found | {"film": film.name} if same and film.exists() else None
    except (FileNotFoundError, ValueError, LookupError):
        return None


def evaluation_path(
    checkpoint: Path,
    episodes: int,
    first_seed: int,
    num_inference_steps: int | None,
    deviation: str = "",
    task: str = "",
    disturbance: Disturbance | None = None,
) -> Path:
    """Where an evaluation is kept: beside a run's checkpoint, below data/evaluations for a file from elsewhere.

    ``deviation`` is that of ``mp_lib.learning.how``; rows of a run are those of none. One under a ``disturbance`` is
    no row of any, so that it never lies in the folder of a run.
    """
    steps = "" if num_inference_steps is None else f"-{num_inference_steps}denoising"
    under = deviation + "".join(f"-{each}" for each in (task, disturbance) if each)
    folder = folder_apart(checkpoint) if disturbance else evaluations_of(checkpoint)
    return folder / f"{first_seed}-{episodes}{steps}{under}.json"


def evaluations_of(checkpoint: Path) -> Path:
    """The folder of a checkpoint's evaluations of the task as it is."""
    return checkpoint.parent / "evaluations" if is_of_a_run(checkpoint) else folder_apart(checkpoint)


def folder_apart(checkpoint: Path) -> Path:
    """The folder below data/evaluations that tells the weights, by their digest."""
    name = checkpoint.parent.name if is_of_a_run(checkpoint) else checkpoint.stem
    return evaluations_path() / f"{name}-{file_hash(checkpoint)[:8]}"


def is_of_a_run(checkpoint: Path) -> bool:
    """Whether it is what a run has ended with, rather than one of the policies that it has kept on the way."""
    return checkpoint.name == CHECKPOINT and checkpoint.resolve().is_relative_to(run_path().resolve())
