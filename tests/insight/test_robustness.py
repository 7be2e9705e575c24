"""How far policies carry: paired with the same policy undisturbed, kept apart from runs, said in sentences."""

import subprocess
import sys
from dataclasses import replace

import nbformat
import numpy as np
import pytest

from mp_lib.config import EXPLORING_SEEDS, FINAL_SEEDS, TrainConfig
from mp_lib.insight import robustness
from mp_lib.insight.robustness import of_seeds, policies, possible, reading_table, sentences, what_if
from mp_lib.learning import evaluation
from mp_lib.learning.evaluation import evaluate, evaluation_path
from mp_lib.sim.changes import CHANGES, Disturbance
from mp_lib.sim.tasks import TASKS
from mp_lib.statistics import contrast, wilson_interval
from mp_lib.study.designs import DESIGNS, REPORT
from mp_lib.study.rows import EVALUATIONS, load_runs
from mp_lib.system.errors import InputError
from mp_lib.system.paths import evaluations_path, run_path
from tests import ROOT
from tests.insight.trained import TASK, write_trained

EPISODES = 12
NOTEBOOK = ROOT / "notebooks" / "09_what_if.ipynb"


@pytest.fixture(autouse=True)
def own_root(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    monkeypatch.setattr("mp_lib.model.weights.project", lambda: tmp_path)  # no policy comes with it


@pytest.fixture
def played(monkeypatch):
    """What evaluations were asked for; they succeed the less the stronger a change is, Mamba's from the start less."""
    asked = []

    def play(checkpoint, episodes, first_seed, *, disturbance, **_):
        asked.append((checkpoint.parent.name, disturbance))
        lost = disturbance.strength / CHANGES[disturbance.change].strengths[-1] if disturbance else 0
        kept = round(episodes * (1 - lost * ("mamba" in checkpoint.parent.name)))
        return {"successes": [1] * kept + [0] * (episodes - kept)}

    monkeypatch.setattr(robustness, "evaluate", play)
    return asked


def both():
    return [write_trained("dp3"), write_trained("dp3_mamba")]


def test_every_policy_is_played_once_undisturbed_and_at_every_strength(played):
    both()
    found, missing = policies(TASK)
    table = what_if(found, list(CHANGES), EPISODES)
    assert [each.method for each in found] == ["dp3", "dp3_mamba"] and not missing
    strengths = {(name, each) for name, change in CHANGES.items() for each in (0, *change.strengths)}
    assert len(played) == len({*played}) == 2 * (1 + 3 * len(CHANGES))
    for _, rows in table.groupby("run"):
        assert {*zip(rows["change"], rows["strength"], strict=True)} == strengths
    assert list(dict.fromkeys(table["change"])) == [*CHANGES]


def test_rates_and_differences_are_those_of_the_outcomes(played):
    both()
    table = what_if(policies(TASK)[0], list(CHANGES), EPISODES)
    assert table["difference"].isna().equals(table["strength"] == 0)
    for (_, _), rows in table.groupby(["run", "change"]):
        outcomes = {row.strength: np.array([[*map(int, row.outcomes)]]) for row in rows.itertuples()}
        for row in rows.itertuples():
            successes = outcomes[row.strength].sum()
            expected = [successes / EPISODES, *wilson_interval(successes, EPISODES)]
            np.testing.assert_allclose([row.ours, row.low, row.high], 100 * np.array(expected))
            if row.strength:
                apart = contrast([[outcomes[row.strength]], [outcomes[0]]], (1, -1), same_runs=True)
                found = [row.difference, row.difference_low, row.difference_high]
                np.testing.assert_allclose(found, 100 * np.array([apart.value, apart.low, apart.high]))


def test_sentences_tell_from_which_strength_on_and_beside_whom(played):
    both()
    table = what_if(policies(TASK)[0], list(CHANGES), EPISODES)
    said = sentences(table)
    for line, change in zip(said, CHANGES.values(), strict=True):
        last = f"{change.strengths[-1]:g} {change.unit}"
        assert line.startswith(f"**{change.title}**: DP3 is not told from undisturbed up to {last}: +0 (")
        assert "; Mamba-1 is told from undisturbed from " in line
        assert f"; at {last} the difference of Mamba-1 less that of DP3 is -100 points (" in line
    shown = reading_table(table)
    assert len(shown) == 4 * len(CHANGES) and list(shown["strength"][:2]) == ["0 % of points", "25 % of points"]
    alone = what_if(policies(TASK, ["dp3"])[0], ["points_noisy"], EPISODES)
    assert [line.count(";") for line in sentences(alone)] == [0] and len(reading_table(alone).columns) == 4


@pytest.mark.parametrize(("high", "told"), [(-0.4, "not told from undisturbed up to"), (-0.6, "told from")])
def test_an_interval_that_is_shown_to_reach_zero_tells_nothing(played, high, told):
    write_trained("dp3")
    table = what_if(policies(TASK, ["dp3"])[0], ["points_noisy"], EPISODES)
    changed = table["strength"] > 0
    table.loc[changed, list(robustness.DIFFERENCE)] = (-13.0, -29.0, high)
    assert f"DP3 is {told}" in sentences(table)[0]


@pytest.mark.parametrize("missing", robustness.BESIDE)
def test_one_method_stands_alone_and_a_line_says_so(missing):
    (there,) = {*robustness.BESIDE} - {missing}
    write_trained(there)
    found, (line,) = policies(TASK)
    assert [each.method for each in found] == [there]
    command = f"./run_all.sh quick --methods {missing} --task {TASK}"
    assert line.startswith(f"{missing} is left out: no finished run of method") and line.endswith(f"it: {command}.")


def test_who_is_named_is_not_left_out():
    write_trained("dp3")
    with pytest.raises(InputError, match="no finished run of method dp3_mamba_v2, "):
        policies(TASK, ["dp3", "dp3_mamba_v2"])


def test_policies_of_one_method_are_called_by_their_runs(played):
    names = [write_trained("simple_dp3", seed=seed) for seed in (0, 1)]
    table = what_if(policies(TASK, names)[0], ["camera_turned"], EPISODES)
    assert list(dict.fromkeys(table["policy"])) == names


def test_without_a_policy_of_the_task_a_line_says_what_to_do():
    with pytest.raises(InputError, match="no finished run of method dp3_mamba, .*; train it: ./run_all.sh quick"):
        policies(TASK)
    other = write_trained("simple_dp3", task="metaworld_reach")
    with pytest.raises(InputError, match=f"acts in metaworld_reach; give policies of {TASK}, or that task"):
        policies(TASK, [other])


@pytest.mark.parametrize("task", TASKS)
def test_changes_that_a_task_does_not_have_are_left_out_and_a_line_says_why(task):
    had, told = possible(task, list(CHANGES))
    assert {*had} == {name for name, change in CHANGES.items() if not change.lacks(TASKS[task])}
    assert len(had) + len(told) == len(CHANGES) and (len(told) == 0) == bool(TASKS[task].placed)
    for line in told:
        assert line.startswith(f"object_shifted is left out on {task}: nothing is placed there")


def test_what_would_change_nothing_is_refused():
    with pytest.raises(InputError, match=r"changes \[\] given; give one or more of: points_dropped, "):
        possible(TASK, [])
    with pytest.raises(InputError, match="object_shifted is left out on adroit_pen: nothing"):
        possible("adroit_pen", ["object_shifted"])
    with pytest.raises(InputError, match="unknown change 'fog'"):
        possible(TASK, ["fog"])


@pytest.mark.parametrize(
    ("first", "final"),
    [(EXPLORING_SEEDS, False), (FINAL_SEEDS, True), (FINAL_SEEDS - 5, True), (FINAL_SEEDS - 12, False), (0, False)],
)
def test_seeds_of_the_final_tables_are_told(first, final):
    assert (f"those for exploring begin at {EXPLORING_SEEDS}" in of_seeds(first, 12)) == final


def test_it_is_no_experiment_no_page_and_no_number_of_a_training():
    assert not {name for name in DESIGNS if "what" in name} and not {*CHANGES} & {*TrainConfig.__dataclass_fields__}
    assert not [design.name for design in (*DESIGNS.values(), REPORT) if NOTEBOOK.stem in design.pages]


# Evaluations under a change.


@pytest.fixture
def small(monkeypatch):
    """A run whose episodes last two policy calls."""
    name = write_trained("simple_dp3")
    monkeypatch.setattr(evaluation, "find_task", lambda task: replace(TASKS[task], max_steps=16))
    return run_path(name) / "policy.safetensors"


def test_an_evaluation_under_a_change_is_kept_with_it_and_apart_from_the_run(small):
    before, runs = {*small.parent.rglob("*")}, load_runs()
    disturbance = Disturbance("points_noisy", 10)
    found = evaluate(small, 2, EXPLORING_SEEDS, num_inference_steps=2, device="cpu", disturbance=disturbance)
    assert (found["change"], found["strength"]) == ("points_noisy", 10)
    (path,) = evaluations_path().rglob("*.json")
    assert path.name == found["file"] == f"{EXPLORING_SEEDS}-2-2denoising-points_noisy=10.json"
    assert path.parent.name.startswith(small.parent.name)
    assert {*small.parent.rglob("*")} == before and load_runs().equals(runs)
    at = path.stat().st_mtime_ns
    again = evaluate(small, 2, EXPLORING_SEEDS, num_inference_steps=2, device="cpu", disturbance=disturbance)
    assert again == found | {"interval": [*found["interval"]]} and path.stat().st_mtime_ns == at


def test_no_evaluation_under_a_change_can_pass_for_a_row_of_a_run(small):
    for name in CHANGES:
        for steps in (None, 2):
            path = evaluation_path(small, 30, FINAL_SEEDS, steps, disturbance=Disturbance(name, 5))
            assert not path.is_relative_to(run_path()) and not path.match(EVALUATIONS.partition("/")[2])


def test_simulating_processes_play_the_same_episodes(small):
    disturbance = Disturbance("camera_turned", 10)
    first, again = (
        evaluate(small, 3, EXPLORING_SEEDS, device="cpu", jobs=jobs, disturbance=disturbance, task=task)
        for jobs, task in ((1, ""), (2, TASK))  # a given task is another evaluation, so that both are played
    )
    assert {key: first[key] for key in ("seeds", "successes", "steps")} == {
        key: again[key] for key in ("seeds", "successes", "steps")
    }


def test_a_task_without_the_change_is_refused_before_anything_is_played(monkeypatch):
    name = write_trained("simple_dp3", task="adroit_pen")
    monkeypatch.setattr(evaluation, "rollout", None)
    with pytest.raises(InputError, match="adroit_pen has no object_shifted: nothing is placed there"):
        evaluate(run_path(name) / "policy.safetensors", 1, device="cpu", disturbance=Disturbance("object_shifted", 50))


# The notebook.


def test_the_notebook_runs_with_the_one_policy_that_there_is(tmp_path):
    name, executed = write_trained("dp3_mamba"), tmp_path / "executed.ipynb"
    given = {"episodes": 1, "changes": "points_dropped", "first_seed": FINAL_SEEDS, "jobs": 1}
    command = [sys.executable, "-m", "papermill", str(NOTEBOOK), str(executed)]
    command += [word for each in given.items() for word in ("-p", *map(str, each))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outputs = [output for cell in nbformat.read(executed, 4).cells for output in cell.get("outputs", ())]
    shown = [output.data for output in outputs if output.output_type != "stream"]
    assert sum("image/png" in data for data in shown) == 1
    told = "".join(data.get("text/markdown", "") for data in shown)
    for words in (
        "dp3 is left out: no finished run",
        "a seed of the final tables",
        "**points dropped**: Mamba-1 is not",
    ):
        assert words in told, told
    assert len([*evaluations_path().rglob("*.json")]) == 3
    assert [path.name for path in run_path(name).rglob(f"{FINAL_SEEDS}*.json")] == [f"{FINAL_SEEDS}-1.json"]
    assert {path.suffix for path in (tmp_path / "figures").glob(f"09_what_if_{TASK}.*")} == {
        ".png",
        ".pdf",
        ".csv",
        ".json",
    }
