"""The folder of a run: which run it holds, and whether that is finished."""

from __future__ import annotations

import json
from dataclasses import asdict
from pathlib import Path

from mp_lib.config import FINAL_SEEDS, TrainConfig
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.interfaces import RunResult
from mp_lib.system.files import read_json
from mp_lib.system.paths import run_path

CHECKPOINT, FILM = "policy.safetensors", "rollout.mp4"
PRODUCTS = ("result.json", CHECKPOINT, FILM)  # of a finished run
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
            found["first environment seed"] = result.final["seeds"][0]
        except (LookupError, TypeError) as error:
            raise ValueError(
                f"{folder}: result.json is no result ({error}); delete it to train that run anew"
            ) from error
    for key in sorted(found):
        refuse_difference(folder, key, found[key], wanted.get(key))


def refuse_difference(folder: Path, key: str, found, wanted) -> None:
    """Raise a ValueError unless what was found is what is wanted."""
    if found != wanted:
        raise ValueError(
            f"{folder} was made with {key}={found!r}, {wanted!r} was asked for; "
            f"ask for the same, or move that folder away to train anew"
        )


def is_finished(folder: Path) -> bool:
    """Whether the folder holds all that a finished run leaves."""
    return all((folder / name).exists() for name in PRODUCTS)


def leftovers(folder: Path) -> list[Path]:
    """Files that only a run in progress needs."""
    return list(folder.glob("training.*"))
