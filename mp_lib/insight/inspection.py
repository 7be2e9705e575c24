"""What lies at a path, whoever made it: demonstrations, weights, a run, or a folder of these; whether it fits here."""

from __future__ import annotations

import shlex
from pathlib import Path

from mp_lib.data.container import is_store
from mp_lib.data.own_tasks import is_own
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.insight.demonstrations import known_facts
from mp_lib.learning.folder import is_finished, stored_result
from mp_lib.model.actions import robot_dim
from mp_lib.model.checkpoint import load_policy
from mp_lib.model.weights import CHECKPOINT, HUB_WEIGHTS, WEIGHTS, checkpoint_in
from mp_lib.presets import SCALES
from mp_lib.sim.tasks import TASKS
from mp_lib.study.sentences import join, of_held_out, of_rate
from mp_lib.system.errors import InputError
from mp_lib.system.paths import given_path, run_path

SUFFIXES, STORES = (".safetensors", ".ckpt", ".pt", ".pth"), (".zip", ".h5", ".hdf5")


def inspect(given: str | Path) -> dict[str, str]:
    """What is at a path, fact by fact; an InputError says in one line what is wrong with it.

    Paths are as ``given_path`` takes them, or a run's name. All is read as a training or an evaluation would read it.
    """
    path = given_path(given)
    path = path if path.exists() or not run_path(str(given)).is_dir() else run_path(str(given))
    if not path.exists():
        raise InputError(f"there is nothing at {path}; paths are relative to the project, or begin with / or ~")
    if path.is_file() and path.suffix not in STORES:
        return of_weights(path)
    if path.is_dir() and not is_store(path):
        if (path / "config.json").exists() or any(any(path.glob(pattern)) for pattern in WEIGHTS):
            return of_run(path)
        if inner := {each.name: kind_of(each) for each in sorted(path.iterdir()) if kind_of(each)}:
            first = shlex.quote(str(path / next(iter(inner))))
            return {"what": "a folder of what can be read", **inner, "helps": f"python -m mp_lib inspect {first}"}
    return of_store(path)


def kind_of(path: Path) -> str:
    """What a path looks like from outside; "" if like nothing that is read here."""
    if is_store(path):
        return "demonstrations"
    if is_run(path):
        return "a finished run" if is_finished(path) else "a run that has not ended"
    weights = path.suffix in SUFFIXES or (path.is_dir() and any(any(path.glob(pattern)) for pattern in WEIGHTS))
    return "weights" if weights else ""


def is_run(path: Path) -> bool:
    """Whether a folder is that of a run; folders for model hubs have a config.json of their own."""
    return (path / "config.json").exists() and not (path / HUB_WEIGHTS).exists()


def of_store(path: Path) -> dict[str, str]:
    """Facts of demonstrations, and which tasks of ours have such states and actions."""
    store = ReplayBuffer.open(path)
    sizes = {key: store.shapes[key][0] for key in ("state", "action")}
    fits, task = fitting(store.attributes.get("task"), *sizes.values())
    points = store.shapes["point_cloud"][0]
    few = {"overrides": f'{{"num_points": {points}}}'} if points < SCALES["quick"]["num_points"] else {}
    named = str(store.attributes.get("task", ""))
    own = named if is_own(named) else "" if task else "my_task"
    helps = command("03_train", task=task or own, demos=path, **few)
    whose = "by others" if not store.attributes else "imported" if "source" in store.attributes else "recorded here"
    return {
        "what": f"demonstrations, {whose}",
        **{fact: str(value) for fact, value in known_facts(store).items() if value != ""},
        "fits": fits,
        "helps": helps,
    }


def command(notebook: str, **parameters: str | Path) -> str:
    """A command that runs a notebook on something, to be pasted; what has to be given with it is in capitals."""
    given = " ".join(f"-p {name} {shlex.quote(str(value))}" for name, value in parameters.items() if value)
    return f"papermill notebooks/{notebook}.ipynb out.ipynb {given}"


def fitting(task: str | None, state_dim: int, action_dim: int) -> tuple[str, str]:
    """Which task a store or a policy of these sizes is for, in words, and as a parameter.

    That is TASK where one has to be given, and empty where none fits.
    """
    sizes = f"a state of {state_dim} numbers and actions of {action_dim}"
    fits = [
        name
        for name, spec in TASKS.items()
        if state_dim in (spec.state_dim, *spec.other_states) and action_dim == spec.action_dim
    ]
    if task in fits:
        return task, task
    if task and is_own(task):
        return f"{task}, which nothing here simulates", ""
    if not fits:
        return f"no task here: none has {sizes}", ""
    suites = dict.fromkeys(TASKS[name].suite for name in fits)
    named = join(fits) if len(fits) < 6 else f"{len(fits)} tasks of {join([*suites])}"
    return f"by its sizes ({sizes}): {named}; give the task that is meant", "TASK"


def of_weights(path: Path) -> dict[str, str]:
    """Facts of a policy, and which tasks it can act in."""
    policy, facts = load_policy(path)
    config, left_out = policy.config, facts.get("left_out", {})
    assumed = facts.get("assumed", {})
    fits, task = fitting(facts.get("task"), config.state_dim, robot_dim(config))
    lengths = f"{config.horizon} predicted, {config.n_obs_steps} observed, {config.n_action_steps} executed"
    return {
        "what": f"weights of {config.method}, attention {config.attention}",
        "steps": lengths,
        "diffusion": f"{config.num_train_steps} steps in training, {config.num_inference_steps} to act",
        "points of a cloud": str(config.num_points),
        "parameters": f"{sum(each.numel() for each in policy.parameters()):,}",
        "assumed": join([f"{name} {value}" for name, value in assumed.items()]),
        "left out": f"{len(left_out)} weights" if left_out else "",
        "fits": fits,
        "helps": command("04_evaluate", checkpoint=path, task="" if task == facts.get("task") else task)
        if task
        else "",
    }


def of_run(path: Path) -> dict[str, str]:
    """Facts of a run's weights, and its result if it has ended."""
    if not is_run(path):
        return of_weights(checkpoint_in(path))
    if not is_finished(path):
        return {"what": "a run that has not ended", "helps": "03_train with the same parameters goes on with it"}
    if not (result := stored_result(path / CHECKPOINT)):
        raise InputError(f"{path}: result.json is no result; restore it from a copy")
    facts, final, held_out = of_weights(path / CHECKPOINT), result["final"], result.get("held_out")
    found = of_rate(sum(final["successes"]), len(final["successes"])) if final else ""
    found = found or (of_held_out(held_out) if held_out else "")
    return {**facts, "what": f"a finished run: {facts['what']}", "result": found}
