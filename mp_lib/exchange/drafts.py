"""A file or a folder that is made whole beside its place, and then renamed."""

from __future__ import annotations

import contextlib
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from mp_lib.system.files import writing


def check_free(target: Path) -> None:
    """Raise a FileExistsError where a path is taken; an empty folder is not."""
    if target.exists() and not (target.is_dir() and not any(target.iterdir())):
        raise FileExistsError(f"{target} exists already; choose another path, or move it away")


@contextlib.contextmanager
def draft(target: Path) -> Iterator[Path]:
    """A path beside ``target`` for a folder, which is renamed to it if the block ends well, and else removed."""
    path = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with writing(target):
            target.parent.mkdir(parents=True, exist_ok=True)
        yield path
        check_free(target)
        with writing(target):
            path.replace(target)
    finally:
        shutil.rmtree(path, ignore_errors=True)
