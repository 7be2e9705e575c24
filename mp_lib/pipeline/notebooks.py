"""The code of the project's notebooks, and where that of a file differs: by digests that the package carries.

They are those of all cells of code (notebooks.json, which ``keep`` writes), so that a batch run knows without git what
was edited by hand. Text, outputs and metadata may be others.
"""

from __future__ import annotations

import functools
import hashlib
import itertools
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from mp_lib.system.errors import InputError, one_line
from mp_lib.system.files import read_json, write_json
from mp_lib.system.paths import notebooks_path, package, root

LONGEST = 60  # letters of a cell's first line in a message


@dataclass(frozen=True)
class Cell:
    """A cell of code at a ``place`` among all cells, counted from 1; ``given``: parameters are injected behind it.

    ``source`` is without what editors leave or take at the ends of lines and of the cell.
    """

    place: int
    source: str
    given: bool

    @property
    def digest(self) -> str:
        """The digest of what it does."""
        return hashlib.blake2b(f"{self.given} {self.source}".encode(), digest_size=8).hexdigest()

    def told(self) -> str:
        """Its place and first line, e.g. cell 2 ("seed: int = 0")."""
        line = one_line(self.source.partition("\n")[0])
        return f'cell {self.place} ("{line if len(line) <= LONGEST else line[:LONGEST] + "…"}")'


@dataclass(frozen=True)
class Edit:
    """A notebook whose code is not the project's: in words ``where``, and the ``digest`` of that code."""

    notebook: str
    where: str
    digest: str

    def told(self) -> str:
        """E.g. notebooks/03_train.ipynb, cell 2 ("seed: int = 0")."""
        return f"notebooks/{self.notebook}, {self.where}"


def notebooks_there() -> list[Path]:
    """All notebooks of the project; an InputError if there are none, as where the package was installed alone."""
    if not (found := sorted(notebooks_path().glob("*.ipynb"))):
        raise InputError(f"there are no notebooks in {root()}; run this in a checkout, or set MP_ROOT to one")
    return found


def code_cells(path: Path) -> list[Cell]:
    """A notebook's cells of code that are not empty, as JupyterLab leaves one at the end; an InputError if damaged."""
    try:
        return [
            Cell(place, source, "parameters" in cell["metadata"].get("tags", ()))
            for place, cell in enumerate(read_json(path)["cells"], 1)
            if cell["cell_type"] == "code" and (source := bare("".join(cell["source"])))
        ]
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no notebook ({type(error).__name__}: {error})") from error


def bare(source: str) -> str:
    """A source without spaces at the ends of lines, and lines at its own ends, that do nothing."""
    return "\n".join(line.rstrip() for line in source.splitlines()).strip("\n")


def edit_of(notebook: str) -> Edit | None:
    """How a notebook of that name differs from the project's; None if its code is the same."""
    try:
        cells = code_cells(notebooks_path() / notebook)
    except FileNotFoundError:
        return Edit(notebook, "not there", "")
    except InputError:
        return Edit(notebook, "damaged", "")
    found, wanted = [cell.digest for cell in cells], carried().get(notebook, [])
    if found == wanted:
        return None
    place = next(place for place, (ours, theirs) in enumerate(itertools.zip_longest(found, wanted)) if ours != theirs)
    where = cells[place].told() if place < len(cells) else "without its last code"
    return Edit(notebook, where, hashlib.blake2b(" ".join(found).encode(), digest_size=8).hexdigest())


def refusal(edits: Iterable[Edit]) -> str:
    """One line about notebooks that are not run because they were edited; empty if there are none."""
    told = "; ".join(edit.told() for edit in edits)
    ways = "git checkout notebooks undoes it (./run_all.sh lab has copies to explore), --edited runs what there is"
    return told and f"not the project's code: {told}; {ways}"


@functools.cache
def carried() -> dict[str, list[str]]:
    """The digests of the cells of code of each notebook."""
    return read_json(carried_path())


def carried_path() -> Path:
    """Where the package carries them."""
    return package() / "pipeline" / "notebooks.json"


def keep() -> Path:
    """Let the package carry the digests of the notebooks as they are, and return the file."""
    digests = {path.name: [cell.digest for cell in code_cells(path)] for path in notebooks_there()}
    write_json(carried_path(), digests)
    carried.cache_clear()
    return carried_path()
