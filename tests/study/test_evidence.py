"""From runs to comparisons: what is matched, what is left out, what a verdict rests on."""

import re

import numpy as np
import pandas as pd
import pytest

from mp_lib.presets import recipe_of
from mp_lib.sim.tasks import PAPER_TASKS
from mp_lib.statistics import contrast, stratified_interval
from mp_lib.study.claims import ALIKE, FAILS, HOLDS, NOTHING, UNDECIDED, finding, findings, together, with_reach
from mp_lib.study.designs import SHORT_TASKS
from mp_lib.study.evidence import compare, differences_by_task, interquartile_rate, match, outcomes_by_task, rate


def make_runs(*outcomes, task="a", method="dp3", first_seed=0):
    """Runs of training seeds 0, 1, ... with these outcomes."""
    return pd.DataFrame(
        [
            {
                "task": task,
                "method": method,
                "seed": seed,
                "first_seed": first_seed,
                "kept": False,
                "scale": "quick",
                "recipe": recipe_of("quick"),
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


def test_a_comparison_is_that_of_the_arrays_and_tasks_are_strata():
    rng = np.random.default_rng(0)
    ours, theirs = ([draw(rng, rate) for _ in range(2)] for rate in (0.8, 0.5))
    tables = [pd.concat([make_runs(*own[0], task="a"), make_runs(*own[1], task="b")]) for own in (ours, theirs)]
    found, samples = compare(tables, (1, -1)), [[*map(as_numbers, ours)], [*map(as_numbers, theirs)]]
    assert found.estimate == contrast(samples, (1, -1)) and found.tasks == ("a", "b")
    assert rate(tables[0]) == contrast(samples[:1], (1,))
    assert interquartile_rate(tables[0]) == stratified_interval(samples[0])


def test_differences_by_task_are_comparisons_on_that_task_and_blank_where_one_lacks():
    rng = np.random.default_rng(0)
    ours = {task: make_runs(*draw(rng, 0.8, runs=2), task=task, method="pocket_mamba") for task in "abc"}
    theirs = {task: make_runs(*draw(rng, 0.4), task=task) for task in "bcd"}
    runs = pd.concat([*ours.values(), *theirs.values()])
    table = differences_by_task(runs, "pocket_mamba").set_index("task")["less DP3"]
    assert [*table.index] == ["a", "b", "c", "d"] and table["a"] == table["d"] == ""
    for task in "bc":
        found = compare([ours[task], theirs[task]], (1, -1)).estimate
        numbers, trainings = table[task].split("; ")
        assert [*map(float, re.findall(r"[+-][\d.]+", numbers))] == pytest.approx(
            [100 * found.value, 100 * found.low, 100 * found.high], abs=0.051
        )
        assert trainings == "2 and 3"
    assert differences_by_task(runs[:0], "dp3").empty


def test_methods_need_not_have_the_same_number_of_trainings():
    rng = np.random.default_rng(0)
    ours, theirs = draw(rng, 0.8, runs=4), draw(rng, 0.5, runs=2)
    found = compare([make_runs(*ours), make_runs(*theirs)], (1, -1))
    assert found.estimate == contrast([[as_numbers(ours)], [as_numbers(theirs)]], (1, -1))
    assert found.estimate.runs == 2 and found.estimate.over_runs


def test_without_common_environment_seeds_there_is_no_comparison():
    ours = make_runs("11", "10", "01")
    for theirs in (make_runs("11", task="b"), make_runs("11", first_seed=5), make_runs("111"), ours[:0]):
        assert compare([ours, theirs], (1, -1)) is None


def test_the_environment_seeds_that_most_runs_have_played_count():
    few, many = make_runs("11", first_seed=7), make_runs("10", "00", "01")
    ours, theirs = pd.concat([many, few]), pd.concat([few, many[1:]])
    assert [each.tolist() for each in match([ours, theirs])] == [[[1, 0], [0, 0], [0, 1]], [[0, 0], [0, 1]]]
    assert outcomes_by_task(ours)[0].shape == (3, 2)


def test_the_same_trainings_are_paired_by_their_seed():
    ours, theirs = make_runs("11", "10", "01"), make_runs("00", "01", "10")[1:]
    assert [each.tolist() for each in match([ours, theirs], same_runs=True)] == [[[1, 0], [0, 1]], [[0, 1], [1, 0]]]


def test_a_task_with_a_single_training_does_not_undo_what_others_say():
    rng = np.random.default_rng(0)
    pair = [make_runs(*draw(rng, rate)) for rate in (0.9, 0.3)]
    before = finding("x", pair, (1, -1))
    single = [make_runs(*draw(rng, rate, runs=1), task="b") for rate in (0.3, 0.9)]
    after = finding("x", [pd.concat(each) for each in zip(pair, single, strict=True)], (1, -1))
    assert before.verdict == after.verdict == HOLDS and before.found == after.found
    assert "left out, with a single training: b" in after.basis and after.basis.startswith("a;")


@pytest.mark.parametrize(("ours", "theirs", "verdict"), [(0.95, 0.3, HOLDS), (0.3, 0.95, FAILS), (0.5, 0.5, UNDECIDED)])
def test_a_verdict_follows_the_interval(ours, theirs, verdict):
    rng = np.random.default_rng(0)
    tables = [make_runs(*draw(rng, rate)) for rate in (ours, theirs)]
    assert finding("x", tables, (1, -1)).verdict == verdict
    single = finding("x", [table[:1] for table in tables], (1, -1))
    assert single.verdict == UNDECIDED and "these trainings alone" in single.basis
    assert finding("x", [tables[0], tables[1][:0]], (1, -1)).verdict == finding("x", [], ()).verdict == NOTHING


def test_methods_that_differ_by_less_than_the_margin_are_alike():
    rng = np.random.default_rng(0)
    tables = [make_runs(*draw(rng, 0.8, episodes=2000)) for _ in range(2)]
    found = finding("x", tables, (1, -1))
    assert found.verdict == ALIKE == "no difference of 5 points" and -5 < found.low < 0 < found.high < 5
    assert found.shown is None and with_reach(found.verdict, found.shown) == ALIKE
    single = finding("x", [table[:1] for table in tables], (1, -1))
    assert single.verdict == UNDECIDED


def test_what_is_undecided_says_how_large_a_difference_would_have_shown():
    rng = np.random.default_rng(0)
    pair = [draw(rng, 0.5) for _ in range(2)]
    found = finding("x", [make_runs(*each) for each in pair], (1, -1))
    assert found.verdict == UNDECIDED and found.shown == max(found.high - found.value, found.value - found.low) > 5
    assert f"a difference would show from {found.shown:.0f} points on" in with_reach(found.verdict, found.shown)


def test_verdicts_rest_on_the_papers_own_simulators_and_all_ten_tasks_stand_beside():
    rng = np.random.default_rng(0)

    def pair(*tasks, rates=(0.9, 0.3)):
        return [pd.concat([make_runs(*draw(rng, rate), task=task) for task in tasks]) for rate in rates]

    own, recreated, other = SHORT_TASKS[0], next(name for name in PAPER_TASKS if name not in SHORT_TASKS), "other"
    first, beside = findings("x", pair(own, recreated, other), (1, -1))
    assert first.verdict == HOLDS and first.basis.startswith(f"{own};")
    assert beside.verdict == f"a remark: {HOLDS}" and {own, recreated} <= {*re.split("[; ]", beside.basis)}
    assert [each.basis.split(";")[0] for each in findings("x", pair(own, other), (1, -1))] == [own]
    assert [each.basis.split(";")[0] for each in findings("x", pair(other), (1, -1))] == [other]
    (nothing,) = findings("x", [], ())
    assert nothing.verdict == NOTHING


def test_one_of_many_lines_contradicts_only_at_a_confidence_that_all_keep():
    rng = np.random.default_rng(1)
    tables = [make_runs(*draw(rng, rate, episodes=300)) for rate in (0.5, 0.62)]
    found = finding("x", tables, (1, -1))
    assert found.verdict == FAILS and finding("x", tables, (1, -1), lines=10**6).verdict == UNDECIDED
    assert finding("x", tables, (1, -1), lines=10**6).found == found.found
    assert finding("x", tables[::-1], (1, -1), lines=10**6).verdict == HOLDS


def test_who_starts_lower_is_not_more_robust_for_having_less_to_lose():
    """DP3 from 1 to 0, Mamba Policy from 0.7 to 0: the change favours the latter, the longest horizon does not."""
    rng = np.random.default_rng(0)
    far = [make_runs(*draw(rng, 0.02)) for _ in range(2)]
    near = [make_runs(*draw(rng, rate)) for rate in (0.7, 0.999)]
    level, change = finding("x", far, (1, -1), 2), finding("y", [*far, *near], (1, -1, -1, 1), 2)
    assert change.verdict == HOLDS and together([level.verdict, change.verdict]) == ALIKE


@pytest.mark.parametrize(
    ("verdicts", "expected"),
    [
        ([HOLDS, HOLDS], HOLDS),
        ([HOLDS, UNDECIDED], UNDECIDED),
        ([UNDECIDED, FAILS], FAILS),
        ([HOLDS, "a remark"], HOLDS),
        ([HOLDS, NOTHING], NOTHING),
        ([HOLDS, ALIKE], ALIKE),
        ([UNDECIDED, ALIKE], UNDECIDED),
        ([ALIKE, FAILS], FAILS),
    ],
)
def test_a_claim_needs_all_its_evidence(verdicts, expected):
    assert together(verdicts) == expected
