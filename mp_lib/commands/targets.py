"""The verb that takes something out of the project for others to use: what can be exported, by target."""

from __future__ import annotations

import argparse
from collections.abc import Mapping
from pathlib import Path

from mp_lib.commands.verb import Verb, option
from mp_lib.interfaces import look_up
from mp_lib.system.errors import InputError, shown
from mp_lib.system.paths import given_path


def weights_of(given: argparse.Namespace) -> Path:
    """The file of weights that a command line means."""
    from mp_lib.model.weights import find_checkpoint

    checkpoint = find_checkpoint(given.source)
    if checkpoint is None:
        raise InputError(f"{shown(given.source)} given; name a run, its folder, or a file of weights")
    return checkpoint


def told_of(task: str) -> Mapping[str, str]:
    """What the project knows of a task and weights may not say: units and kinds of its actions."""
    from mp_lib.sim.tasks import TASKS

    return {key: getattr(TASKS[task], key) for key in ("action_meaning", "action_kinds")} if task in TASKS else {}


def to_onnx(given: argparse.Namespace) -> None:
    from mp_lib.acting.exporting import export
    from mp_lib.system.extras import require

    require("deploy")
    export(weights_of(given), given.folder, told_of)
    print(given.folder)


def to_hub(given: argparse.Namespace) -> None:
    from mp_lib.acting.hub import export_hub
    from mp_lib.learning.folder import stored_result
    from mp_lib.sim.tasks import TASKS, remarks_on

    checkpoint = weights_of(given)
    result = stored_result(checkpoint)
    demonstrations = result.get("demonstrations", {})
    known = demonstrations.get("task") in TASKS
    remarks = remarks_on(demonstrations["task"], demonstrations.get("expert", "")) if known else ()
    export_hub(checkpoint, given.folder, result, told_of, remarks)
    print(given.folder)


def to_lerobot(given: argparse.Namespace) -> None:
    from mp_lib.exchange.lerobot_export import export

    print(export(given_path(given.source), given.folder, given.fps))


# What can be exported to; each takes the options of the command line.
TARGETS = {"onnx": to_onnx, "hub": to_hub, "lerobot": to_lerobot}


def export(given: argparse.Namespace) -> None:
    write = look_up(TARGETS, given.to, "target")
    if given.fps is not None and write is not to_lerobot:
        raise InputError(f"--fps {given.fps} given; that is for demonstrations, --to lerobot")
    write(given)


EXPORT = (
    option("source", help="a run's name, its folder, or a file of weights; --to lerobot: a store of demonstrations"),
    option("folder", type=given_path, help="that is written; it must not exist"),
    option("--to", required=True, metavar="TARGET", help=f"one of: {', '.join(TARGETS)}"),
    option("--fps", type=float, help="of demonstrations, frames a second (default: the store's)"),
)
VERBS = (
    Verb("export", "write a policy for ONNX Runtime or model hubs, or demonstrations for LeRobot", export, EXPORT),
)
