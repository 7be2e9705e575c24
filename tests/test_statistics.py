"""Intervals have published values, and cover known truths about as often as they say."""

from statistics import NormalDist

import numpy as np
import pytest

from mp_lib.statistics import (
    interquartile_mean,
    mean_difference,
    paired_difference,
    stratified_interval,
    wilson_interval,
)


def draw_outcomes(rng, rate, runs, episodes, run_spread, seeds=None):
    """Outcomes (runs, episodes) that succeed at ``rate`` in the mean over runs and environment seeds.

    ``seeds`` (episodes,) says how hard each environment seed is, in standard deviations of the noise; drawn by the
    caller, so that two methods can share it.
    """
    seeds = np.zeros(episodes) if seeds is None else seeds
    threshold = NormalDist().inv_cdf(rate) * np.sqrt(1 + run_spread**2 + SEED_SPREAD**2 * bool(seeds.any()))
    skill = threshold + run_spread * rng.normal(size=(runs, 1)) + seeds
    return (rng.normal(size=(runs, episodes)) < skill).astype(int)


SEED_SPREAD = 0.7


@pytest.mark.parametrize(
    ("successes", "episodes", "confidence", "expected"),
    [
        # R. G. Newcombe, Statistics in Medicine 17 (1998), 857-872, table I, method 3.
        (81, 263, 0.95, (0.2553, 0.3662)),
        (15, 148, 0.95, (0.0624, 0.1605)),
        (0, 20, 0.95, (0.0000, 0.1611)),
        (1, 29, 0.95, (0.0061, 0.1718)),
    ],
)
def test_published_values(successes, episodes, confidence, expected):
    assert wilson_interval(successes, episodes, confidence) == pytest.approx(expected, abs=5e-5)


@pytest.mark.parametrize("episodes", [1, 7, 20, 1000])
def test_the_interval_holds_the_rate_and_mirrors_with_it(episodes):
    for successes in range(episodes + 1):
        low, high = wilson_interval(successes, episodes)
        assert 0 <= low <= successes / episodes <= high <= 1
        assert wilson_interval(episodes - successes, episodes) == pytest.approx((1 - high, 1 - low))


@pytest.mark.parametrize("rate", [0.1, 0.5, 0.85])
def test_it_covers_the_true_rate_about_as_often_as_it_says(rate):
    counts = np.random.default_rng(0).binomial(50, rate, size=4000)
    intervals = np.array([wilson_interval(int(count), 50) for count in counts])
    covered = np.mean((intervals[:, 0] <= rate) & (rate <= intervals[:, 1]))
    assert covered == pytest.approx(0.95, abs=0.025)


def test_more_confidence_is_wider():
    assert np.ptp(wilson_interval(7, 10, 0.99)) > np.ptp(wilson_interval(7, 10, 0.95))


@pytest.mark.parametrize(
    ("scores", "expected"),
    [([3], 3), ([1, 3], 2), ([0, 3, 9], 3.5), ([0, 1, 2, 9], 1.5), ([9, 1, 2, 0, 5, 6, 7, 8], (2 + 5 + 6 + 7) / 4)],
)
def test_the_interquartile_mean_is_that_of_the_middle_half(scores, expected):
    assert interquartile_mean(scores) == pytest.approx(expected)
    assert interquartile_mean([scores, scores]) == pytest.approx([expected] * 2)


def test_one_bad_run_of_eight_does_not_move_the_interquartile_mean():
    assert interquartile_mean([0.9] * 7 + [0.0]) == interquartile_mean([0.9] * 8)


