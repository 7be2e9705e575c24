"""Files that are whole or not there."""

from __future__ import annotations

import contextlib
import io
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def writing(path: Path) -> Iterator[None]:
    """Let an OSError in the block say that ``path`` was to be written, and what to do."""
    try:
        yield
    except OSError as error:
        hint = "choose a folder that may be written and has space left"
        raise OSError(error.errno, f"cannot write {path}: {error.strerror or error}; {hint}") from error


def write_atomically(path: Path, content: bytes) -> None:
    """Write beside ``path``, flush to the disk, rename: whoever reads finds the old file or the new one, never half.

    Raises an OSError that names the path if it cannot be written; what was there before is kept.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.partial")
    with writing(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            with open(draft, "wb") as file:
                file.write(content)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except BaseException:
            draft.unlink(missing_ok=True)
            raise


def write_arrays(path: Path, arrays: dict) -> None:
    """Write numpy arrays by name as an .npz, atomically."""
    import numpy as np

    content = io.BytesIO()
    np.savez(content, **arrays)
    write_atomically(path, content.getvalue())
