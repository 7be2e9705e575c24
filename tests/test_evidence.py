"""From runs to differences: what is paired, what is left out, what a verdict rests on."""

import numpy as np
import pandas as pd
import pytest

from mp_lib.claims import FAILS, HOLDS, UNDECIDED, finding, together, verdict_of
from mp_lib.evidence import difference, difference_of_changes, mean_over_runs, played, stack, subtract
from mp_lib.statistics import mean_difference, paired_difference, stratified_interval


def make_runs(*outcomes, task="a", method="dp3", first_seed=0):
    """Runs of training seeds 0, 1, ... with these outcomes."""
    return pd.DataFrame(
        [
            {
                "task": task,
                "method": method,
                "seed": seed,
                "first_seed": first_seed,
                "outcomes": digits,
                "episodes": len(digits),
            }
            for seed, digits in enumerate(outcomes)
        ]
    )


def draw(rng, rate, runs=3, episodes=40):
    return ["".join(map(str, rng.binomial(1, rate, episodes))) for _ in range(runs)]


def as_numbers(outcomes):
    return np.array([list(digits) for digits in outcomes], int)


def test_a_difference_is_that_of_the_arrays():
    rng = np.random.default_rng(0)
    ours, theirs = draw(rng, 0.8), draw(rng, 0.5)
    found = difference(make_runs(*ours), make_runs(*theirs))
    assert found == paired_difference([as_numbers(ours)], [as_numbers(theirs)])
    assert mean_over_runs(make_runs(*ours)) == stratified_interval([as_numbers(ours)])


def test_tasks_are_strata():
    rng = np.random.default_rng(0)
    ours, theirs = ([draw(rng, rate) for _ in range(2)] for rate in (0.8, 0.5))
    tables = [pd.concat([make_runs(*own[0], task="a"), make_runs(*own[1], task="b")]) for own in (ours, theirs)]
    found = difference(*tables)
    assert found == paired_difference([*map(as_numbers, ours)], [*map(as_numbers, theirs)]) and found.tasks == 2


def test_only_what_has_a_partner_counts():
    ours, theirs = make_runs("11", "10", "01"), make_runs("10", "00")
    pairs = subtract(played(ours), played(theirs))
    assert [key[1] for key in pairs] == [0, 1] and np.array_equal(stack(pairs)[0], [[0, 1], [1, 0]])
    assert difference(ours, make_runs("11", task="b")) is None
    assert difference(ours, make_runs("11", first_seed=5)) is None
    assert difference(ours, make_runs("111")) is None
    assert difference(ours, ours[:0]) is None


def test_runs_with_other_environment_seeds_than_most_are_left_out():
    runs = pd.concat([make_runs("11", "10"), make_runs("111", "000", "010", first_seed=7)[2:]])
    assert np.array_equal(stack(played(runs))[0], [[1, 1], [1, 0]])


def test_a_difference_of_changes_is_two_differences():
    rng = np.random.default_rng(0)
    before, after, their_before, their_after = (draw(rng, rate) for rate in (0.8, 0.7, 0.8, 0.3))
    found = difference_of_changes(
        (make_runs(*before), make_runs(*after)), (make_runs(*their_before), make_runs(*their_after))
    )
    ours, theirs = as_numbers(after) - as_numbers(before), as_numbers(their_after) - as_numbers(their_before)
    assert found == mean_difference([ours - theirs])
    assert difference_of_changes((make_runs("1"), make_runs("1")), (make_runs("1"), make_runs("1", task="b"))) is None


@pytest.mark.parametrize(("ours", "theirs", "verdict"), [(0.95, 0.3, HOLDS), (0.3, 0.95, FAILS), (0.5, 0.5, UNDECIDED)])
def test_a_verdict_follows_the_interval(ours, theirs, verdict):
    rng = np.random.default_rng(0)
    tables = [make_runs(*draw(rng, rate)) for rate in (ours, theirs)]
    assert verdict_of(difference(*tables)) == verdict == finding("x", difference(*tables), "a").verdict
    single = difference(*(table[:1] for table in tables))
    assert verdict_of(single) == UNDECIDED and "alone" in finding("x", single, "a").basis


def test_what_contradicts_may_have_an_interval_of_its_own():
    rng = np.random.default_rng(1)
    tables = [make_runs(*draw(rng, rate, episodes=300)) for rate in (0.45, 0.75)]
    usual, strict = difference(*tables), difference(*tables, confidence=0.999999)
    assert verdict_of(usual) == FAILS and verdict_of(usual, strict) == UNDECIDED


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, UNDECIDED], UNDECIDED),
        ([UNDECIDED, FAILS], FAILS),
        ([HOLDS, "a remark"], HOLDS),
        ([HOLDS, "not run yet"], "not run yet"),
    ],
)
def test_a_claim_needs_all_its_evidence(verdicts, expected):
    assert together(verdicts) == expected
