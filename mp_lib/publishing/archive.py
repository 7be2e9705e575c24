"""The archive of what stands behind the kept tables: rows, curves, the policies that lie here; the same to the byte.

It is a ZIP file without compression, whose entries have no date, so that the same files give the same bytes.
"""

from __future__ import annotations

import hashlib
import io
import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from mp_lib.learning.folder import FILM
from mp_lib.model.weights import CHECKPOINT, SHIPPED
from mp_lib.study.rows import EVALUATIONS, RESULT, load_kept, run_row
from mp_lib.study.sentences import count, join
from mp_lib.system.errors import InputError
from mp_lib.system.files import writing
from mp_lib.system.paths import package, project, published_path, results_path, root, run_path, supplied
from mp_lib.system.provenance import commit

TOP, RUNS, ROWS, SUMS = "mamba-policy-results", "data/runs", "policies.csv", "SHA256SUMS"
DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP file can hold
RUN_FILES = (RESULT, CHECKPOINT, "policy.json", "config.json", "metrics.jsonl", "seen.npz", FILM)
PART = 1 << 20  # bytes read at once
SAME = ("outcomes", "first_seed", "commit", "parameters")  # by which a run is that of a kept row
COLUMNS = ("name", "task", "method", "scale", "seed", "recipe", "commit", "successes", "episodes", "policy", "again")


@dataclass(frozen=True)
class Packed:
    """An archive that was written: where, of how many rows, how many of these with their policy, and its digest."""

    path: Path
    rows: int
    policies: int
    sha256: str


def pack(path: Path) -> Packed:
    """Write the archive of all kept rows; a policy is in it if the very run of the row lies here.

    Raises an InputError if the path is taken or nothing is kept.
    """
    if path.exists():
        raise InputError(f"{path} exists already; choose another name, or move it away")
    kept = pd.concat([each for earlier in (False, True) if len(each := load_kept(earlier))] or [load_kept()])
    if kept.empty:
        raise InputError("no rows are kept in data/results; python -m mp_lib keep keeps those of finished runs")
    folders = {row["name"]: folder for row in kept.to_dict("records") if (folder := run_of(row))}
    files = dict(sorted(contents(folders)))
    index = rows_of(kept, folders).to_csv(index=False).encode()
    texts = {ROWS: index, "README.md": account(kept, len(folders)).encode()}
    draft = path.with_name(f".{path.name}.partial")
    try:
        with writing(path):
            write(draft, files, texts)
            draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
    return Packed(path, len(kept), len(folders), sha256_of(path))


def contents(folders: dict[str, Path]) -> Iterator[tuple[str, Path]]:
    """Every file by its name in the archive: what is kept and published, and of runs, by name, what they left."""
    for folder in (results_path(""), published_path().parent):
        inside = folder.relative_to(root())
        for place in (project() / inside, folder):
            for path in (each for each in place.rglob("*") if each.is_file()):
                name = inside / path.relative_to(place)
                yield str(name), supplied(root() / name)
    for name in ("LICENSE", "CITATION.cff"):
        if (path := project() / name).exists():
            yield name, path
    for name, folder in folders.items():
        found = [folder / each for each in RUN_FILES if (folder / each).exists()]
        for path in (*found, *folder.glob(EVALUATIONS)):
            yield f"{RUNS}/{name}/{path.relative_to(folder)}", path


def run_of(row: dict) -> Path | None:
    """The folder of the very run that a kept row is of, with its weights; None if it does not lie here."""
    for folder in (run_path(row["name"]), *(project() / SHIPPED).glob(row["name"])):
        if (folder / RESULT).exists() and (folder / CHECKPOINT).exists():
            try:
                found = run_row(folder / RESULT)
            except (OSError, ValueError, LookupError, TypeError, ArithmeticError):
                continue
            if all(found[key] == row[key] for key in SAME):
                return folder
    return None


def rows_of(kept: pd.DataFrame, folders: dict[str, Path]) -> pd.DataFrame:
    """A line a kept row: what it is, where its policy lies in the archive if it does, and the call that trains it."""
    policies = [f"{RUNS}/{name}/{CHECKPOINT}" if name in folders else "" for name in kept["name"]]
    return kept.assign(policy=policies, again=[call(row) for row in kept.itertuples()])[[*COLUMNS]].sort_values("name")


def account(kept: pd.DataFrame, policies: int) -> str:
    """The README of an archive of these rows, of which so many have their policy in it."""
    text = (package() / "publishing" / "pages" / "account.md").read_text(encoding="utf-8")
    counts = {"rows": count(len(kept), "row"), "policies": policies, "missing": len(kept) - policies}
    return text.format(commit=commit(), commits=join(sorted({*kept["commit"]})), **counts)


def call(row) -> str:
    """What is typed to train it again, by the recipe of the commit that it names."""
    attention = f", attention={row.attention!r}" if row.attention != "paper" else ""
    changes = f", {row.changed}" if row.changed else ""
    return f"mp_lib.train({row.task!r}, {row.method!r}, scale={row.scale!r}, seed={row.seed}{attention}{changes})"


def write(path: Path, files: dict[str, Path], texts: dict[str, bytes]) -> None:
    """Write the ZIP file; the last entry has the digests of all others."""
    sums = {}
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted({*files, *texts}):
            with (
                files[name].open("rb") if name in files else io.BytesIO(texts[name]) as source,
                archive.open(entry(name), "w", force_zip64=True) as target,
            ):
                sums[name] = copied(source, target)
        lines = "".join(f"{digest}  {name}\n" for name, digest in sorted(sums.items()))
        archive.writestr(entry(SUMS), lines)


def entry(name: str) -> zipfile.ZipInfo:
    """An entry of the archive, which says nothing of when and on what it was made."""
    made = zipfile.ZipInfo(f"{TOP}/{name}", DATE)
    made.create_system, made.external_attr = 3, 0o100644 << 16  # as on Linux, readable by all
    return made


def copied(source, target=None) -> str:
    """The digest of what is read from ``source``, and written to ``target`` if there is one."""
    digest = hashlib.sha256()
    while part := source.read(PART):
        digest.update(part)
        if target is not None:
            target.write(part)
    return digest.hexdigest()


def sha256_of(path: Path) -> str:
    """The digest of a file, as ``sha256sum`` prints it."""
    with open(path, "rb") as file:
        return copied(file)
