"""Runs of two recipes never stand side by side, and kept ones stand beside one's own where that is asked for."""

import pytest

from mp_lib.config import EARLIER_FINAL_SEEDS, scale_config
from mp_lib.pipeline.experiment import Experiment
from mp_lib.presets import EARLIER, recipe_of
from mp_lib.study import sentences
from mp_lib.study.claims import basis_of
from mp_lib.study.designs import DESIGNS
from mp_lib.study.evidence import compare
from mp_lib.study.rows import kept_path, load_kept, load_runs
from mp_lib.study.runs import choose_runs, count_changed, keep, result_files, runs_of_design
from mp_lib.system.paths import run_path
from tests.study.finished import write_run
from tests.study.test_runs import TASK, forget_runs

SCALE, RECIPE = next(iter(EARLIER))
METHODS = ("dp3", "dp3_mamba")
pytestmark = pytest.mark.usefixtures("empty_root")


def write(method, won, seed=0, **changes):
    return write_run(TASK, method, won, seed, scale=SCALE, **changes)


def write_earlier(seeds=(0, 1)):
    """Runs of an earlier recipe among those that are kept of it, and nowhere else."""
    for seed in seeds:
        for method in METHODS:
            write(method, [1, 0, 1], seed, recipe=RECIPE)
    table = load_runs()
    path = kept_path(earlier=True)
    path.parent.mkdir(parents=True)
    table.drop(columns=["name", "label", "changed", "protocol", "success_rate", "folder", "kept"]).to_csv(
        path, index=False
    )
    forget_runs()


def test_rows_of_before_say_no_recipe_and_are_of_the_first():
    write_earlier()
    path = kept_path(earlier=True)
    header, *rows = path.read_text().splitlines()
    place = header.split(",").index("recipe")
    path.write_text("\n".join(",".join(_without(line.split(","), place)) for line in (header, *rows)))
    found = load_kept(earlier=True)
    assert set(found["recipe"]) == {1} and set(found["changed"]) == {""}
    assert set(found["name"].str.split("-").str[0]) == {SCALE}


def _without(cells, place):
    return cells[:place] + cells[place + 1 :]


def test_earlier_rows_stand_in_where_there_are_no_others_and_say_so():
    write_earlier()
    runs = choose_runs(SCALE)
    assert len(runs) == 4 and set(runs["recipe"]) == {RECIPE} and result_files(runs) == [kept_path(earlier=True)]
    assert "by an earlier recipe 1" in sentences.of_origin(runs, "./run_all.sh")
    pair = [runs[runs["method"] == method] for method in METHODS]
    assert "by an earlier recipe" in basis_of(compare(pair, (1, -1)), pair)
    assert len(runs_of_design(DESIGNS["width"], SCALE)) == 4


def test_a_single_run_of_todays_recipe_hides_all_earlier_ones():
    write_earlier()
    config = write("dp3", [1, 1, 1])
    for runs in (choose_runs(SCALE), choose_runs(SCALE, kept=True), runs_of_design(DESIGNS["width"], SCALE)):
        assert runs["name"].tolist() == [config.name] and set(runs["recipe"]) == {recipe_of(SCALE)}
    assert "earlier" not in sentences.of_origin(choose_runs(SCALE), "./run_all.sh")


def test_folders_of_an_earlier_recipe_are_in_no_table_and_are_not_kept():
    write("dp3", [1, 0, 1], recipe=RECIPE)
    assert len(load_runs()) == 1 and choose_runs(SCALE).empty and runs_of_design(DESIGNS["width"], SCALE).empty
    assert count_changed(SCALE) == 0 and keep([SCALE])[0] == 0 and not kept_path().exists()


def test_results_on_the_environment_seeds_of_before_stay_what_they_are():
    config = write("dp3", [1, 0, 1], first_seed=EARLIER_FINAL_SEEDS)
    assert choose_runs(SCALE)["name"].tolist() == [config.name]


def test_kept_runs_stand_beside_ones_own_where_that_is_asked_for():
    write("dp3", [1, 1, 1], seed=0)
    write("dp3", [1, 1, 0], seed=1)
    keep([SCALE])
    forget_runs()
    own = write("dp3", [0, 0, 0], seed=1)
    assert choose_runs(SCALE)["name"].tolist() == [own.name]
    both = choose_runs(SCALE, kept=True)
    assert both["seed"].tolist() == [0, 1] and both["successes"].tolist() == [3, 0]
    assert both["kept"].tolist() == [True, False]
    assert choose_runs(SCALE, own=False)["successes"].tolist() == [3, 2]
    assert runs_of_design(DESIGNS["width"], SCALE, kept=True)["successes"].tolist() == [3, 0]
    assert runs_of_design(DESIGNS["width"], SCALE, own=False)["successes"].tolist() == [3, 2]


def test_runs_whose_rows_are_kept_are_not_made_again_where_that_is_asked_for():
    kept = write("dp3", [1, 1, 1])
    keep([SCALE])
    forget_runs()
    asked = {"tasks": (TASK,), "methods": METHODS, "seeds": (0,)}
    first, second = (Experiment(SCALE, DESIGNS["first"], **asked, kept=each) for each in (False, True))
    assert [config.name for config in first.due()] == [config.name for config in first.configs()]
    assert [config.method for config in second.due()] == ["dp3_mamba"] and kept in second.configs()
    trainings = [step for step in second.steps(2) if step.kind == "training"]
    assert [step.parameters["method"] for step in trainings] == ["dp3_mamba"]
    pages = {step.notebook: step.parameters for step in second.steps(2) if step.kind == "page"}
    assert pages["05_tables.ipynb"]["kept"] and pages["05_tables.ipynb"]["tasks"] == [TASK]


def test_an_experiment_of_which_all_is_kept_has_pages_alone():
    for seed in (0, 1):
        write("dp3", [1, 1, 1], seed)
    keep([SCALE])
    forget_runs()
    experiment = Experiment(SCALE, DESIGNS["width"], (TASK,), ("dp3",), (0, 1), kept=True)
    steps = experiment.steps(2)
    assert {step.kind for step in steps} == {"page"} and experiment.runs() == {}
    assert steps[0].parameters["experiments"] == ["width"] and steps[0].products


def test_another_recipe_is_another_run():
    today, before = scale_config(SCALE, TASK, "dp3"), scale_config(SCALE, TASK, "dp3", recipe=RECIPE)
    assert run_path(today.name) != run_path(before.name)
