"""The folder of a run: which run it holds, and whether that is finished."""

from __future__ import annotations

import json
import logging
from dataclasses import asdict
from pathlib import Path

from mp_lib.config import EARLIER_FINAL_SEEDS, FINAL_SEEDS, TrainConfig
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.learning.result import RunResult
from mp_lib.model.weights import CHECKPOINT, KEPT_POLICIES
from mp_lib.system.errors import InputError, one_line
from mp_lib.system.files import read_json
from mp_lib.system.paths import run_path

log = logging.getLogger(__name__)

FILM = "rollout.mp4"
PRODUCTS = ("result.json", CHECKPOINT, FILM)  # of a finished run; the last where it was rolled out
OTHER_DEMOS = "-demos="  # in a folder's name: trained on a store that somebody has given


def folder_of(config: TrainConfig, store: ReplayBuffer, demos: str = "") -> Path:
    """Where a run goes: on a store given by its path ``demos``, the folder's name tells the store, too."""
    return run_path(config.name + (f"{OTHER_DEMOS}{store.content_hash()[:8]}" if demos else ""))


def kept_policy(folder: Path, step: int) -> Path:
    """Where a run keeps its policy of a step on the way."""
    return folder / KEPT_POLICIES / f"step_{step:06d}.safetensors"


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
