"""One run: its folder holds everything, is finished once, resumed when it was stopped, and never mixed up."""

import contextlib
import json
import math
import os
import shutil
from dataclasses import asdict, replace
from types import SimpleNamespace

import imageio_ffmpeg
import numpy as np
import pytest
import torch

from mp_lib.config import CURVE_SEEDS, FINAL_SEEDS
from mp_lib.learning import fitting, player
from mp_lib.learning import run as module
from mp_lib.learning.held_out import windows_of
from mp_lib.learning.metrics import Metrics
from mp_lib.learning.run import train
from mp_lib.learning.trainer import Trainer
from mp_lib.model.checkpoint import load_policy, load_tensors
from tests.conftest import TOY
from tests.learning.test_simulators import started  # noqa: F401 (a fixture)
from tests.learning.toy_run import CONFIG, FILES, rows, stop_at
from tests.study.finished import comparable


def test_a_finished_folder_holds_everything_and_nothing_else(finished):
    folder, result = finished
    assert sorted(os.listdir(folder)) == FILES
    assert json.loads((folder / "config.json").read_text()) == json.loads(json.dumps(asdict(CONFIG)))
    assert json.loads((folder / "result.json").read_text()) == asdict(result)


def test_a_result_says_all_that_is_known(finished, toy_demos):
    folder, result = finished
    policy, facts = load_policy(folder / "policy.safetensors", "simple_dp3")
    assert facts == {"task": "toy", "run": CONFIG.name, "step": 25}
    assert result.parameters == sum(each.numel() for each in policy.parameters())
    assert result.demonstrations == {
        "task": "toy",
        "expert": "swinging",
        "expert_rate": 1.0,
        "episodes": 3,
        "depth_backend": "toy",
        "content_hash": toy_demos.content_hash(),
    }
    assert result.curve == []
    assert result.final["seeds"] == [FINAL_SEEDS, FINAL_SEEDS + 1] and result.final["successes"] == [1, 1]
    assert result.final["interval"][0] < result.final["interval"][1] == 1
    assert result.loss == rows(folder)[-2]["loss"]
    assert all(seconds > 0 for seconds in result.seconds.values()) and result.peak_memory_bytes > 1e7
    assert result.commit and {"python", "torch", "numpy"} <= result.versions.keys()


def test_the_film_shows_the_first_final_episode(finished):
    frames = imageio_ffmpeg.read_frames(str(finished[0] / "rollout.mp4"))
    assert next(frames)["size"] == (32, 32)
    assert sum(1 for _ in frames) == 6 + 1  # the goal is met in step 6


def test_metrics_are_logged_every_ten_steps_and_at_the_end(finished):
    found = rows(finished[0])
    assert [row["step"] for row in found] == [9, 19, 24, 25]
    assert all(math.isfinite(row["loss"]) and row["learning_rate"] > 0 for row in found[:-1])
    assert found[-1] == {"step": 25, "final_success_rate": 1.0}


def test_the_saved_policy_is_the_average(tmp_path, toy_demos, monkeypatch):
    trainers = []
    finish = module.Run.finish
    monkeypatch.setattr(module.Run, "finish", lambda run: (trainers.append(run.trainer), finish(run))[1])
    train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    saved = load_policy(tmp_path / "policy.safetensors")[0].state_dict()
    assert all(saved[name].equal(value) for name, value in trainers[0].average.state_dict().items())
    assert any(not saved[name].equal(value) for name, value in trainers[0].policy.state_dict().items())


def test_a_finished_run_is_read_without_any_work(finished, toy_demos):
    folder, result = finished
    before = {path.name: path.stat().st_mtime_ns for path in folder.iterdir()}
    assert train(CONFIG, None, toy_demos, folder) == result
    assert {path.name: path.stat().st_mtime_ns for path in folder.iterdir()} == before


@pytest.mark.parametrize("change", [{"seed": 1}, {"batch_size": 9}, {"betas": (0.9, 0.9)}, {"method": "dp3"}])
def test_a_folder_of_another_run_is_refused(finished, toy_demos, change):
    ((key, value),) = change.items()
    before = {path.name: path.read_bytes() for path in finished[0].iterdir()}
    with pytest.raises(ValueError, match=f"was made with {key}=.*was asked for; .*move that folder away"):
        train(replace(CONFIG, **change), None, toy_demos, finished[0])
    assert {path.name: path.read_bytes() for path in finished[0].iterdir()} == before


