"""The tables of README and docs that hold measurements, written from kept rows between marks in these files."""

from __future__ import annotations

import csv
import os.path
import re
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from mp_lib.presets import METHODS, kind_name, recipe_of
from mp_lib.study import acting_tables, beyond, claims, costs
from mp_lib.study.buttons import buttons, repository
from mp_lib.study.evidence import differences_by_task
from mp_lib.study.runs import choose_runs
from mp_lib.study.search import pocket_table, search_table
from mp_lib.study.sentences import count, join
from mp_lib.study.spread import spread_table
from mp_lib.study.tables import episodes_cell, markdown, success_cell, success_table
from mp_lib.system.files import write_atomically
from mp_lib.system.paths import checkout, results_path, supplied

WRITTEN = "python -m mp_lib documents"  # what writes them
MARKED = re.compile(rf"(<!-- (?P<name>[\w-]+), written by {WRITTEN} -->\n).*?(<!-- end -->)", re.DOTALL)
SCALE = "quick"
# Topics of notes.csv.
NOTES = (
    *("forms", "bfloat16", "rollouts", "training", "kernels", "gpu"),
    *("estimates", "simulation", "stopping", "quick", "pocket", "pocket-failures"),
)
HEADS = {"what": "what", "value": "measured", "device": "processor", "how": "how", "commit": "commit"}
SHARED = {"device": "{}", "how": "{}", "commit": "commit {}"}  # how a line below says what all rows have alike


def verdicts() -> str:
    """The paper's claims, what was found, and the command that judges each again."""
    return judged(claims.CLAIMS, "Mamba Policy …")


def beyond_the_paper() -> str:
    """The same of our own questions."""
    return judged(beyond.QUESTIONS, beyond.HEAD)


def judged(asked: Sequence[claims.Claim], head: str) -> str:
    """Claims, what was found, and the command that judges each again."""
    table, rows = claims.claims_table(SCALE, asked, own=False), []
    for claim in asked:
        lines = table[table["claim"].str.startswith(f"({claim.letter})")]
        counted = [line for line in lines.itertuples() if not line.verdict.startswith("a remark")]
        verdict = claims.together([line.verdict for line in counted])
        run = any(line.found for line in counted)
        found = evidence([(line.compared, said(line)) for line in counted]) if run else ""
        rows.append((f"({claim.letter}) {claim.says}", f"**{verdict}**", found, f"`{claim.command(SCALE)}`"))
    return markdown(pd.DataFrame(rows, columns=[head, "verdict", "found (95 % interval)", "command"]))


def said(line) -> str:
    """What a line has found and on how many tasks."""
    return f"{line.found} {line.place}".strip() if line.found else claims.NOTHING


def bases() -> str:
    """Every line of evidence on the claims and on our own questions, and which runs it rests on."""
    every = (*claims.CLAIMS, *beyond.QUESTIONS)
    table = claims.reading_table(claims.claims_table(SCALE, every, own=False), "")
    return markdown(table[table["found (95 % interval)"] != ""].assign(**{"": table[""].str[:3]}))


def evidence(lines: list[tuple[str, str]]) -> str:
    """What was compared, and what was found, in one cell; words that all end with are said once."""
    ends = os.path.commonprefix([compared.split()[::-1] for compared, _ in lines])[::-1] if len(lines) > 1 else []
    kept = [" ".join(compared.split()[: -len(ends) or None]).rstrip(",") for compared, _ in lines]
    said = "; ".join(f"{compared}: {found}" for compared, (_, found) in zip(kept, lines, strict=True))
    return f"{' '.join(ends)}: {said}" if ends else said


def success() -> str:
    """Success at the scale by task and method, in percent, on the tasks that have kept runs."""
    table = success_table(choose_runs(SCALE, attention="paper", own=False))
    cells = {(row.method, row.task): f"{success_cell(row)}; {episodes_cell(row)}" for row in table.itertuples()}
    tasks, methods = dict.fromkeys(table["task"]), [name for name in METHODS if name in {*table["method"]}]
    rows = [[f"`{task}`", *(cells.get((method, task), "") for method in methods)] for task in tasks]
    return markdown(pd.DataFrame(rows, columns=["task", *map(kind_name, methods)]))


