"""Notebook parameters by name: of one that a notebook does not have, papermill only warns, and runs the defaults."""

from __future__ import annotations

import ast
import json
from collections.abc import Mapping

from mp_lib.interfaces import look_up
from mp_lib.system.paths import root

INJECTED = "# Parameters"  # how the cell begins that papermill writes behind the notebook's own parameters


def check_parameters(notebook: str, names: Mapping) -> None:
    """Raise a ValueError that lists the choices if papermill gave ``notebook`` a parameter that it does not have.

    ``names`` are the notebook's globals, whose ``In`` holds what was executed. Cells run by hand are never
    refused, and neither is a notebook that is not in the project's folder.
    """
    path = root() / "notebooks" / f"{notebook}.ipynb"
    given = [name for source in names.get("In", ()) if source.startswith(INJECTED) for name in assigned(source)]
    if given and path.exists():
        known = dict.fromkeys(parameters_of(path.read_text(encoding="utf-8")))
        for name in given:
            look_up(known, name, "parameter")


def parameters_of(notebook: str) -> list[str]:
    """The names that the cell tagged "parameters" of a notebook's JSON assigns, in order."""
    cells = [cell for cell in json.loads(notebook)["cells"] if "parameters" in cell["metadata"].get("tags", ())]
    return [name for cell in cells for name in assigned("".join(cell["source"]))]


def assigned(source: str) -> list[str]:
    """The names that statements at the top of a piece of Python assign, in order."""
    targets = [each for node in ast.parse(source).body if isinstance(node, ast.Assign) for each in node.targets]
    return [target.id for target in targets if isinstance(target, ast.Name)]
