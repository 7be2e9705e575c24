"""What 07_ablations shows of each experiment: a question, a figure, a table with paired differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from mp_lib.config import METHODS
from mp_lib.designs import ABLATIONS, DESIGNS, Design
from mp_lib.display import Markdown, show_table
from mp_lib.evidence import difference
from mp_lib.figures import publish
from mp_lib.interfaces import look_up
from mp_lib.plots import row_name
from mp_lib.results import KINDS, episodes_cell, method_table, success_cell
from mp_lib.runs import result_files, runs_of_design
from mp_lib.sentences import of_origin
from mp_lib.success_plots import DRAWN


def show(scale: str, names: Sequence[str] = (), expert: str = "default", figures: bool = True) -> Iterator:
    """What a notebook displays of these experiments, all ablations if none are named, one thing after the other.

    An unknown name raises a ValueError that lists those that exist.
    """
    for name in names or ABLATIONS:
        design = look_up(DESIGNS, name, "experiment")
        runs = runs_of_design(design, scale, expert)
        yield Markdown(f"## {design.title}\n\n**{design.asks}** {of_origin(runs, how_to_run(design, scale))}")
        if len(runs):
            table = arm_table(design, runs)
            given = {"scale": scale, "experiment": name, "expert": expert}
            figure = DRAWN[design.drawn](table, design.varied)
            yield publish(figure, f"07_{name}_{scale}", table, result_files(runs), given, save=figures)
            yield show_table(reading_table(design, table))


def how_to_run(design: Design, scale: str) -> str:
    """The command that runs an experiment."""
    return f"./run_all.sh {scale} --experiment {design.name}"


def arm_table(design: Design, runs: pd.DataFrame) -> pd.DataFrame:
    """``method_table`` with a row a condition, and how each differs from the experiment's reference.

    ``difference``, ``difference_low`` and ``difference_high`` are in points, empty for the reference itself; ``pairs``
    is the number of training seeds that both have.
    """
    table = method_table(runs, KINDS)
    rows = [difference_of(design, runs, row) for row in table.itertuples()]
    columns = ["difference", "difference_low", "difference_high", "pairs"]
    return pd.concat([table, pd.DataFrame(rows, columns=columns, index=table.index)], axis=1)


def difference_of(design: Design, runs: pd.DataFrame, row) -> tuple:
    """A row's difference from the reference method in its condition, or from its method in the reference condition."""
    same_arm, same_method = runs["arm"] == row.arm, runs["method"] == row.method
    if design.reference in METHODS:
        theirs = runs[same_arm & (runs["method"] == design.reference)]
        is_reference = row.method == design.reference
    else:
        theirs = runs[same_method & (runs["arm"] == design.reference)]
        is_reference = row.arm == design.reference
    found = None if is_reference else difference(runs[same_arm & same_method], theirs)
    return (100 * found.value, 100 * found.low, 100 * found.high, found.runs) if found else (None, None, None, 0)


def reading_table(design: Design, table: pd.DataFrame) -> pd.DataFrame:
    """``arm_table`` as a reader wants it."""
    rows = list(table.itertuples())
    name = METHODS[design.reference].label if design.reference in METHODS else design.reference
    varied = {design.varied: table["arm"]} if design.varied else {}
    return pd.DataFrame(
        {
            "method": [row_name(row.method) for row in rows],
            **varied,
            "success, % (95 % interval)": [success_cell(row) for row in rows],
            f"less {name}, points (95 % interval)": [difference_cell(row) for row in rows],
            "episodes; by run, %": [episodes_cell(row) for row in rows],
            "parameters (M)": table["parameters"] / 1e6,
            "training (min)": table["train_minutes"],
        }
    )


def difference_cell(row) -> str:
    """A paired difference, e.g. "+4 (-8 to +16)"; in brackets for single trainings, of which it speaks alone."""
    if pd.isna(row.difference):
        return ""
    value, low, high = (round(each) for each in (row.difference, row.difference_low, row.difference_high))
    text = f"{value:+d} ({low:+d} to {high:+d})"
    return text if row.pairs > 1 else f"[{text}]"
