"""Engines: all predict what the policy predicts; what cannot be is said in one line; exports need no torch."""

import json
import subprocess
import sys

import numpy as np
import pytest
import torch

from mp_lib.acting import own_export
from mp_lib.acting.engine import OnnxEngine, TorchEngine, load_engine
from mp_lib.acting.exporting import export, write_export
from mp_lib.acting.exports import FILES
from mp_lib.acting.facts import facts_of
from mp_lib.acting.loading import load_weights
from mp_lib.geometry.kinds import Layout
from mp_lib.geometry.relative import Relative
from mp_lib.presets import METHODS
from tests import ROOT
from tests.acting.exported import KINDS, by_torch, make_policy, observed, save_run

SMALL = {"rtol": 0, "atol": 1e-5}


@pytest.mark.slow
@pytest.mark.parametrize("method", METHODS)
def test_an_export_of_every_method_predicts_what_the_policy_does(method, tmp_path):
    policy = make_policy(method)
    export(save_run(tmp_path / "run", policy), tmp_path / "export")
    engine = OnnxEngine.load(tmp_path / "export")
    for seed in range(3):
        given = observed(policy.config, seed)
        np.testing.assert_allclose(engine.predict(*given), by_torch(policy, *given), **SMALL)


def test_an_export_predicts_what_the_policy_does_with_any_number_of_steps(run, exported):
    policy, _ = run
    for steps in (1, 2, 3, 10, 100):
        given = observed(policy.config, steps)
        engine = OnnxEngine.load(exported, num_inference_steps=steps)
        expected = by_torch(policy.with_steps(steps), *given)
        found = engine.predict(*given)
        np.testing.assert_allclose(found, expected, **SMALL)
        assert found.dtype == np.float32 and found.shape == (16, 4)
        assert (found[:, 2] == np.float32(0.25)).all()  # which is constant in the demonstrations


def test_relative_actions_are_undone_by_all_engines_and_refused_by_the_example(tmp_path):
    policy = make_policy(state_dim=8, action_dim=10, actions="relative", **KINDS)
    facts = facts_of(policy.config, {"task": "my_arm"}, "")
    write_export(policy, facts, None, tmp_path)
    cloud, state, noise = observed(policy.config)
    engine = OnnxEngine.load(tmp_path)
    layout = Layout.parse(KINDS["state_kinds"], 8)
    decided = policy.decide(
        {"point_cloud": torch.from_numpy(cloud)[None], "state": torch.from_numpy(state)[None]},
        torch.from_numpy(noise)[None],
    )
    expected = Relative(layout, layout).decode(decided[0].detach().numpy(), state[-1])
    np.testing.assert_allclose(by_torch(policy, cloud, state, noise), expected, **SMALL)
    for each in (engine, TorchEngine(policy, facts)):
        found = each.predict(cloud, state, noise)
        assert found.shape == (16, 8) and found.dtype == np.float32
        np.testing.assert_allclose(found, expected, **SMALL)
    assert engine.facts == facts and engine.seen.action_low is None and engine.seen.state_low.shape == (8,)
    done = run_example(tmp_path, tmp_path / "observed.npz", cloud=cloud, state=state, noise=noise)
    assert done.returncode == 1 and "relative to the state" in done.stderr and len(done.stderr.splitlines()) == 1


def run_example(folder, path, cloud, state, noise):
    """The example in an interpreter that finds nothing of this project."""
    np.savez(path, point_cloud=cloud, state=state, noise=noise)
    script = ROOT / "examples" / "onnx_policy.py"
    code = f"import sys, runpy; sys.modules.update(dict.fromkeys(('mp_lib', 'torch'))); sys.argv = {sys.argv[:0]!r}"
    code += f"+ ['', {str(folder)!r}, {str(path)!r}]; runpy.run_path({str(script)!r}, run_name='__main__')"
    return subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True)


def test_the_example_of_forty_lines_acts_as_the_policy_does_without_us(run, exported, tmp_path):
    assert len((ROOT / "examples" / "onnx_policy.py").read_text().splitlines()) <= 40
    policy, config = run[0], run[0].config
    cloud, state, noise = observed(config)
    done = run_example(exported, tmp_path / "observed.npz", cloud, state, noise)
    assert done.returncode == 0, done.stderr
    start = config.n_obs_steps - 1
    expected = by_torch(policy, cloud, state, noise)[start : start + config.n_action_steps]
    np.testing.assert_allclose(json.loads(done.stdout), expected, **SMALL)


