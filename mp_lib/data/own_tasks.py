"""Tasks that exist in recordings alone: somebody's own robot, which nothing here can simulate."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import partial

import numpy as np

from mp_lib.config import TrainConfig
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.geometry.kinds import Layout
from mp_lib.interfaces import TaskSpec, look_up
from mp_lib.sim.env import ANY_STEP
from mp_lib.sim.tasks import TASKS, find_task
from mp_lib.system.errors import InputError


def is_own(task: str) -> bool:
    """Whether a name is that of a task of the user's: none that is simulated here, and not like one."""
    return isinstance(task, str) and task != "" and task not in TASKS and not task.startswith(TASKS.beginnings)


def own_task(name: str, state_dim: int, action_dim: int, state_kinds: str = "", action_kinds: str = "") -> TaskSpec:
    """A task without a simulator, ``simulated`` False; to make its environment or expert is an InputError."""
    refuse = partial(refuse_simulation, name)
    return TaskSpec(
        name=name,
        suite="",
        make_env=refuse,
        make_expert=refuse,
        expert_name="recorded",
        state_dim=state_dim,
        action_dim=action_dim,
        num_points=0,
        max_steps=0,
        num_demos=0,
        min_success_steps=0,
        success_rule=ANY_STEP,
        state_kinds=state_kinds,
        action_kinds=action_kinds,
        hand_in_cloud=hand_of(state_kinds, state_dim),
    )


def hand_of(state_kinds: str, state_dim: int) -> tuple[tuple[float, ...], ...]:
    """``TaskSpec.hand_in_cloud`` where clouds are in the frame of a state's first place in space; empty without one."""
    parts = Layout.parse(state_kinds).parts if state_kinds else ()
    places = [part.start for part in parts if part.kind.name == "position" and part.size == 3]
    return tuple(map(tuple, np.eye(state_dim + 1)[places[0] : places[0] + 3].tolist())) if places else ()


def refuse_simulation(name: str, *_, **__) -> None:
    """Raise the InputError of whoever asks for an episode of a task that is recorded alone."""
    raise InputError(
        f"{name} exists in recordings alone, so nothing can be played; its errors on episodes held out stand in "
        "result.json and 03_train, and mp_lib.Actor acts with it on the robot"
    )


def spec_of(task: str, store: ReplayBuffer, expert: str = "default") -> TaskSpec:
    """The task of that name, with that expert; one of the user's has the sizes and kinds of the store."""
    kinds = kinds_in(store)
    if not is_own(task):
        return replace(find_task(task, expert), **kinds)
    return own_task(task, *(store.shapes[key][0] for key in ("state", "action")), **kinds)


def check_sizes(task: str, sizes: Mapping[str, int]) -> None:
    """Raise an InputError for a name like those of tasks here that is none, or whose numbers are not of these sizes.

    ``sizes`` are the numbers of a "state" and of an "action"; a task of the user's has whatever it has.
    """
    if is_own(task):
        return
    spec = find_task(task)
    if sizes["state"] not in (spec.state_dim, *spec.other_states) or sizes["action"] != spec.action_dim:
        found = f"{task} has {spec.state_dim} numbers a state and {spec.action_dim} an action"
        raise InputError(f"{found}, these have {sizes['state']} and {sizes['action']}; give what is of that task")


def kinds_in(store: ReplayBuffer) -> dict[str, str]:
    """What the numbers of a store's states and actions are, as fields of a ``TaskSpec``, as far as it says so.

    An InputError if that does not fit their number.
    """
    told = store.attributes.get("kinds")
    told = told if isinstance(told, dict) else {}
    found = {key: str(told[key]) for key in ("state", "action") if told.get(key)}
    for key, text in found.items():
        try:
            Layout.parse(text, store.shapes[key][0])
        except InputError as error:
            raise InputError(f"{store.path}, {key}: {error}") from None
    return {f"{key}_kinds": text for key, text in found.items()}


def check_task(config: TrainConfig, demos: str) -> None:
    """Raise an InputError for a task that is none here, unless it is one of the user's with its demonstrations."""
    if is_own(config.task) and not demos:
        try:
            look_up(TASKS, config.task, "task")
        except InputError as error:
            remedy = "or give the demonstrations of a task of your own as demos, the path of a store"
            raise InputError(f"{error}; {remedy}") from None
