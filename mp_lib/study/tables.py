"""From runs to tables beside the published numbers."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mp_lib.config import METHODS
from mp_lib.interfaces import RunResult
from mp_lib.sim.tasks import TASKS, remarks_on
from mp_lib.study.evidence import interquartile_rate, rate
from mp_lib.study.overview import protocol
from mp_lib.study.sentences import BEST_COLUMN
from mp_lib.system.paths import published_path

PUBLISHED = ("table", "method", "task", "value", "spread", "unit", "evidence", "source")

KINDS = ("method", "attention", "arm", "value")  # by which runs of an experiment are told apart


IQM = "interquartile mean over runs, %"


def result_table(result: RunResult) -> pd.DataFrame:
    """A result as rows: fact, value."""
    seeds = result.final["seeds"]
    remarks = remarks_on(result.config["task"], result.demonstrations["expert"])
    rows = {
        "protocol": protocol(result.config),
        "demonstrations": f"{result.demonstrations['episodes']} of {result.demonstrations['expert']}",
        **({"remark": ". ".join(remarks)} if remarks else {}),
        "successes": f"{sum(result.final['successes'])} of {len(seeds)} (seeds {seeds[0]} to {seeds[-1]})",
        "last loss": f"{result.loss:.4g}",
        "parameters": f"{result.parameters:,}",
        "seconds of training": f"{result.seconds['train']:.0f}",
        "seconds of evaluation": f"{result.seconds['evaluate']:.0f}",
        "peak memory": f"{result.peak_memory_bytes / 2**20:.0f} MiB",
        "device": result.device,
        "commit": result.commit,
        "versions": ", ".join(f"{name} {number}" for name, number in result.versions.items()),
    }
    return pd.DataFrame(rows.items(), columns=["fact", "value"])


def episodes_table(found: dict) -> pd.DataFrame:
    """One row an episode: seed, success, steps."""
    return pd.DataFrame({"seed": found["seeds"], "success": map(bool, found["successes"]), "steps": found["steps"]})


def load_published() -> pd.DataFrame:
    """The published numbers: table, method, task, value, spread, unit, evidence, source.

    People type them in, so a ValueError says what is wrong in the file.
    """
    try:
        table = pd.read_csv(published_path())
        missing = [name for name in PUBLISHED if name not in table]
        if missing:
            raise ValueError(f"it has no column {', '.join(missing)}")
        return table.astype({"value": float, "spread": float})
    except ValueError as error:  # pandas' own are among them
        raise ValueError(f"{published_path()} cannot be read: {str(error).splitlines()[0]}; mend that line") from error


def summary(runs: pd.DataFrame) -> dict:
    """What trainings of one kind have found, in percent; the kind's parameters and minutes.

    ``ours`` is the success rate, a mean over tasks, with its interval ``low`` to ``high``. ``over_runs``: every task
    has two runs or more, so that it speaks of trainings at large; else it speaks of these trainings alone, and for a
    single one it is Wilson's interval. ``iqm``, ``iqm_low`` and ``iqm_high`` are the interquartile mean over runs with
    its stratified bootstrap interval, empty for single runs; ``by_run`` the runs' rates, ``over_seeds`` their standard
    deviation within a task (mean over tasks), empty for one. ``best_five`` and ``best_five_over_seeds`` are mean and
    standard deviation of the runs' scores as the paper takes them, empty unless all were evaluated on the way.
    """
    rates, best = 100 * runs["success_rate"], 100 * pd.to_numeric(runs["best_five"])
    whole, middle = rate(runs), interquartile_rate(runs)
    single = runs.iloc[0] if len(runs) == 1 else None
    return {
        "ours": 100 * whole.value,
        "low": 100 * (whole.low if single is None else single["low"]),
        "high": 100 * (whole.high if single is None else single["high"]),
        "over_runs": whole.over_runs,
        "iqm": 100 * middle.value if middle else None,
        "iqm_low": 100 * middle.low if middle else None,
        "iqm_high": 100 * middle.high if middle else None,
        "by_run": " ".join(f"{each:.4g}" for each in rates),
        "over_seeds": rates.groupby(runs["task"]).std(ddof=1).mean(),
        "best_five": best.mean(skipna=False),
        "best_five_over_seeds": best.groupby(runs["task"]).std(ddof=1).mean(skipna=False),
        "successes": int(runs["successes"].sum()),
        "episodes": int(runs["episodes"].sum()),
        "seeds": runs["seed"].nunique(),
        "parameters": int(runs["parameters"].iloc[0]),
        "train_minutes": runs["train_seconds"].mean() / 60,
    }


SUMMARY = (  # its keys
    *("ours", "low", "high", "over_runs", "iqm", "iqm_low", "iqm_high", "by_run", "over_seeds"),
    *("best_five", "best_five_over_seeds"),
    *("successes", "episodes", "seeds", "parameters", "train_minutes"),
)


def kind_of(method: str, attention: str) -> dict:
    """The columns that say which method it is."""
    row = METHODS[method]
    return {"method": method, "label": row.label, "attention": attention if row.mixer else ""}


def success_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a task and method: our success beside the published one, which is empty where none is known.

    Columns: task, method, label, attention, those of ``summary``, published, published_spread, source, comparable
    (false for a task that is a re-creation), expert, expert_rate (how often it
    succeeded while recording, empty where that is not known), protocol.
    """
    published = load_published().query("table == 'success'").set_index(["method", "task"])
    rows = []
    for (task, method, attention), group in runs.groupby(["task", "method", "attention"], sort=False):
        known = published.index.isin([(METHODS[method].published, task)])
        row = published[known].iloc[0] if known.any() else pd.Series(dtype=object)
        rows.append(
            {
                "task": task,
                **kind_of(method, attention),
                **summary(group),
                "published": row.get("value"),
                "published_spread": row.get("spread"),
                "source": row.get("source", ""),
                "comparable": task not in TASKS or not TASKS[task].remark,
                "expert": group["expert"].iloc[0],
                "expert_rate": group["expert_rate"].iloc[0],
                "protocol": group["protocol"].iloc[0],
            }
        )
    return pd.DataFrame(rows)


