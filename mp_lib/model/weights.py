"""Where weights lie: the file that somebody means by the name of a run, a folder, or a path."""

from __future__ import annotations

import shlex
from pathlib import Path

from mp_lib.system.errors import InputError
from mp_lib.system.names import nearest
from mp_lib.system.paths import given_path, project, run_path

CHECKPOINT = "policy.safetensors"  # of a run
TRAINING = "training.safetensors"  # of a run in progress
SEEN = "seen.npz"  # beside a checkpoint: the ranges of what it was trained on
KEPT_POLICIES = "checkpoints"  # in a run's folder: policies of steps on the way
HUB_WEIGHTS = "model.safetensors"  # of a folder for model hubs
KEPT = "kept"  # instead of a checkpoint: the episode that is kept with the project
# Where weights lie in a folder, ours first; the official repositories save below checkpoints/.
WEIGHTS = (CHECKPOINT, "checkpoints/latest.ckpt", "*.safetensors", "*.ckpt", "checkpoints/*.ckpt")
SHIPPED = "data/policies"  # below the project: runs that come with it
FIRST = "metaworld_drawer-open"  # of their tasks, where none is asked for: it is that of notebooks and examples


def seen_path(checkpoint: Path) -> Path:
    """Where the ranges lie that weights were trained on: beside them, or above, of a policy kept on the way."""
    beside = checkpoint.with_name(SEEN)
    above = checkpoint.parent.parent / SEEN
    return above if checkpoint.parent.name == KEPT_POLICIES and not beside.exists() else beside


def name_of_weights(checkpoint: Path) -> str:
    """What a file of weights is called: as its folder, where that has a single one, or by its own name."""
    return checkpoint.parent.name if checkpoint.name in (CHECKPOINT, HUB_WEIGHTS) else checkpoint.stem


def shipped() -> list[Path]:
    """The weights that come with the project, by name, those of task ``FIRST`` before all."""
    found = (project() / SHIPPED).glob(f"*/{CHECKPOINT}")
    return sorted(found, key=lambda path: (FIRST not in path.parent.name, path.parent.name))


def find_checkpoint(given: str = "") -> Path | None:
    """The checkpoint that is meant by the name of a run, a folder, or a file, whoever made it.

    A run may be one of those that come with the project, where there is none of that name here.

    Paths are as ``given_path`` takes them. The newest one of a finished run if nothing is given, None if there is none;
    None for ``KEPT``, too. Raises an InputError that names the place and what there is.
    """
    if given == KEPT:
        return None
    if not given:
        results = [path for path in run_path().glob("*/result.json") if (path.parent / CHECKPOINT).exists()]
        newest = max(results, key=lambda path: path.stat().st_mtime, default=None)
        return newest.parent / CHECKPOINT if newest else None
    place = given_path(given)
    for path in (place, run_path(given)):
        if path.is_file():
            return path
        if path.is_dir():
            return checkpoint_in(path)
    coming = {path.parent.name: path for path in shipped()}
    if given in coming:
        return coming[given]
    runs = nearest(place.name, dict.fromkeys([*(run.name for run in run_path().glob("*")), *coming]))
    near = f"runs with such names: {', '.join(runs)}" if runs else "give a run's name, its folder, or a file of weights"
    raise InputError(f"checkpoint {given} given, but there is no {place}, and no run of that name; {near}")


def checkpoint_in(folder: Path) -> Path:
    """The one file of weights in a folder; an InputError says what is there instead."""
    for pattern in WEIGHTS:
        found = [path for path in sorted(folder.glob(pattern)) if path.name != TRAINING]
        if len(found) == 1:
            return found[0]
        if found:
            names = ", ".join(shlex.quote(str(path)) for path in found)
            raise InputError(f"{folder} holds {len(found)} files of weights; give one of: {names}")
    if (folder / TRAINING).exists():
        raise InputError(f"{folder} holds a training that has not ended; run it again to its end")
    if runs := [shlex.quote(str(path)) for path in sorted(folder.iterdir()) if (path / CHECKPOINT).exists()]:
        raise InputError(f"{folder} is a folder of {len(runs)} runs; give one of: {', '.join(runs)}")
    raise InputError(f"{folder} holds no weights ({' or '.join(WEIGHTS)}); give a run's name, its folder, or a file")
