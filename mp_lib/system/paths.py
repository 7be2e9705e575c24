"""Where things lie: every path of the project, under one root."""

from __future__ import annotations

import os
from pathlib import Path


def root() -> Path:
    """The project's folder: ``MP_ROOT`` if that is set, else the checkout of this package, else the current folder."""
    return Path(os.environ.get("MP_ROOT") or checkout() or Path.cwd())


def package() -> Path:
    """The folder of this package."""
    return Path(__file__).resolve().parents[1]


def checkout() -> Path | None:
    """The checkout that this package lies in; None where it was installed from a wheel."""
    folder = package().parent
    return folder if (folder / "notebooks").is_dir() and (folder / "pyproject.toml").exists() else None


def demos_path(task: str, num_points: int, num_demos: int, expert: str = "default") -> Path:
    """The demonstrations of a task, by one of its experts."""
    shown_by = "" if expert == "default" else f"-{expert}"
    return root() / "data" / "demos" / f"{task}-{num_points}points-{num_demos}{shown_by}.zarr"


def results_path(name: str) -> Path:
    """A file of what was measured and is kept with the project."""
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
    """Where figures go."""
    return root() / "figures"


def published_path() -> Path:
    """The published numbers, each with its source."""
    return root() / "data" / "paper" / "published.csv"