def test_a_run_of_other_demonstrations_is_refused(finished):
    other = SimpleNamespace(content_hash=lambda: "other")
    with pytest.raises(ValueError, match="was made with demonstrations=.*'other' was asked for"):
        train(CONFIG, TOY, other, finished[0])


@pytest.mark.parametrize("product", ["rollout.mp4", "policy.safetensors"])
def test_a_lost_product_is_made_again(finished, toy_demos, tmp_path, product):
    folder = tmp_path / "run"
    shutil.copytree(finished[0], folder)
    (folder / product).unlink()
    again = train(CONFIG, TOY, toy_demos, folder, device="cpu")
    assert sorted(os.listdir(folder)) == FILES
    assert again.final == finished[1].final


def test_demonstrations_of_another_task_are_refused(tmp_path, toy_demos):
    with pytest.raises(ValueError, match="holds toy .*, other .* is expected"):
        train(CONFIG, replace(TOY, name="other"), toy_demos, tmp_path, device="cpu")


def test_the_users_generators_are_left_alone(tmp_path, toy_demos, monkeypatch):
    torch.manual_seed(11)
    state = torch.get_rng_state()
    train(CONFIG, TOY, toy_demos, tmp_path / "a", device="cpu")
    assert torch.get_rng_state().equal(state)
    stop_at(monkeypatch, 3)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, TOY, toy_demos, tmp_path / "b", device="cpu")
    assert torch.get_rng_state().equal(state)


@pytest.mark.parametrize("eager", [False, True])
def test_a_loss_that_is_no_number_ends_the_run_and_is_never_saved(tmp_path, toy_demos, monkeypatch, eager):
    monkeypatch.setattr(fitting, "SAVE_SECONDS", -1.0 if eager else 60.0)
    monkeypatch.setattr(fitting, "SAVE_SHARE", math.inf)
    update = Trainer.update
    monkeypatch.setattr(Trainer, "update", lambda self: update(self) * (math.nan if self.step > 13 else 1))
    with pytest.raises(RuntimeError, match=f"the loss is nan at step {14 if eager else 20}; .*lower learning_rate"):
        train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    assert [row["step"] for row in rows(tmp_path)] == [9]
    assert not (tmp_path / "policy.safetensors").exists() and not (tmp_path / "result.json").exists()
    if eager:
        assert load_tensors(tmp_path / "training.safetensors")[1]["step"] == 13
    monkeypatch.undo()
    assert math.isfinite(train(CONFIG, TOY, toy_demos, tmp_path, device="cpu").loss)


def test_weights_that_the_last_step_has_spoiled_are_never_saved(tmp_path, toy_demos, monkeypatch, eager_saves):
    """The loss was computed before them."""
    update = Trainer.update

    def spoiling(trainer):
        loss = update(trainer)
        if trainer.step == 25:
            next(trainer.average.parameters()).data.fill_(math.inf)
        return loss

    monkeypatch.setattr(Trainer, "update", spoiling)
    with pytest.raises(RuntimeError, match="the weights are not finite at step 25; what was saved before is kept"):
        train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    assert load_tensors(tmp_path / "training.safetensors")[1]["step"] == 24
    assert not (tmp_path / "policy.safetensors").exists()


def test_a_learning_rate_that_explodes_is_said_to_be_too_high(tmp_path, toy_demos):
    config = replace(CONFIG, learning_rate=1e30, warmup_steps=0)
    with pytest.raises(RuntimeError, match="the loss is (nan|inf) at step 10; .*lower learning_rate than 1e\\+30"):
        train(config, TOY, toy_demos, tmp_path, device="cpu")


def test_the_curve_is_evaluated_after_the_first_and_every_nth_epoch(curved):
    config, folder, result = curved
    per_epoch = 5  # 3 episodes of 12 frames, windows (2, 4, 3): 12 each, in batches of 8
    assert [row["step"] for row in result.curve] == [per_epoch, 3 * per_epoch, 5 * per_epoch]
    assert all(row["successes"] == row["episodes"] == 3 for row in result.curve)
    rates = {row["step"]: row["success_rate"] for row in rows(folder) if "success_rate" in row}
    assert rates == {4: 1.0, 14: 1.0, 24: 1.0}


