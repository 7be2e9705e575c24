"""From runs to tables beside the published numbers."""

from __future__ import annotations

import pandas as pd

from mp_lib.learning.beginning import words_of
from mp_lib.learning.result import RunResult
from mp_lib.presets import METHODS, kind_name
from mp_lib.sim.tasks import TASKS, remarks_on
from mp_lib.study.evidence import interquartile_rate, rate
from mp_lib.study.overview import protocol
from mp_lib.study.sentences import BEST_COLUMN, of_demonstrations, of_held_out, with_interval
from mp_lib.system.paths import published_path, supplied

PUBLISHED = ("table", "method", "task", "value", "spread", "unit", "evidence", "source")
TELLING = (10, 90)  # percent
KINDS = ("method", "attention", "arm", "value")  # by which runs are told apart; the last two in experiments alone


def facts_table(facts: dict) -> pd.DataFrame:
    """Rows (fact, value), both texts; what is empty is left out."""
    rows = [(fact, str(value)) for fact, value in facts.items() if value != ""]
    return pd.DataFrame(rows, columns=["fact", "value"])


def result_table(result: RunResult) -> pd.DataFrame:
    """A result as rows: fact, value."""
    demos = result.demonstrations
    return facts_table(
        {
            "protocol": protocol(result.config),
            "demonstrations": of_demonstrations(demos),
            "remark": ". ".join(remarks_on(result.config["task"], demos["expert"])),
            "successes": successes_in(result.final) if result.final else "",
            "held out": of_held_out(result.held_out) if result.held_out else "",
            "weights": words_of(result.origin) if result.origin else "",
            "last loss": f"{result.loss:.4g}",
            "parameters": f"{result.parameters:,}",
            "seconds of training": f"{result.seconds['train']:.0f}",
            "seconds of evaluation": f"{result.seconds['evaluate']:.0f}",
            "peak memory": f"{result.peak_memory_bytes / 2**20:.0f} MiB",
            "device": result.device,
            "commit": result.commit,
            "versions": ", ".join(map(" ".join, result.versions.items())),
        }
    )


def successes_in(final: dict) -> str:
    """How many of which seeds succeeded."""
    seeds = final["seeds"]
    return f"{sum(final['successes'])} of {len(seeds)} (seeds {seeds[0]} to {seeds[-1]})"


def episodes_table(found: dict) -> pd.DataFrame:
    """One row an episode: seed, success, steps."""
    return pd.DataFrame({"seed": found["seeds"], "success": map(bool, found["successes"]), "steps": found["steps"]})


def load_published() -> pd.DataFrame:
    """The published numbers: table, method, task, value, spread, unit, evidence, source.

    People type them in, so a ValueError says what is wrong in the file.
    """
    path = supplied(published_path())
    try:
        table = pd.read_csv(path)
        missing = [name for name in PUBLISHED if name not in table]
        if missing:
            raise ValueError(f"it has no column {', '.join(missing)}")
        return table.astype({"value": float, "spread": float})
    except ValueError as error:  # pandas' own are among them
        raise ValueError(f"{path} cannot be read: {str(error).splitlines()[0]}; mend that line") from error


def published_in(table: str) -> dict[tuple[str, str], dict]:
    """The first row of the published numbers for every method and task of a table."""
    rows = load_published().query("table == @table").drop_duplicates(["method", "task"])
    return rows.set_index(["method", "task"]).to_dict("index")


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


def kind_of(method: str, attention: str) -> dict:
    """The columns that say which method it is."""
    row = METHODS[method]
    return {"method": method, "label": row.label, "attention": attention if row.mixer else ""}


def comparable(task: str) -> bool:
    """Whether published rates are those of the same task: it is no re-creation."""
    return task not in TASKS or not TASKS[task].remark


