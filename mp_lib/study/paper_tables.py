"""The paper's tables, row by row: what is published, empty where it could not be obtained, beside ours.

A published number is looked up in data/paper/published.csv by (table, method, task), so that whoever has the paper
can type its numbers in.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import pandas as pd

from mp_lib.drawing.display import Markdown, show_table
from mp_lib.presets import METHODS
from mp_lib.sim.tasks import PAPER_TASKS
from mp_lib.study import efficiency
from mp_lib.study.designs import DESIGNS, MAMBA
from mp_lib.study.runs import choose_runs, runs_of_design
from mp_lib.study.sentences import count, join
from mp_lib.study.tables import (
    comparable,
    load_published,
    method_table,
    published_cell,
    published_in,
    success_cell,
    success_table,
)

COMPARED = ("dp3", "simple_dp3", "dp3_mamba")  # those of the main table that have a published name
TABLES = {  # by their names in data/paper/published.csv
    "success": "Success by task, %",
    "variants": "State-space variants: mean success over the tasks that all of them have here, %",
    "horizon": "Horizon: mean success, %",
    "costs": "Costs at the paper's widths, as released",
}
QUOTED = ("parameters (M)", "operations (G)", "memory (MB)")
COSTS = ("parameters of the denoiser (M)", "multiply-adds of a call, T = 16 (M)", "memory of a training step, CPU (MB)")


def how_to_fill() -> str:
    """Where the published numbers come from, why some are not known here, and how to type one in."""
    known = load_published()
    sources = join(dict.fromkeys(known.loc[known["table"].isin(TABLES), "source"])) or "nowhere yet"
    return (
        f"Published numbers are from {sources}. A cell is empty rather than guessed where this project knows of none, "
        "and a column without any is left out: the tables of arXiv 2409.07163 could not be obtained, and narrow or "
        "renamed variants were never published. To fill one, append a row to `data/paper/published.csv` and run this "
        "notebook again: the table "
        f"({join([f'`{name}`' for name in TABLES])}, as they stand here from top to bottom), the method and the row's "
        "name as they stand here, the value, and its source, e.g. `arXiv:2409.07163 Table II`."
    )


def show(scale: str, **which) -> Iterator:
    """What a notebook displays: the paper's tables in the order of ``TABLES``, each below its title.

    ``which``: ``expert`` and ``kept`` as of ``choose_runs``.
    """
    makers = (main_table, variants_table, horizon_table)
    tables = [*(make(scale, **which) for make in makers), costs_table()]
    for title, table in zip(TABLES.values(), tables, strict=True):
        yield Markdown(f"**{title}**")
        yield show_table(without_empty_columns(table))
    yield Markdown("**Costs as others quote them**")
    yield show_table(quoted_table(), digits=2)
    yield Markdown(quoted_text())
    yield Markdown(how_to_fill())


def without_empty_columns(table: pd.DataFrame) -> pd.DataFrame:
    """The table without columns in which no row says anything."""
    return table[[name for name in table if table[name].notna().any() and (table[name] != "").any()]]


def published_cells(table: str, method: str, rows: Sequence[str]) -> list[str]:
    """What is published of a method in a table, row by row; empty where nothing is, in brackets if re-created here."""
    published = published_in(table)
    known = [published.get((method, row), {}) for row in rows]
    pairs = zip(known, rows, strict=True)
    return [published_cell(each.get("value"), each.get("spread"), comparable(row)) for each, row in pairs]


def side_by_side(table: str, noun: str, rows: Sequence[str], methods: Sequence[str], ours: dict) -> pd.DataFrame:
    """``rows`` below ``noun``; for each method what is published in a table, and ``ours``, cells by (method, row)."""
    shown = {noun: list(rows)}
    for method in methods:
        name = METHODS[method].published
        shown[f"{name}, published"] = published_cells(table, name, rows)
        shown[f"{name}, here"] = [ours.get((method, row), "") for row in rows]
    return pd.DataFrame(shown)


def main_table(scale: str, **which) -> pd.DataFrame:
    """Success by task, in percent, as published and here: of the tasks that were run, or of all if none of them was."""
    table = success_table(choose_runs(scale, attention="paper", **which))
    ours = {(row.method, row.task): success_cell(row) for row in table.itertuples()}
    experts = {row.task: row.expert_rate for row in table.itertuples()}
    tasks = [task for task in PAPER_TASKS if task in experts] or PAPER_TASKS
    rates = [experts.get(task) for task in tasks]
    shown = side_by_side("success", "task", tasks, COMPARED, ours)
    return shown.assign(**{"expert here, %": ["" if pd.isna(rate) else f"{100 * rate:.0f}" for rate in rates]})


def variants_table(scale: str, **which) -> pd.DataFrame:
    """The state-space variants: mean success over common tasks, in percent."""
    runs = choose_runs(scale, methods=MAMBA, attention="paper", **which)
    ours = {row.label: f"{success_cell(row)}, {count(row.tasks, 'task')}" for row in method_table(runs).itertuples()}
    labels = [METHODS[name].label for name in MAMBA]
    published = published_cells("variants", "Mamba Policy", labels)
    return pd.DataFrame({"variant": labels, "published": published, "here": [ours.get(label, "") for label in labels]})


def horizon_table(scale: str, **which) -> pd.DataFrame:
    """Mean success by horizon, in percent; half of what is predicted is executed here."""
    design = DESIGNS["horizon"]
    table = method_table(runs_of_design(design, scale, **which))
    ours = {(row.method, f"T = {row.arm}"): success_cell(row) for row in table.itertuples()}
    return side_by_side("horizon", "horizon", [f"T = {arm.label}" for arm in design.arms], ("dp3", "dp3_mamba"), ours)


def costs_table() -> pd.DataFrame:
    """Parameters, multiply-adds and memory at the paper's widths: as published, and as counted or measured here."""
    counted = efficiency.cost_table().set_index(["method", "attention"])
    memory = efficiency.measured("peak_megabytes", backend="torch", **efficiency.STEP)
    kinds, ours = {"dp3": "", "dp3_mamba": "released"}, {}
    for kind in kinds.items():
        values = [counted.loc[kind, "parameters"] / 1e6, counted.loc[kind, "multiply_adds"] / 1e6, memory.get(kind)]
        cells = ["" if pd.isna(value) else f"{value:,.1f}" for value in values]
        ours |= {(kind[0], cost): cell for cost, cell in zip(COSTS, cells, strict=True)}
    return side_by_side("costs", "cost", COSTS, [*kinds], ours)


