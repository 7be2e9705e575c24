"""The tables of README and docs that hold measurements, written from kept rows between marks in these files."""

from __future__ import annotations

import csv
import re
from collections.abc import Callable
from pathlib import Path

import pandas as pd

from mp_lib.config import METHODS, kind_name
from mp_lib.study import claims, efficiency
from mp_lib.study.runs import choose_runs
from mp_lib.study.sentences import count, join
from mp_lib.study.spread import spread_table
from mp_lib.study.tables import episodes_cell, success_cell, success_table
from mp_lib.system.files import write_atomically
from mp_lib.system.paths import checkout, results_path, supplied

WRITTEN = "python -m mp_lib documents"  # what writes them
MARKED = re.compile(rf"(<!-- (?P<name>[\w-]+), written by {WRITTEN} -->\n).*?(<!-- end -->)", re.DOTALL)
SCALE = "quick"


def markdown(table: pd.DataFrame) -> str:
    """A table of texts in Markdown."""
    lines = [[*map(str, table.columns)], ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def verdicts() -> str:
    """The paper's claims, what was found, and the command that judges each again."""
    table, rows = claims.claims_table(SCALE, own=False), []
    for claim in claims.CLAIMS:
        lines = table[table["claim"].str.startswith(f"({claim.letter})")]
        judged = [line for line in lines.itertuples() if not line.verdict.startswith("a remark")]
        found = "; ".join(f"{line.compared}: {line.found}" if line.found else line.compared for line in judged)
        verdict = claims.together([line.verdict for line in judged])
        rows.append((f"({claim.letter}) {claim.says}", f"**{verdict}**", found, f"`{claim.command}`"))
    text = markdown(pd.DataFrame(rows, columns=["Mamba Policy …", "verdict", "found (95 % interval)", "command"]))
    bases = dict.fromkeys(basis for basis in table["basis"] if "training" in basis)
    return f"{text}\n{''.join(f'- {basis}{chr(10)}' for basis in bases)}"


def success() -> str:
    """Success at the scale by task and method, in percent, on the tasks that have kept runs."""
    table = success_table(choose_runs(SCALE, attention="paper", own=False))
    cells = {(row.method, row.task): f"{success_cell(row)}; {episodes_cell(row)}" for row in table.itertuples()}
    tasks, methods = dict.fromkeys(table["task"]), [name for name in METHODS if name in {*table["method"]}]
    rows = [[f"`{task}`", *(cells.get((method, task), "") for method in methods)] for task in tasks]
    return markdown(pd.DataFrame(rows, columns=["task", *map(kind_name, methods)]))


def chunks() -> str:
    """An action chunk of each method on the processor that was measured last."""
    kept = efficiency.newest_device(efficiency.every_timing())
    by = {
        backend: efficiency.pick(kept, horizon=16, backend=backend, **efficiency.CHUNK).set_index(
            ["method", "attention"]
        )
        for backend in ("official", "torch", "onnx")
    }
    rows = []
    for kind, row in by["onnx"].sort_values("median_seconds").iterrows():
        times = [f"{1e3 * table.loc[kind, 'median_seconds']:.0f} ms" for table in by.values()]
        same, eager = (one_part_of(row[f"ratio_to_dp3_{other}"]) for other in ("same", "eager"))
        rows.append((f"`{kind[0]}`", kind[1], *times, same, eager, f"{1 / row['ratio_to_official']:.1f} times"))
    names = [
        "official formulation",
        "PyTorch here",
        "ONNX Runtime",
        "of DP3 by ONNX Runtime",
        "of DP3 in eager PyTorch",
    ]
    text = markdown(pd.DataFrame(rows, columns=["method", "structure", *names, "faster than official"]))
    return f"{text}\nMeasured on {efficiency.device_text(kept)}, commit {join(sorted({*kept['commit']}))}.\n"


def one_part_of(ratio: float) -> str:
    """E.g. "1/8.4"."""
    return "1" if ratio == 1 else f"1/{1 / ratio:.1f}"


def experts_of(suite: str, by: str, names: dict[str, str], theirs: dict[str, str] | None = None) -> Callable[[], str]:
    """How often the experts of a suite succeed: a row a task, a column a value of ``by``, named anew.

    ``theirs`` are columns that are shown beside, with their names.
    """

    def write() -> str:
        with supplied(results_path(f"{suite}_experts.csv")).open(newline="") as file:
            rows = list(csv.DictReader(file))
        rates = {(row["task"], row[by]): f"{float(row['success_rate']):.2f}" for row in rows}
        beside = {(row["task"], key): f"{float(row[key]):.2f}" for row in rows for key in theirs or {} if row[key]}
        keys, cells = [*names, *(theirs or {})], rates | beside
        shown = [
            [f"`{task}`", *(cells[task, key] for key in keys)] for task in dict.fromkeys(row["task"] for row in rows)
        ]
        return markdown(pd.DataFrame(shown, columns=["task", *names.values(), *(theirs or {}).values()]))

    return write


def spread() -> str:
    """How far trainings of one method differ by their seed."""
    table = spread_table()
    tasks, cells = dict.fromkeys(table["task"]), {}
    for row in table.itertuples():
        cells[row.method, row.task] = f"{row.deviation:.0f} ({row.success:.0f} %, {count(row.trainings, 'training')})"
    methods = [name for name in (*METHODS, "all") if name in {*table["method"]}]
    rows = [[kind_name(method), *(cells.get((method, task), "") for task in tasks)] for method in methods]
    return markdown(pd.DataFrame(rows, columns=["method", *(f"`{task}`" for task in tasks)]))


TABLES: dict[str, Callable[[], str]] = {
    "verdicts": verdicts,
    "success": success,
    "chunks": chunks,
    "spread": spread,
    "experts-of-adroit": experts_of(
        "adroit", "expert", {"own DAgger student of DAPG": "own student", "DAPG policy": "its teacher, DAPG"}
    ),
    "experts-of-dexart": experts_of(
        "dexart",
        "objects",
        {"seen": "scripted plan, seen instances", "unseen": "unseen instances"},
        {"dexart": "DexArt's RL policy, there"},
    ),
}


def documents() -> list[Path]:
    """The files in which marks may stand."""
    folder = checkout()
    return [folder / "README.md", *sorted((folder / "docs").glob("*.md"))]


def written(text: str) -> str:
    """A document's text with what stands between marks written anew."""
    return MARKED.sub(lambda found: f"{found[1]}{TABLES[found['name']]()}{found[3]}", text)


def write_documents() -> list[Path]:
    """Write all tables anew and return the files that have changed."""
    changed = []
    for path in documents():
        before = path.read_text(encoding="utf-8")
        if (after := written(before)) != before:
            write_atomically(path, after.encode())
            changed.append(path)
    return changed
