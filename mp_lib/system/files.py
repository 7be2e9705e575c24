"""Files that are written whole or not at all, and read or refused in one line."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mp_lib.system.errors import InputError

PASSING = (errno.EIO, errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ESTALE)  # errors of the machine, not of the data


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


@contextlib.contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A new file to be filled in the block, which gets its name at its end, whole and on the disk, or is removed.

    An InputError if the name is taken, at the end, too, where another process was faster; an OSError names what cannot
    be written.
    """
    draft = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with writing(path):
            path.parent.mkdir(parents=True, exist_ok=True)
            file = open(draft, "wb")  # noqa: SIM115 (closed below, so that errors of the block are none of writing)
        with file:
            yield file
            with writing(path):
                file.flush()
                os.fsync(file.fileno())
        with writing(path):
            try:
                os.link(draft, path)  # which replaces nothing
            except OSError:  # taken; or the file system knows no links
                if path.exists():
                    raise InputError(f"{path} exists already; choose another name, or move it away") from None
                draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)


def read_json(path: Path) -> dict:
    """The object that a JSON file holds.

    Raises FileNotFoundError if there is no such file, and an InputError that names it if it holds no such object.
    """
    try:
        found = json.loads(path.read_bytes())
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({error}); restore it from a copy, or move it away") from error
    if not isinstance(found, dict):
        raise InputError(f"{path} holds no JSON object; restore it from a copy, or move it away")
    return found


def write_json(path: Path, content) -> None:
    """Write what JSON can hold, atomically."""
    write_atomically(path, json.dumps(content, indent=1).encode())


def read_arrays(path: Path) -> dict:
    """The numpy arrays by name of an .npz; errors as of ``read_json``. Nothing is unpickled."""
    import numpy as np

    try:
        with np.load(path, allow_pickle=False) as file:
            return {name: file[name] for name in file.files}  # reading checks the sums
    except FileNotFoundError:
        raise
    except Exception as error:  # numpy, zipfile and zlib have many names for what is wrong in a file
        reason = f"{type(error).__name__}: {error}".splitlines()[0]
        raise InputError(f"{path} is damaged ({reason}); restore it from a copy, or get it again") from error


def write_arrays(path: Path, arrays: dict) -> None:
    """Write numpy arrays by name as an .npz, atomically."""
    import numpy as np

    content = io.BytesIO()
    np.savez(content, **arrays)
    write_atomically(path, content.getvalue())
