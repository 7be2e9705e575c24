"""Intervals for success rates, for their means over runs, and for differences between methods.

Outcomes are 0 or 1 an episode. Runs (trainings) of one method on one task are the rows, environment seeds the columns
of an array (R, E); several tasks are a sequence of such arrays. Tasks are taken as given; runs and environment seeds
are samples of all that could have been drawn, so an interval over runs speaks of trainings that nobody has made yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from scipy.stats import t as student

Outcomes = Sequence[np.ndarray]  # one (R, E) a task


@dataclass(frozen=True)
class Estimate:
    """A mean with its interval. ``over_runs``: whether it speaks of trainings at large, or of these alone."""

    value: float
    low: float
    high: float
    over_runs: bool
    tasks: int
    runs: int  # the smallest number that any task has
    episodes: int  # of all tasks and runs


def wilson_interval(successes: int, episodes: int, confidence: float = 0.95) -> tuple[float, float]:
    """Return the score interval (low, high) of a success rate, within [0, 1].

    Raises ValueError unless 0 <= successes <= episodes, episodes >= 1 and 0 < confidence < 1.
    Source: E. B. Wilson, Journal of the American Statistical Association 22 (1927), 209-212.
    """
    if not (0 <= successes <= episodes and episodes >= 1):
        raise ValueError(
            f"{successes} successes in {episodes} episodes; give 0 <= successes <= episodes, episodes >= 1"
        )
    z = NormalDist().inv_cdf((1 + check_confidence(confidence)) / 2)
    rate, weight = successes / episodes, z**2 / episodes
    centre = (rate + weight / 2) / (1 + weight)
    half = z * np.sqrt(rate * (1 - rate) / episodes + weight / (4 * episodes)) / (1 + weight)
    # Rounding must not push the interval off a rate of exactly 0 or 1.
    low = 0.0 if successes == 0 else centre - half
    high = 1.0 if successes == episodes else centre + half
    return float(low), float(high)


def check_confidence(confidence: float) -> float:
    """The confidence, or a ValueError."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}; give a number between 0 and 1, such as 0.95")
    return confidence


def check_outcomes(outcomes: Outcomes) -> list[np.ndarray]:
    """The arrays as floats; a ValueError unless there is one, and each is (R, E) with at least one of each."""
    arrays = [np.asarray(each, float) for each in outcomes]
    shapes = [each.shape for each in arrays]
    if not arrays or any(len(shape) != 2 or 0 in shape for shape in shapes):
        raise ValueError(f"outcomes of shapes {shapes} given; give at least one array (runs, episodes)")
    return arrays


def interquartile_mean(scores: Sequence[float] | np.ndarray) -> np.ndarray:
    """The mean of the middle half of scores (..., n); those on the edge of that half count in part.

    So it is defined for any n: the mean for n = 1 and 2, for 3 with weights 1, 4, 1. Recommended for few runs by
    R. Agarwal et al., arXiv 2108.13264, section 4.3.
    """
    ordered = np.sort(np.asarray(scores, float), axis=-1)
    edges = np.linspace(0, 1, ordered.shape[-1] + 1)
    inside = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0, None)
    return ordered @ (inside / inside.sum())


def stratified_interval(
    outcomes: Outcomes, confidence: float = 0.95, resamples: int = 4000, seed: int = 0
) -> Estimate | None:
    """The interquartile mean of all runs' success rates, with a stratified bootstrap interval; None for single runs.

    Runs are drawn anew within each task. Percentiles of three runs would cover far less often than they say, so the
    bootstrap gives the standard error alone: deviations from a task's mean are scaled by sqrt(R / (R - 1)), and
    Student's t with the runs' degrees of freedom gives its multiple (T. Hesterberg, The American Statistician 69
    (2015), 371-386, section 5). It is never narrower than Wilson's interval of all episodes together, which counts
    where all runs happen to agree.
    """
    arrays = check_outcomes(outcomes)
    if any(len(each) < 2 for each in arrays):
        return None
    generator, draws = np.random.default_rng(seed), []
    for rates in (each.mean(axis=1) for each in arrays):
        runs = len(rates)
        drawn = rates[generator.integers(runs, size=(resamples, runs))]
        draws.append(rates.mean() + (drawn - rates.mean()) * np.sqrt(runs / (runs - 1)))
    value = float(interquartile_mean(np.concatenate([each.mean(axis=1) for each in arrays])))
    freedom = sum(len(each) - 1 for each in arrays)
    half = multiple(confidence, freedom) * interquartile_mean(np.concatenate(draws, axis=1)).std()
    episodes = sum(each.size for each in arrays)
    low, high = wilson_interval(round(sum(each.sum() for each in arrays)), episodes, confidence)
    return Estimate(
        value,
        max(0.0, min(low, value - half)),
        min(1.0, max(high, value + half)),
        over_runs=True,
        tasks=len(arrays),
        runs=min(map(len, arrays)),
        episodes=episodes,
    )


