"""The folder of a run: which run it holds, and whether that is finished."""

from __future__ import annotations

import json
import logging
import shlex
from dataclasses import asdict
from pathlib import Path

from mp_lib.config import EARLIER_FINAL_SEEDS, FINAL_SEEDS, TrainConfig
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.learning.result import RunResult
from mp_lib.system.errors import InputError, one_line
from mp_lib.system.files import read_json
from mp_lib.system.names import nearest
from mp_lib.system.paths import given_path, project, run_path

log = logging.getLogger(__name__)

CHECKPOINT, FILM = "policy.safetensors", "rollout.mp4"
TRAINING = "training.safetensors"  # of a run in progress
KEPT_POLICIES = "checkpoints"  # in a run's folder: policies of steps on the way
KEPT = "kept"  # instead of a checkpoint: the episode that is kept with the project
# Where weights lie in a folder, ours first; the official repositories save below checkpoints/.
WEIGHTS = (CHECKPOINT, "checkpoints/latest.ckpt", "*.safetensors", "*.ckpt", "checkpoints/*.ckpt")
SHIPPED = "data/policies"  # below the project: runs that come with it
OTHER_DEMOS = "-demos="  # in a folder's name: trained on a store that somebody has given


def folder_of(config: TrainConfig, store: ReplayBuffer, demos: str = "") -> Path:
    """Where a run goes: on a store given by its path ``demos``, the folder's name tells the store, too."""
    return run_path(config.name + (f"{OTHER_DEMOS}{store.content_hash()[:8]}" if demos else ""))


def check_owner(folder: Path, config: TrainConfig, store: ReplayBuffer) -> None:
    """Raise a ValueError if the folder holds a run with another configuration or of other demonstrations."""
    wanted, found = json.loads(json.dumps(asdict(config))), {}
    if (folder / "config.json").exists():
        found = read_json(folder / "config.json")
    if (folder / "result.json").exists():
        wanted |= {"demonstrations": store.content_hash(), "first environment seed": FINAL_SEEDS}
        try:
            result = RunResult(**read_json(folder / "result.json"))
            found["demonstrations"] = result.demonstrations["content_hash"]
            first = result.final["seeds"][0] if result.final else FINAL_SEEDS
            found["first environment seed"] = FINAL_SEEDS if first == EARLIER_FINAL_SEEDS else first
        except (LookupError, TypeError) as error:
            raise InputError(
                f"{folder}: result.json is no result ({error}); restore it, or move the folder away to train anew"
            ) from error
    for key in sorted(found):
        refuse_difference(folder, key, found[key], wanted.get(key))


def refuse_difference(folder: Path, key: str, found, wanted) -> None:
    """Raise a ValueError unless what was found is what is wanted."""
    if found != wanted:
        raise InputError(
            f"{folder} was made with {key}={found!r}, {wanted!r} was asked for; "
            f"ask for the same, or move that folder away to train anew"
        )


def is_finished(folder: Path) -> bool:
    """Whether the folder holds all that a finished run leaves: result and weights, and a film if it was played."""
    if not all((folder / name).exists() for name in ("result.json", CHECKPOINT)):
        return False
    return (folder / FILM).exists() or read_json(folder / "result.json").get("final", "lost") is None


def stored_result(checkpoint: Path) -> dict:
    """The result.json of the run that saved a checkpoint; empty if there is none, or it is another's.

    Raises an InputError if it cannot be read at all.
    """
    path = checkpoint.with_name("result.json")
    if checkpoint.name != CHECKPOINT or not path.exists():
        return {}
    found = read_json(path)
    try:
        final, config = RunResult(**found).final, found["config"]
        seeds, successes = (final["seeds"], final["successes"]) if final is not None else ([0], [0])
        counts = all(type(each) is int for each in (*seeds, *successes)) and {*successes} <= {0, 1}
        known = {"task", "method", "seed", "scale", "num_inference_steps"} <= {*config} and isinstance(
            found["demonstrations"], dict
        )
        fits = counts and known and len(seeds) == len(successes) > 0
    except (LookupError, TypeError):
        fits = False
    if not fits:
        log.warning("%s is no result of a run of this project, and is left aside", one_line(path))
    return found if fits else {}


def lock_of(folder: Path) -> Path:
    """What is locked while somebody works in a folder; beside it, as that holds results alone."""
    return folder.with_name(f".{folder.name}.lock")


def leftovers(folder: Path) -> list[Path]:
    """Files that only a run in progress needs."""
    return list(folder.glob("training.*"))


def shipped() -> list[Path]:
    """The weights that come with the project."""
    return sorted((project() / SHIPPED).glob(f"*/{CHECKPOINT}"))


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
