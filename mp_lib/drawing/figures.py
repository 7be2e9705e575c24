"""Figures on disk: each as PNG and PDF, with the table behind it and where it comes from.

The same figure gives the same bytes: no file holds a date.
"""

from __future__ import annotations

import io
import json
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

import pandas as pd
from IPython.display import Image
from matplotlib.figure import Figure

from mp_lib.drawing.style import in_style
from mp_lib.system import provenance
from mp_lib.system.files import write_atomically
from mp_lib.system.paths import figures_path, name_of, supplied

DPI = 200
SCREEN_DPI = 110


def publish(
    figure: Figure,
    name: str,
    table: pd.DataFrame,
    inputs: Sequence[Path] = (),
    parameters: dict | None = None,
    save: bool = True,
) -> Image:
    """Write figures/``name`` as .png, .pdf and by ``save_table``, unless ``save`` is false; return what is shown."""
    if save:
        for kind in ("png", "pdf"):
            write_atomically(figures_path() / f"{name}.{kind}", picture_bytes(figure, kind, DPI))
        save_table(table, name, inputs, parameters)
    return show(figure)


def save_table(table: pd.DataFrame, name: str, inputs: Sequence[Path] = (), parameters: dict | None = None) -> None:
    """Write figures/``name`` as .csv and .json (provenance).

    ``inputs`` are the files that the table was made from, whose digests the provenance holds;
    ``parameters`` are those that were given to whatever made it.
    """
    write_atomically(figures_path() / f"{name}.csv", table.to_csv(index=False).encode())
    made_from = json.dumps(origin(name, inputs, parameters), indent=1)
    write_atomically(figures_path() / f"{name}.json", made_from.encode() + b"\n")


def show(figure: Figure) -> Image:
    """The figure as a notebook displays it: once, at its own size."""
    return Image(picture_bytes(figure, "png", DPI), width=round(figure.get_figwidth() * SCREEN_DPI))


def picture_bytes(figure: Figure, kind: str, dpi: int, texts: dict[str, str] | None = None) -> bytes:
    """The figure as a file of ``kind``, without a date, with ``texts`` in its metadata."""
    content = io.BytesIO()
    metadata = ({"CreationDate": None} if kind == "pdf" else {}) | (texts or {})
    with in_style():
        figure.savefig(content, format=kind, dpi=dpi, metadata=metadata)
    return content.getvalue()


def origin(name: str, inputs: Sequence[Path], parameters: dict | None) -> dict:
    """What a figure comes from: commit, versions, parameters and the digest of every input."""
    return {
        "figure": name,
        "commit": provenance.commit(),
        "versions": provenance.versions() | {"matplotlib": version("matplotlib")},
        "parameters": parameters or {},
        "inputs": {name_of(path): provenance.file_hash(supplied(path)) for path in inputs},
    }
