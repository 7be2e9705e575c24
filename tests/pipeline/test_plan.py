"""What a plan says: what is there costs nothing, the rest what its like has taken, and nothing is written."""

import json
import math
import os
import subprocess
from dataclasses import replace

import numpy as np
import pytest
import torch

from mp_lib.__main__ import main
from mp_lib.config import scale_config
from mp_lib.data.recording import store_path
from mp_lib.data.windows import split_episodes, window_frames
from mp_lib.learning.folder import PRODUCTS
from mp_lib.learning.training import policy_config
from mp_lib.model.policy import build_policy
from mp_lib.pipeline.estimates import (
    ALIKE,
    BENCHMARK,
    FOREIGN,
    MEASURED,
    NOTEBOOK_SECONDS,
    OWN,
    Estimator,
    kept_timings_on,
    measure_step,
)
from mp_lib.pipeline.experiment import Experiment
from mp_lib.pipeline.plan import NAMES, Outlook
from mp_lib.pipeline.workload import Workload, count_parameters
from mp_lib.presets import METHODS
from mp_lib.sim.tasks import TASKS
from mp_lib.study.designs import DESIGNS
from mp_lib.study.efficiency import every_timing
from mp_lib.system.files import write_json
from mp_lib.system.paths import run_path
from tests import ROOT
from tests.study.finished import write_run

TASK = "metaworld_drawer-open"
NOWHERE = "a device that nobody has measured"
KEPT_ON = "AMD EPYC x86_64"  # in data/results


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    """An empty root."""
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    return tmp_path


def training(scale="smoke", method="dp3_narrow", task=TASK, device=NOWHERE, measure=None, threads=math.inf, **changes):
    """The estimate of a training, and its step."""
    config = scale_config(scale, task, method, **changes)
    step = Experiment(scale).training(config)
    return Estimator({step.name: config}, device, threads, measure).of(step), step


def record(config, lengths):
    """A store that says how long its episodes are."""
    path = store_path(config)
    path.mkdir(parents=True)
    write_json(path / ".zattrs", {"episodes": [{"frames": length} for length in lengths]})


@pytest.mark.parametrize("changes", [{}, {"horizon": 64, "n_action_steps": 32}, {"horizon": 4, "n_action_steps": 2}])
@pytest.mark.parametrize("split", ["all", "released"])
def test_the_steps_of_a_run_are_those_of_its_windows(changes, split):
    config = scale_config("paper", "dexart_laptop", "dp3", num_demos=4, split=split, **changes)
    bound = Workload.of(config)
    lengths = [80, 7, 250, 20]
    record(config, lengths)
    found = Workload.of(config)
    kept, _ = split_episodes(4, split)
    sizes = {key: getattr(config, key) for key in ("horizon", "n_obs_steps", "n_action_steps")}
    windows = len(window_frames(np.cumsum(lengths), demo_episodes=kept, **sizes))
    assert found.steps == 3000 * math.ceil(windows / 128) < bound.steps
    assert bound.bounded and not found.bounded
    assert (found.frames, found.recorded, bound.recorded) == (357, 357, 0)
    assert found.episodes == 15 * 20  # after the first epoch and every 200th from there on


def test_episodes_whose_length_is_fixed_are_no_bound():
    for task, spec in TASKS.items():
        assert Workload.of(scale_config("paper", task, "dp3")).bounded == spec.ends_at_goal
    assert not Workload.of(scale_config("quick", "dexart_laptop", "dp3")).bounded  # which counts steps


@pytest.mark.parametrize("method", METHODS)
def test_parameters_are_counted_without_making_them(method):
    config = policy_config(scale_config("smoke", TASK, method), TASKS[TASK])
    assert count_parameters(config) == sum(each.numel() for each in build_policy(config).parameters())


