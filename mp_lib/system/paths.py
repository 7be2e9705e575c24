"""Where things lie: what is made below one root, what comes with the project below that or in the checkout."""

from __future__ import annotations

import os
from pathlib import Path

from mp_lib.system.errors import InputError


def root() -> Path:
    """The folder below which lies all that is made, absolute: ``MP_ROOT`` if that is set, else ``project()``.

    A relative ``MP_ROOT`` begins where the process is when this is first called, and is written back whole: the
    processes that this one starts may work in other folders. An InputError if it begins with ``~`` and a name that no
    user has.
    """
    if not os.environ.get("MP_ROOT"):
        return project()
    whole = from_home("MP_ROOT", os.environ["MP_ROOT"]).absolute()
    os.environ["MP_ROOT"] = str(whole)
    return whole


def project() -> Path:
    """The folder of what comes with the project: the checkout of this package, else the current folder."""
    return checkout() or Path.cwd()


def given_path(path: str | Path) -> Path:
    """Where a path that somebody gave leads, absolute: ``~`` is the home folder, a relative one begins at the root."""
    return root() / from_home("path", path)


def from_home(name: str, path: str | Path) -> Path:
    """A path with the home folder in the place of ``~``, or of ``~user``; an InputError if there is none."""
    try:
        return Path(path).expanduser()
    except RuntimeError:
        raise InputError(
            f"{name} {str(path)!r} given; no home is known for that, a folder of that name is './{path}'"
        ) from None


def supplied(path: Path) -> Path:
    """A path below the root, or the checkout's of the same name where there is nothing, such as kept results."""
    if path.exists() or checkout() is None or not path.is_relative_to(root()):
        return path
    own = checkout() / path.relative_to(root())
    return own if own.exists() else path


def name_of(path: Path) -> str:
    """What a file is called wherever the root is: its path below the root or below the checkout."""
    folder = next((each for each in (root(), project()) if path.is_relative_to(each)), root())
    return os.path.relpath(path, folder)


def package() -> Path:
    """The folder of this package."""
    return Path(__file__).resolve().parents[1]


def checkout() -> Path | None:
    """The checkout that this package lies in; None where it was installed from a wheel."""
    folder = package().parent
    return folder if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").exists() else None


def notebooks_path() -> Path:
    """The notebooks beside this package, which they call; those below the root where it was installed from a wheel."""
    return (checkout() or root()) / "notebooks"


def demos_path(task: str, num_points: int, num_demos: int, expert: str = "default", first_seed: int = 0) -> Path:
    """The demonstrations of a task, by one of its experts, recorded on environment seeds from ``first_seed`` on."""
    shown_by = "" if expert == "default" else f"-{expert}"
    begun = f"-from{first_seed}" if first_seed else ""
    return root() / "data" / "demos" / f"{task}-{num_points}points-{num_demos}{shown_by}{begun}.zarr"


def results_path(name: str) -> Path:
    """Where a file of what was measured is kept; it is read at ``supplied`` of that."""
    return root() / "data" / "results" / name


def experts_path() -> Path:
    """Where the networks of experts that were fetched lie."""
    return root() / "data" / "experts"


def run_path(name: str = "") -> Path:
    """The folder of a training run; of all of them without a name."""
    return root() / "data" / "runs" / name


def evaluations_path() -> Path:
    """Where evaluations of checkpoints go that are in no run."""
    return root() / "data" / "evaluations"


def step_path(name: str) -> Path:
    """A file that the pipeline keeps of a step: stamp, lock, log."""
    return root() / "data" / "steps" / name


def figures_path() -> Path:
    """Where figures go: ``MP_FIGURES``, which begins at the root, or figures/."""
    return root() / (os.environ.get("MP_FIGURES") or "figures")


def published_path() -> Path:
    """The published numbers, each with its source; read at ``supplied`` of that."""
    return root() / "data" / "paper" / "published.csv"
