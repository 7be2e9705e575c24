"""What notebooks show: tables, sentences and films."""

from __future__ import annotations

import math
from html import escape
from pathlib import Path

import pandas as pd
from IPython import display
from IPython.display import HTML, Video


class Markdown(display.Markdown):
    """Sentences; what they quote of files is text and never HTML."""

    def __init__(self, text: str):
        super().__init__(text.replace("<", "&lt;"))


def show_table(table: pd.DataFrame, digits: int = 1, metadata: dict[str, str] | None = None) -> HTML:
    """A table without its index, ``digits`` after the point, and nothing where a number is unknown.

    One that holds words alone is set flush left. ``metadata`` of the output say where it was ``written``, if it was
    (``mp_lib.drawing.figures``).
    """
    shown = table.to_html(index=False, border=0, na_rep="", float_format=lambda value: f"{value:,.{digits}f}")
    words = table.select_dtypes("number").empty
    for cell in ("td", "th") if words else ():
        shown = shown.replace(f"<{cell}>", f'<{cell} style="text-align: left; vertical-align: top">')
    return HTML(shown, metadata=metadata)


def show_grouped(table: pd.DataFrame) -> HTML:
    """Numbers with three digits, under a heading for each value of the first column; the second stays in sight.

    Where the page is narrower than the table, that one scrolls below its first column.
    """
    group, name, *columns = table.columns
    stays = 'style="position: sticky; left: 0; background: var(--jp-layout-color0, white); text-align: left"'
    cells = "".join(f"<th>{escape(column)}</th>" for column in columns)
    rows = [f"<thead><tr><th {stays}>{escape(name)}</th>{cells}</tr></thead>"]
    for heading, part in table.groupby(group, sort=False):
        empty = "<td></td>" * len(columns)
        rows.append(f"<tbody><tr><th {stays}><em>{escape(heading)}</em></th>{empty}</tr>")
        for _, said, *values in part.itertuples(index=False):
            cells = "".join(f"<td>{three_digits(value)}</td>" for value in values)
            rows.append(f'<tr><th {stays} scope="row">{escape(said)}</th>{cells}</tr>')
        rows.append("</tbody>")
    return HTML(f'<div style="overflow-x: auto"><table>{"".join(rows)}</table></div>')


def three_digits(value: float) -> str:
    """A number with three digits that count, e.g. "0.0123", "1.20", "1,230"; nothing where it is unknown."""
    if not math.isfinite(value):
        return ""
    rounded = float(f"{value:.2e}")
    places = 2 - math.floor(math.log10(abs(rounded))) if rounded else 0
    return f"{rounded:,.{max(0, places)}f}"


def show_film(path: Path, width: int = 480) -> Video:
    """A film that is part of the notebook, so that it goes where the notebook goes."""
    return Video(str(path), embed=True, width=width, html_attributes="controls muted loop")
