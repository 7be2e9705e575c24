"""From a name, a folder or a file to a checkpoint, in one way for everybody who takes one."""

import os
import shlex
from pathlib import Path

import numpy as np
import pytest

from mp_lib.config import PolicyConfig
from mp_lib.learning import evaluation
from mp_lib.learning.folder import stored_result
from mp_lib.learning.simulators import Episode
from mp_lib.model.checkpoint import save_policy
from mp_lib.model.policy import build_policy
from mp_lib.model.weights import KEPT, find_checkpoint
from mp_lib.sim.tasks import TASKS
from mp_lib.study.sentences import of_evaluation
from mp_lib.system.errors import InputError
from mp_lib.system.paths import evaluations_path, run_path
from tests.model.test_official import make_policy, save_as_released
from tests.study.finished import write_run

FILM = [np.zeros((8, 8, 3), np.uint8)] * 3


@pytest.fixture(autouse=True)
def run(monkeypatch, tmp_path):
    """A finished run in a project of its own, and a working folder that is not the project's."""
    monkeypatch.setenv("MP_ROOT", str(tmp_path / "project"))
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    folder = tmp_path / "project" / "data" / "runs" / "smoke-toy"
    for path in (folder, tmp_path / "home"):
        path.mkdir(parents=True)
        (path / "policy.safetensors").write_bytes(b"weights")
    (folder / "result.json").write_text("{}")
    return folder


@pytest.mark.parametrize(
    "given", ["", "smoke-toy", "data/runs/smoke-toy", "data/runs/smoke-toy/policy.safetensors", "{run}", "{run}/"]
)
def test_a_run_is_meant_by_its_name_its_folder_or_its_file(given, run):
    assert find_checkpoint(given.format(run=run)) == run / "policy.safetensors"


def test_a_path_may_begin_at_home(tmp_path):
    assert find_checkpoint("~/policy.safetensors") == tmp_path / "home" / "policy.safetensors"
    assert find_checkpoint("~") == tmp_path / "home" / "policy.safetensors"


def pasted(error) -> list[str]:
    """What a shell makes of the names in a line, each of which leads to a checkpoint."""
    names = shlex.split(str(error.value).split("give one of: ")[1])
    paths = [name.removesuffix(",") for name in names]
    assert all(find_checkpoint(path) for path in paths)
    return paths


def test_names_that_a_shell_would_part_are_quoted(tmp_path):
    folder = tmp_path / "my weights"
    folder.mkdir()
    for name in ("a.ckpt", "b (copy).ckpt"):
        (folder / name).write_bytes(b"")
    with pytest.raises(InputError, match="holds 2 files") as error:
        find_checkpoint(str(folder))
    assert pasted(error) == [str(folder / "a.ckpt"), str(folder / "b (copy).ckpt")]


def played(policy, spec, seeds, *, journal, **how):
    """A rollout that costs nothing."""
    journal.add(0, [], FILM)
    return [Episode(seed, True, 5) for seed in seeds]


FOREIGN_RESULTS = [
    "[]",
    "{}",
    '{"final": 0.9}',
    '{"final": {"seeds": 3}}',
    '{"final": {"seeds": [1, 2, 3], "successes": [1, 1, 1]}}',
    "accuracy: 0.9",
]


@pytest.mark.parametrize("text", FOREIGN_RESULTS)
def test_a_result_of_somebody_else_is_not_believed(text, tmp_path, monkeypatch):
    """Beside weights that are no run's nobody looks; beside a policy.safetensors it is left aside, or refused whole."""
    seen = []
    monkeypatch.setattr(evaluation, "rollout", lambda *given, **how: seen.extend(given[2]) or played(*given, **how))
    save_as_released(tmp_path / "latest.ckpt", make_policy("simple_dp3"))
    (tmp_path / "result.json").write_text(text)
    evaluation.evaluate(tmp_path / "latest.ckpt", device="cpu", task="metaworld_assembly")
    assert len(seen) == 20
    small(tmp_path / "policy.safetensors", task="metaworld_assembly")
    if not text.startswith("{"):
        with pytest.raises(ValueError, match=r"result.json (is damaged|holds no JSON object)"):
            stored_result(tmp_path / "policy.safetensors")
        return
    assert stored_result(tmp_path / "policy.safetensors") == {}


def test_a_result_of_another_run_is_not_compared_with(run):
    config = write_run("metaworld_assembly", "dp3_mamba", [1, 0, 1])
    path = run_path(config.name) / "policy.safetensors"
    found = {"task": "metaworld_assembly", "num_inference_steps": 10, "seeds": [40000], "successes": [1]}
    assert stored_result(path)["final"]["successes"] == [1, 0, 1]
    assert "The run's own: 2 of 3" in of_evaluation(found | {"method": "dp3_mamba"}, path)
    assert "no result of its run" in of_evaluation(found | {"method": "simple_dp3"}, path)


