"""Questions beyond the paper, judged by the rules of its claims: of a pocket policy, of its mixer, of Mamba-3.

Pocket policies are trained at a scale of their own, so two of the three are asked of that, whichever scale is shown.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from functools import partial

import pandas as pd

from mp_lib.drawing.display import Markdown, show_table
from mp_lib.drawing.figures import publish
from mp_lib.drawing.success import by_task
from mp_lib.presets import METHODS
from mp_lib.statistics import Estimate
from mp_lib.study.claims import (
    FAILS,
    HOLDS,
    NOTHING,
    UNDECIDED,
    Claim,
    Finding,
    basis_of,
    claims_table,
    finding,
    of,
    reading_table,
    verdict_lines,
)
from mp_lib.study.designs import DESIGNS, MARGIN, POCKET_TASKS, SEARCHED
from mp_lib.study.evidence import compare, rate
from mp_lib.study.runs import choose_runs, result_files, runs_of_design
from mp_lib.study.sentences import join, with_interval
from mp_lib.study.tables import success_table

POCKET, MAMBA_3, RIVAL = "pocket_mamba", "dp3_mamba_v3", "dp3"
SCALE, RIVALS = "pocket", "quick"  # of the pocket frame, and of all others
HEAD = "Beyond the paper: …"


def judge_size(scale: str, **which) -> Iterable[list[Finding]]:
    """(g): no worse than DP3 by more than MARGIN, on all ten tasks; remarks say how often each succeeds.

    The tasks on which the search for the policy looked are told apart.
    """
    pair = [of(pocket_runs(**which), method) for method in (POCKET, RIVAL)]
    compared = f"{METHODS[POCKET].label} less {METHODS[RIVAL].label} at scale {RIVALS}"
    found = compare(pair, (1, -1)) if all(map(len, pair)) else None
    if found is None:
        yield [Finding(compared, "", NOTHING, "no such runs on the same environment seeds")]
        return
    estimate = found.estimate
    line = (in_points(estimate), no_worse(estimate), basis_of(found, pair))
    yield [Finding(compared, *line, *percents(estimate), trainings=estimate.runs), *rates_apart(pair[0])]


def pocket_runs(**which) -> pd.DataFrame:
    """The runs of scale ``SCALE`` on its ten tasks, and beside such those of DP3 at its own."""
    runs = choose_runs(SCALE, POCKET_TASKS, **which)
    rivals = choose_runs(RIVALS, POCKET_TASKS, [RIVAL], attention="paper", **which)
    return pd.concat([runs, rivals], ignore_index=True) if len(runs) else runs


def rates_apart(runs: pd.DataFrame) -> list[Finding]:
    """How often runs of one method succeed on all of their tasks, on those that the search looked at, on the others."""
    seen = runs["task"].isin(SEARCHED)
    parts = {"all of its tasks": runs, "tasks of its search": runs[seen], "the others": runs[~seen]}
    return [
        Finding(
            f"success of {METHODS[POCKET].label}, {told}",
            with_interval(*percents(rate(part)), ".1f", " %"),
            "a remark: how often it succeeds",
            join([*part["task"].unique()]),
        )
        for told, part in parts.items()
        if len(part)
    ]


def no_worse(found: Estimate) -> str:
    """Whether a difference lies above -MARGIN."""
    if not found.over_runs:
        return UNDECIDED
    return HOLDS if found.low > -MARGIN else FAILS if found.high < -MARGIN else UNDECIDED


def percents(found: Estimate) -> tuple[float, float, float]:
    """Value and interval in percent."""
    return 100 * found.value, 100 * found.low, 100 * found.high


def in_points(found: Estimate) -> str:
    """E.g. "+3.1 points (-1.0 to +7.2)"."""
    return with_interval(*percents(found), "+.1f", " points")


def judge_others(name: str, at: str, method: str, scale: str, **which) -> Iterable[list[Finding]]:
    """A method of an experiment less each of the others, by the experiment's runs of the scale ``at``."""
    runs = runs_of_design(DESIGNS[name], at, **which)
    others = [each for each in DESIGNS[name].methods if each != method]
    for other in others:
        compared = f"{METHODS[method].label} less {METHODS[other].label}"
        yield [finding(compared, [of(runs, method), of(runs, other)], (1, -1), len(others))]


QUESTIONS = (
    Claim(
        "g",
        "a Mamba policy of 0.4 M parameters is no more than 5 points worse than DP3",
        judge_size,
        "./run_all.sh pocket --experiment pocket",
    ),
    Claim(
        "h",
        "the state space is what helps it",
        partial(judge_others, "core", SCALE, POCKET),
        "./run_all.sh pocket --experiment core",
    ),
    Claim(
        "i",
        "Mamba-3 does better than DP3, Mamba-2 and Hydra",
        partial(judge_others, "mamba3", RIVALS, MAMBA_3),
        "./run_all.sh quick --experiment mamba3",
    ),
)


def show(figures: bool = True, **which) -> Iterator:
    """What a notebook displays of these questions: verdicts, evidence, and success of the pocket frame by its mixer.

    ``which``: ``expert`` and ``kept`` as of ``choose_runs``.
    """
    evidence = claims_table(SCALE, QUESTIONS, **which)
    yield Markdown(verdict_lines(evidence))
    yield show_table(reading_table(evidence, HEAD))
    runs = pocket_runs(**which)
    if len(runs):
        table = success_table(runs)
        yield publish(by_task(table), "05_pocket", table, result_files(runs), {**which}, save=figures)