def quoted_table() -> pd.DataFrame:
    """What KAN-We-Flow quotes of DP3's and Mamba Policy's costs, beside what is counted here, as released, T = 4."""
    quoted = published_in("quoted costs")
    ours = {"DP3": counted_here("dp3", ""), "Mamba Policy": counted_here("dp3_mamba", "released")}
    return pd.DataFrame(
        [
            {"cost": cost}
            | {f"{name}, quoted": quoted.get((name, cost), {}).get("value") for name in ours}
            | {f"{name}, here": here[cost] for name, here in ours.items()}
            for cost in QUOTED
        ]
    )


def counted_here(method: str, attention: str) -> dict[str, float]:
    """The costs of ``QUOTED`` of a method's denoiser at the paper's widths; memory is that of float32 weights alone."""
    row = efficiency.cost_table(4).set_index(["method", "attention"]).loc[method, attention]
    values = row["parameters"] / 1e6, row["multiply_adds"] / 1e9, 4 * row["parameters"] / 1e6
    return dict(zip(QUOTED, values, strict=True))


def quoted_text() -> str:
    """What the quoted numbers can and cannot be."""
    ours = counted_here("dp3_mamba", "released")
    _, operations, memory = QUOTED
    return (
        "The quotes are second hand (arXiv:2602.01115, Table III; the paper's own table was not seen). Here "
        f"{1e3 * ours[operations]:.1f} million multiply-adds are counted for a call of Mamba Policy's denoiser as "
        "released, at horizon 4, which is near what is quoted if that counts multiply-adds. The quoted memory is less "
        f"than the {ours[memory]:.0f} MB that the weights of its denoiser alone take in float32."
    )
