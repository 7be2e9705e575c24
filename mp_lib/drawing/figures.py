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
from matplotlib.axes import Axes
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
    return show(figure, {"figure": name} | (written(name) if save else {}))


def save_table(table: pd.DataFrame, name: str, inputs: Sequence[Path] = (), parameters: dict | None = None) -> None:
    """Write figures/``name`` as .csv and .json (provenance).

    ``inputs`` are the files that the table was made from, whose digests the provenance holds;
    ``parameters`` are those that were given to whatever made it.
    """
    write_atomically(figures_path() / f"{name}.csv", table.to_csv(index=False).encode())
    made_from = json.dumps(origin(name, inputs, parameters), indent=1)
    write_atomically(figures_path() / f"{name}.json", made_from.encode() + b"\n")


def written(name: str) -> dict[str, str]:
    """What an output's metadata say of figures/``name``.csv: its name as a table, and the digest of the file."""
    return {"table": name, "digest": provenance.file_hash(figures_path() / f"{name}.csv")}


def show(figure: Figure, metadata: dict[str, str] | None = None) -> Image:
    """The figure as a notebook displays it: once, at its own size, with its words for whoever cannot see it.

    The output's ``metadata`` hold the name under which it was written, if it was, and what is ``written`` with it.
    """
    width = round(figure.get_figwidth() * SCREEN_DPI)
    content = picture_bytes(figure, "png", DPI)
    return Image(content, width=width, alt=words_of(figure), metadata=metadata or {})


def words_of(figure: Figure) -> str:
    """What stands on a figure: names of its axes, titles of its panels, names in its legends and beside its lines."""
    around = [getattr(text, "get_text", str)() for text in (figure._supxlabel, figure._supylabel) if text]
    words = [word for axes in figure.axes if axes.get_visible() for word in words_on(axes)]
    legends = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    told = [" ".join(word.split()) for word in (*around, *words, *legends)]
    return "; ".join(dict.fromkeys(filter(None, told)))


def words_on(axes: Axes) -> list[str]:
    """Title, labels, names of a panel; numbers on its axes are none."""
    ticks = [label.get_text() for axis in (axes.yaxis, axes.xaxis) for label in axis.get_ticklabels()]
    named = [word for word in ticks if any(map(str.isalpha, word)) and "mathdefault" not in word]
    legend = axes.get_legend()
    keys = [text.get_text() for text in legend.get_texts()] if legend else []
    written = [text.get_text() for text in axes.texts if any(map(str.isalpha, text.get_text()))]
    titles = [axes.get_title(loc) for loc in ("left", "center", "right")]
    return [*titles, axes.get_ylabel(), axes.get_xlabel(), *named, *keys, *written]


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
