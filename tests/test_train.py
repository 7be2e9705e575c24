"""One run: its folder holds everything, is finished once, resumed when it was stopped, and never mixed up."""

import json
import math
import os
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import imageio_ffmpeg
import pytest
import torch

from mp_lib import locks
from mp_lib import train as module
from mp_lib.config import CURVE_SEEDS, FINAL_SEEDS, scale_config
from mp_lib.interfaces import RunResult
from mp_lib.model.checkpoint import load_policy, load_tensors
from mp_lib.train import train
from mp_lib.trainer import Trainer
from tests.conftest import TOY

CONFIG = scale_config(
    "smoke",
    "toy",
    "simple_dp3",
    horizon=4,
    n_action_steps=3,
    num_points=8,
    width_divisor=16,
    num_steps=25,
    batch_size=8,
)
FILES = ["config.json", "metrics.jsonl", "policy.json", "policy.safetensors", "result.json", "rollout.mp4"]


@pytest.fixture(scope="module")
def finished(tmp_path_factory, toy_demos):
    """The folder of a finished run, and its result."""
    folder = tmp_path_factory.mktemp("runs") / CONFIG.name
    return folder, train(CONFIG, TOY, toy_demos, folder, device="cpu")


@pytest.fixture
def eager_saves(monkeypatch):
    """Save after every step."""
    monkeypatch.setattr(module, "SAVE_SECONDS", -1.0)


def rows(folder):
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def stop_at(monkeypatch, step, error=KeyboardInterrupt):
    """Let ``Trainer.update`` raise before that step."""
    update = Trainer.update

    def stopping(trainer):
        if trainer.step == step:
            raise error
        return update(trainer)

    monkeypatch.setattr(Trainer, "update", stopping)


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


def comparable(result: RunResult) -> dict:
    """What does not depend on the clock."""
    return {key: value for key, value in asdict(result).items() if key not in ("seconds", "peak_memory_bytes")}