@pytest.mark.parametrize(
    ("rate", "tasks", "runs", "run_spread"),
    [(0.5, 1, 3, 0.5), (0.8, 1, 3, 0.5), (0.95, 1, 3, 0.3), (0.8, 1, 3, 0.0), (0.8, 1, 5, 0.5), (0.6, 10, 3, 0.3)],
)
def test_the_stratified_interval_covers_the_true_interquartile_mean(rate, tasks, runs, run_spread):
    rng, tries = np.random.default_rng(0), 400
    many = NormalDist().inv_cdf(rate) * np.sqrt(1 + run_spread**2) + run_spread * rng.normal(size=200_000)
    many = rng.binomial(50, [NormalDist().cdf(value) for value in many]) / 50
    truth = interquartile_mean(many[: tasks * runs * (len(many) // (tasks * runs))].reshape(-1, tasks * runs)).mean()
    found = [
        stratified_interval([draw_outcomes(rng, rate, runs, 50, run_spread) for _ in range(tasks)], resamples=400)
        for _ in range(tries)
    ]
    covered = np.mean([each.low <= truth <= each.high for each in found])
    assert covered >= 0.92  # four standard deviations of 400 tries below 0.96
    assert all(each.low <= each.value <= each.high and each.over_runs for each in found)


def test_a_stratified_interval_needs_two_runs_in_every_task_and_repeats():
    rng = np.random.default_rng(0)
    outcomes = [draw_outcomes(rng, 0.6, 3, 20, 0.5) for _ in range(2)]
    assert stratified_interval([*outcomes, outcomes[0][:1]]) is None
    assert stratified_interval(outcomes) == stratified_interval(outcomes) != stratified_interval(outcomes, seed=1)


def test_runs_that_agree_still_leave_the_episodes_uncertainty():
    estimate = stratified_interval([np.ones((3, 20))])
    assert (estimate.value, estimate.high) == (1, 1) and estimate.low == wilson_interval(60, 60)[0]


@pytest.mark.parametrize(
    ("rates", "tasks", "runs", "run_spread"),
    [
        ((0.5, 0.5), 1, 3, 0.5),
        ((0.8, 0.6), 1, 3, 0.5),
        ((0.95, 0.9), 1, 3, 0.3),
        ((0.8, 0.8), 1, 3, 0.0),
        ((0.6, 0.5), 10, 3, 0.5),
        ((0.8, 0.7), 1, 6, 0.5),
    ],
)
def test_the_paired_difference_covers_the_true_one(rates, tasks, runs, run_spread):
    rng, tries = np.random.default_rng(0), 1500
    covered = 0
    for _ in range(tries):
        seeds = [SEED_SPREAD * rng.normal(size=50) for _ in range(tasks)]
        ours, theirs = ([draw_outcomes(rng, rate, runs, 50, run_spread, each) for each in seeds] for rate in rates)
        estimate = paired_difference(ours, theirs)
        covered += estimate.low <= rates[0] - rates[1] <= estimate.high
    assert covered / tries >= 0.93


@pytest.mark.parametrize("rates", [(0.5, 0.5), (0.9, 0.7), (0.95, 0.95)])
def test_with_one_run_the_paired_difference_is_that_of_two_checkpoints(rates):
    rng, tries = np.random.default_rng(0), 1500
    found = [paired_difference(*([rng.binomial(1, rate, size=(1, 50))] for rate in rates)) for _ in range(tries)]
    assert not any(each.over_runs for each in found)
    assert np.mean([each.low <= rates[0] - rates[1] <= each.high for each in found]) >= 0.93


def test_the_variance_of_single_runs_is_that_of_the_table_with_half_an_observation_more_a_cell():
    # 3 of 20 pairs succeed with ours alone, 1 with theirs alone.
    difference = np.array([[1] * 3 + [-1] * 1 + [0] * 16])
    estimate = mean_difference([difference])
    half = 1.959964 * np.sqrt((3.5 + 1.5) - (3.5 - 1.5) ** 2 / 22) / 22
    assert (estimate.value, estimate.high - estimate.value) == pytest.approx((0.1, half), rel=1e-5)


def test_a_difference_mirrors_and_pairing_on_shared_seeds_narrows_it():
    rng = np.random.default_rng(0)
    seeds = 3 * rng.normal(size=200)
    ours, theirs = ([draw_outcomes(rng, rate, 3, 200, 0.0, seeds)] for rate in (0.6, 0.5))
    forth, back = paired_difference(ours, theirs), paired_difference(theirs, ours)
    assert (forth.value, forth.low, forth.high) == pytest.approx((-back.value, -back.high, -back.low))
    unpaired = paired_difference(ours, [rng.permuted(theirs[0], axis=1)])
    assert forth.high - forth.low < unpaired.high - unpaired.low


def test_more_confidence_widens_every_interval():
    rng = np.random.default_rng(0)
    outcomes = [draw_outcomes(rng, 0.6, 3, 20, 0.5) for _ in range(2)]
    for interval in (stratified_interval, mean_difference):
        narrow, wide = interval(outcomes, confidence=0.8), interval(outcomes, confidence=0.99)
        assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize("wrong", [[], [np.zeros(3)], [np.zeros((0, 5))], [np.zeros((2, 0))]])
def test_what_are_no_outcomes_is_refused(wrong):
    for interval in (stratified_interval, mean_difference):
        with pytest.raises(ValueError, match="give at least one array"):
            interval(wrong)


def test_outcomes_that_do_not_pair_are_refused():
    with pytest.raises(ValueError, match="pair them first"):
        paired_difference([np.zeros((2, 5))], [np.zeros((2, 4))])


@pytest.mark.parametrize("wrong", [(1, 0), (-1, 5), (6, 5), (1, 5, 1.0), (1, 5, 0)])
def test_what_is_no_rate_is_refused(wrong):
    with pytest.raises(ValueError, match="give"):
        wilson_interval(*wrong)
