"""Intervals have published values, and cover known truths about as often as they say."""

from statistics import NormalDist

import numpy as np
import pytest

from mp_lib.statistics import contrast, interquartile_mean, stratified_interval, trainings_needed, wilson_interval


def draw_outcomes(rng, rate, runs, run_spread, seeds, seed_spread=0):
    """Outcomes (runs, episodes) that succeed at ``rate`` in the mean over runs and environment seeds.

    ``seeds`` (episodes,) says how easy each environment seed is, in standard deviations of the noise; drawn by the
    caller with ``seed_spread``, so that methods can share it.
    """
    if rate == 1:
        return np.ones((runs, len(seeds)), int)
    threshold = NormalDist().inv_cdf(rate) * np.sqrt(1 + run_spread**2 + seed_spread**2)
    skill = threshold + run_spread * rng.normal(size=(runs, 1)) + seeds
    return (rng.normal(size=(runs, len(seeds))) < skill).astype(int)


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


CASES = [  # rate, tasks, runs, spread of runs, spread of environment seeds
    (0.5, 1, 3, 0.5, 0),
    (0.8, 1, 3, 0, 0),
    (0.8, 1, 3, 0.5, 1.2),
    (0.8, 1, 5, 0.1, 1.7),
    (0.4, 1, 3, 0.1, 2),
    (0.6, 10, 3, 0.3, 1.2),
    (0.6, 10, 3, 0, 1.7),
    (0.95, 10, 3, 0.3, 1.2),
]


@pytest.mark.parametrize(("rate", "tasks", "runs", "run_spread", "seed_spread"), CASES)
def test_a_rates_interval_covers_the_truth(rate, tasks, runs, run_spread, seed_spread):
    rng, tries, covered = np.random.default_rng(0), 500, 0
    for _ in range(tries):
        seeds = seed_spread * rng.normal(size=(tasks, 50))
        found = contrast([[draw_outcomes(rng, rate, runs, run_spread, each, seed_spread) for each in seeds]], (1,))
        covered += found.low <= rate <= found.high
    assert covered / tries >= 0.92  # 0.95 less three standard deviations of 500 tries


@pytest.mark.parametrize(("rate", "tasks", "runs", "run_spread", "seed_spread"), CASES[1::2])
def test_the_stratified_interval_covers_the_true_interquartile_mean(rate, tasks, runs, run_spread, seed_spread):
    rng, tries = np.random.default_rng(0), 200
    many = [
        interquartile_mean(
            np.concatenate(
                [
                    draw_outcomes(rng, rate, runs, run_spread, seed_spread * rng.normal(size=50), seed_spread).mean(1)
                    for _ in range(tasks)
                ]
            )
        )
        for _ in range(2000)
    ]
    truth, covered = np.mean(many), 0
    for _ in range(tries):
        seeds = seed_spread * rng.normal(size=(tasks, 50))
        found = stratified_interval(
            [draw_outcomes(rng, rate, runs, run_spread, each, seed_spread) for each in seeds], resamples=300
        )
        covered += found.low <= truth <= found.high
    assert covered / tries >= 0.92


def test_a_stratified_interval_needs_two_runs_in_every_task_and_repeats():
    rng = np.random.default_rng(0)
    outcomes = [draw_outcomes(rng, 0.6, 3, 0.5, np.zeros(20)) for _ in range(2)]
    assert stratified_interval([*outcomes, outcomes[0][:1]]) is None
    assert stratified_interval(outcomes) == stratified_interval(outcomes) != stratified_interval(outcomes, seed=1)


def test_runs_that_agree_still_leave_the_environment_seeds_uncertainty():
    for estimate in (contrast([[np.ones((3, 20))]], (1,)), stratified_interval([np.ones((3, 20))])):
        assert (estimate.value, estimate.high) == (1, 1)
        assert estimate.low == pytest.approx(wilson_interval(20, 20)[0], abs=0.02)


