"""What runs say about methods: means over runs, and differences on the same environment seeds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mp_lib.statistics import Estimate, mean_difference, stratified_interval

# Outcomes (episodes,) of trainings by (stratum, training seed, first environment seed, episodes); strata are tasks
# unless something else is said.
Played = dict[tuple, np.ndarray]


def played(runs: pd.DataFrame, by: Sequence[str] = ("task",)) -> Played:
    """The outcomes of rows of ``load_runs``; ``by`` are the columns that make a stratum."""
    return {
        (tuple(getattr(row, name) for name in by), row.seed, row.first_seed, row.episodes): as_array(row.outcomes)
        for row in runs.itertuples()
    }


def as_array(outcomes: str) -> np.ndarray:
    """A digit an episode as numbers."""
    return np.array(list(outcomes), dtype=int)


def subtract(ours: Played, theirs: Played) -> Played:
    """Ours less theirs, for trainings of the same seed that played the same environment seeds."""
    return {key: ours[key] - theirs[key] for key in ours if key in theirs}


def stack(found: Played) -> list[np.ndarray]:
    """One array (trainings, episodes) a stratum, of those trainings that played its most usual environment seeds."""
    arrays = []
    for stratum in dict.fromkeys(key[0] for key in found):
        keys = [key for key in found if key[0] == stratum]
        endings = [key[2:] for key in keys]
        usual = max(dict.fromkeys(endings), key=endings.count)
        arrays.append(np.array([found[key] for key in keys if key[2:] == usual]))
    return arrays


def mean_over_runs(runs: pd.DataFrame) -> Estimate | None:
    """The interquartile mean of runs of one method with its stratified interval; None unless each task has two."""
    arrays = stack(played(runs))
    return stratified_interval(arrays) if arrays else None


def difference(
    ours: pd.DataFrame, theirs: pd.DataFrame, by: Sequence[str] = ("task",), confidence: float = 0.95
) -> Estimate | None:
    """How much more often ``ours`` succeed than ``theirs``; the mean over strata, None without a pair."""
    arrays = stack(subtract(played(ours, by), played(theirs, by)))
    return mean_difference(arrays, confidence) if arrays else None


def difference_of_changes(
    ours: Sequence[pd.DataFrame], theirs: Sequence[pd.DataFrame], confidence: float = 0.95
) -> Estimate | None:
    """How much better ``ours`` keep up from a first to a second condition than ``theirs``; None without pairs."""
    changes = [subtract(played(after), played(before)) for before, after in (ours, theirs)]
    arrays = stack(subtract(*changes))
    return mean_difference(arrays, confidence) if arrays else None
