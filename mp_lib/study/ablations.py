"""What 07_ablations shows of each experiment: a question, a figure, a table with paired differences."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from mp_lib.drawing.display import Markdown, show_table
from mp_lib.drawing.figures import publish, written
from mp_lib.drawing.success import DRAWN
from mp_lib.interfaces import look_up
from mp_lib.presets import METHODS, kind_name
from mp_lib.study.designs import ABLATIONS, DESIGNS, Design
from mp_lib.study.evidence import compare
from mp_lib.study.runs import result_files, runs_of_design
from mp_lib.study.sentences import BEST_COLUMN, of_origin, with_interval
from mp_lib.study.tables import common_tasks, episodes_cell, method_table, success_cell, with_spread


def show(
    scale: str,
    names: Sequence[str] = (),
    methods: Sequence[str] = (),
    expert: str = "default",
    figures: bool = True,
    kept: bool = False,
) -> Iterator:
    """What a notebook displays of these experiments, all ablations if none are named, one thing after the other.

    ``methods`` are each experiment's own if none are named, ``kept`` as of ``choose_runs``. An unknown name raises a
    ValueError that lists those that exist.
    """
    for name in names or ABLATIONS:
        design = look_up(DESIGNS, name, "experiment")
        runs = on_common_tasks(runs_of_design(design, scale, expert, methods, kept))
        told = of_origin(runs, f"./run_all.sh {scale} --experiment {name}")
        yield Markdown(f"## {design.title}\n\n**{design.asks}** {told}")
        if len(runs):
            table = arm_table(design, runs)
            given = {"scale": scale, "experiment": name, "methods": list(methods), "expert": expert, "kept": kept}
            figure = DRAWN[design.drawn](table, design.varied)
            yield publish(figure, f"07_{name}_{scale}", table, result_files(runs), given, save=figures)
            yield show_table(reading_table(design, table), metadata=written(f"07_{name}_{scale}") if figures else None)


def on_common_tasks(runs: pd.DataFrame) -> pd.DataFrame:
    """The runs on ``common_tasks``: rates and differences of a table are of the same tasks."""
    return runs[runs["task"].isin(common_tasks(runs))]


def arm_table(design: Design, runs: pd.DataFrame) -> pd.DataFrame:
    """``method_table`` with a row a condition, and how each differs from the experiment's reference.

    Runs on other tasks than ``common_tasks`` are left out, so that rates and differences are of the same tasks.
    ``difference``, ``difference_low`` and ``difference_high`` are in points, empty for the reference itself;
    ``difference_over_runs`` says whether they speak of trainings at large.
    """
    runs = on_common_tasks(runs)
    order = {name: place for place, name in enumerate([*METHODS, *(arm.label for arm in design.arms)])}
    table = method_table(runs).sort_values(["method", "arm"], key=lambda column: column.map(order), ignore_index=True)
    columns = ["difference", "difference_low", "difference_high", "difference_over_runs"]
    rows = [difference_of(design, runs, row) for row in table.itertuples()]
    return table.join(pd.DataFrame(rows, columns=columns))


def difference_of(design: Design, runs: pd.DataFrame, row) -> tuple:
    """A row's difference from the reference method in its condition, or from its method in the reference condition."""
    varied, same = ("method", "arm") if design.reference in METHODS else ("arm", "method")
    runs, own = runs[runs[same] == getattr(row, same)], getattr(row, varied)
    pair = [runs[runs[varied] == each] for each in (own, design.reference)]
    found = (
        None if own == design.reference else compare(pair, (1, -1), same_runs=design.after_training or design.paired)
    )
    if found is None:  # the reference was not run, or has played other environment seeds
        return None, None, None, False
    estimate = found.estimate
    return *estimate.percents, estimate.over_runs


def reading_table(design: Design, table: pd.DataFrame) -> pd.DataFrame:
    """``arm_table`` as a reader wants it."""
    rows = list(table.itertuples())
    varied = {design.varied: table["arm"]} if design.varied else {}
    best_five = {BEST_COLUMN: [with_spread(row.best_five, row.best_five_over_seeds, ".0f") for row in rows]}
    return pd.DataFrame(
        {
            "method": [kind_name(row.method) for row in rows],
            **varied,
            "success, % (95 % interval)": [success_cell(row) for row in rows],
            f"less {kind_name(design.reference)}, points (95 % interval)": [difference_cell(row) for row in rows],
            **(best_five if table["best_five"].notna().any() else {}),
            "episodes; by run, %": [episodes_cell(row) for row in rows],
            "parameters (M)": table["parameters"] / 1e6,
            "training (min)": table["train_minutes"],
        }
    )


def difference_cell(row) -> str:
    """A paired difference, e.g. "+4 (-8 to +16)"; in brackets for single trainings, of which it speaks alone."""
    text = with_interval(row.difference, row.difference_low, row.difference_high, "+z.0f")  # z: no "-0"
    return text if row.difference_over_runs or not text else f"[{text}]"
