"""What notebooks show: tables, sentences and films."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
from IPython import display
from IPython.display import HTML, Video


class Markdown(display.Markdown):
    """Sentences; what they quote of files is text and never HTML."""

    def __init__(self, text: str):
        super().__init__(text.replace("<", "&lt;"))


def show_table(table: pd.DataFrame, digits: int = 1) -> HTML:
    """A table without its index, ``digits`` after the point, and nothing where a number is unknown.

    One that holds words alone is set flush left.
    """
    shown = table.to_html(index=False, border=0, na_rep="", float_format=lambda value: f"{value:,.{digits}f}")
    words = table.select_dtypes("number").empty
    for cell in ("td", "th") if words else ():
        shown = shown.replace(f"<{cell}>", f'<{cell} style="text-align: left; vertical-align: top">')
    return HTML(shown)


def show_film(path: Path, width: int = 480) -> Video:
    """A film that is part of the notebook, so that it goes where the notebook goes."""
    return Video(str(path), embed=True, width=width, html_attributes="controls muted loop")
