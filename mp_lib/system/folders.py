"""Folders that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from mp_lib.system.errors import InputError
from mp_lib.system.files import writing


@contextlib.contextmanager
def whole_folder(folder: Path, replace_old: bool = False) -> Iterator[Path]:
    """A new folder beside ``folder`` to be filled in the block, which gets that name at its end, or is removed.

    Raises an InputError if the name is taken, at the end, too, where another process was faster; with ``replace_old``
    what was there is replaced instead, by whoever holds the lock for it. An OSError names what cannot be written.
    """
    refuse_existing(folder, replace_old)
    draft = folder.with_name(f".{folder.name}.{os.getpid()}.partial")
    try:
        with writing(folder):
            shutil.rmtree(draft, ignore_errors=True)  # of a killed process of the same number
            draft.mkdir(parents=True)
        yield draft
        with writing(folder):
            refuse_existing(folder, replace_old)
            old = folder.with_name(f".{folder.name}.{os.getpid()}.old.partial")
            if folder.exists():
                folder.rename(old)
            try:
                draft.rename(folder)
            except OSError:
                if old.exists():
                    old.rename(folder)
                raise
            shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def refuse_existing(folder: Path, replace_old: bool = False) -> None:
    """Raise an InputError if something has that name and is not to be replaced."""
    if not replace_old and (folder.exists() or folder.is_symlink()):
        raise InputError(f"{folder} exists already; choose another name, or move it away")
