"""Experiments as data: whole at every scale, shared runs have one name, every arm can be built."""

import re
from dataclasses import asdict
from pathlib import Path

import pytest

from mp_lib.config import scale_config
from mp_lib.drawing.success import DRAWN
from mp_lib.learning.training import policy_config
from mp_lib.model.policy import build_policy
from mp_lib.pipeline.experiment import Experiment
from mp_lib.pipeline.options import EXPERIMENTS, WITHOUT_RUNS
from mp_lib.presets import METHODS, PAPER_METHODS, SCALES
from mp_lib.sim.tasks import PAPER_TASKS, TASKS
from mp_lib.study.designs import ABLATIONS, DESIGNS, REPORT, SHOWING

EVERY = [(name, scale) for name in DESIGNS for scale in SCALES]


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_every_design_is_whole_at_every_scale(name, scale):
    design = DESIGNS[name]
    assert design.name == name and design.drawn in DRAWN and design.asks.endswith("?")
    assert design.reference in METHODS or design.reference in [arm.label for arm in design.arms]
    planned = design.configs(scale)
    configs = [config for _, config in planned]
    assert len({config.name for config in configs}) == len(configs) > 1
    assert {config.task for config in configs} <= {*TASKS} and {config.scale for config in configs} == {scale}
    assert {arm.label for arm, _ in planned} == {arm.label for arm in design.arms}


@pytest.mark.parametrize(("name", "scale"), EVERY)
def test_steps_come_after_what_they_need_and_have_names_of_their_own(name, scale):
    steps = Experiment(scale, DESIGNS[name]).steps(cores=2)
    places = {step.name: place for place, step in enumerate(steps)}
    assert len(places) == len(steps) == len({step.executed for step in steps})
    for place, step in enumerate(steps):
        assert all(places[needed] < place for needed in (*step.needs, *step.after))
    assert {step.notebook for step in steps} >= {"01_demonstrations.ipynb", "03_train.ipynb"}


@pytest.mark.parametrize("name", ABLATIONS)
def test_every_arm_can_be_built_and_changes_the_policy_or_how_it_is_trained(name):
    for arm, config in DESIGNS[name].configs("smoke"):
        build_policy(policy_config(config, TASKS[config.task]))
        usual = scale_config("smoke", config.task, config.method, config.seed)
        assert (config == usual) == (not arm_changes(arm, config))


def arm_changes(arm, config):
    """What an arm asks for that the scale does not have."""
    usual = asdict(scale_config(config.scale, config.task, config.method, config.seed))
    own = {"blocks_per_level": METHODS[config.method].blocks_per_level}
    changes = {**arm.changes, **arm.by_run(config.scale, config.seed)}
    wanted = {key: value for key, value in changes.items() if value not in (usual[key], own.get(key))}
    return wanted or arm.narrower != 1


def test_designs_share_the_runs_that_they_have_in_common():
    plain = {config.name for _, config in DESIGNS["main"].configs("quick", tasks=["adroit_door"])}
    for name in ("variants", "width", "attention", "horizon", "demonstrations", "denoising", "size"):
        shared = {config.name for _, config in DESIGNS[name].configs("quick", tasks=["adroit_door"])} & plain
        assert len(shared) == 3 * len({*DESIGNS[name].methods} & {*PAPER_METHODS}), name


def test_the_main_table_is_the_papers_ten_tasks_with_three_seeds():
    for scale in ("quick", "paper"):
        configs = [config for _, config in DESIGNS["main"].configs(scale)]
        assert {config.task for config in configs} == {*PAPER_TASKS} and {config.seed for config in configs} == {
            0,
            1,
            2,
        }
        assert len(configs) == 10 * 3 * len(PAPER_METHODS)


def test_the_horizon_executes_half_of_what_is_predicted():
    assert [(arm.changes["horizon"], arm.changes["n_action_steps"]) for arm in DESIGNS["horizon"].arms] == [
        *((4, 2), (16, 8), (32, 16), (64, 32))
    ]


def test_denoising_steps_share_a_training():
    steps = Experiment("quick", DESIGNS["denoising"], seeds=(0,), methods=("dp3_mamba",)).steps(cores=2)
    trainings = [step for step in steps if step.notebook == "03_train.ipynb"]
    evaluations = [step for step in steps if step.notebook == "04_evaluate.ipynb"]
    assert len(trainings) == 1 and trainings[0].name == "quick2-metaworld_drawer-open-dp3_mamba-seed0"
    assert [step.parameters["num_inference_steps"] for step in evaluations] == [1, 2, 4]
    assert all(step.needs == (trainings[0].name,) for step in evaluations)


def test_what_is_given_replaces_what_is_planned():
    experiment = Experiment("quick", DESIGNS["horizon"], ("metaworld_reach",), ("dp3_narrow",), (7,))
    configs = experiment.configs()
    assert {(config.task, config.method, config.seed) for config in configs} == {("metaworld_reach", "dp3_narrow", 7)}
    assert sorted(config.horizon for config in configs) == [4, 16, 32, 64]


def test_the_report_runs_nothing():
    names = {Path(step.notebook).stem for step in Experiment("quick", REPORT).steps(cores=2)}
    assert names == {*REPORT.pages, "films"}


def test_the_report_films_hydra_beside_dp3_and_looks_at_hydra_again():
    steps = {step.name: step for step in Experiment("quick").steps(cores=2)}
    films, again = steps["quick-films"], steps["quick-04_evaluate"]
    filmed = [Path(path).parent.name for path in films.parameters["checkpoints"]]
    assert [name.split("-")[-2] for name in filmed] == ["dp3_mamba_hydra", "dp3"] and films.needs == tuple(filmed)
    assert again.parameters["checkpoint"] == films.parameters["checkpoints"][0]


def test_help_names_every_experiment():
    assert re.split(", ", EXPERIMENTS) == list(DESIGNS) and list(WITHOUT_RUNS) == list(SHOWING)