def multiple(confidence: float, freedom: float) -> float:
    """How many standard errors an interval extends to both sides: Student's t."""
    return float(student.ppf((1 + check_confidence(confidence)) / 2, freedom))


def paired_difference(ours: Outcomes, theirs: Outcomes, confidence: float = 0.95) -> Estimate:
    """How much more often one method succeeds than another on the same environment seeds, -1 to 1.

    Arrays of both have the same shapes, task by task (a ValueError if not). See ``mean_difference``.
    """
    pairs = list(zip(check_outcomes(ours), check_outcomes(theirs), strict=True))
    for first, second in pairs:
        if first.shape != second.shape:
            raise ValueError(f"outcomes of shapes {first.shape} and {second.shape} given; pair them first")
    return mean_difference([first - second for first, second in pairs], confidence)


def mean_difference(differences: Outcomes, confidence: float = 0.95) -> Estimate:
    """The mean over tasks of paired differences (R, E) a task, with its interval.

    With two runs or more in every task, runs and environment seeds both count as drawn at random: the variance is that
    of a two-way crossed layout, its degrees of freedom are Satterthwaite's (F. E. Satterthwaite, Biometrics Bulletin 2
    (1946), 110-114). With a single run the interval speaks of these trainings alone: A. Agresti and Y. Min, Statistics
    in Medicine 24 (2005), 729-740, whose variance also is the least that is taken for several.
    """
    arrays = check_outcomes(differences)
    over_runs = all(len(each) > 1 for each in arrays)
    parts = [variance_of_mean(each) if over_runs else (least_variance(each), np.inf) for each in arrays]
    variances, freedoms = np.array(parts).T
    variance = variances.sum() / len(arrays) ** 2
    freedom = variances.sum() ** 2 / np.sum(variances**2 / freedoms) if over_runs else np.inf
    value = float(np.mean([each.mean() for each in arrays]))
    half = multiple(confidence, freedom) * np.sqrt(variance)
    return Estimate(
        value,
        value - half,
        value + half,
        over_runs,
        tasks=len(arrays),
        runs=min(map(len, arrays)),
        episodes=sum(each.size for each in arrays),
    )


def variance_of_mean(differences: np.ndarray) -> tuple[float, float]:
    """Variance of the mean of differences (R, E) between runs and seeds drawn at random, and its degrees of freedom."""
    runs, episodes = differences.shape
    by_run, by_seed, mean = differences.mean(1, keepdims=True), differences.mean(0, keepdims=True), differences.mean()
    least, rest = least_variance(differences), (runs - 1) * max(episodes - 1, 1)
    of_runs = episodes * by_run.var(ddof=1)
    of_seeds = runs * by_seed.var(ddof=1) if episodes > 1 else 0.0
    of_rest = np.sum((differences - by_run - by_seed + mean) ** 2) / rest
    # Each component is at least 0: no layout has less variance between rows than within.
    total = max(of_runs, of_rest) + max(of_seeds, of_rest) - of_rest
    variance = total / differences.size
    if variance <= least:
        return least, rest
    spread = of_runs**2 / (runs - 1) + of_seeds**2 / max(episodes - 1, 1) + of_rest**2 / rest
    return variance, max(total**2 / spread, runs - 1)


def least_variance(differences: np.ndarray) -> float:
    """Agresti and Min's variance of a mean paired difference: half an episode more in each of the four cells."""
    count = differences.size + 2
    return float((np.sum(differences**2) + 1 - differences.sum() ** 2 / count) / count**2)
