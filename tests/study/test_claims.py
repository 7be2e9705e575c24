"""What was run here and what is kept answer side by side, and a verdict rests on whichever has more trainings."""

import numpy as np
import pytest

from mp_lib.study import claims
from mp_lib.study.claims import HOLDS, NOTHING, UNDECIDED, together
from mp_lib.study.rows import kept_path
from mp_lib.study.runs import keep, telling_runs
from tests.study.finished import write_run
from tests.study.test_recipes import SCALE, write_earlier
from tests.study.test_runs import TASK, forget_runs

PAIR = {"dp3_mamba": 0.95, "dp3": 0.3}  # Mamba-1 is far better
pytestmark = pytest.mark.usefixtures("empty_root")


def write(seeds, methods=tuple(PAIR), **changes):
    """Runs of these training seeds, each of 40 episodes."""
    for seed in seeds:
        for method in methods:
            rng = np.random.default_rng([seed, len(method)])
            write_run(TASK, method, rng.binomial(1, PAIR[method], 40).tolist(), seed, scale=SCALE, **changes)


def keep_and_forget(seeds, **changes):
    write(seeds, **changes)
    keep([SCALE])
    forget_runs()


def lines(letter="a", **which):
    """The findings on a claim; others are not judged, since counting costs takes long."""
    asked = [claim for claim in claims.CLAIMS if claim.letter == letter]
    return claims.claims_table(SCALE, asked, **which).to_dict("records")


@pytest.mark.parametrize(
    ("kept", "own", "first", "verdict"),
    [
        (3, 1, "kept in data/results", HOLDS),
        (3, 2, "kept in data/results", HOLDS),
        (3, 3, "run here", HOLDS),
        (1, 3, "run here", HOLDS),
        (1, 1, "run here", UNDECIDED),
    ],
)
def test_the_verdict_rests_on_most_trainings_and_the_others_stand_beside(kept, own, first, verdict):
    keep_and_forget(range(kept))
    write(range(10, 10 + own))
    chosen, beside = lines()
    assert chosen["trainings"] == max(kept, own) and beside["trainings"] == min(kept, own)
    assert chosen["basis"].endswith(first)
    assert {each["basis"].rpartition("; ")[2] for each in (chosen, beside)} == {"run here", "kept in data/results"}
    assert chosen["verdict"] == together([chosen["verdict"], beside["verdict"]]) == verdict
    assert beside["verdict"].startswith("a remark: ")


def test_rates_too_are_those_that_rest_on_more_trainings():
    keep_and_forget(range(3))
    write([10])
    assert telling_runs(SCALE)["kept"].all() and telling_runs(SCALE)["seed"].nunique() == 3
    write([11, 12])
    assert not telling_runs(SCALE)["kept"].any()  # one's own of equally many
    assert telling_runs(SCALE, kept=True)["seed"].nunique() == 6


def test_runs_that_answer_nothing_hide_nothing():
    keep_and_forget(range(3))
    write([10], methods=["dp3"])
    (line,) = lines()
    assert line["verdict"] == HOLDS and line["basis"].endswith("kept in data/results")
    forget_runs()
    kept_path().unlink()
    write([10])
    (line,) = lines()
    assert line["verdict"] == UNDECIDED and line["basis"].endswith("run here")


def test_each_line_of_a_claim_rests_on_its_own_most_trainings():
    keep_and_forget(range(2))
    write([10])
    write(range(10, 13), horizon=64, n_action_steps=32)
    keep([SCALE])  # one at the usual horizon, three at the longest
    for line in lines("c"):
        assert line["verdict"] != NOTHING
    longest, *_ = lines("c")
    assert longest["trainings"] == 3 and len({line["compared"] for line in lines("c")}) == 2


def test_with_kept_ones_among_ones_own_there_is_one_line_and_without_ones_own_too():
    keep_and_forget(range(3))
    write([10])
    for which, trainings, basis in (
        ({"kept": True}, 4, "run here and kept in data/results"),
        ({"own": False}, 3, "kept in data/results"),
    ):
        (line,) = lines(**which)
        assert line["trainings"] == trainings and line["basis"].endswith(f"; {basis}")


def test_runs_by_an_earlier_recipe_stand_beside_ones_own_until_these_are_as_many():
    write_earlier(range(3))
    (line,) = lines()
    assert line["trainings"] == 3 and "by an earlier recipe" in line["basis"]
    write([10])
    first, beside = lines()
    assert first["trainings"] == 3 and "by an earlier recipe" in first["basis"]
    assert beside["trainings"] == 1 and "earlier" not in beside["basis"] and "remark" in beside["verdict"]
    write([11, 12])
    assert lines()[0]["trainings"] == 3 and "earlier" not in lines()[0]["basis"]


def test_what_needs_no_run_is_said_once():
    keep_and_forget(range(3))
    write([10])
    counted = [len(lines(letter)) for letter in "bf"]
    forget_runs()
    assert counted == [len(lines(letter)) for letter in "bf"]
