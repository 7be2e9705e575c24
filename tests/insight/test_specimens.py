"""Trained policies are looked into before fresh ones, recorded windows before random numbers, and it is said which."""

import json
import os
import subprocess
import sys
from dataclasses import asdict
from pathlib import Path

import nbformat
import numpy as np
import pytest
import torch

from mp_lib.config import FINAL_SEEDS, scale_config
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.insight import mixing, receptive_field, specimens
from mp_lib.learning.training import policy_config
from mp_lib.model.checkpoint import load_policy, save_policy
from mp_lib.model.mixers import MIXERS
from mp_lib.model.policy import build_policy
from mp_lib.presets import METHODS
from mp_lib.sim.tasks import find_task
from mp_lib.study.designs import VARIANTS
from mp_lib.system.paths import demos_path, run_path

TASK = "metaworld_drawer-open"
NOTEBOOK = Path(__file__).parents[2] / "notebooks" / "02_model_anatomy.ipynb"


@pytest.fixture(autouse=True)
def own_root(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))


def record():
    """Two made-up demonstrations of 20 steps where those of the smoke scale lie."""
    spec, config = find_task(TASK), scale_config("smoke", TASK, "dp3")
    shapes = {"point_cloud": (config.num_points, 3), "state": (spec.state_dim,), "action": (spec.action_dim,)}
    path = demos_path(TASK, config.num_points, config.num_demos)
    store, random = ReplayBuffer.create(path, shapes, {"task": TASK}), np.random.default_rng(0)
    for _ in range(2):
        store.append({key: random.uniform(-1, 1, (20, *shape)).astype(np.float32) for key, shape in shapes.items()}, {})
    return path


def train(method, seed=0, age=0, **changes):
    """A finished run of the smoke scale, ``age`` seconds old; returns its checkpoint."""
    config = scale_config("smoke", TASK, method, seed, **changes)
    path = run_path(config.name) / "policy.safetensors"
    path.parent.mkdir(parents=True)
    save_policy(path, build_policy(policy_config(config, find_task(TASK))))
    result = {
        "config": asdict(config),
        "demonstrations": {"expert": "somebody", "episodes": 2, "depth_backend": "rays"},
        "final": {"seeds": [FINAL_SEEDS], "successes": [1], "interval": [0, 1]},
        "seconds": {"train": 1, "evaluate": 1},
        **dict.fromkeys(("loss", "parameters", "peak_memory_bytes", "device", "commit")),
        "curve": [],
    }
    (path.parent / "result.json").write_text(json.dumps(result))
    os.utime(path, (1e9 - age, 1e9 - age))
    return path


def of_mixers(method="dp3_mamba_hydra"):
    return {each.mixer: each for each in specimens.one_a_mixer("smoke", TASK, method)}


def test_without_data_weights_are_fresh_at_the_scales_widths_and_windows_random():
    found = of_mixers()
    assert all(each.weights == specimens.FRESH and not each.files for each in found.values())
    said = specimens.basis(list(found.values()), 1, 50)
    assert "fresh at the scale `smoke` (widths / 4) for `mamba1`" in said and "newest" not in said
    assert "`attention` (in `dp3_mamba_hydra`)" in said and "random numbers, since" in said
    policy = found["mamba2"].policy()
    assert policy.config.down_dims == (32, 64, 128) and not policy.training
    noisy, step, cond = found["mamba2"].inputs(policy, 3, 50)
    assert noisy.shape == (3, 16, 4) and step.tolist() == 3 * [50] and cond.isfinite().all()
    assert torch.equal(noisy, found["mamba2"].inputs(found["mamba2"].policy(), 3, 50)[0])


def test_the_newest_run_is_looked_into():
    train("dp3_mamba_hydra", seed=0, age=10)
    newest = train("dp3_mamba_hydra", seed=2)
    train("dp3_mamba_hydra", seed=1, age=20)
    train("dp3_mamba_hydra", seed=3, num_steps=9)  # changed the scale's numbers: another experiment
    found = of_mixers()
    assert found["hydra"].checkpoint == found["attention"].checkpoint == newest
    assert found["mamba1"].checkpoint is None
    weights, stored = found["hydra"].policy().state_dict(), load_policy(newest)[0].state_dict()
    assert all(torch.equal(weights[name], stored[name]) for name in stored)
    said = specimens.basis(list(found.values()), 1, 50)
    assert "newest finished run at the scale `smoke` (widths / 4)" in said and "fresh" in said


def test_attention_is_looked_at_where_it_runs():
    released = train("dp3_mamba_hydra", attention="released")
    found = of_mixers()
    assert found["hydra"].checkpoint == released and found["attention"].checkpoint is None
    assert of_mixers("dp3")["attention"].method == VARIANTS[-1]


def test_inputs_are_recorded_windows_noised():
    path, checkpoint = record(), train("dp3_mamba")
    found = of_mixers()["mamba1"]
    assert found.files == [checkpoint, path]
    policy = found.policy()
    noisy, step, cond = found.inputs(policy, 1, 0)  # hardly any noise
    window = found.windows.batch([len(found.windows) // 2])
    torch.testing.assert_close(noisy, policy.normalizer.normalize("action", window["actions"]), rtol=0, atol=0.1)
    torch.testing.assert_close(cond, policy.encode(window["point_cloud"], window["state"]))
    said = specimens.basis([found], 1, 0)
    assert f"the middle one of all {len(found.windows)} windows of `{path.name}`, noised at step 0" in said


@pytest.mark.parametrize(("count", "step", "wrong"), [(1, 100, "from 0 to 99"), (0, 50, "at least 1")])
def test_numbers_that_do_not_fit_are_refused(count, step, wrong):
    record()
    train("simple_dp3")
    found = specimens.one_a_method("smoke", TASK)[1]
    with pytest.raises(ValueError, match=wrong):
        found.inputs(found.policy(), count, step)


def test_tables_say_whose_weights_they_are_and_are_exact():
    record()
    for method in METHODS:
        train(method)
    chosen = specimens.one_a_mixer("smoke", TASK, "dp3_mamba")
    table = mixing.mixing_table(chosen)
    assert len(table) == len(MIXERS) * 16**2 and table["weight"].between(0, 1).all() and table["error"].max() < 1e-12
    assert set(table["weights"]) == {each.weights for each in chosen} and len(specimens.files(chosen)) == len(MIXERS)
    later = table[table["source"] > table["to"]].groupby("mixer")["weight"].max()
    assert set(later.index[later == 0]) == {"mamba1", "mamba2", "mamba3"}
    fields = receptive_field.field_table(specimens.one_a_method("smoke", TASK), 1)
    np.testing.assert_allclose(fields.groupby(["method", "to"])["share"].sum(), 1, rtol=1e-5)
    assert list(fields["method"].unique()) == list(METHODS) and (fields["gradient"] >= 0).all()


@pytest.mark.slow
def test_the_notebook_runs_without_runs_and_demonstrations(tmp_path):
    executed = tmp_path / "executed.ipynb"
    command = [sys.executable, "-m", "papermill", str(NOTEBOOK), str(executed), "-p", "scale", "smoke"]
    done = subprocess.run([*command, "-p", "num_windows", "1"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    outputs = [output for cell in nbformat.read(executed, 4).cells for output in cell.get("outputs", ())]
    shown = [output.data for output in outputs if output.output_type != "stream"]
    assert sum("image/png" in data for data in shown) == 5
    assert sum("has not been recorded" in data.get("text/markdown", "") for data in shown) == 2
