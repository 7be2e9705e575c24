"""Executed notebooks as pages: text, code and outputs, as they were stored."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from html import escape
from pathlib import Path

from mp_lib.pipeline.details import Figure, block_of, tidy
from mp_lib.publishing.markup import colour, framed, rendered
from mp_lib.system.files import read_json
from mp_lib.system.notebook import MARK


@dataclass(frozen=True)
class Executed:
    """An executed notebook: its title, and its cells as HTML."""

    title: str
    body: str


def read(path: Path) -> Executed:
    """An executed notebook as a page has it."""
    cells = read_json(path)["cells"]
    sources = ["".join(cell["source"]) for cell in cells]
    headings = (source.splitlines()[0] for source in sources if source.startswith("# "))
    body = "\n".join(part for cell, source in zip(cells, sources, strict=True) for part in parts_of(cell, source))
    return Executed(next(headings, f"# {path.stem}").removeprefix("# "), body)


def parts_of(cell: dict, source: str) -> Iterator[str]:
    """A cell as HTML, and behind code what it has shown; bars and what went to stderr are left out."""
    if cell["cell_type"] == "markdown":
        yield tidy(rendered(source), "")
    elif source.strip():
        yield colour(source, "python")
    for output in cell.get("outputs", ()):
        if output.get("name") == "stderr" or output.get("metadata") == MARK:
            continue
        block = block_of(output, "")
        if isinstance(block, Figure):
            yield picture(block)
        elif block is not None:
            yield f'<div class="output">{framed(block)}</div>'


def picture(figure: Figure) -> str:
    """A figure as HTML, at its own size where the page is wide enough."""
    source, words = f"data:image/png;base64,{figure.content}", escape(figure.words or "A figure")
    return f'<figure><img width="{figure.width}" alt="{words}" src="{source}"></figure>'
