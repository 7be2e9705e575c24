"""Which runs a table or a figure shows, chosen by what they are: those found here, or those kept with the project."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pandas as pd

from mp_lib.config import BOUNDS, prefix
from mp_lib.interfaces import look_up
from mp_lib.learning.folder import OTHER_DEMOS
from mp_lib.presets import ATTENTION, METHODS, SCALES, recipe_of
from mp_lib.sim.tasks import TASKS, check_expert_key
from mp_lib.study.designs import Design
from mp_lib.study.rows import (
    CONFIG,
    EVALUATIONS,
    MEASURED,
    RESULT,
    curves_path,
    in_order,
    kept_path,
    load_kept,
    load_runs,
)
from mp_lib.system.files import write_atomically
from mp_lib.system.paths import name_of, root, run_path, supplied

POINTS = 40  # that are kept of a training curve


def choose_runs(
    scale: str,
    tasks: Sequence[str] = (),
    methods: Sequence[str] = (),
    seeds: Sequence[int] = (),
    attention: str = "",
    expert: str = "default",
    kept: bool = False,
    own: bool = True,
) -> pd.DataFrame:
    """The finished runs of a scale whose numbers nobody changed; of all tasks, methods or seeds where none are named.

    ``attention`` chooses among the runs of methods that can have one; empty: both. One run a task, method,
    attention and seed; those on demonstrations of another ``expert`` of the tasks are left out. They are of the first
    of ``sources`` that has any such, which ``kept`` and ``own`` are for. An unknown scale, task, method,
    attention or expert raises a ValueError that lists those that exist.
    """
    look_up(SCALES, scale, "scale")
    if attention:
        look_up(ATTENTION, attention, "attention")
    for registry, names, noun in ((TASKS, tasks, "task"), (METHODS, methods, "method")):
        for name in names:
            look_up(registry, name, noun)
    check_expert_key(expert, tasks)
    bare = [name for name, method in METHODS.items() if not method.mixer]

    def select(runs: pd.DataFrame) -> pd.DataFrame:
        wanted = (runs["changed"] == "") & (runs["demonstrator"] == expert)
        for column, names in (("task", tasks), ("method", methods), ("seed", seeds)):
            if len(names):
                wanted &= runs[column].isin(names)
        if attention:
            wanted &= runs["method"].isin(bare) | (runs["attention"] == attention)
        return runs[wanted].drop_duplicates(["task", "method", "attention", "seed"])

    for _, runs in sources(scale, kept, own):
        if len(found := select(runs)):
            break
    return found


def both_ways(which: Mapping) -> list[dict]:
    """Arguments of ``choose_runs`` for what was run here, and for what is kept beside it, by whichever recipe.

    One alone where one was asked for.
    """
    asked = which.get("kept") or not which.get("own", True)
    return [dict(which)] if asked else [dict(which), {**which, "own": False}]


def telling_runs(scale: str, **which) -> pd.DataFrame:
    """The runs of ``choose_runs`` run here, or those that are kept where they tell more.

    More is told by more trainings a method and task, and of equally many by more methods.
    """

    def telling(runs: pd.DataFrame) -> tuple[int, int]:
        counts = runs.groupby(["method", "task"]).size()
        return (int(counts.min()), runs["method"].nunique()) if len(counts) else (0, 0)

    return max((choose_runs(scale, **way) for way in both_ways(which)), key=telling)


def sources(scale: str, kept: bool = False, own: bool = True) -> Iterator[tuple[int, pd.DataFrame]]:
    """Where runs of a scale are taken from, best first, each with its recipe: run here, kept, kept of earlier ones.

    With ``kept`` the first two are one, in which a run that was made here stands for a kept one of its name, unless it
    was made on a store of somebody's or scored on other seeds. Without ``own`` there is no first one.
    """
    today, here, others = recipe_of(scale), load_runs() if own else load_kept()[:0], load_kept()
    found = [here, others]
    if kept:
        beside = others[~others["name"].isin(here.loc[as_planned(here), "name"])]
        found = [in_order(pd.concat([each for each in (here, beside) if len(each)] or [here]))]
    for runs in found:
        yield today, runs[(runs["scale"] == scale) & (runs["recipe"] == today)]
    for recipe in range(today - 1, 0, -1):
        runs = load_kept(earlier=True)
        yield recipe, runs[(runs["scale"] == scale) & (runs["recipe"] == recipe)]


def as_planned(runs: pd.DataFrame) -> pd.Series:
    """Which runs are what their name says: on the task's own demonstrations, scored on the final environment seeds."""
    return ~runs["changed"].str.contains("demos=|first_seed=")


def runs_of_design(
    design: Design,
    scale: str,
    expert: str = "default",
    methods: Sequence[str] = (),
    kept: bool = False,
    own: bool = True,
) -> pd.DataFrame:
    """The finished runs of an experiment, with the columns arm and value of their conditions.

    Any task and seed counts, not only those that the experiment plans; of methods its own, if none are given. They are
    of the first of ``sources`` that has it; a method has run it in two of its conditions or more, if it has several.
    Raises a ValueError that lists the experts of all tasks if none has that one.
    """
    check_expert_key(expert)
    for recipe, runs in sources(scale, kept, own):
        tasks = sorted(set(runs["task"]) & set(TASKS))
        seeds = sorted(filter(BOUNDS["seed"][1], set(runs["seed"])))
        chosen = {"demonstrator": expert, "recipe": recipe}
        configs = design.configs(scale, tasks, methods, seeds, **chosen) if len(runs) else []
        arms = {config.name: arm for arm, config in configs}
        found = runs[runs["name"].isin(arms) & as_planned(runs)]
        chosen = [arms[name] for name in found["name"]]
        found = found.assign(arm=[arm.label for arm in chosen], value=[arm.value for arm in chosen])
        # A method that was run in a single condition says nothing about the others.
        found = found[found.groupby("method")["arm"].transform("nunique") >= min(2, len(design.arms))]
        if design.about and design.about not in {*found["method"]}:
            found = found.iloc[:0]
        if len(found):
            return found.drop_duplicates("name")
    return found.iloc[:0]


