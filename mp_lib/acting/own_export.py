"""The export that a file of weights has beside it: made once, then read as long as the weights are the same."""

from __future__ import annotations

import logging
from pathlib import Path

from mp_lib.acting.exports import Exported, is_exported, read_export
from mp_lib.model.weights import CHECKPOINT, HUB_WEIGHTS
from mp_lib.system.errors import InputError, one_line
from mp_lib.system.extras import MODULES, missing_modules
from mp_lib.system.locks import sole_user
from mp_lib.system.provenance import file_hash

log = logging.getLogger(__name__)

PATIENCE = 900.0  # seconds that one process waits while another exports the same policy


def export_of(checkpoint: Path) -> Path:
    """Where a file of weights is exported by itself: beside it."""
    own = checkpoint.name in (CHECKPOINT, HUB_WEIGHTS)
    return checkpoint.with_name("onnx" if own else f"{checkpoint.stem}-onnx")


def lacking(checkpoint: Path) -> list[str]:
    """What is not installed that running weights under ONNX Runtime needs: less where they were exported already."""
    needed = ("onnxruntime",) if is_exported(export_of(checkpoint)) else MODULES["deploy"]
    return [name for name in missing_modules("deploy") if name in needed]


def current_export(checkpoint: Path) -> Exported:
    """The export beside a file of weights; made where there is none, it is damaged, or of other weights.

    Several processes may ask at once: one exports, the others wait. OSErrors name what cannot be written, also where
    the folder holds something else.
    """
    folder, wanted = export_of(checkpoint), file_hash(checkpoint)
    if found := stored_export(folder, wanted):
        return found
    with sole_user(folder.with_name(f".{folder.name}.lock"), str(folder), PATIENCE):
        if found := stored_export(folder, wanted):  # by whoever had the lock before
            return found
        from mp_lib.acting.exporting import export  # torch

        if folder.exists() and not is_exported(folder):
            raise FileExistsError(f"cannot export {checkpoint}: {folder} is there and no export; rename it")
        log.warning("%s is exported into %s, once; it takes a minute", checkpoint, folder)
        export(checkpoint, folder, replace_old=True)
    return read_export(folder)


def stored_export(folder: Path, checkpoint: str) -> Exported | None:
    """The export in a folder if it is whole and of these weights; None if not."""
    if not is_exported(folder):
        return None
    try:
        found = read_export(folder)
    except InputError as error:
        log.warning("%s", one_line(error))
        return None
    return found if found.facts.checkpoint == checkpoint else None