@pytest.mark.parametrize(
    ("rates", "tasks", "runs", "run_spread", "seed_spread"),
    [
        ((0.5, 0.5), 1, 3, 0.5, 0),
        ((0.8, 0.6), 1, 3, 0.5, 1.2),
        ((0.8, 0.6), 1, 3, 0, 1.7),
        ((1, 0.97), 1, 3, 0.3, 1.2),
        ((1, 0.95), 1, 2, 0.5, 1.2),
        ((1, 0.95), 1, 1, 0, 1.2),
        ((0.95, 0.95), 10, 3, 0.3, 1.2),
        ((0.6, 0.5), 10, 3, 0.5, 1.2),
        ((0.8, 0.8), 1, 1, 0, 1.2),
    ],
)
def test_a_difference_covers_the_true_one(rates, tasks, runs, run_spread, seed_spread):
    rng, tries, covered = np.random.default_rng(0), 500, 0
    for _ in range(tries):
        seeds = seed_spread * rng.normal(size=(tasks, 50))
        samples = [[draw_outcomes(rng, rate, runs, run_spread, each, seed_spread) for each in seeds] for rate in rates]
        found = contrast(samples, (1, -1))
        covered += found.low <= rates[0] - rates[1] <= found.high
        assert found.over_runs == (runs > 1) and -1 <= found.low <= found.high <= 1
    assert covered / tries >= 0.92


def draw_trainings(rng, common, trainings=3, tasks=6, episodes=50, methods=2):
    """Outcomes by method and task of trainings whose rates scatter by 15 points around 70 %, by their seed.

    What a seed does is common to all methods and tasks, or every training's own.
    """
    effects = 0.15 * rng.normal(size=(1, 1, trainings) if common else (methods, tasks, trainings))
    rates = np.broadcast_to(np.clip(0.7 + effects, 0, 1), (methods, tasks, trainings))
    return [[(rng.random((trainings, episodes)) < task[:, None]).astype(int) for task in method] for method in rates]


@pytest.mark.parametrize("weights", [(1,), (1, -1)])
def test_intervals_cover_where_every_training_draws_for_itself(weights):
    rng, tries, covered, truth = np.random.default_rng(0), 500, 0, 0.694 * sum(weights)  # rates end at 1
    for _ in range(tries):
        found = contrast(draw_trainings(rng, common=False, methods=len(weights)), weights)
        covered += found.low <= truth <= found.high
    assert covered / tries >= 0.92


def test_intervals_would_not_cover_if_a_seed_did_the_same_in_all_tasks():
    """Why trainings do not share random numbers: over tasks, what seeds do would not average out."""
    rng, tries = np.random.default_rng(0), 500
    found = [contrast(draw_trainings(rng, common=True, methods=1), (1,)) for _ in range(tries)]
    assert np.mean([each.low <= 0.694 <= each.high for each in found]) < 0.85


@pytest.mark.parametrize(("spread", "tasks"), [(0.03, 6), (0.05, 6), (0.05, 2)])
def test_as_many_trainings_as_are_said_to_be_needed_show_that_methods_are_alike(spread, tasks):
    rng, tries, margin = np.random.default_rng(0), 300, 0.05

    def draw(trainings, tasks):
        rates = np.clip(0.8 + spread * rng.normal(size=(tasks, trainings)), 0, 1)
        return [(rng.random((trainings, 50)) < task[:, None]).astype(int) for task in rates]

    runs = trainings_needed([draw(40, 40), draw(40, 40)], tasks, margin)
    shown = 0
    for _ in range(tries):
        found = contrast([draw(runs, tasks), draw(runs, tasks)], (1, -1), confidence=0.90)
        shown += -margin < found.low and found.high < margin
    assert 2 < runs < 40 and 0.7 <= shown / tries <= 0.97


def test_more_spread_and_fewer_tasks_need_more_trainings():
    rng = np.random.default_rng(0)
    calm, wild = ([[rng.random((5, 50)) < rate for rate in rates] for _ in range(2)] for rates in ([0.9], [0.5]))
    wild = [[np.concatenate([each, rng.random((5, 50)) < 0.9]) for each in sample] for sample in wild]
    needed = trainings_needed(calm, 6, 0.05)
    assert needed < trainings_needed(wild, 6, 0.05) and needed < trainings_needed(calm, 1, 0.05)
    assert needed < trainings_needed(calm, 6, 0.03) and trainings_needed(wild, 1, 0.001) is None


