"""What a folder for model hubs says of its weights in config.json, and whether that is so."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from mp_lib.system.errors import InputError
from mp_lib.system.files import read_json

CONFIG, LIBRARY = "config.json", "mp_lib"


def config_of(header: Mapping, files: Mapping[str, str]) -> dict:
    """What config.json holds: the header of the weights, and digests of what else is read."""
    return {"library_name": LIBRARY, "model_type": LIBRARY, "files": dict(files), **header}


def check_config(weights: Path, header: Mapping | None) -> None:
    """Raise an InputError where config.json beside weights is damaged, or says other than their header.

    ``header`` None stands for weights that have none of ours. Weights without a config.json tell all by themselves.
    """
    path = weights.with_name(CONFIG)
    if not path.exists():
        return
    found = read_json(path)
    ours = found.get("library_name") == LIBRARY
    if not ours and header is not None:
        raise InputError(f"{path} is of another library than {LIBRARY}, unlike the weights beside it; restore a copy")
    if ours and header is None:
        raise InputError(f"{weights} is damaged: it has no header of ours, as {CONFIG} says; restore a copy")
    for key, value in (header or {}).items():
        if found.get(key) != value:
            raise InputError(
                f"{path} says another {key} than the weights, which count; restore a copy, or export the run anew"
            )


def digest_beside(weights: Path, name: str) -> str | None:
    """The digest that config.json has of another file beside weights; None if it names none or does not exist."""
    path = weights.with_name(CONFIG)
    files = read_json(path).get("files") if path.exists() else None
    return files.get(name) if isinstance(files, dict) else None
