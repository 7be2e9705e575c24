"""One run that was stopped, killed or is in use: it goes on, ends the same, and belongs to one process at a time."""

import os
import signal
import time
from dataclasses import asdict

import pytest
import torch

from mp_lib.learning.metrics import Metrics
from mp_lib.learning.run import train
from mp_lib.learning.trainer import Trainer
from mp_lib.model.checkpoint import load_tensors
from mp_lib.system import locks
from tests.conftest import TOY
from tests.learning.toy_run import CONFIG, FILES, rows, run_elsewhere, stop_at
from tests.study.finished import comparable


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
    assert comparable(asdict(train(CONFIG, TOY, toy_demos, tmp_path, device="cpu"))) == comparable(asdict(expected))
    assert sorted(os.listdir(tmp_path)) == FILES
    assert rows(tmp_path) == rows(folder)
    assert (tmp_path / "policy.safetensors").read_bytes() == (folder / "policy.safetensors").read_bytes()


def test_a_run_that_was_stopped_in_its_last_evaluation_trains_no_more(finished, tmp_path, toy_demos, monkeypatch):
    def stop(*_):
        raise KeyboardInterrupt

    monkeypatch.setattr("mp_lib.learning.journal.write_film", stop)
    with pytest.raises(KeyboardInterrupt):
        train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    monkeypatch.undo()
    monkeypatch.setattr(Trainer, "update", None)
    assert comparable(asdict(train(CONFIG, TOY, toy_demos, tmp_path, device="cpu"))) == comparable(asdict(finished[1]))


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
    assert result.threads == 1 and comparable(asdict(result)) == comparable(asdict(finished[1]))


@pytest.mark.parametrize("stop", [5, 17])
def test_a_curve_goes_on_where_it_was_stopped(curved, tmp_path, toy_demos, monkeypatch, eager_saves, stop):
    config, folder, expected = curved
    stop_at(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        train(config, TOY, toy_demos, tmp_path, device="cpu")
    monkeypatch.undo()
    assert comparable(asdict(train(config, TOY, toy_demos, tmp_path, device="cpu"))) == comparable(asdict(expected))
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
    assert comparable(asdict(train(CONFIG, TOY, toy_demos, tmp_path, device="cpu"))) == comparable(asdict(finished[1]))
    assert rows(tmp_path) == rows(finished[0])


def test_an_evaluation_of_the_curve_that_was_killed_goes_on(curved, tmp_path, toy_demos, monkeypatch):
    """Killed behind the evaluation of step 15, whose row is written but saved nowhere."""
    config, folder, expected = curved
    write = Metrics.write

    def dying(metrics, step, **values):
        write(metrics, step, **values)
        if step == 14 and "success_rate" in values:
            raise MemoryError

    monkeypatch.setattr(Metrics, "write", dying)
    with pytest.raises(MemoryError):
        train(config, TOY, toy_demos, tmp_path, device="cpu")
    monkeypatch.undo()
    steps, update = [], Trainer.update
    monkeypatch.setattr(Trainer, "update", lambda self: (steps.append(self.step), update(self))[1])
    assert comparable(asdict(train(config, TOY, toy_demos, tmp_path, device="cpu"))) == comparable(asdict(expected))
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
        ValueError, match="training.safetensors is damaged: .*; or move it away, and this run begins anew$"
    ):
        train(CONFIG, TOY, toy_demos, tmp_path, device="cpu")
    assert state.read_bytes() == content


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
