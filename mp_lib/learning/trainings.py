"""Trainings as somebody asks for them: a task, a method, and what is to be otherwise."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from mp_lib.config import TrainConfig, scale_config
from mp_lib.data.own_tasks import check_task, spec_of
from mp_lib.data.recording import demonstrations_of
from mp_lib.interfaces import look_up
from mp_lib.learning import run
from mp_lib.learning.beginning import digest_of
from mp_lib.learning.folder import folder_of, stored_result
from mp_lib.learning.training import policy_config
from mp_lib.model.weights import find_checkpoint
from mp_lib.presets import METHODS
from mp_lib.sim.tasks import find_task
from mp_lib.system.device import choose_device
from mp_lib.system.errors import InputError, at_least_one, shown

ELSEWHERE = {"init": "init, a run or a file of weights", "normalizer": "normalizer, fit or kept"}


def began(init: str | Path, normalizer: str = "") -> dict[str, str]:
    """The fields of a configuration that say which weights it goes on from; none if none are given.

    The normaliser is kept unless something else is said. An InputError if it is said and no weights are given.
    """
    weights = found(init)
    if normalizer and weights is None:
        raise InputError(f"normalizer {shown(normalizer)} given without init; give both, or neither")
    return {"init": digest_of(weights), "normalizer": normalizer or "kept"} if weights else {}


def train(
    task: str,
    method: str,
    scale: str,
    seed: int,
    demos: str | Path,
    init: str | Path,
    normalizer: str,
    how: Mapping,
    numbers: Mapping,
) -> Path:
    """Train a run to its end, as ``mp_lib.train`` says, and return its folder; ``how`` is for ``run.train``."""
    if lost := [key for key in ELSEWHERE if key in numbers]:
        raise InputError(f"{lost[0]} given among the numbers of the scale; it is an argument: {ELSEWHERE[lost[0]]}")
    scale = scale or look_up(METHODS, method, "method").scale
    config = scale_config(scale, task, method, seed, **numbers, **began(init, normalizer))
    return complete(config, demos, found(init), how)


def extend(checkpoint: Path, num_steps: int, demos: str | Path, how: Mapping) -> Path:
    """Train a finished run for more steps, as ``mp_lib.extend`` says, and return the folder of what comes of it."""
    at_least_one(num_steps=num_steps)
    known = stored_result(checkpoint)
    if not known:
        raise InputError(f"{checkpoint} is of no finished run; train(..., init={str(checkpoint)!r}) goes on from it")
    names = {field.name for field in fields(TrainConfig)}
    before = {key: value for key, value in known["config"].items() if key in names}
    config = TrainConfig(
        **before | {"num_steps": num_steps, "num_epochs": None, "init": digest_of(checkpoint), "normalizer": "kept"}
    )
    store, wanted = demonstrations_of(config, demos=str(demos)), known["demonstrations"]["content_hash"]
    if store.content_hash() != wanted:
        others = "other demonstrations than" if demos else "not the demonstrations that"
        raise InputError(
            f"{store.path} holds {others} {checkpoint.parent.name} was trained on; give their store as demos, or go on "
            f"with others by train(..., init={checkpoint.parent.name!r})"
        )
    return complete(config, demos, checkpoint, how)


def found(init: str | Path) -> Path | None:
    """The file of weights that is meant by a run, a folder or a file; None if nothing is given.

    An InputError if there is none.
    """
    if not isinstance(init, str | Path):
        raise InputError(
            f"init {shown(init)} given; it is a path, of a run, a folder or a file: policy.checkpoint, say"
        )
    weights = find_checkpoint(str(init)) if str(init) else None
    if str(init) and weights is None:
        raise InputError(f"init {shown(init)} given, which holds no weights; give a run, a folder or a file that does")
    return weights


def complete(config: TrainConfig, demos: str | Path, init: Path | None, how: Mapping) -> Path:
    """Train a run to its end and return its folder."""
    at_least_one(jobs=how["jobs"], save_every=how["save_every"])
    choose_device(how["device"])  # said before anything is recorded, as is the next
    if not demos:
        check_task(config, "")
        policy_config(config, find_task(config.task, config.demonstrator))
    store = demonstrations_of(config, demos=str(demos))
    folder = folder_of(config, store, str(demos))
    run.train(config, spec_of(config.task, store, config.demonstrator), store, folder, init=init, **how)
    return folder