def count_changed(scale: str) -> int:
    """The number of finished runs of a scale that ``choose_runs`` leaves out, as they changed the scale's numbers."""
    runs = load_runs().drop_duplicates("folder")  # evaluations come behind their run
    return int(((runs["scale"] == scale) & (runs["recipe"] == recipe_of(scale)) & (runs["changed"] != "")).sum())


def all_files(scale: str) -> list[Path]:
    """All that runs of a scale are read from: results and evaluations found here, and those kept."""
    return [*(path for pattern in patterns(scale) for path in sorted(root().glob(pattern))), *kept_files()]


def kept_files() -> list[Path]:
    """What there is of kept runs and their curves."""
    files = (path(earlier) for earlier in (False, True) for path in (kept_path, curves_path))
    return [path for path in map(supplied, files) if path.exists()]


def patterns(scale: str) -> tuple[str, ...]:
    """What those of ``all_files`` are called that were found here, below the root."""
    return tuple(name_of(run_path(f"{prefix(scale)}-*") / name) for name in (RESULT, EVALUATIONS))


def result_files(runs: pd.DataFrame) -> list[Path]:
    """What the rows were read from."""
    own = runs[~runs["kept"]]
    files = [run_path(name) / RESULT for name in sorted(set(own["folder"]))]
    for name in sorted(set(own.loc[own["name"] != own["folder"], "folder"])):
        files += sorted(run_path(name).glob(EVALUATIONS))
    return files + [supplied(kept_path(earlier)) for earlier in sorted({*of_earlier(runs[runs["kept"]])})]


def of_earlier(runs: pd.DataFrame) -> list[bool]:
    """Of each run whether its scale trains by another recipe today."""
    return [run.recipe < recipe_of(run.scale) for run in runs.itertuples()]


def load_metrics(runs: pd.DataFrame) -> pd.DataFrame:
    """The logged rows of runs of those that can be read: folder, step, loss, learning_rate, ...

    ``success_rate`` is there if any run was evaluated on the way. Kept curves are thinned.
    """
    frames = []
    for folder in dict.fromkeys(runs.loc[~runs["kept"], "folder"]):
        path = run_path(folder) / "metrics.jsonl"
        with contextlib.suppress(OSError, ValueError):
            frames.append(pd.read_json(path, lines=True).assign(folder=folder))
    for path in (supplied(curves_path(earlier)) for earlier in (False, True)):
        if runs["kept"].any() and path.exists():
            curves = pd.read_csv(path)
            frames.append(curves[curves["folder"].isin(runs.loc[runs["kept"], "folder"])])
    columns = ["step", "loss", "learning_rate", "success_rate", "folder"]
    return pd.concat(frames, ignore_index=True) if frames else pd.DataFrame(columns=columns)


def keep(scales: Sequence[str]) -> tuple[int, Path]:
    """Keep the finished runs of these scales in data/results; returns how many there were, and the file.

    A kept run of the same name is replaced. runs.csv has a row a run, curves.csv the training curves, thinned. An
    unknown scale raises a ValueError that lists those that exist.
    """
    for scale in scales:
        look_up(SCALES, scale, "scale")
    own = load_runs()
    today = own["recipe"] == own["scale"].map({scale: recipe_of(scale) for scale in SCALES})
    own = own[own["scale"].isin(scales) & today & ~own["folder"].str.contains(OTHER_DEMOS, regex=False)]
    own = own[~own["changed"].str.contains("first_seed=")].drop_duplicates("name")
    before = load_kept()
    before = before[~before["name"].isin(own["name"])]
    curves = [load_metrics(before), *(kept_curve(rows) for _, rows in load_metrics(own).groupby("folder"))]
    if own.empty:
        return 0, kept_path()
    runs = pd.concat([each for each in (before, own) if len(each)]).sort_values("name")
    # Where some lack one pandas makes 128 a 128.0.
    whole = {key: "Int64" for key, kind in CONFIG.items() if kind == "int | None"}
    write_atomically(kept_path(), runs[[*CONFIG, *MEASURED]].astype(whole).to_csv(index=False).encode())
    columns = ["folder", "step", "loss", "success_rate"]
    table = pd.concat([each for each in curves if len(each)]).reindex(columns=columns)
    write_atomically(curves_path(), table.sort_values(["folder", "step"]).to_csv(index=False).encode())
    return len(own), kept_path()


def kept_curve(rows: pd.DataFrame) -> pd.DataFrame:
    """A run's curve in at most ``POINTS`` rows: means of neighbouring losses; every evaluation stays."""
    from mp_lib.drawing.plots import thinned  # here, since the pipeline imports this file and draws nothing

    means = thinned(rows.loc[rows["loss"].notna(), ["step", "loss"]], POINTS)
    losses = [float(f"{loss:.5g}") for loss in means["loss"]]
    parts = [means.assign(step=means["step"].round().astype(int), loss=losses)]
    if "success_rate" in rows:
        parts.append(rows.loc[rows["success_rate"].notna(), ["step", "success_rate"]])
    return pd.concat(parts).assign(folder=rows["folder"].iloc[0])