def common_tasks(runs: pd.DataFrame, by: Sequence[str]) -> list[str]:
    """The tasks that every kind of run has; those with two runs or more of every kind alone, if there are such."""
    counts = runs.groupby([*by, "task"], sort=False).size().unstack(fill_value=0).min()
    return list(counts.index[counts > 1]) or list(counts.index[counts > 0])


def method_table(runs: pd.DataFrame, by: Sequence[str] = ("method", "attention")) -> pd.DataFrame:
    """One row a method and attention (or whatever else ``by`` names) over ``common_tasks``.

    Columns: method, label, attention, ``by``'s others, tasks, those of ``summary``.
    """
    common, rows = common_tasks(runs, by) if len(runs) else [], []
    for key, group in runs[runs["task"].isin(common)].groupby(list(by), sort=False):
        named = dict(zip(by, key, strict=True))
        rows.append(named | kind_of(named["method"], named["attention"]) | {"tasks": len(common)} | summary(group))
    columns = [*by, "label", "tasks", *SUMMARY]
    return pd.DataFrame(rows, columns=columns)


def reading_table(table: pd.DataFrame) -> pd.DataFrame:
    """``success_table`` as a reader wants it: percent with interval and published value in one cell each."""
    rows = list(table.itertuples())
    best_five = {BEST_COLUMN: [with_spread(row.best_five, row.best_five_over_seeds, ".0f") for row in rows]}
    return pd.DataFrame(
        {
            "task": table["task"],
            "method": [row.label + (", no attention" if row.attention == "released" else "") for row in rows],
            "success, % (95 % interval)": [success_cell(row) for row in rows],
            **({IQM: [iqm_cell(row) for row in rows]} if table["iqm"].notna().any() else {}),
            **(best_five if table["best_five"].notna().any() else {}),
            "episodes; by seed, %": [episodes_cell(row) for row in rows],
            "published, %": [published_cell(row) for row in rows],
            "parameters (M)": table["parameters"] / 1e6,
        }
    )


def success_cell(row) -> str:
    """A rate and its interval, e.g. "84 (71 to 93)"."""
    return f"{row.ours:.0f} ({row.low:.0f} to {row.high:.0f})"


def iqm_cell(row) -> str:
    """The interquartile mean and its interval, e.g. "84 (71 to 93)"; nothing for single runs."""
    return "" if pd.isna(row.iqm) else f"{row.iqm:.0f} ({row.iqm_low:.0f} to {row.iqm_high:.0f})"


def episodes_cell(row) -> str:
    """How many episodes, and the rates of the single trainings if there are several, e.g. "100: 74, 80"."""
    rates = [f"{float(rate):.0f}" for rate in row.by_run.split()]
    return f"{row.episodes}" + (f": {', '.join(rates)}" if len(rates) > 1 else "")


def published_cell(row) -> str:
    """The published rate of a row of ``success_table``, in brackets where it cannot be compared."""
    value = with_spread(row.published, row.published_spread, "g")
    return value if row.comparable or not value else f"({value})"


def with_spread(value: float | None, spread: float | None, form: str) -> str:
    """E.g. "99 ± 1"; nothing for a value that is not known, no spread for a spread that is not."""
    if pd.isna(value):
        return ""
    return f"{value:{form}}" + ("" if pd.isna(spread) else f" ± {spread:.0f}")
