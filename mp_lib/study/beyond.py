"""Questions beyond the paper, judged by the rules of its claims: of a pocket policy, of its mixer, of Mamba-3.

Pocket policies are trained at a scale of their own, so two of the three are asked of that, whichever scale is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from functools import partial

import pandas as pd

from mp_lib.drawing.display import Markdown, show_table
from mp_lib.drawing.figures import publish
from mp_lib.drawing.success import by_task
from mp_lib.presets import METHODS
from mp_lib.study.claims import (
    FAILS,
    HOLDS,
    NOTHING,
    UNDECIDED,
    Claim,
    Finding,
    as_remark,
    claims_table,
    finding,
    of,
    reading_table,
    verdict_lines,
)
from mp_lib.study.designs import DESIGNS, MARGIN, POCKET_TASKS, SEARCHED
from mp_lib.study.evidence import basis_of, compare, differences_by_task, rate
from mp_lib.study.runs import choose_runs, result_files, runs_of_design
from mp_lib.study.sentences import join, with_interval
from mp_lib.study.tables import success_table

POCKET, MAMBA_3, RIVAL = "pocket_mamba", "dp3_mamba_v3", "dp3"
SCALE, RIVALS = "pocket", "quick"  # of the pocket frame, and of all others
IN_FRAME = [name for name, row in METHODS.items() if row.frame == "pocket"]
HEAD = "Beyond the paper: …"


def judge_size(scale: str, **which) -> Iterable[list[Finding]]:
    """(g): no worse than DP3 by more than MARGIN on the ten tasks, and on those that the policy's search never saw.

    Remarks say how often it succeeds.
    """
    runs = pocket_runs(**which)
    unseen = [task for task in POCKET_TASKS if task not in SEARCHED]
    yield [no_worse("the ten tasks of HDP3", runs, POCKET_TASKS), *rates_apart(of(runs, POCKET))]
    yield [no_worse("the seven that its search never saw", runs, unseen)]


def no_worse(told: str, runs: pd.DataFrame, tasks: Sequence[str]) -> Finding:
    """Whether the pocket policy's difference from DP3 lies above -MARGIN; undecided while one of the tasks lacks it."""
    pair = [of(runs[runs["task"].isin(tasks)], method) for method in (POCKET, RIVAL)]
    compared = f"{METHODS[POCKET].label} less {METHODS[RIVAL].label} at scale {RIVALS}, on"
    found = compare(pair, (1, -1)) if all(map(len, pair)) else None
    if found is None:
        return Finding(f"{compared} {told}", "", NOTHING, "no such runs on the same environment seeds")
    estimate = found.estimate
    verdict = HOLDS if estimate.low > -MARGIN else FAILS if estimate.high < -MARGIN else UNDECIDED
    lacking = len(tasks) - len(found.tasks)
    if lacking or not estimate.over_runs:
        verdict = UNDECIDED
    compared += f" {len(found.tasks)} of {told}" if lacking else f" {told}"
    said = with_interval(*estimate.percents, "+.1f", " points")
    return Finding(compared, said, verdict, basis_of(found, pair), *estimate.percents, trainings=estimate.runs)


def pocket_runs(**which) -> pd.DataFrame:
    """Runs of the pocket frame at its scale, and beside such those of DP3 at its own, on the ten tasks.

    Unless ``which`` asks for kept ones beside one's own, both are of one kind: run here, or kept.
    """
    runs = choose_runs(SCALE, POCKET_TASKS, IN_FRAME, **which)
    rivals = choose_runs(RIVALS, POCKET_TASKS, [RIVAL], **which)
    if not which.get("kept"):
        rivals = rivals[rivals["kept"].isin(runs["kept"])]
    return pd.concat([runs, rivals], ignore_index=True) if len(runs) and len(rivals) else runs


def rates_apart(runs: pd.DataFrame) -> list[Finding]:
    """How often runs of one method succeed on all of their tasks, on those that the search looked at, on the others."""
    seen = runs["task"].isin(SEARCHED)
    parts = {"all of its tasks": runs, "tasks of its search": runs[seen], "the others": runs[~seen]}
    return [
        Finding(
            f"success of {METHODS[POCKET].label}, {told}",
            with_interval(*rate(part).percents, ".1f", " %"),
            "a remark: how often it succeeds",
            join([*part["task"].unique()]),
        )
        for told, part in parts.items()
        if len(part)
    ]


def judge_others(
    name: str, at: str, method: str, searched: Sequence[str], scale: str, **which
) -> Iterable[list[Finding]]:
    """A method of an experiment less each of the others, by the experiment's runs of the scale ``at``.

    Where tasks were ``searched`` for the method's recipe, what the others say stands beside as a remark.
    """
    runs = runs_of_design(DESIGNS[name], at, **which)
    others = [each for each in DESIGNS[name].methods if each != method]
    for other in others:
        compared = f"{METHODS[method].label} less {METHODS[other].label}"
        pair = [of(runs, method), of(runs, other)]
        unseen = [each[~each["task"].isin(searched)] for each in pair]
        beside = finding(f"{compared}, on tasks that its search never saw", unseen, (1, -1), len(others))
        told = [as_remark(beside)] if searched and beside.found else []
        yield [finding(compared, pair, (1, -1), len(others)), *told]


QUESTIONS = (
    Claim(
        "g",
        "a Mamba policy of 0.45 M parameters is no more than 5 points worse than DP3",
        judge_size,
        "./run_all.sh pocket --experiment pocket --methods pocket_mamba",
    ),
    Claim(
        "h",
        "the state space is what helps it",
        partial(judge_others, "core", SCALE, POCKET, SEARCHED),
        "./run_all.sh pocket --experiment core",
    ),
    Claim(
        "i",
        "Mamba-3 does better than DP3, of either width, Mamba-2 and Hydra",
        partial(judge_others, "mamba3", RIVALS, MAMBA_3, ()),
        "./run_all.sh quick --experiment mamba3",
    ),
)


def show(figures: bool = True, **which) -> Iterator:
    """What a notebook displays of these questions: verdicts, evidence, success by mixer and by task.

    ``which``: ``expert`` and ``kept`` as of ``choose_runs``.
    """
    evidence = claims_table(SCALE, QUESTIONS, **which)
    yield Markdown(verdict_lines(evidence))
    yield show_table(reading_table(evidence, HEAD))
    runs = pocket_runs(**which)
    if len(runs):
        table = success_table(runs)
        yield publish(by_task(table), "05_pocket", table, result_files(runs), {**which}, save=figures)
    if {POCKET} < {*runs["method"]}:
        yield Markdown(
            f"How much more often {METHODS[POCKET].label} succeeds, in points (95 % interval); behind it trainings:"
        )
        yield show_table(differences_by_task(runs, POCKET))