@pytest.mark.parametrize("error", [None, KeyboardInterrupt, RuntimeError])
def test_simulating_processes_live_as_long_as_the_run(curved, toy_demos, tmp_path, monkeypatch, started, error):  # noqa: F811
    if error:
        stop_at(monkeypatch, 12, error)  # behind the first evaluation
    with pytest.raises(error) if error else contextlib.nullcontext():
        result = train(curved[0], TOY, toy_demos, tmp_path, device="cpu", jobs=2)
        assert comparable(asdict(result)) == comparable(asdict(curved[2]))
    assert len(started) == 2 and not any(process.is_alive() for process in started)


def test_how_many_simulate_is_settled_for_the_device_that_was_chosen(toy_demos, tmp_path, monkeypatch):
    def settle_jobs(jobs, device):
        raise ValueError(f"{jobs} on {device}")

    monkeypatch.setattr(module, "choose_device", lambda name: torch.device("cuda" if name == "auto" else name))
    monkeypatch.setattr(module, "settle_jobs", settle_jobs)
    with pytest.raises(ValueError, match="None on cuda"):
        train(CONFIG, TOY, toy_demos, tmp_path / "run", jobs=None)
    assert not [*tmp_path.iterdir()]


def test_the_seeds_of_curve_final_and_demonstrations_are_apart(curved, toy_demos, tmp_path, monkeypatch):
    seen, rollout = [], player.rollout

    def watched(policy, spec, seeds, **options):
        assert not any(each.requires_grad for each in policy.parameters())  # the average
        seen.append(list(seeds))
        return rollout(policy, spec, seeds, **options)

    monkeypatch.setattr(player, "rollout", watched)
    train(curved[0], TOY, toy_demos, tmp_path, device="cpu")
    curve, final = list(range(CURVE_SEEDS, CURVE_SEEDS + 3)), list(range(FINAL_SEEDS, FINAL_SEEDS + 2))
    assert seen == [curve, curve, curve, final]
    recorded = [row["seed"] for row in toy_demos.attributes["episodes"]]
    assert max(recorded) < min(curve) and max(curve) < min(final)


def test_two_runs_with_one_seed_end_in_the_same_result(finished, tmp_path, toy_demos):
    assert comparable(asdict(train(CONFIG, TOY, toy_demos, tmp_path, device="cpu"))) == comparable(asdict(finished[1]))
    assert (tmp_path / "policy.safetensors").read_bytes() == (finished[0] / "policy.safetensors").read_bytes()


def test_the_first_or_the_chosen_demonstrations_are_trained_on_and_recorded(tmp_path, toy_demos):
    results = {}
    for name, choice in {"all": {}, "first": {"num_demos": 2}, "chosen": {"demo_episodes": [0, 2]}}.items():
        config = replace(CONFIG, **{"num_demos": None} | choice)
        store = toy_demos.choose(config.num_demos, config.demo_episodes)
        results[name] = train(config, TOY, store, tmp_path / name, device="cpu")
        assert results[name].demonstrations["episodes"] == len(training_episodes(config, store))
    assert [results[name].demonstrations["episodes"] for name in results] == [3, 2, 2]
    assert len({each.demonstrations["content_hash"] for each in results.values()}) == 3
    assert len({each.loss for each in results.values()}) == 3


def training_episodes(config, store):
    """Which episodes a run's windows touch."""
    frames = windows_of(config, store, TOY)[0].frames.unique().numpy()
    return {*np.searchsorted(store.episode_ends, frames, side="right").tolist()}


def test_the_result_is_there_before_the_mirror_is_waited_for(toy_demos, tmp_path, monkeypatch):
    seen = []
    monkeypatch.setattr(Metrics, "close", lambda self: seen.append((tmp_path / "run" / "result.json").exists()))
    train(CONFIG, TOY, toy_demos, tmp_path / "run", device="cpu")
    assert seen == [True]
