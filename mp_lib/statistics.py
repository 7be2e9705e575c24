"""Intervals for success rates, for their means over runs, and for differences between methods.

Outcomes are 0 or 1 an episode. Runs (trainings) of one method on one task are the rows, environment seeds the columns
of an array (R, E); several tasks are a sequence of such arrays. Tasks and demonstrations are taken as given; runs and
environment seeds are samples of all that could have been drawn. So an interval over runs speaks of trainings on these
demonstrations that nobody has made yet.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np

Outcomes = Sequence[np.ndarray]  # one (R, E) a task


@dataclass(frozen=True)
class Estimate:
    """A mean over tasks with its interval, and the degrees of ``freedom`` that its standard error has.

    ``over_runs``: whether it speaks of trainings at large, or of these alone. ``runs`` is the smallest number that any
    task has, ``seeds`` the number of environment seeds of all tasks.
    """

    value: float
    low: float
    high: float
    freedom: float
    over_runs: bool
    tasks: int
    runs: int
    seeds: int

    @property
    def percents(self) -> tuple[float, float, float]:
        """The value and its interval, in percent."""
        return 100 * self.value, 100 * self.low, 100 * self.high


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
    return score_interval(successes / episodes, episodes, z)


def score_interval(rate: float, trials: float, z: float) -> tuple[float, float]:
    """Wilson's interval of a rate in ``trials``, which need not be whole, ``z`` standard errors to both sides."""
    weight = z**2 / trials
    centre = (rate + weight / 2) / (1 + weight)
    half = z * np.sqrt(rate * (1 - rate) / trials + weight / (4 * trials)) / (1 + weight)
    # Rounding must not push the interval off a rate of exactly 0 or 1.
    low = 0.0 if rate == 0 else centre - half
    high = 1.0 if rate == 1 else centre + half
    return float(low), float(high)


def check_confidence(confidence: float) -> float:
    """The confidence, or a ValueError."""
    if not 0 < confidence < 1:
        raise ValueError(f"confidence={confidence}; give a number between 0 and 1, such as 0.95")
    return confidence


def multiple(confidence: float, freedom: float) -> float:
    """How many standard errors an interval extends to both sides: Student's t."""
    from scipy.stats import t as student  # not by acting and training, which need no more than Wilson's interval

    return float(student.ppf((1 + check_confidence(confidence)) / 2, freedom))


def interquartile_mean(scores: Sequence[float] | np.ndarray) -> np.ndarray:
    """The mean of the middle half of scores (..., n); those on the edge of that half count in part.

    So it is defined for any n: the mean for n = 1 and 2, for 3 with weights 1, 4, 1. Recommended for few runs by
    R. Agarwal et al., arXiv 2108.13264, section 4.3.
    """
    ordered = np.sort(np.asarray(scores, float), axis=-1)
    edges = np.linspace(0, 1, ordered.shape[-1] + 1)
    inside = np.clip(np.minimum(edges[1:], 0.75) - np.maximum(edges[:-1], 0.25), 0, None)
    return ordered @ (inside / inside.sum())


def contrast(
    samples: Sequence[Outcomes], weights: Sequence[float], confidence: float = 0.95, same_runs: bool = False
) -> Estimate:
    """The sum of ``weights`` times the samples' success rates, each a mean over tasks, with its interval.

    (1,) gives a rate, (1, -1) how much more often one method succeeds than another on the same environment seeds,
    (1, -1, -1, 1) a difference of changes. The variance is that of runs and environment seeds drawn at random and
    crossed (``crossed_variance``); runs of different samples are independent, unless ``same_runs`` says that row k of
    all samples is the same training. With a single run somewhere the interval speaks of these trainings alone.

    To respect that rates end at 0 and 1 the interval is put together from Wilson's of the single samples, each with as
    many trials as would give its variance, squared and added (R. G. Newcombe, Statistics in Medicine 17 (1998),
    2635-2650), and scaled by what pairing saves. A ValueError for arrays that do not fit each other.
    """
    arrays = check_samples(samples)
    weights = np.asarray(weights, float)
    if same_runs:
        tasks = zip(*arrays, strict=True)
        sums = [sum(weight * each for weight, each in zip(weights, task, strict=True)) for task in tasks]
        variance, freedom = crossed_variance([sums], np.ones(1))
    else:
        variance, freedom = crossed_variance(arrays, weights)
    singles = [extent(sample, confidence, freedom) for sample in arrays]
    rates, variances, below, above = (np.array(each) for each in zip(*singles, strict=True))
    seeds = sum(each.shape[1] for each in arrays[0])
    value, share = float(weights @ rates), 1.0
    if len(arrays) > 1:
        # The least variance is Agresti and Min's of pairs that all agree (Statistics in Medicine 24 (2005), 729-740).
        least = 1 / (seeds + 2) ** 2
        share = np.sqrt(max(variance, least) / (weights**2 @ np.maximum(variances, least)))
    down, up = (np.sqrt(weights**2 @ np.where(weights > 0, *pair) ** 2) for pair in ((below, above), (above, below)))
    runs = min(len(each) for sample in arrays for each in sample)
    return Estimate(
        value,
        float(max(weights[weights < 0].sum(), value - share * down)),
        float(min(weights[weights > 0].sum(), value + share * up)),
        freedom,
        over_runs=runs > 1,
        tasks=len(arrays[0]),
        runs=runs,
        seeds=seeds,
    )


