"""What runs say about methods: rates over runs, and comparisons on the same environment seeds."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from mp_lib.presets import METHODS
from mp_lib.statistics import Estimate, Outcomes, contrast, stratified_interval
from mp_lib.study.runs import of_earlier
from mp_lib.study.sentences import count, join, with_interval

EARLIER = "by an earlier recipe"


@dataclass(frozen=True)
class Comparison:
    """A weighted sum of success rates: on which ``tasks``, and which were ``left_out`` as they have a single run."""

    estimate: Estimate
    tasks: tuple[str, ...]
    left_out: tuple[str, ...] = ()


def compare(
    groups: Sequence[pd.DataFrame], weights: Sequence[float], confidence: float = 0.95, same_runs: bool = False
) -> Comparison | None:
    """``statistics.contrast`` of groups of runs, rows of ``load_runs``, on the tasks that all of them have.

    Runs count that played the same environment seeds as those of the other groups. Where some tasks have two runs or
    more in every group, only these count, so that the estimate speaks of trainings at large. With ``same_runs`` rows
    of one training seed belong together. None without a common task.
    """
    matched = {}
    for task in dict.fromkeys(groups[0]["task"]):
        arrays = match([group[group["task"] == task] for group in groups], same_runs)
        if arrays is not None:
            matched[task] = arrays
    several = [task for task, arrays in matched.items() if min(map(len, arrays)) > 1]
    tasks = several or list(matched)
    if not tasks:
        return None
    samples = list(zip(*(matched[task] for task in tasks), strict=True))
    left_out = tuple(task for task in matched if task not in tasks)
    return Comparison(contrast(samples, weights, confidence, same_runs), tuple(tasks), left_out)


def match(groups: Sequence[pd.DataFrame], same_runs: bool = False) -> list[np.ndarray] | None:
    """Outcomes (runs, episodes) of each group, on those environment seeds that most runs of all groups have played.

    With ``same_runs`` only training seeds that all groups have, in one order. None where nothing fits.
    """
    names = ["first_seed", "episodes", "seed", "outcomes"]
    played = [
        {tuple(key): np.array(list(outcomes), dtype=int) for *key, outcomes in group[names].itertuples(index=False)}
        for group in groups
    ]
    common = set.intersection(*(set(each) if same_runs else {key[:2] for key in each} for each in played))
    endings = sorted({key[:2] for key in common})
    if not endings:
        return None
    usual = max(endings, key=lambda ending: min(sum(key[:2] == ending for key in each) for each in played))
    return [
        np.array([each[key] for key in sorted(each) if key[:2] == usual and (not same_runs or key in common)])
        for each in played
    ]


def differences_by_task(runs: pd.DataFrame, method: str) -> pd.DataFrame:
    """A row a task: how much more often a method succeeds than each of the others, in points, with its interval.

    ``runs`` are of one recipe and attention a method, as of ``choose_runs``. Behind it trainings of both that played
    the same environment seeds: "+12.0 (+3.1 to +20.9); 3 and 2". Nothing where there are none.
    """
    groups = dict([*runs.groupby(["task", "method"])])
    others = [name for name in METHODS if name in {*runs["method"]} - {method}]
    rows = [
        {"task": task}
        | {f"less {METHODS[other].label}": difference(groups, [(task, method), (task, other)]) for other in others}
        for task in sorted({*runs["task"]})
    ]
    return pd.DataFrame(rows)


def difference(groups: Mapping[tuple, pd.DataFrame], keys: Sequence[tuple]) -> str:
    """What the first of two groups of runs is ahead, as a cell of ``differences_by_task``."""
    arrays = match([groups[key] for key in keys]) if {*keys} <= {*groups} else None
    if arrays is None:
        return ""
    found = contrast([[each] for each in arrays], (1, -1))
    return f"{with_interval(*found.percents, '+.1f')}; {join([*map(len, arrays)])}"


def outcomes_by_task(runs: pd.DataFrame) -> Outcomes:
    """Outcomes (runs, episodes) of every task, of the runs with its most usual environment seeds."""
    return [match([group])[0] for _, group in runs.groupby("task", sort=False)]


def rate(runs: pd.DataFrame) -> Estimate:
    """The success rate of runs of one method, a mean over tasks."""
    return contrast([outcomes_by_task(runs)], (1,))


def interquartile_rate(runs: pd.DataFrame) -> Estimate | None:
    """The interquartile mean over runs with its stratified bootstrap interval; None unless each task has two runs."""
    return stratified_interval(outcomes_by_task(runs))


def basis_of(found: Comparison, groups: Sequence[pd.DataFrame]) -> str:
    """Which runs a comparison rests on."""
    estimate = found.estimate
    trainings = f"at least {count(estimate.runs, 'training')} each" if estimate.over_runs else "these trainings alone"
    said = [join(found.tasks), trainings, count(estimate.seeds, "environment seed")]
    if found.left_out:
        said.append(f"left out, with a single training: {join(found.left_out)}")
    kept = pd.concat([group["kept"] for group in groups])
    said.append(join([words for words, some in (("run here", ~kept), ("kept in data/results", kept)) if some.any()]))
    return "; ".join([*said, *([EARLIER] if any_earlier(groups) else [])])


def place_of(found: Comparison, groups: Sequence[pd.DataFrame]) -> str:
    """On how many tasks a comparison rests, in few words."""
    return ", ".join([f"on {count(len(found.tasks), 'task')}", *([EARLIER] if any_earlier(groups) else [])])


def any_earlier(groups: Sequence[pd.DataFrame]) -> bool:
    """Whether a run is by a recipe that its scale does not train by any more."""
    return any(any(of_earlier(group)) for group in groups)