def test_several_seeds_of_a_mean_of_variants_that_share_environment_seeds():
    """What a condition does on certain environment seeds is common to all variants; in the mean it does nothing."""
    rng, tries, covered = np.random.default_rng(0), 400, 0
    for _ in range(tries):
        shared, groups = rng.normal(size=50), []
        for _ in range(4):
            groups += [[draw_outcomes(rng, 0.6, 3, 0.3, np.zeros(50))], [draw_outcomes(rng, 0.6, 3, 0.3, shared, 1)]]
        found = contrast(groups, [0.25, -0.25] * 4)
        covered += found.low <= 0 <= found.high
    assert covered / tries >= 0.92


def test_a_difference_mirrors_and_shared_environment_seeds_narrow_it():
    rng = np.random.default_rng(0)
    seeds = 3 * rng.normal(size=200)
    ours, theirs = ([draw_outcomes(rng, rate, 3, 0.0, seeds, 3)] for rate in (0.6, 0.5))
    forth, back = contrast([ours, theirs], (1, -1)), contrast([theirs, ours], (1, -1))
    assert (forth.value, forth.low, forth.high) == pytest.approx((-back.value, -back.high, -back.low))
    unpaired = contrast([ours, [rng.permuted(theirs[0], axis=1)]], (1, -1))
    assert forth.high - forth.low < 0.7 * (unpaired.high - unpaired.low)


def test_the_same_trainings_under_two_conditions_are_told_apart_better():
    rng = np.random.default_rng(0)
    skill, seeds = rng.normal(size=(4, 1)), rng.normal(size=50)
    ours, theirs = ((rng.normal(size=(4, 50)) < 0.5 * gain + skill + seeds).astype(int) for gain in (1, 0))
    apart, same = (contrast([[ours], [theirs]], (1, -1), same_runs=each) for each in (False, True))
    assert apart.value == same.value and same.high - same.low < 0.7 * (apart.high - apart.low)


def test_a_change_of_differences_is_its_sum_and_stays_in_its_range():
    rng = np.random.default_rng(0)
    four = [[draw_outcomes(rng, rate, 3, 0.3, np.zeros(30))] for rate in (0.9, 0.1, 0.2, 0.8)]
    found = contrast(four, (1, -1, -1, 1))
    means = [each[0].mean() for each in four]
    assert found.value == pytest.approx(means[0] - means[1] - means[2] + means[3])
    assert -2 <= found.low < found.value < found.high <= 2


def test_more_confidence_widens_every_interval():
    rng = np.random.default_rng(0)
    outcomes = [draw_outcomes(rng, 0.6, 3, 0.5, np.zeros(20)) for _ in range(2)]
    other = [draw_outcomes(rng, 0.6, 3, 0.5, np.zeros(20)) for _ in range(2)]
    for interval in (
        lambda **options: stratified_interval(outcomes, **options),
        lambda **options: contrast([outcomes], (1,), **options),
        lambda **options: contrast([outcomes, other], (1, -1), **options),
    ):
        narrow, wide = interval(confidence=0.5), interval(confidence=0.9)
        assert wide.low < narrow.low < narrow.high < wide.high


@pytest.mark.parametrize(
    "wrong",
    [[[]], [[np.zeros(3)]], [[np.zeros((0, 5))]], [[np.zeros((2, 0))]], [[np.zeros((2, 5))], [np.zeros((2, 4))]]],
)
def test_what_are_no_outcomes_that_fit_each_other_is_refused(wrong):
    with pytest.raises(ValueError, match="give every sample one array"):
        contrast(wrong, [1] * len(wrong))


@pytest.mark.parametrize("wrong", [(1, 0), (-1, 5), (6, 5), (1, 5, 1.0), (1, 5, 0)])
def test_what_is_no_rate_is_refused(wrong):
    with pytest.raises(ValueError, match="give"):
        wilson_interval(*wrong)