def test_an_evaluation_says_first_whose_number_it_is(run):
    found = {"task": "metaworld_assembly", "num_inference_steps": 10, "seeds": [40000], "successes": [1]}
    config = write_run("metaworld_assembly", "dp3_mamba", [1, 0, 1], seed=4, scale="quick")
    path = run_path(config.name) / "policy.safetensors"
    whose = f"**dp3_mamba** on **metaworld_assembly**, seed 4, scale `quick` (run `{config.name}`)."
    assert of_evaluation(found | {"method": "dp3_mamba"}, path).startswith(whose)
    for method, place in (("simple_dp3", path), ("dp3_mamba", path.with_name("other.ckpt"))):
        said = of_evaluation(found | {"method": method}, place)
        assert said.startswith(f"**{method}** on **metaworld_assembly**, weights of `{place.name}`")
        assert "whose seed and scale are not known." in said and "quick" not in said


def test_an_official_runs_folder_is_meant_by_its_last_checkpoint(tmp_path):
    folder = tmp_path / "outputs" / "checkpoints"
    folder.mkdir(parents=True)
    for name in ("latest.ckpt", "epoch=0200-test_mean_score=0.500.ckpt"):
        (folder / name).write_bytes(b"")
    assert find_checkpoint(str(folder.parent)) == folder / "latest.ckpt"
    with pytest.raises(InputError, match="holds 2 files of weights; give one of: ") as error:
        find_checkpoint(str(folder))
    assert pasted(error) == [str(path) for path in sorted(folder.iterdir())]


def test_nothing_and_the_kept_episode_are_no_checkpoint(run):
    assert find_checkpoint(KEPT) is None
    (run / "result.json").unlink()
    assert find_checkpoint() is None


def test_what_is_not_there_is_named_whole_with_what_there_is(run, tmp_path):
    with pytest.raises(InputError, match=r"no /.*/project/smoke-toi, and no run of that name; runs .*: smoke-toy"):
        find_checkpoint("smoke-toi")
    with pytest.raises(InputError, match=r"no /.*/project/data/mine.ckpt, .*give a run's name, its folder, or a file"):
        find_checkpoint("data/mine.ckpt")
    with pytest.raises(InputError, match="is a folder of 1 runs; give one of: ") as error:
        find_checkpoint("data/runs")
    assert pasted(error) == [str(run)]
    with pytest.raises(InputError, match="holds no weights"):
        find_checkpoint(str(tmp_path / "elsewhere"))


def test_a_training_that_has_not_ended_is_no_checkpoint(run):
    os.rename(run / "policy.safetensors", run / "training.safetensors")
    with pytest.raises(InputError, match="holds a training that has not ended; run it again"):
        find_checkpoint("smoke-toy")


def small(path: Path, **facts) -> Path:
    save_policy(path, build_policy(PolicyConfig("simple_dp3", 9, 4, down_dims=(16, 24), num_points=32)), **facts)
    return path


def test_the_task_is_the_files_or_the_one_that_is_given(tmp_path):
    said, silent = small(tmp_path / "a.safetensors", task="metaworld_assembly"), small(tmp_path / "b.safetensors")
    foreign = small(tmp_path / "c.safetensors", task="pour water")
    assert evaluation.load(said, device="cpu")[1].name == "metaworld_assembly"
    for path in (silent, foreign):
        assert evaluation.load(path, device="cpu", task="metaworld_door-open")[1] == TASKS["metaworld_door-open"]
    with pytest.raises(InputError, match="does not say its task; give task"):
        evaluation.load(silent, device="cpu")
    with pytest.raises(InputError, match="names the task 'pour water', which is none of ours; give task"):
        evaluation.load(foreign, device="cpu")
    with pytest.raises(InputError, match="was trained on metaworld_assembly, task metaworld_door-open was given"):
        evaluation.load(said, device="cpu", task="metaworld_door-open")
    with pytest.raises(InputError, match="takes a state of 9 numbers and gives actions of 4, adroit_pen has 24 and 24"):
        evaluation.load(silent, device="cpu", task="adroit_pen")


def test_evaluations_of_files_from_elsewhere_go_to_a_folder_of_their_own(tmp_path, run, monkeypatch):
    monkeypatch.setattr(evaluation, "rollout", played)
    save_as_released(tmp_path / "elsewhere" / "latest.ckpt", make_policy("simple_dp3"))
    path = find_checkpoint(str(tmp_path / "elsewhere" / "latest.ckpt"))
    found = evaluation.evaluate(path, 1, device="cpu", task="metaworld_assembly")
    kept = evaluations_path() / evaluation.evaluations_of(path).name
    assert (kept / found["film"]).exists() and (kept / found["file"]).exists() and kept.name.startswith("latest-")
    assert sorted(each.name for each in (tmp_path / "elsewhere").iterdir()) == ["latest.ckpt"]
    assert evaluation.evaluations_of(run / "policy.safetensors") == run / "evaluations"
    with pytest.raises(InputError, match="weights of dp3: "):
        evaluation.evaluate(path, 2, device="cpu", task="metaworld_assembly", method="dp3")