def extent(sample: Outcomes, confidence: float, freedom: float) -> tuple[float, float, float, float]:
    """A sample's rate and variance, and how far its interval extends below and above the rate.

    Wilson's with as many trials as would give its variance, but no more than there are, and Student's multiple for the
    contrast's degrees of ``freedom``. Where all runs agree in everything, episodes on the same environment seed count
    once, and the degrees of freedom are theirs.
    """
    rate, (variance, own) = float(np.mean([each.mean() for each in sample])), crossed_variance([sample], np.ones(1))
    seeds, size = sum(each.shape[1] for each in sample), sum(each.size for each in sample)
    trials = min(rate * (1 - rate) / variance, size) if variance > 0 else seeds
    low, high = score_interval(rate, trials, multiple(confidence, freedom if variance > 0 else own))
    return rate, variance, rate - low, high - rate


def check_samples(samples: Sequence[Outcomes]) -> list[list[np.ndarray]]:
    """The arrays as floats; a ValueError unless all samples have the same tasks and environment seeds, one at least."""
    arrays = [[np.asarray(each, float) for each in sample] for sample in samples]
    shapes = [[each.shape for each in sample] for sample in arrays]
    columns = {tuple(shape[-1:] for shape in sample) for sample in shapes}
    whole = all(len(shape) == 2 and 0 not in shape for sample in shapes for shape in sample)
    if not whole or len(columns) != 1 or columns == {()}:
        raise ValueError(
            f"outcomes of shapes {shapes} given; give every sample one array (runs, episodes) a task, with the same "
            "number of episodes in all samples"
        )
    return arrays


def crossed_variance(samples: Sequence[Outcomes], weights: np.ndarray) -> tuple[float, float]:
    """The variance of a weighted sum of means over tasks, and its degrees of freedom.

    Environment seeds are common to all samples: the variance between the columns of their weighted means holds what
    seeds and single episodes contribute. Runs add what rows differ by beyond that, for each sample the sum over tasks,
    0 at least. Degrees of freedom: F. E. Satterthwaite, Biometrics Bulletin 2 (1946), 110-114.
    """
    tasks = len(samples[0])
    total = spread = 0.0
    for task in range(tasks):
        columns = sum(weight * sample[task].mean(axis=0) for weight, sample in zip(weights, samples, strict=True))
        between, rest = columns.var(ddof=1) / len(columns) if len(columns) > 1 else 0.0, max(1, len(columns) - 1)
        total, spread = total + between, spread + between**2 / rest
    for weight, sample in zip(weights, samples, strict=True):
        excess, parts = map(sum, zip(*(excess_between_runs(each) for each in sample), strict=True))
        if excess > 0:
            total, spread = total + weight**2 * excess, spread + weight**4 * parts
    if spread == 0:
        return total / tasks**2, float(sum(max(1, each.shape[1] - 1) for each in samples[0]))
    least = min(max(1, min(each.shape) - 1) for sample in samples for each in sample)
    return total / tasks**2, max(total**2 / spread, least)