def test_twice_the_steps_and_the_episodes_take_twice_as_long():
    write_run(TASK, "dp3_narrow", [1, 0])
    once, _ = training(device="cpu", seed=1)
    twice, _ = training(device="cpu", seed=1, num_steps=16, final_episodes=4)
    assert once.source == ALIKE and once.seconds == pytest.approx(61 + NOTEBOOK_SECONDS)
    assert twice.seconds - NOTEBOOK_SECONDS == pytest.approx(2 * (once.seconds - NOTEBOOK_SECONDS))
    assert twice.counted == pytest.approx(2 * once.counted) == pytest.approx(120)


def test_of_all_that_is_known_what_is_nearest_counts():
    """Each source beside all that come after it."""
    paper = {"scale": "paper", "method": "dp3_mamba"}
    measured = {"measure": lambda config: 2.0}
    assert training(**paper)[0] is None
    assert training(scale="quick", method="dp3_mamba")[0].source == FOREIGN  # kept rows of another device
    assert training(**paper, **measured)[0].source == MEASURED
    benchmark, _ = training(**paper, **measured, device=KEPT_ON)
    assert benchmark.source == BENCHMARK
    write_run(TASK, "dp3_mamba", [1, 0], seed=1, scale="paper")
    result = json.loads((run_path(f"paper-{TASK}-dp3_mamba-seed1") / "result.json").read_text())
    write_json(run_path(f"paper-{TASK}-dp3_mamba-seed1") / "result.json", result | {"device": KEPT_ON})
    alike, step = training(**paper, **measured, device=KEPT_ON)
    assert alike.source == ALIKE and alike.seconds < benchmark.seconds
    step.finish("an earlier key", 1234)
    assert training(**paper, **measured, device=KEPT_ON)[0].seconds == 1234
    write_run(TASK, "dp3_mamba", [1, 0], scale="paper")
    own, _ = training(**paper, **measured, device="cpu")
    assert own.source == OWN and own.seconds == 61 + NOTEBOOK_SECONDS


def test_the_kept_benchmark_takes_longer_with_fewer_threads():
    kept = every_timing()
    device, key = kept["device"].iloc[0], ("train_step", 128, "dp3", "", 16)
    of = {threads: kept_timings_on(device, threads)[key] for threads in (1, 2, math.inf)}
    assert of[1] == 2 * of[2] == 2 * of[math.inf]
    fine, more = (training("paper", "dp3", device=device, num_steps=steps)[0] for steps in (100, 200))
    assert more.counted - fine.counted > 100 * of[2]  # the encoder's share comes on top


def test_a_training_that_was_begun_takes_what_is_left_and_one_that_is_done_its_notebook_alone():
    write_run(TASK, "dp3_narrow", [1, 0])
    whole, step = training(device="cpu", seed=1)
    run_path(step.name).mkdir()
    write_json(run_path(step.name) / "training.json", {"step": 6})
    rest, _ = training(device="cpu", seed=1)
    assert rest.counted == pytest.approx(whole.counted / 4)
    for name in PRODUCTS:
        (run_path(step.name) / name).touch()
    assert training(device="cpu", seed=1)[0].seconds == NOTEBOOK_SECONDS


def test_a_method_is_measured_once_and_bounds_its_smaller_runs():
    asked = []
    large, small = (scale_config("paper", task, "dp3") for task in ("dexart_bucket", TASK))
    steps = [Experiment("paper").training(config) for config in (large, small)]
    estimator = Estimator(
        {step.name: config for step, config in zip(steps, (large, small), strict=True)},
        NOWHERE,
        measure=lambda config: asked.append(config) or 1.0,
    )
    first, second = map(estimator.of, steps)
    assert asked == [large] and not first.bounded and second.bounded
    assert first.seconds > Workload.of(large).steps

    def fail(config):
        raise RuntimeError("out of memory\nmuch more")

    assert Estimator({steps[0].name: large}, NOWHERE, measure=fail).of(steps[0]) is None


