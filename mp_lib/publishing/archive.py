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
from mp_lib.system.files import new_file
from mp_lib.system.paths import checkout, package, root, run_path
from mp_lib.system.provenance import commit

TOP, RUNS, ROWS, SUMS = "mamba-policy-results", "data/runs", "policies.csv", "SHA256SUMS"
RESULTS = ("data/results/", "data/paper/")  # what was measured, and what others have published
ENDINGS = (".csv", ".md", ".npz", ".png")  # of files in these
DATE = (1980, 1, 1, 0, 0, 0)  # the earliest that a ZIP file can hold
RUN_FILES = (RESULT, CHECKPOINT, "policy.json", "config.json", "metrics.jsonl", "seen.npz", FILM)
PART = 1 << 20  # bytes read at once
SAME = ("outcomes", "first_seed", "commit", "parameters")  # by which a run is that of a kept row
COLUMNS = ("name", "task", "method", "scale", "seed", "recipe", "commit", "successes", "episodes", "policy", "again")


@dataclass(frozen=True)
class Packed:
    """An archive that was written: where, of how many rows, how many policies are in it, and its digest."""

    path: Path
    rows: int
    policies: int
    sha256: str


def pack(path: Path) -> Packed:
    """Write the archive of all kept rows; a policy is in it if the very run of the row lies here.

    Raises an InputError if the path is taken, nothing is kept, or the package has changes that no commit holds.
    """
    if path.exists():
        raise InputError(f"{path} exists already; choose another name, or move it away")
    kept = pd.concat([each for earlier in (False, True) if len(each := load_kept(earlier))] or [load_kept()])
    if kept.empty:
        raise InputError("no rows are kept in data/results; python -m mp_lib keep keeps those of finished runs")
    if (made_by := commit()).endswith("-changed"):
        raise InputError("mp_lib has changes that no commit holds, and the archive names one; commit them first")
    folders = {row["name"]: folder for row in kept.to_dict("records") if (folder := run_of(row))}
    index = rows_of(kept, folders)
    texts = {ROWS: index.to_csv(index=False).encode(), "README.md": account(index, len(folders), made_by).encode()}
    with new_file(path) as file:
        write(file, dict(contents(folders)), texts)
    with open(path, "rb") as file:
        return Packed(path, len(kept), len(folders), copied(file))


def contents(folders: dict[str, Path]) -> Iterator[tuple[str, Path]]:
    """Every file by its name in the archive: what is kept and published, and of runs, by name, what they left.

    What lies below the root stands for what comes with the project.
    """
    for place in filter(None, (checkout(), root())):
        for inside in RESULTS:
            for path in (place / inside).rglob("*"):
                name = path.relative_to(place)
                if path.is_file() and path.suffix in ENDINGS and not any(part.startswith(".") for part in name.parts):
                    yield name.as_posix(), path
    for name in ("LICENSE", "CITATION.cff"):
        if checkout() and (checkout() / name).exists():
            yield name, checkout() / name
    for name, folder in folders.items():
        found = [folder / each for each in RUN_FILES if (folder / each).exists()]
        for path in (*found, *folder.glob(EVALUATIONS)):
            yield f"{RUNS}/{name}/{path.relative_to(folder).as_posix()}", path


def run_of(row: dict) -> Path | None:
    """The folder of the very run that a kept row is of, with its weights; None if it does not lie here."""
    places = [run_path(row["name"])] + ([checkout() / SHIPPED / row["name"]] if checkout() else [])
    for folder in places:
        if (folder / RESULT).exists() and (folder / CHECKPOINT).exists():
            try:
                found = run_row(folder / RESULT)
            except (OSError, ValueError, LookupError, TypeError, ArithmeticError):
                continue
            if all(found[key] == row[key] for key in SAME):
                return folder
    return None


def rows_of(kept: pd.DataFrame, folders: dict[str, Path]) -> pd.DataFrame:
    """A line a kept row: what it is, where its policy lies in the archive if it does, and what makes it again."""
    records = kept.to_dict("records")
    names = {row["name"]: row for row in records}
    trained = {row["name"]: training_of(row, names) for row in records}
    policies = [f"{RUNS}/{run}/{CHECKPOINT}" if (run := trained[name]) in folders else "" for name in names]
    again = [call(row, trained[row["name"]]) for row in records]
    return kept.assign(policy=policies, again=again)[[*COLUMNS]].sort_values("name")


def training_of(row: dict, names: dict[str, dict]) -> str:
    """The name of the training that a row is of: its own, or that of which it is an evaluation.

    Such a row has another number of denoising steps, and the seconds of the very training.
    """
    name, mark, _ = row["name"].rpartition("-num_inference_steps=")
    same = mark and name in names and names[name]["train_seconds"] == row["train_seconds"]
    return name if same else row["name"]


def call(row: dict, trained: str) -> str:
    """What is typed to make a row again, by the recipe of the commit that it names."""
    if trained != row["name"]:
        return f"papermill notebooks/04_evaluate.ipynb out.ipynb -p checkpoint {trained} " + (
            f"-p num_inference_steps {row['num_inference_steps']}"
        )
    attention = f", attention={row['attention']!r}" if row["attention"] != "paper" else ""
    changes = f", {row['changed']}" if row["changed"] else ""
    kind = f"{row['task']!r}, {row['method']!r}, scale={row['scale']!r}, seed={row['seed']}"
    return f"mp_lib.train({kind}{attention}{changes})"


def account(index: pd.DataFrame, policies: int, made_by: str) -> str:
    """The README of an archive with this table of rows, and so many policies."""
    text = (package() / "publishing" / "pages" / "account.md").read_text(encoding="utf-8")
    counts = {"rows": count(len(index), "row"), "policies": count(policies, "training")}
    missing = count(int((index["policy"] == "").sum()), "row")
    return text.format(commit=made_by, commits=join(sorted({*index["commit"]})), missing=missing, **counts)


def write(file, files: dict[str, Path], texts: dict[str, bytes]) -> None:
    """Write the ZIP file; the last entry has the digests of all others."""
    sums = {}
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
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
