"""Questions beyond the paper are judged by what was run of the experiments that they name, at a scale of their own."""

import shutil

import numpy as np
import pytest

from mp_lib.study import beyond
from mp_lib.study.claims import ALIKE, FAILS, HOLDS, NOTHING, UNDECIDED, claims_table, together
from mp_lib.study.designs import DESIGNS, POCKET_TASKS, POCKETS, SEARCHED, TELLING_TASKS
from mp_lib.study.runs import keep
from mp_lib.system.paths import published_path
from tests import ROOT
from tests.study.finished import write_run
from tests.study.test_runs import forget_runs

pytestmark = pytest.mark.usefixtures("empty_root")
QUESTIONS = {question.letter: question for question in beyond.QUESTIONS}


def write(method, rate, scale, tasks=POCKET_TASKS, seeds=range(3), episodes=50):
    for task in tasks:
        for seed in seeds:
            outcomes = np.zeros(episodes, int)
            outcomes[: round(rate * episodes)] = 1  # of the same environment seeds, so that pairs differ by rates alone
            write_run(task, method, outcomes.tolist(), seed, scale=scale)


def judged(letter):
    """Evidence on a question by what was run here."""
    return claims_table("smoke", [QUESTIONS[letter]])


def verdict(letter):
    return together([*judged(letter)["verdict"]])


@pytest.mark.parametrize("letter", QUESTIONS)
def test_without_runs_there_is_no_verdict(letter):
    assert verdict(letter) == NOTHING


@pytest.mark.parametrize(("rival", "expected"), [(0.5, HOLDS), (0.9, FAILS)])
def test_the_pocket_policy_may_be_five_points_worse_and_no_more(rival, expected):
    write("pocket_mamba", 0.7, "pocket")
    write("dp3", rival, "quick")
    assert verdict("g") == expected


@pytest.mark.parametrize("rival", [0.72, 0.78])
def test_an_interval_that_reaches_over_the_margin_decides_nothing(rival):
    """Trainings differ here, so that the interval is wider than the way to the margin, whichever side the mean is."""
    for seed, change in enumerate((-0.1, 0, 0.1)):
        write("pocket_mamba", 0.7 + change, "pocket", seeds=[seed])
        write("dp3", rival - change, "quick", seeds=[seed])
    (line,) = judged("g").query("compared.str.contains('ten tasks')").to_dict("records")
    assert line["low"] < -5 < line["high"] and line["verdict"] == UNDECIDED


def test_it_takes_all_of_its_tasks():
    write("pocket_mamba", 0.7, "pocket")
    write("dp3", 0.2, "quick", tasks=POCKET_TASKS[:-1])
    assert verdict("g") == UNDECIDED and "on 9 of the ten tasks" in judged("g")["compared"].iloc[0]


def test_runs_of_dp3_at_another_scale_are_no_rivals():
    write("pocket_mamba", 0.7, "pocket")
    write("dp3", 0.9, "quick")
    write("dp3", 0.2, "pocket", seeds=range(6))
    assert verdict("g") == FAILS
    assert {*beyond.pocket_runs().query("method == 'dp3'")["scale"]} == {"quick"}


def test_runs_of_ones_own_are_not_compared_with_kept_ones_unless_that_was_asked_for():
    write("dp3", 0.5, "quick")
    keep(["quick"])
    forget_runs()
    write("pocket_mamba", 0.7, "pocket")
    assert verdict("g") == NOTHING and {*beyond.pocket_runs()["method"]} == {"pocket_mamba"}
    assert {*beyond.pocket_runs(kept=True)["method"]} == {"pocket_mamba", "dp3"}


def test_a_single_training_says_nothing_of_trainings_at_large():
    write("pocket_mamba", 0.7, "pocket", seeds=[0])
    write("dp3", 0.2, "quick", seeds=[0])
    assert verdict("g") == UNDECIDED


def test_how_often_it_succeeds_is_told_apart_for_tasks_that_its_search_has_seen():
    write("pocket_mamba", 0.6, "pocket", tasks=SEARCHED)
    write("pocket_mamba", 0.9, "pocket", tasks=[task for task in POCKET_TASKS if task not in SEARCHED])
    write("dp3", 0.5, "quick")
    remarks = judged("g").query("verdict.str.startswith('a remark')")
    said = dict(zip(remarks["compared"].str.rpartition(", ")[2], remarks["found"], strict=True))
    assert [said[each].split()[0] for each in said] == ["81.0", "60.0", "90.0"]


@pytest.mark.parametrize(("others", "expected"), [(0.5, HOLDS), (0.7, ALIKE), (0.9, FAILS)])
def test_the_mixer_helps_where_every_other_does_worse(others, expected):
    for method in POCKETS:
        write(method, 0.7 if method == "pocket_mamba" else others, "pocket")
    assert verdict("h") == expected


def test_one_better_rival_decides_against_it():
    for method, rate in zip(POCKETS, (0.7, 0.9, 0.5, 0.5), strict=True):
        write(method, rate, "pocket")
    found = judged("h")
    beside = found["verdict"].str.startswith("a remark")
    assert together([*found["verdict"]]) == FAILS and sum(~beside) == sum(beside) == len(POCKETS) - 1
    assert not {*SEARCHED} & {*", ".join(found["basis"][beside]).replace(";", ",").split(", ")}


def test_mamba_3_is_compared_with_every_other_method_of_its_experiment():
    others = [method for method in DESIGNS["mamba3"].methods if method != beyond.MAMBA_3]
    for method in (beyond.MAMBA_3, *others):
        write(method, 0.8 if method == beyond.MAMBA_3 else 0.5, "quick", tasks=TELLING_TASKS)
    assert [*judged("i")["verdict"]] == [HOLDS] * len(others)


def test_what_a_notebook_shows_has_a_figure_where_the_mixers_were_run():
    published_path().parent.mkdir(parents=True)
    shutil.copy(ROOT / "data/paper/published.csv", published_path())
    assert len([*beyond.show(figures=False)]) == 2
    for count, method in enumerate(POCKETS):
        write(method, 0.5, "pocket", tasks=POCKET_TASKS[:2])
        assert len([*beyond.show(figures=False)]) == (5 if count else 3)  # differences take two