def success_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a task and method: our success beside the published one, which is empty where none is known.

    Columns: task, method, label, attention, those of ``summary``, published, published_spread, source, comparable,
    expert, expert_rate (how often it succeeded while recording, empty where that is not known), protocol.
    """
    published, rows = published_in("success"), []
    for (task, method, attention), group in runs.groupby(["task", "method", "attention"], sort=False):
        known = published.get((METHODS[method].published, task), {})
        rows.append(
            {
                "task": task,
                **kind_of(method, attention),
                **summary(group),
                "published": known.get("value"),
                "published_spread": known.get("spread"),
                "source": known.get("source", ""),
                "comparable": comparable(task),
                **group[["expert", "expert_rate", "protocol"]].iloc[0],
            }
        )
    return pd.DataFrame(rows)


def telling_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a task: which method succeeded least and which most, in percent, and whether the task tells them apart.

    It does where neither all methods nor none succeed: the lowest rate is below, the highest above ``TELLING``.
    """
    rows, (few, most) = [], TELLING
    for task, group in runs.groupby("task", sort=False):
        rates = 100 * group.groupby("method", sort=False)["success_rate"].mean()
        low, high = rates.min(), rates.max()
        ends = {"lowest": rates.idxmin(), "highest": rates.idxmax()}
        cells = {name: f"{METHODS[method].label} {rates[method]:.0f}" for name, method in ends.items()}
        tells = "yes" if low < most and high > few else "no"
        rows.append({"task": task, "trainings": len(group), **cells, "tells methods apart": tells})
    return pd.DataFrame(rows)


def common_tasks(runs: pd.DataFrame) -> list[str]:
    """The tasks that every one of ``KINDS`` has; those with two runs or more of every kind alone, if there are such."""
    by = [name for name in KINDS if name in runs]
    counts = runs.groupby([*by, "task"], sort=False).size().unstack(fill_value=0).min()
    return list(counts.index[counts > 1]) or list(counts.index[counts > 0])


def method_table(runs: pd.DataFrame) -> pd.DataFrame:
    """One row each of ``KINDS`` over ``common_tasks``.

    Columns: those of ``KINDS``, label, tasks, those of ``summary``; without rows what one asks of an empty table.
    """
    common, rows = common_tasks(runs), []
    by = [name for name in KINDS if name in runs]
    for key, group in runs[runs["task"].isin(common)].groupby(by, sort=False):
        named = dict(zip(by, key, strict=True))
        rows.append(named | kind_of(named["method"], named["attention"]) | {"tasks": len(common)} | summary(group))
    return pd.DataFrame(rows) if rows else pd.DataFrame(columns=[*by, "parameters"])


def reading_table(table: pd.DataFrame) -> pd.DataFrame:
    """``success_table`` as a reader wants it: percent with interval and published value in one cell each."""
    rows = list(table.itertuples())
    iqm = {"interquartile mean over runs, %": [with_interval(row.iqm, row.iqm_low, row.iqm_high) for row in rows]}
    best_five = {BEST_COLUMN: [with_spread(row.best_five, row.best_five_over_seeds, ".0f") for row in rows]}
    published = [published_cell(row.published, row.published_spread, row.comparable) for row in rows]
    return pd.DataFrame(
        {
            "task": table["task"],
            "method": [kind_name(row.method, row.attention) for row in rows],
            "success, % (95 % interval)": [success_cell(row) for row in rows],
            **(iqm if table["iqm"].notna().any() else {}),
            **(best_five if table["best_five"].notna().any() else {}),
            "episodes; by seed, %": [episodes_cell(row) for row in rows],
            "published, %": published,
            "parameters (M)": table["parameters"] / 1e6,
        }
    )


def success_cell(row) -> str:
    """A rate and its interval, e.g. "84 (71 to 93)"."""
    return with_interval(row.ours, row.low, row.high)


def episodes_cell(row) -> str:
    """How many episodes, and the rates of the single trainings if there are several, e.g. "100: 74, 80"."""
    rates = [f"{float(rate):.0f}" for rate in row.by_run.split()]
    return f"{row.episodes}" + (f": {', '.join(rates)}" if len(rates) > 1 else "")


def published_cell(value: float | None, spread: float | None, comparable: bool) -> str:
    """A published number with its spread, in brackets where it cannot be compared; nothing for an unknown one."""
    told = with_spread(value, spread, "g")
    return told if comparable or not told else f"({told})"


def with_spread(value: float | None, spread: float | None, form: str) -> str:
    """E.g. "99 ± 1"; nothing for a value that is not known, no spread for a spread that is not."""
    if pd.isna(value):
        return ""
    return f"{value:{form}}" + ("" if pd.isna(spread) else f" ± {spread:.0f}")


def markdown(table: pd.DataFrame) -> str:
    """A table of texts in Markdown."""
    lines = [[*map(str, table.columns)], ["---"] * len(table.columns), *table.astype(str).to_numpy().tolist()]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)
