"""The code of the project's notebooks, and where that of a file differs: by digests that the package carries.

They are those of the kernel and of all cells that do something (notebooks.json, which ``keep`` writes), so that a batch
run knows without git what was edited by hand. Text, outputs and other metadata may differ.
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
HONOURED = (  # tags of cells, of text too, by which papermill and nbclient do something else
    "parameters",
    "injected-parameters",
    "skip-execution",
    "raises-exception",
)


@dataclass(frozen=True)
class Cell:
    """A cell at a ``place`` among all cells, counted from 1, with those of its tags that are ``HONOURED``.

    ``source`` is its code, without what editors leave or take at the ends of lines and of the cell; empty for text.
    """

    place: int
    source: str
    tags: tuple[str, ...]

    @property
    def digest(self) -> str:
        """The digest of what it does."""
        return hashlib.blake2b(f"{' '.join(self.tags)}\n{self.source}".encode(), digest_size=8).hexdigest()

    def told(self) -> str:
        """Its place and first line, e.g. cell 2 ("seed: int = 0")."""
        line = one_line(self.source.partition("\n")[0]) or f"tagged {', '.join(self.tags)}"
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


def code_of(path: Path) -> tuple[str, list[Cell]]:
    """The kernel that a notebook asks for, and its cells that do something; an InputError if it is damaged.

    Those are cells of code that are not empty, as JupyterLab leaves one at the end, and whatever has ``HONOURED`` tags.
    """
    try:
        notebook = read_json(path)
        kernel = notebook["metadata"].get("kernelspec", {})
        cells = [cell_of(place, cell) for place, cell in enumerate(notebook["cells"], 1)]
        asked = [*map(str, (kernel.get("name", ""), kernel.get("language", "")))]
        return " ".join(asked), [cell for cell in cells if cell.source or cell.tags]
    except (LookupError, TypeError, AttributeError) as error:
        raise InputError(f"{path} is no notebook ({type(error).__name__}: {error})") from error


def cell_of(place: int, cell: dict) -> Cell:
    """A cell of a notebook's JSON; a LookupError, TypeError or AttributeError if it is none."""
    source = bare("".join(cell["source"])) if cell["cell_type"] == "code" else ""
    return Cell(place, source, tuple(tag for tag in HONOURED if tag in cell["metadata"].get("tags", ())))


def digests_of(path: Path) -> list[str]:
    """The kernel that a notebook asks for, and the digests of its cells that do something."""
    kernel, cells = code_of(path)
    return [kernel, *(cell.digest for cell in cells)]


def bare(source: str) -> str:
    """A source without spaces at the ends of lines, and lines at its own ends, that do nothing."""
    return "\n".join(line.rstrip() for line in source.splitlines()).strip("\n")


def edit_of(notebook: str) -> Edit | None:
    """How a notebook of that name differs from the project's; None if its code is the same."""
    try:
        kernel, cells = code_of(notebooks_path() / notebook)
    except FileNotFoundError:
        return Edit(notebook, "not there", "")
    except InputError:
        return Edit(notebook, "damaged", "")
    found, wanted = [kernel, *(cell.digest for cell in cells)], carried().get(notebook, [])
    if found == wanted:
        return None
    place = next(place for place, (ours, theirs) in enumerate(itertools.zip_longest(found, wanted)) if ours != theirs)
    told = [f'kernel "{one_line(kernel)}"', *(cell.told() for cell in cells)]
    where = told[place] if place < len(told) else "without its last code"
    return Edit(notebook, where, hashlib.blake2b(" ".join(found).encode(), digest_size=8).hexdigest())


def refusal(edits: Iterable[Edit]) -> str:
    """One line about notebooks that are not run because they were edited; empty if there are none."""
    told = "; ".join(edit.told() for edit in edits)
    ways = "git checkout notebooks undoes it (./run_all.sh lab has copies to explore), --edited runs what there is"
    return told and f"not the project's code: {told}; {ways}"


@functools.cache
def carried() -> dict[str, list[str]]:
    """The ``digests_of`` each notebook."""
    return read_json(carried_path())


def carried_path() -> Path:
    """Where the package carries them."""
    return package() / "pipeline" / "notebooks.json"


def keep() -> Path:
    """Let the package carry the ``digests_of`` the notebooks as they are, and return the file."""
    digests = {path.name: digests_of(path) for path in notebooks_there()}
    write_json(carried_path(), digests)
    carried.cache_clear()
    return carried_path()
