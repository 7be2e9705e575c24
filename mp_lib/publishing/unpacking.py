"""An archive's files where they belong, after all of its digests were compared and nothing is in the way."""

from __future__ import annotations

import contextlib
import re
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mp_lib.learning.folder import lock_of
from mp_lib.publishing.archive import RESULTS, RUN_FILES, RUNS, SUMS, TOP, copied
from mp_lib.study.rows import EVALUATIONS
from mp_lib.system.errors import InputError
from mp_lib.system.files import new_file
from mp_lib.system.folders import whole_folder
from mp_lib.system.locks import sole_user
from mp_lib.system.paths import root, supplied

LINE = re.compile(r"([0-9a-f]{64})  (\S.*)")  # of SUMS
LONGEST = 1 << 24  # bytes of SUMS
HELP = "check out the commit that its README.md names, or unpack it below another folder (MP_ROOT)"


@dataclass(frozen=True)
class Unpacked:
    """What was put where it belongs: names of runs, and of other files; ``there`` counts files that were there."""

    runs: tuple[str, ...]
    files: tuple[str, ...]
    there: int


def unpack(path: Path) -> Unpacked:
    """Compare every digest of an archive, then put its runs into data/runs and what is kept beside them.

    What is there already stays if it is the same. An InputError, and nothing is written, if the file is no archive of
    this kind, is damaged, or something else lies where one of its files belongs.
    """
    with reading(path), zipfile.ZipFile(path) as archive:
        placed = [name for name in checked(archive, path) if name.startswith((*RESULTS, f"{RUNS}/"))]
        there = {name for name in placed if same(archive, name)}
    due = [name for name in placed if name not in there]
    for name in due:
        refuse_what_lies_there(name, path)
    runs = sorted({PurePosixPath(name).parts[2] for name in due if name.startswith(f"{RUNS}/")})
    if begun := [run for run in runs if (root() / RUNS / run).exists()]:
        raise InputError(f"{RUNS}/{begun[0]} is here, and not all of {path} is in it; move it away")
    with zipfile.ZipFile(path) as archive:
        for run in runs:
            put_run(archive, run, [name for name in due if name.startswith(f"{RUNS}/{run}/")])
        files = [name for name in due if not name.startswith(f"{RUNS}/")]
        for name in files:
            put(archive, name, root() / name)
    return Unpacked(tuple(runs), tuple(files), len(there))


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Let whatever reading a ZIP file raises in the block be an InputError that names it."""
    try:
        yield
    except (OSError, zipfile.BadZipFile, EOFError, LookupError, RuntimeError) as error:  # the last: encrypted, unknown
        raise InputError(f"{path} cannot be read ({type(error).__name__}: {error}); get it again") from error


def checked(archive: zipfile.ZipFile, path: Path) -> list[str]:
    """The names of an archive's files, whose digests are those that it lists; an InputError if one is not."""
    listed = digests(archive, path)
    entries = archive.infolist()
    if sorted(entry.filename for entry in entries) != sorted(f"{TOP}/{name}" for name in (*listed, SUMS)):
        raise InputError(f"{path} is damaged: its files are not those that {SUMS} lists; get it again")
    if packed := [entry.filename for entry in entries if entry.compress_type != zipfile.ZIP_STORED]:
        raise InputError(f"{path} was not written by this project: {packed[0]} is compressed; get the original")
    for name, digest in listed.items():
        refuse_name(name, path)
        with archive.open(f"{TOP}/{name}") as file:
            if copied(file) != digest:
                raise InputError(f"{path} is damaged: {name} is not what {SUMS} says; get it again")
    return [*listed]


def digests(archive: zipfile.ZipFile, path: Path) -> dict[str, str]:
    """Digest by name, as the archive lists them; an InputError if that list is none."""
    found = next((entry for entry in archive.infolist() if entry.filename == f"{TOP}/{SUMS}"), None)
    if found is None or found.compress_type != zipfile.ZIP_STORED or found.file_size > LONGEST:
        raise InputError(f"{path} is no archive of results: it has no {TOP}/{SUMS} as this project writes it")
    lines = archive.read(found).decode(errors="replace").splitlines()
    matches = [LINE.fullmatch(line) for line in lines]
    if not matches or not all(matches):
        raise InputError(f"{path} is damaged: {SUMS} is no list of digests; get it again")
    return {match[2]: match[1] for match in matches}


def refuse_name(name: str, path: Path) -> None:
    """Raise an InputError for a name that would lead elsewhere, or that no run of this project leaves."""
    whole = PurePosixPath(name)
    wrong = str(whole) != name or whole.is_absolute() or ".." in whole.parts or "\\" in name
    if name.startswith(f"{RUNS}/"):
        inside = PurePosixPath(*whole.parts[3:])
        wrong |= not (str(inside) in RUN_FILES or inside.match(EVALUATIONS) and len(inside.parts) == 2)
    if wrong:
        raise InputError(f"{path} has a file of the name {name!r}, which no archive of results has; do not use it")


def refuse_what_lies_there(name: str, path: Path) -> None:
    """Raise an InputError if something else lies where a file belongs, or a file where a folder has to be."""
    place = root() / name
    if place.exists() or place.is_symlink():
        raise InputError(f"{name} is here, and differs from that of {path}; {HELP}")
    for folder in place.parents:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"{folder} is a file, where {path} needs a folder; move it away")


def same(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether a file of the archive is here already, below the root or, but for runs, in the checkout."""
    place = root() / name
    place = place if name.startswith(f"{RUNS}/") else supplied(place)
    if not place.is_file():
        return False
    with archive.open(f"{TOP}/{name}") as file, open(place, "rb") as here:
        return copied(here) == copied(file)


def put_run(archive: zipfile.ZipFile, run: str, names: list[str]) -> None:
    """Put a run where runs lie, whole or not at all."""
    folder = root() / RUNS / run
    with sole_user(lock_of(folder), f"run {run}"), whole_folder(folder) as draft:
        for name in names:
            put(archive, name, draft / PurePosixPath(name).relative_to(f"{RUNS}/{run}"))


def put(archive: zipfile.ZipFile, name: str, place: Path) -> None:
    """Write one file of the archive, whole or not at all."""
    with archive.open(f"{TOP}/{name}") as source, new_file(place) as target:
        copied(source, target)