def excess_between_runs(outcomes: np.ndarray) -> tuple[float, float]:
    """What runs add to the variance of the mean of outcomes (R, E), perhaps negative, and its share of ``spread``."""
    runs, episodes = outcomes.shape
    if runs == 1:
        return 0.0, 0.0
    of_runs, of_rest = (each / runs for each in variances_of_a_run(outcomes))
    return float(of_runs - of_rest), float(of_runs**2 / (runs - 1) + of_rest**2 / (runs - 1) / max(1, episodes - 1))


def variances_of_a_run(outcomes: np.ndarray) -> tuple[float, float]:
    """Of the mean of a single run of outcomes (R, E): between runs, and what of it single episodes alone would give."""
    runs, episodes = outcomes.shape
    by_run, by_seed = outcomes.mean(1, keepdims=True), outcomes.mean(0, keepdims=True)
    rest = np.sum((outcomes - by_run - by_seed + outcomes.mean()) ** 2) / (runs - 1) / max(1, episodes - 1)
    return float(by_run.var(ddof=1)), float(rest / episodes)


def trainings_needed(
    samples: Sequence[Outcomes], tasks: int, margin: float, power: float = 0.8, most: int = 1000
) -> int | None:
    """How many trainings a sample and task would show that two methods differ by less than ``margin``.

    ``samples`` are the two methods' outcomes in a few trainings on a few tasks, from which the spread is taken; the
    difference is assumed to be none, and to be shown by two one-sided tests at 5 % with probability ``power``, on that
    many ``tasks``. What environment seeds contribute is taken as it is there, with as many of them. None if more than
    ``most`` would be needed. Source: D. J. Schuirmann, Journal of Pharmacokinetics and Biopharmaceutics 15 (1987),
    657-680.
    """
    ours, theirs = check_samples(samples)
    of_a_run = of_seeds = 0.0
    for pair in zip(ours, theirs, strict=True):
        between, alone = zip(*map(variances_of_a_run, pair), strict=True)
        columns = pair[0].mean(axis=0) - pair[1].mean(axis=0)
        by_chance = sum(each / len(outcomes) for each, outcomes in zip(alone, pair, strict=True))
        of_a_run += sum(map(max, between, alone)) / len(ours)
        of_seeds += max(0.0, columns.var(ddof=1) / len(columns) - by_chance) / len(ours)
    for runs in range(2, most + 1):
        error = np.sqrt((of_a_run / runs + of_seeds) / tasks)
        freedom = 2 * tasks * (runs - 1)
        if (multiple(0.90, freedom) + multiple(power, freedom)) * error <= margin:
            return runs
    return None


def stratified_interval(
    outcomes: Outcomes, confidence: float = 0.95, resamples: int = 2000, seed: int = 0
) -> Estimate | None:
    """The interquartile mean of all runs' success rates, with a stratified bootstrap interval; None for single runs.

    Within each task runs and environment seeds are drawn anew (A. B. Owen, Annals of Applied Statistics 1 (2007),
    386-411). Percentiles of three runs would cover far less often than they say, so the bootstrap gives the standard
    error, with deviations of runs scaled by sqrt(R / (R - 1)), and Student's t with ``contrast``'s degrees of freedom
    its multiple. It counts the noise of single episodes twice and so covers rather too often.
    """
    (arrays,) = check_samples([outcomes])
    if any(len(each) < 2 for each in arrays):
        return None
    generator, draws = np.random.default_rng(seed), []
    for each in arrays:
        runs, episodes = each.shape
        rows = generator.integers(runs, size=(resamples, runs))
        counts = generator.multinomial(episodes, np.full(episodes, 1 / episodes), size=resamples)
        rates = counts @ each.T / episodes  # (resamples, runs): every run on the environment seeds that were drawn
        drawn, middle = np.take_along_axis(rates, rows, axis=1), rates.mean(axis=1, keepdims=True)
        draws.append(middle + (drawn - middle) * np.sqrt(runs / (runs - 1)))
    value = float(interquartile_mean(np.concatenate([each.mean(axis=1) for each in arrays])))
    mean = contrast([arrays], (1,), confidence)
    half = multiple(confidence, mean.freedom) * interquartile_mean(np.concatenate(draws, axis=1)).std()
    low, high = max(0.0, value - half), min(1.0, value + half)
    if half < 1e-9:  # all runs agree, and say nothing of how they differ
        low, high = mean.low, mean.high
    return Estimate(value, low, high, mean.freedom, True, len(arrays), mean.runs, mean.seeds)