@pytest.mark.parametrize("method", METHODS)
def test_a_measurement_takes_every_method_and_no_random_numbers(method):
    torch.manual_seed(7)
    before = torch.random.get_rng_state()
    assert 0 < measure_step(scale_config("smoke", TASK, method), torch.device("cpu"), 1) < 10
    assert torch.equal(before, torch.random.get_rng_state())


def outlook(steps, runs, jobs=2):
    return Outlook.of("it", steps, runs, None, jobs, 1)


def test_what_is_there_counts_nothing(root):
    experiment = Experiment("smoke", replace(DESIGNS["first"], pages=("00_overview",)))
    steps, runs = experiment.steps(2), experiment.runs()
    before = outlook(steps, runs)
    assert len(before.due) == len(steps) == 10  # a recording, seven trainings, a page, films
    record(next(iter(runs.values())), [200, 200])
    for step in steps:
        for path in (step.executed, *step.products):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.touch()
        step.finish(step.key(), 5)
    after = outlook(steps, runs)
    assert not after.due and "nothing is due" in after.text() and "0.0 GB to stay" in after.text()
    trained = [step for step in steps if step.kind == "training"]
    for step in trained:
        step.stamp.unlink()
    behind = outlook(steps, runs)
    names = {step.name for step in trained}
    films = {step.name for step in steps if {*step.needs, *step.after} & names}  # of policies to come, and 00
    assert {step.name for step in behind.due} == names | films
    assert all(behind.estimates[step.name].seconds == NOTEBOOK_SECONDS for step in trained)


@pytest.mark.parametrize("name", DESIGNS)
def test_every_experiment_can_be_planned(name):
    experiment = Experiment("smoke", DESIGNS[name], device="cpu")
    steps = experiment.steps(2)
    found = outlook(steps, experiment.runs())
    assert {*found.estimates} == {step.name for step in steps}
    lines = found.text().splitlines()
    assert lines[0].startswith(f"it: {len(steps)} steps, {len(steps)} of them due")
    counts = [int(line.split()[-len(line[NAMES:].split())]) for line in lines[2 : lines.index("")]]
    assert sum(counts) == len(steps)


def tree(folder):
    return {path: (path.is_file() and path.read_bytes(), path.stat().st_mtime_ns) for path in folder.rglob("*")}


@pytest.mark.parametrize(
    "arguments", ["", "--engine snakemake --jobs 3", "--engine snakemake --profile profiles/slurm --device cuda"]
)
def test_a_plan_writes_nothing_and_runs_without_a_gpu(root, monkeypatch, capsys, arguments):
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    config = scale_config("smoke", TASK, "dp3")
    record(config, [200, 200])
    write_run(TASK, "dp3", [1, 0])
    before = tree(root)
    assert main(["run", "smoke", "--methods", "dp3", "dp3_mamba", "--plan", *arguments.split()]) == 0
    assert tree(root) == before
    printed = capsys.readouterr().out
    for told in ("training dp3 ", "training dp3_mamba ", "on a cluster", "the longest step: ", "free: ", "due"):
        assert told in printed


@pytest.mark.parametrize(("arguments", "installs"), [((), True), (("--plan",), False)])
def test_a_plan_by_snakemake_installs_no_more_than_one_without(tmp_path, arguments, installs):
    (tmp_path / "bin").mkdir()
    python = tmp_path / "bin" / "python"
    python.write_text(f"#!/bin/sh\necho {tmp_path}\n")
    python.chmod(0o755)
    variables = os.environ | {"PATH": f"{tmp_path / 'bin'}:{os.environ['PATH']}"}
    command = ["bash", str(ROOT / "run_all.sh"), "paper", "--engine", "snakemake", *arguments, "--env", "active"]
    subprocess.run(command, check=True, capture_output=True, env=variables)
    (stamp,) = tmp_path.glob(".mp_lib-*")
    assert ("cluster" in stamp.name) is installs
