"""JupyterLab on working copies of the notebooks, in explore/: what is typed there changes no batch run.

A copy that nobody has edited follows the project's notebook; one that somebody has stays until new ones are asked for,
and is kept aside then.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from mp_lib.pipeline.notebooks import bare, notebooks_there
from mp_lib.pipeline.steps import before, kernel_variables
from mp_lib.system.files import read_json, write_atomically, write_json
from mp_lib.system.locks import sole_user
from mp_lib.system.paths import name_of, notebooks_path, package

FIRST = "00_overview.ipynb"  # which JupyterLab opens


def explore_path() -> Path:
    """Where the copies lie: beside the notebooks, so that relative links lead to the same places from both."""
    return notebooks_path().with_name("explore")


def lab_command(given: Sequence[str]) -> list[str]:
    """The command that starts JupyterLab on the copies, with further options of its own."""
    folder = explore_path()
    opened = f"--LabApp.default_url=/lab/tree/{folder.name}/{FIRST}"
    return [sys.executable, "-m", "jupyterlab", "--notebook-dir", str(folder.parent), opened, *given]


def lab_variables() -> dict[str, str]:
    """What is added to its environment: that of kernels, and settings by which it asks for no news, nor about them.

    Figures go to the copies' own folder, since those of batch runs are linked by reports.
    """
    return kernel_variables() | {
        "MP_FIGURES": str(explore_path() / "figures"),
        "JUPYTER_CONFIG_PATH": before("JUPYTER_CONFIG_PATH", package() / "pipeline" / "jupyter"),
    }


def make_copies(anew: bool = False) -> list[str]:
    """Make the copies that are not there, and again those that nobody has edited; returns what a reader has to know.

    ``anew``: all of them, after those that somebody has edited were put aside, into explore/before-<time>.
    """
    sources, folder = notebooks_there(), explore_path()
    aside = folder / f"before-{time.strftime('%Y-%m-%d-%H%M%S')}"
    left, kept = [], []
    with sole_user(folder / ".lock", "the folder of copies"):
        made = made_from()
        for source in sources:
            copy, now = folder / source.name, content(source)
            there, then = content(copy), made.get(source.name)
            edited = copy.exists() and there not in (now, then)
            if edited and not anew:
                left += [name_of(copy)] if then != now else []
                continue
            if edited:
                aside.mkdir(exist_ok=bool(kept))  # what is there from another call is not overwritten
                kept.append(copy.rename(aside / copy.name))
            if anew or there != now:
                write_atomically(copy, source.read_bytes())
            made[source.name] = now
        write_json(noted_path(), made)
    said = [f"what was edited lies in {name_of(aside)}"] if kept else []
    if left:
        told = f"as you have edited it, though the project's has changed since: {', '.join(left)}"
        said.append(f"{told}; ./run_all.sh lab --anew takes the project's and keeps yours aside")
    return said


def noted_path() -> Path:
    """What each copy was made from."""
    return explore_path() / ".made.json"


def made_from() -> dict[str, str]:
    """The ``content`` that each copy was made from, by its name; empty if that is not known."""
    with contextlib.suppress(OSError, ValueError):
        return read_json(noted_path())
    return {}


def content(path: Path) -> str:
    """A digest of all code and text of a notebook, whatever its outputs; empty if there is none, or it is damaged."""
    try:
        cells = [(cell["cell_type"], bare("".join(cell["source"]))) for cell in read_json(path)["cells"]]
    except (OSError, ValueError, LookupError, TypeError):
        return ""
    text = json.dumps([cell for cell in cells if cell[1]])
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()
