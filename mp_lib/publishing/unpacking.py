"""An archive's files where they belong, after all of its digests were compared and nothing is in the way."""

from __future__ import annotations

import zipfile
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from mp_lib.learning.folder import lock_of
from mp_lib.publishing.archive import PART, RUNS, SUMS, TOP, copied, sha256_of
from mp_lib.system.errors import InputError
from mp_lib.system.files import writing
from mp_lib.system.folders import whole_folder
from mp_lib.system.locks import sole_user
from mp_lib.system.paths import root, supplied

PLACES = ("data/results/", "data/paper/", f"{RUNS}/")  # of what is put somewhere; the rest is for readers
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
    try:
        with zipfile.ZipFile(path) as archive:
            names = checked(archive, path)
            placed = [name for name in names if name.startswith(PLACES)]
            there = [name for name in placed if same(archive, name)]
            if taken := [name for name in placed if name not in there and (root() / name).exists()]:
                raise InputError(f"{taken[0]} is here, and differs from that of {path}; {HELP}")
            due = [name for name in placed if name not in there]
            runs = sorted({PurePosixPath(name).parts[2] for name in due if name.startswith(f"{RUNS}/")})
            if begun := [run for run in runs if (root() / RUNS / run).exists()]:
                raise InputError(f"{RUNS}/{begun[0]} is here, and not all of {path} is in it; move it away")
            for run in runs:
                put_run(archive, run, [name for name in due if name.startswith(f"{RUNS}/{run}/")])
            files = [name for name in due if not name.startswith(f"{RUNS}/")]
            for name in files:
                put(archive, name, root() / name)
    except (OSError, zipfile.BadZipFile, NotImplementedError, RuntimeError) as error:
        if isinstance(error, ValueError):
            raise
        raise InputError(f"{path} cannot be unpacked ({type(error).__name__}: {error}); get it again") from error
    return Unpacked(tuple(runs), tuple(files), len(there))


def checked(archive: zipfile.ZipFile, path: Path) -> list[str]:
    """The names of an archive's files, whose digests are those that it lists; an InputError if one is not."""
    try:
        lines = archive.read(f"{TOP}/{SUMS}").decode().splitlines()
    except (KeyError, UnicodeDecodeError):
        raise InputError(f"{path} is no archive of results: it has no {TOP}/{SUMS}") from None
    listed = dict(line.split("  ", 1)[::-1] for line in lines if "  " in line)
    stored = [name.removeprefix(f"{TOP}/") for name in archive.namelist()]
    if sorted(stored) != sorted([*listed, SUMS]):
        raise InputError(f"{path} is damaged: its files are not those that {SUMS} lists; get it again")
    for name, digest in listed.items():
        if PurePosixPath(name).is_absolute() or {"..", "\\"} & {*PurePosixPath(name).parts, *name}:
            raise InputError(f"{path} has a file of the name {name!r}, which leads elsewhere; do not use it")
        with archive.open(f"{TOP}/{name}") as file:
            if copied(file) != digest:
                raise InputError(f"{path} is damaged: {name} is not what {SUMS} says; get it again")
    return [*listed]


def same(archive: zipfile.ZipFile, name: str) -> bool:
    """Whether a file of the archive is here already, below the root or, but for runs, in the checkout."""
    place = root() / name
    place = place if name.startswith(f"{RUNS}/") else supplied(place)
    if not place.is_file():
        return False
    with archive.open(f"{TOP}/{name}") as file:
        return sha256_of(place) == copied(file)


def put_run(archive: zipfile.ZipFile, run: str, names: list[str]) -> None:
    """Put a run where runs lie, whole or not at all."""
    folder = root() / RUNS / run
    with sole_user(lock_of(folder), f"run {run}"), whole_folder(folder) as draft:
        for name in names:
            put(archive, name, draft / PurePosixPath(name).relative_to(f"{RUNS}/{run}"))


def put(archive: zipfile.ZipFile, name: str, place: Path) -> None:
    """Write one file of the archive, whole or not at all."""
    draft = place.with_name(f".{place.name}.partial")
    try:
        with writing(place):
            place.parent.mkdir(parents=True, exist_ok=True)
            with archive.open(f"{TOP}/{name}") as source, open(draft, "wb") as target:
                while part := source.read(PART):
                    target.write(part)
            draft.replace(place)
    finally:
        draft.unlink(missing_ok=True)