def test_loading_an_export_imports_no_torch_and_no_simulator(exported):
    code = (
        "import sys; from mp_lib.acting.engine import load_engine; "
        f"engine = load_engine({str(exported)!r}); print(type(engine).__name__, *sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    name, *modules = done.stdout.split()
    assert name == "OnnxEngine", done.stderr
    assert not {"torch", "mujoco", "matplotlib", "wandb", "pandas", "zarr", "onnx"} & {*modules}


@pytest.mark.parametrize("backend", ["torch", pytest.param("compiled", marks=pytest.mark.slow), "auto"])
def test_a_run_is_taken_by_name_folder_and_file(run, same_networks, backend, monkeypatch, tmp_path):
    policy, checkpoint = run
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    (tmp_path / "data").mkdir()
    (tmp_path / "data" / "runs").symlink_to(checkpoint.parents[1])
    given = observed(policy.config)
    for path in ("small", checkpoint.parent, checkpoint):
        engine = load_engine(path, backend)
        assert isinstance(engine, OnnxEngine if backend == "auto" else TorchEngine)
        np.testing.assert_allclose(engine.predict(*given), by_torch(policy, *given), **SMALL)
        assert engine.facts.name == "small" and engine.facts.task == "metaworld_drawer-open"


def test_a_run_is_exported_once_and_anew_when_its_weights_change(run, same_networks, monkeypatch, tmp_path):
    policy, _ = run
    checkpoint, made = save_run(tmp_path / "small", policy), []
    monkeypatch.setattr("mp_lib.acting.exporting.export", lambda *given, **how: made.append(1) or export(*given, **how))
    first = load_engine(tmp_path / "small")
    assert load_engine(tmp_path / "small", num_inference_steps=3).facts.num_inference_steps == 3 and made == [1]
    other = make_policy()
    with torch.no_grad():
        other.normalizer.action_offset += 0.1
    save_run(tmp_path / "small", other)
    second = load_engine(tmp_path / "small")
    given = observed(policy.config)
    assert made == [1, 1] and second.facts.checkpoint != first.facts.checkpoint
    np.testing.assert_allclose(second.predict(*given), by_torch(other, *given), **SMALL)
    damaged = own_export.export_of(checkpoint) / "denoiser.onnx"
    damaged.write_bytes(damaged.read_bytes()[:-1])
    np.testing.assert_allclose(load_engine(checkpoint).predict(*given), second.predict(*given), rtol=0, atol=0)
    assert len(made) == 3 and sorted(path.name for path in damaged.parent.iterdir()) == sorted(FILES)
    assert not list(tmp_path.rglob("*partial*"))


def test_what_lies_where_an_export_would_be_stays(run, tmp_path):
    save_run(tmp_path / "small", run[0])
    mine = tmp_path / "small" / "onnx" / "calibration.txt"
    mine.parent.mkdir()
    mine.write_text("mine")
    assert isinstance(load_engine(tmp_path / "small"), TorchEngine)
    with pytest.raises(FileExistsError, match="is there and no export; rename it"):
        load_engine(tmp_path / "small", "onnx")
    assert mine.read_text() == "mine"


@pytest.mark.slow
def test_two_processes_export_a_run_once(run, tmp_path):
    save_run(tmp_path / "small", run[0])
    code = f"from mp_lib.acting.engine import load_engine; print(load_engine({str(tmp_path / 'small')!r}).facts.method)"
    command = [sys.executable, "-c", code]
    both = [subprocess.Popen(command, stdout=-1, stderr=-1, text=True, cwd=ROOT) for _ in range(2)]
    said = [process.communicate(timeout=300) for process in both]
    assert [out for out, _ in said] == ["simple_dp3\n"] * 2, said
    assert sum("is exported into" in err for _, err in said) == 1, said


def test_without_onnx_or_a_place_to_write_a_run_acts_by_torch(run, monkeypatch, tmp_path):
    policy, _ = run
    save_run(tmp_path / "small", policy)
    monkeypatch.setattr("mp_lib.acting.own_export.missing_modules", lambda extra: ["onnxruntime"])
    assert isinstance(load_engine(tmp_path / "small"), TorchEngine)
    monkeypatch.undo()

    def refuse(*given):
        raise PermissionError(13, "cannot write")

    monkeypatch.setattr("mp_lib.acting.engine.current_export", refuse)
    assert isinstance(load_engine(tmp_path / "small"), TorchEngine)
    with pytest.raises(PermissionError):
        load_engine(tmp_path / "small", "onnx")


def test_what_there_is_no_engine_for_is_said(run, exported, tmp_path):
    with pytest.raises(ValueError, match="export for onnx: give the run"):
        load_engine(exported, "torch")
    with pytest.raises(ValueError, match="unknown backend 'tensorrt'; choose one of: torch"):
        load_engine(run[1], "tensorrt")
    with pytest.raises(ValueError, match="but there is no .*nothing"):
        load_engine(tmp_path / "nothing")
    with pytest.raises(ValueError, match="name a|give a run's name"):
        load_engine("kept")
    with pytest.raises(ValueError, match="threads 0 given"):
        load_engine(exported, threads=0)
    with pytest.raises(ValueError, match="num_inference_steps 101 given; it must be 1 to 100"):
        load_engine(exported, num_inference_steps=101)


@pytest.mark.parametrize("name", ["point_cloud", "state", "noise"])
def test_other_shapes_and_kinds_are_refused(run, exported, name):
    given = dict(zip(("point_cloud", "state", "noise"), observed(run[0].config), strict=True))
    policy, facts, seen = load_weights(run[1])
    for engine in (OnnxEngine.load(exported), TorchEngine(policy, facts, seen)):
        for wrong in (given[name][:-1], given[name].astype(np.float64)):
            with pytest.raises(ValueError, match=rf"{name} \(.*given; the policy takes \("):
                engine.predict(**given | {name: wrong})