@pytest.mark.parametrize("stop", [1, 10, 24])
def test_an_interrupted_run_goes_on_and_ends_the_same(finished, tmp_path, toy_demos, monkeypatch, eager_saves, stop):
    folder, expected = finished
    stop_at(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    assert load_tensors(tmp_path / "training.safetensors")[1]["step"] == stop
    assert not (tmp_path / "result.json").exists()
    monkeypatch.undo()
    (tmp_path / ".policy.safetensors.123.partial").write_bytes(b"half")  # of a writer that was killed
    assert comparable(train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")) == comparable(expected)
    assert sorted(os.listdir(tmp_path)) == FILES
    assert rows(tmp_path) == rows(folder)
    assert (tmp_path / "policy.safetensors").read_bytes() == (folder / "policy.safetensors").read_bytes()


def test_a_run_that_was_stopped_in_its_last_evaluation_trains_no_more(finished, tmp_path, toy_demos, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mp_lib.journal.write_film", stop)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    monkeypatch.undo()
    monkeypatch.setattr(Trainer, "update", None)
    assert comparable(train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")) == comparable(finished[1])


@pytest.mark.parametrize("eager", [False, True])
def test_a_loss_that_is_no_number_ends_the_run_and_is_never_saved(tmp_path, toy_demos, monkeypatch, eager):
    monkeypatch.setattr(module, "SAVE_SECONDS", -1.0 if eager else 60.0)
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


def test_a_resumed_run_computes_with_the_threads_that_it_began_with(finished, tmp_path, toy_demos, monkeypatch):
    stop_at(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    monkeypatch.undo()
    torch.set_num_threads(2)
    try:
        result = train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
        assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(1)
    assert result.threads == 1 and comparable(result) == comparable(finished[1])


def test_a_learning_rate_that_explodes_is_said_to_be_too_high(tmp_path, toy_demos):
    config = replace(CONFIG, learning_rate=1e30, warmup_steps=0)
    with pytest.raises(RuntimeError, match="the loss is (nan|inf) at step 10; .*lower learning_rate than 1e\\+30"):
        train(config, TOY, toy_demos, tmp_path, device="cpu")


@pytest.fixture(scope="module")
def curved(tmp_path_factory, toy_demos):
    """A run of five epochs with an evaluation after every second one, its folder and result."""
    config = replace(CONFIG, num_steps=None, num_epochs=5, eval_every_epochs=2, eval_episodes=3)
    folder = tmp_path_factory.mktemp("runs") / "curved"
    return config, folder, train(config, TOY, toy_demos, folder, device="cpu")


def test_the_curve_is_evaluated_after_the_first_and_every_nth_epoch(curved):
    config, folder, result = curved
    per_epoch = 5  # 3 episodes of 12 frames, windows (2, 4, 3): 12 each, in batches of 8
    assert [row["step"] for row in result.curve] == [per_epoch, 3 * per_epoch, 5 * per_epoch]
    assert all(row["successes"] == row["episodes"] == 3 for row in result.curve)
    rates = {row["step"]: row["success_rate"] for row in rows(folder) if "success_rate" in row}
    assert rates == {4: 1.0, 14: 1.0, 24: 1.0}


def test_the_seeds_of_curve_final_and_demonstrations_are_apart(curved, toy_demos, tmp_path, monkeypatch):
    seen, rollout = [], module.rollout

    def watched(policy, spec, seeds, **options):
        assert not any(each.requires_grad for each in policy.parameters())  # the average
        seen.append(list(seeds))
        return rollout(policy, spec, seeds, **options)

    monkeypatch.setattr(module, "rollout", watched)
    train(curved[0], TOY, toy_demos, tmp_path, device="cpu")
    curve, final = list(range(CURVE_SEEDS, CURVE_SEEDS + 3)), list(range(FINAL_SEEDS, FINAL_SEEDS + 2))
    assert seen == [curve, curve, curve, final]
    recorded = [row["seed"] for row in toy_demos.attributes["episodes"]]
    assert max(recorded) < min(curve) and max(curve) < min(final)


@pytest.mark.parametrize("stop", [5, 17])
def test_a_curve_goes_on_where_it_was_stopped(curved, tmp_path, toy_demos, monkeypatch, eager_saves, stop):
    config, folder, expected = curved
    stop_at(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        train(config, TOY, toy_demos, tmp_path, device="cpu")
    monkeypatch.undo()
    assert comparable(train(config, TOY, toy_demos, tmp_path, device="cpu")) == comparable(expected)
    assert rows(tmp_path) == rows(folder)


def test_metrics_behind_the_last_save_are_written_anew(finished, tmp_path, toy_demos, monkeypatch):
    stop_at(monkeypatch, 21, MemoryError)  # nothing was saved, but two rows were written
    with pytest.raises(MemoryError):
        train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    assert len(rows(tmp_path)) == 2
    with open(tmp_path / "metrics.jsonl", "a") as file:
        file.write('{"step": 2')  # torn
    monkeypatch.undo()
    train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    assert rows(tmp_path) == rows(finished[0])


RUN = """
import os, sys
from pathlib import Path
from types import SimpleNamespace
environment = dict(os.environ)
from mp_lib import train as module
from mp_lib.data.replay_buffer import ReplayBuffer
from tests.test_train import CONFIG, TOY
os.environ.pop("WANDB_MODE")  # set by tests.conftest
os.environ.update(environment)
module.SAVE_SECONDS = -1.0
module.train(CONFIG, TOY, ReplayBuffer.open(sys.argv[1]), Path(sys.argv[2]), device="cpu")
"""


def run_elsewhere(*arguments, **variables):
    """Start the run in another process, with these environment variables; None unsets one."""
    changes = {"PYTHONPATH": str(Path(__file__).parents[1])} | variables
    environment = {key: value for key, value in (os.environ | changes).items() if value is not None}
    return subprocess.Popen(
        [sys.executable, "-c", RUN, *map(str, arguments)],
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_ends_the_step_in_hand_and_saves_it(finished, tmp_path, toy_demos, monkeypatch, number):
    update, stops = Trainer.update, []

    def stopping(trainer):
        if trainer.step == 7 and not stops:
            stops.append(os.kill(os.getpid(), number))
        return update(trainer)

    monkeypatch.setattr(Trainer, "update", stopping)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    assert load_tensors(tmp_path / "training.safetensors")[1]["step"] == 8
    assert comparable(train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")) == comparable(finished[1])
    assert rows(tmp_path) == rows(finished[0])


def test_an_evaluation_of_the_curve_that_was_killed_goes_on(curved, tmp_path, toy_demos, monkeypatch):
    """Killed behind the evaluation of step 15, whose row is written but saved nowhere."""
    config, folder, expected = curved
    write = module.Metrics.write

    def dying(metrics, step, **values):
        write(metrics, step, **values)
        if step == 14 and "success_rate" in values:
            raise MemoryError

    monkeypatch.setattr(module.Metrics, "write", dying)
    with pytest.raises(MemoryError):
        train(config, TOY, toy_demos, tmp_path, device="cpu")
    monkeypatch.undo()
    steps, update = [], Trainer.update
    monkeypatch.setattr(Trainer, "update", lambda self: (steps.append(self.step), update(self))[1])
    assert comparable(train(config, TOY, toy_demos, tmp_path, device="cpu")) == comparable(expected)
    assert steps == list(range(15, 25))
    assert rows(tmp_path) == rows(folder)


def test_a_run_that_another_process_works_in_is_refused(finished, tmp_path, toy_demos, monkeypatch):
    monkeypatch.setattr(locks, "PATIENCE", 0.1)
    folder = tmp_path / "run"
    refused = pytest.raises(locks.InUseError, match=f"run is in use by process {os.getpid()} on ")
    with locks.sole_user(tmp_path / ".run.lock", "it"), refused:
        train(CONFIG, TOY, toy_demos, folder, device="cpu")
    assert not folder.exists()


def test_a_finished_run_is_read_while_another_process_reads_it(finished, toy_demos):
    folder, result = finished
    with locks.sole_user(folder.with_name(f".{folder.name}.lock"), "it"):
        assert train(CONFIG, TOY, toy_demos, folder) == result


def test_a_training_that_was_saved_and_damaged_is_refused_in_one_line(tmp_path, toy_demos, monkeypatch, eager_saves):
    stop_at(monkeypatch, 5)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    monkeypatch.undo()
    state = tmp_path / "training.safetensors"
    content = bytearray(state.read_bytes())
    content[-7] ^= 1
    state.write_bytes(content)
    with pytest.raises(
        ValueError, match="training.safetensors is damaged: .*; or delete it, and this run begins anew$"
    ):
        train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    assert state.read_bytes() == content


def test_two_runs_with_one_seed_end_in_the_same_result(finished, tmp_path, toy_demos):
    assert comparable(train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")) == comparable(finished[1])
    assert (tmp_path / "policy.safetensors").read_bytes() == (finished[0] / "policy.safetensors").read_bytes()


@pytest.mark.slow
def test_a_killed_run_goes_on_and_ends_the_same(finished, tmp_path, toy_demos):
    with run_elsewhere(toy_demos.path, tmp_path) as process:
        end = time.monotonic() + 120
        while time.monotonic() < end and not (tmp_path / "training.safetensors").exists():
            time.sleep(0.001)
        os.kill(process.pid, signal.SIGKILL)
    assert 1 <= load_tensors(tmp_path / "training.safetensors")[1]["step"] < 25
    train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    assert sorted(os.listdir(tmp_path)) == FILES
    assert rows(tmp_path) == rows(finished[0])
    assert (tmp_path / "policy.safetensors").read_bytes() == (finished[0] / "policy.safetensors").read_bytes()