def rates_of(kept: str, by: str, names: dict[str, str], theirs: dict[str, str] | None = None) -> Callable[[], str]:
    """How often experts succeed by a kept file: a row a task, a column a value of ``by``, named anew.

    ``theirs`` are columns that are shown beside, with their names.
    """

    def write() -> str:
        with supplied(results_path(kept)).open(newline="") as file:
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
    """How far trainings of one method differ by their seed, at scale quick by its recipe of today."""
    table = spread_table()
    table = table[(table["scale"] == SCALE) & (table["recipe"] == recipe_of(SCALE))]
    tasks, cells = dict.fromkeys(table["task"]), {}
    for row in table.itertuples():
        deviation = "unknown" if np.isnan(row.deviation) else f"{row.deviation:.0f}"
        cells[row.method, row.task] = f"{deviation} ({row.success:.0f} %, {count(row.trainings, 'training')})"
    methods = [name for name in (*METHODS, "all") if name in {*table["method"]}]
    rows = [[kind_name(method), *(cells.get((method, task), "") for task in tasks)] for method in methods]
    return markdown(pd.DataFrame(rows, columns=["method", *(f"`{task}`" for task in tasks)]))


def minutes() -> str:
    """How long trainings at the scale took and, in brackets, their last evaluations; means by method, device, task."""
    runs = choose_runs(SCALE, attention="paper", own=False)
    means = runs.groupby(["method", "device", "task"])[["train_seconds", "evaluate_seconds"]].mean()
    cells = {
        row.Index: f"{row.train_seconds / 60:.1f} min ({row.evaluate_seconds:.0f} s)" for row in means.itertuples()
    }
    kinds = [(method, device) for device in sorted({*runs["device"]}) for method in METHODS]
    made = [kind for kind in kinds if kind in means.droplevel("task").index]
    tasks = dict.fromkeys(runs["task"])
    rows = [[kind_name(kind[0]), kind[1], *(cells.get((*kind, task), "") for task in tasks)] for kind in made]
    table = markdown(pd.DataFrame(rows, columns=["method", "processor", *(f"`{task}`" for task in tasks)]))
    return f"{table}\nAt commit {join(sorted({*runs['commit']}))}.\n"


def wall_times() -> str:
    """How long twelve runs take by the number of workers."""
    table = pd.read_csv(supplied(results_path("wall_times.csv")))
    times = [f"{seconds:.1f} s" for seconds in table["seconds"]]
    return markdown(pd.DataFrame({"workers": table["workers"], "all twelve": times, "how": table["how"]}))


def pocket_tasks() -> str:
    """How much more often the pocket policy succeeds than others, by task."""
    table = differences_by_task(beyond.pocket_runs(own=False), beyond.POCKET)
    return markdown(table.assign(task=table["task"].map("`{}`".format)))


def notes_of(topic: str) -> Callable[[], str]:
    """What was measured once, by its topic: a row a figure, and in a line below what all rows have alike."""

    def write() -> str:
        every = pd.read_csv(supplied(results_path("notes.csv")), dtype=str, keep_default_na=False)
        rows = every[every["topic"] == topic][[*HEADS]]
        alike = {name: rows[name].iloc[0] for name in SHARED if rows[name].nunique() == 1}
        said = ", ".join(SHARED[name].format(value) for name, value in alike.items() if value)
        return markdown(rows.drop(columns=alike).rename(columns=HEADS)) + (f"\nAll rows: {said}.\n" if said else "")

    return write


TABLES: dict[str, Callable[[], str]] = {
    "verdicts": verdicts,
    "beyond": beyond_the_paper,
    "bases": bases,
    "buttons": lambda: buttons(repository()),
    "success": success,
    "minutes": minutes,
    "spread": spread,
    "search": lambda: markdown(search_table()),
    "pocket-tasks": pocket_tasks,
    "search-pocket": lambda: markdown(pocket_table()),
    "chunks": costs.chunks,
    "horizons": costs.horizons,
    "backends": costs.backends,
    "weights": costs.weights,
    "steps": costs.steps,
    "floors": costs.floors,
    "fits": costs.fits,
    "wall-times": wall_times,
    "deadlines": acting_tables.deadlines,
    "delays": acting_tables.delays,
    "actor-and-rollouts": acting_tables.actor_and_rollouts,
    "experts-of-adroit": rates_of(
        "adroit_experts.csv",
        "expert",
        {"own DAgger student of DAPG": "own student", "DAPG policy": "its teacher, DAPG"},
    ),
    "ranges-of-dexart": rates_of(
        "dexart_ranges.csv", "factor", {"1": "as planned for", "1.5": "1.5 times as far", "2": "twice as far"}
    ),
    "experts-of-dexart": rates_of(
        "dexart_experts.csv",
        "objects",
        {"seen": "scripted plan, seen instances", "unseen": "unseen instances"},
        {"dexart": "DexArt's RL policy, there"},
    ),
    **{f"notes-{topic}": notes_of(topic) for topic in NOTES},
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
