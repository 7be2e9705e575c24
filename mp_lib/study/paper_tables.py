"""The paper's tables, row by row: what is published, empty where it could not be obtained, beside ours.

A published number is looked up in data/paper/published.csv by (table, method, task), so that whoever has the paper
can type its numbers in.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

import pandas as pd

from mp_lib.config import METHODS
from mp_lib.drawing.display import Markdown, show_table
from mp_lib.sim.tasks import PAPER_TASKS, TASKS
from mp_lib.study import efficiency
from mp_lib.study.designs import DESIGNS, MAMBA
from mp_lib.study.runs import choose_runs, runs_of_design
from mp_lib.study.sentences import count, join
from mp_lib.study.tables import KINDS, load_published, method_table, success_cell, success_table, with_spread

COMPARED = ("dp3", "simple_dp3", "dp3_mamba")  # those of the main table that have a published name
TABLES = {  # by their names in data/paper/published.csv
    "success": "Success by task, %",
    "variants": "State-space variants: mean success over the tasks that all of them have here, %",
    "horizon": "Horizon: mean success, %",
    "costs": "Costs at the paper's widths, as released",
}


def how_to_fill() -> str:
    """Where the published numbers come from, and how to type in one that is not known here."""
    known = load_published()
    sources = list(dict.fromkeys(known.loc[known["table"].isin(TABLES), "source"]))
    return (
        f"Published numbers are from {join(sources)}. An empty published cell is not known to this project: the tables "
        "of arXiv 2409.07163 could not be obtained. To fill it, append a row to `data/paper/published.csv`: the table "
        f"({join([f'`{name}`' for name in TABLES])}, as they stand here from top to bottom), the method and the row's "
        "name as they stand here, the value, and its source, e.g. `arXiv:2409.07163 Table II`."
    )


def show(scale: str, expert: str = "default") -> Iterator:
    """What a notebook displays: the paper's tables in the order of ``TABLES``, each below its title."""
    tables = main_table(scale, expert), variants_table(scale, expert), horizon_table(scale, expert), costs_table()
    for title, table in zip(TABLES.values(), tables, strict=True):
        yield Markdown(f"**{title}**")
        yield show_table(table)
    yield Markdown(how_to_fill())


def published_cells(table: str, method: str, rows: Iterable[str]) -> list[str]:
    """What is published of a method in a table, row by row; empty where nothing is."""
    known = load_published().query("table == @table and method == @method").drop_duplicates("task").set_index("task")
    return [
        with_spread(known.loc[row, "value"], known.loc[row, "spread"], "g") if row in known.index else ""
        for row in rows
    ]


def main_table(scale: str, expert: str = "default") -> pd.DataFrame:
    """Success by task, in percent, as published and here; published rates of re-created tasks stand in brackets."""
    runs = choose_runs(scale, attention="paper", expert=expert)
    table = success_table(runs)
    ours = {(row.task, row.method): success_cell(row) for row in table.itertuples()}
    shown = {"task": list(PAPER_TASKS)}
    for method in COMPARED:
        name = METHODS[method].published
        cells = published_cells("success", name, PAPER_TASKS)
        pairs = zip(cells, PAPER_TASKS, strict=True)
        shown[f"{name}, published"] = [f"({cell})" if cell and TASKS[task].remark else cell for cell, task in pairs]
        shown[f"{name}, here"] = [ours.get((task, method), "") for task in PAPER_TASKS]
    experts = dict(zip(table.get("task", []), table.get("expert_rate", []), strict=True))
    rates = [experts.get(task) for task in PAPER_TASKS]
    return pd.DataFrame(shown).assign(**{"expert here, %": ["" if pd.isna(x) else f"{100 * x:.0f}" for x in rates]})


def variants_table(scale: str, expert: str = "default") -> pd.DataFrame:
    """The state-space variants: mean success over common tasks, in percent."""
    runs = choose_runs(scale, methods=MAMBA, attention="paper", expert=expert)
    ours = {row.label: f"{success_cell(row)}, {count(row.tasks, 'task')}" for row in method_table(runs).itertuples()}
    labels = [METHODS[name].label for name in MAMBA]
    published = published_cells("variants", "Mamba Policy", labels)
    return pd.DataFrame({"variant": labels, "published": published, "here": [ours.get(label, "") for label in labels]})


def horizon_table(scale: str, expert: str = "default") -> pd.DataFrame:
    """Mean success by horizon, in percent; half of what is predicted is executed here."""
    design = DESIGNS["horizon"]
    table = method_table(runs_of_design(design, scale, expert), KINDS)
    ours = {(row.arm, row.method): success_cell(row) for row in table.itertuples()}
    rows = [f"T = {arm.label}" for arm in design.arms]
    shown = {"horizon": rows}
    for method in ("dp3", "dp3_mamba"):
        name = METHODS[method].published
        shown[f"{name}, published"] = published_cells("horizon", name, rows)
        shown[f"{name}, here"] = [ours.get((arm.label, method), "") for arm in design.arms]
    return pd.DataFrame(shown)


def costs_table() -> pd.DataFrame:
    """Parameters, multiply-adds and memory at the paper's widths: as published, and as counted or measured here."""
    counted = efficiency.cost_table().set_index(["method", "attention"])
    memory = efficiency.pick(
        efficiency.kept_timings(), what="train_step", backend="torch", batch=128, threads=2, horizon=16
    )
    memory = memory.set_index(["method", "attention"])["peak_megabytes"]
    rows = (
        "parameters of the denoiser (M)",
        "multiply-adds of a call, T = 16 (M)",
        "memory of a training step, CPU (MB)",
    )
    shown = {"cost": list(rows)}
    for key, name in ((("dp3", ""), "DP3"), (("dp3_mamba", "released"), "Mamba Policy")):
        values = [counted.loc[key, "parameters"] / 1e6, counted.loc[key, "multiply_adds"] / 1e6, memory.get(key)]
        shown[f"{name}, published"] = published_cells("costs", name, rows)
        shown[f"{name}, here"] = ["" if pd.isna(value) else f"{value:,.1f}" for value in values]
    return pd.DataFrame(shown)
