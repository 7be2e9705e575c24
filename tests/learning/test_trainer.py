"""A training depends on its seed and its step alone: stopped and resumed it ends in the same bits."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mp_lib.config import PolicyConfig, scale_config
from mp_lib.data.windows import ActionWindows
from mp_lib.learning.trainer import Trainer
from mp_lib.model.checkpoint import load_tensors
from mp_lib.presets import METHODS, U_NETS

FEW = ["simple_dp3", "dp3_mamba_v2", "dp3_mamba_bi"]
CPU = torch.device("cpu")


def make_windows(frames=30, **more):
    generator = np.random.default_rng(0)
    arrays = {
        "point_cloud": generator.normal(size=(frames, 8, 3)),
        "state": generator.normal(size=(frames, 3)),
        "action": generator.uniform(-1, 1, size=(frames, 2)),
    }
    return ActionWindows(arrays, np.array([frames // 2, frames]), horizon=4, n_obs_steps=2, n_action_steps=3, **more)


def make_trainer(method="simple_dp3", seed=0, device=CPU, form="torch", windows=None, **changes):
    usual = {"batch_size": 8, "num_steps": 20, "warmup_steps": 2, "horizon": 4, "n_action_steps": 3, "num_points": 8}
    config = scale_config("smoke", "toy", method, seed, **usual | changes)
    widths = (32, 32, 32) if method in U_NETS else (32,)
    policy_config = PolicyConfig(method, 3, 2, horizon=4, n_action_steps=3, num_points=8, down_dims=widths)
    return Trainer(config, policy_config, windows or make_windows(), device, form)


def everything(trainer):
    """All tensors that a training is made of, by name."""
    tensors = {f"policy.{name}": value for name, value in trainer.policy.state_dict().items()}
    tensors |= {f"average.{name}": value for name, value in trainer.average.state_dict().items()}
    for index, state in trainer.optimizer.state_dict()["state"].items():
        tensors |= {f"optimizer.{index}.{name}": value for name, value in state.items()}
    return {name: value.clone() for name, value in tensors.items()}


def differences(first, second):
    assert first.keys() == second.keys()
    return [name for name in first if first[name].dtype != second[name].dtype or not first[name].equal(second[name])]


@pytest.mark.parametrize(
    "method", [method if method in FEW else pytest.param(method, marks=pytest.mark.slow) for method in METHODS]
)
def test_stopped_and_resumed_training_ends_in_the_same_bits(tmp_path, method):
    whole = make_trainer(method)
    losses = [float(whole.update()) for _ in range(7)]
    stopped = make_trainer(method)
    found = [float(stopped.update()) for _ in range(3)]
    stopped.save(tmp_path / "training.safetensors", {"more": torch.ones(3)}, note="half")
    resumed = make_trainer(method)
    torch.randn(5)  # what else is drawn between does not matter
    facts, beside = resumed.resume(tmp_path / "training.safetensors")
    assert facts == {"note": "half"} and beside.keys() == {"more"} and beside["more"].equal(torch.ones(3))
    assert resumed.step == 3 and not differences(everything(resumed), everything(stopped))
    found += [float(resumed.update()) for _ in range(4)]
    assert found == losses and resumed.step == 7
    assert len(everything(whole)) > 100
    assert not differences(everything(resumed), everything(whole))


def test_a_trainer_that_has_gone_astray_is_set_right_by_resuming(tmp_path):
    first = make_trainer()
    first.update()
    first.save(tmp_path / "training.safetensors")
    other = make_trainer(seed=5)
    for _ in range(3):
        other.update()
    other.resume(tmp_path / "training.safetensors")
    assert other.step == 1 and not differences(everything(other), everything(first))


def test_the_file_says_which_run_it_is(tmp_path):
    trainer = make_trainer(seed=3)
    trainer.save(tmp_path / "training.safetensors")
    header = load_tensors(tmp_path / "training.safetensors")[1]
    assert header["config"]["seed"] == 3 and header["step"] == 0


def test_seeds_differ_in_weights_batches_and_noise():
    first, second = make_trainer(seed=0), make_trainer(seed=1)
    weight = "policy.model.mid_modules.0.blocks.0.block.0.weight"
    assert not everything(first)[weight].equal(everything(second)[weight])
    assert not first.batch_indices().equal(second.batch_indices())
    second.policy.load_state_dict(first.policy.state_dict())
    first.batch_indices = second.batch_indices = lambda: torch.arange(8)
    assert float(first.update()) != float(second.update())


def test_the_same_seed_trains_the_same():
    first, second = make_trainer(seed=4), make_trainer(seed=4)
    assert [float(first.update()) for _ in range(3)] == [float(second.update()) for _ in range(3)]
    assert not differences(everything(first), everything(second))


def test_whole_numbers_train_as_the_broken_ones_that_they_equal():
    whole = {"ema_power": 1, "ema_max": 1, "betas": (0, 0.9), "weight_decay": 0, "learning_rate": 1}
    broken = {key: tuple(map(float, value)) if key == "betas" else float(value) for key, value in whole.items()}
    first, second = make_trainer(**whole), make_trainer(**broken)
    assert [float(first.update()) for _ in range(3)] == [float(second.update()) for _ in range(3)]
    assert not differences(everything(first), everything(second))
    settings = first.optimizer.param_groups[0]
    assert {type(number) for number in (*settings["betas"], settings["weight_decay"], settings["lr"])} == {float}


def test_every_epoch_is_another_permutation_of_all_windows():
    trainer = make_trainer()
    windows, epochs = len(trainer.windows), []
    assert windows % 8  # the last batch of an epoch is smaller
    for _ in range(3):
        batches = []
        for _ in range(trainer.steps_per_epoch):
            batches.append(trainer.batch_indices())
            trainer.step += 1
        assert [len(batch) for batch in batches[:-1]] == [8] * (trainer.steps_per_epoch - 1)
        epochs.append(torch.cat(batches))
        assert epochs[-1].sort().values.equal(torch.arange(windows))
    assert not epochs[0].equal(epochs[1]) and not epochs[1].equal(epochs[2])


def test_epochs_end_where_their_steps_end():
    trainer = make_trainer()
    per_epoch, ends = trainer.steps_per_epoch, {}
    for _ in range(3 * per_epoch):
        trainer.step += 1
        ends[trainer.step] = trainer.ends_epoch()
    assert {step: epoch for step, epoch in ends.items() if epoch is not None} == {
        per_epoch: 0,
        2 * per_epoch: 1,
        3 * per_epoch: 2,
    }


def test_epochs_and_steps_are_two_ways_to_say_how_long():
    assert make_trainer().num_steps == 20
    trainer = make_trainer(num_steps=None, num_epochs=7)
    assert trainer.num_steps == 7 * trainer.steps_per_epoch == 7 * int(np.ceil(len(trainer.windows) / 8))


@pytest.mark.parametrize(("warmup", "total"), [(0, 7), (2, 20), (5, 5), (10, 37), (30, 20)])
def test_learning_rates_equal_diffusers(warmup, total):
    trainer = make_trainer(warmup_steps=warmup, num_steps=total, learning_rate=3e-4)
    optimizer = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=3e-4)
    oracle = pytest.importorskip("diffusers.optimization").get_cosine_schedule_with_warmup(optimizer, warmup, total)
    for step in range(total):
        assert trainer.learning_rate(step) == pytest.approx(optimizer.param_groups[0]["lr"], rel=1e-12, abs=1e-18)
        optimizer.step()
        oracle.step()


def test_each_step_uses_its_own_learning_rate():
    trainer = make_trainer()
    for step in range(5):
        trainer.update()
        assert trainer.optimizer.param_groups[0]["lr"] == trainer.learning_rate(step)


def official_decay(optimization_step, power=0.75, largest=0.9999):
    """diffusion_policy's ema_model.py, get_decay, update_after_step 0, inv_gamma 1."""
    step = max(0, optimization_step - 0 - 1)
    value = 1 - (1 + step / 1.0) ** -power
    return 0.0 if step <= 0 else max(0.0, min(value, largest))


def test_the_average_moves_by_the_official_decay():
    trainer = make_trainer(ema_max=0.6)
    name, start = "model.final_conv.1.weight", torch.randn(2, 32, 1)
    for step in [0, 1, 2, 3, 4, 50]:
        trainer.step = step
        average, weight = dict(trainer.average.named_parameters())[name], dict(trainer.policy.named_parameters())[name]
        average.data.copy_(start)
        trainer.update_average()
        decay = official_decay(step, largest=0.6)
        torch.testing.assert_close(average, decay * start + (1 - decay) * weight.detach(), rtol=1e-5, atol=1e-6)


def test_the_average_is_never_trained_and_always_evaluates():
    trainer = make_trainer()
    before = everything(trainer)
    for _ in range(3):
        trainer.update()
    after = everything(trainer)
    assert trainer.policy.training and not trainer.average.training
    assert not any(each.requires_grad for each in trainer.average.parameters())
    weights = [name for name, _ in trainer.policy.named_parameters()]
    assert all(not after[f"policy.{name}"].equal(before[f"policy.{name}"]) for name in weights)
    assert any(not after[f"average.{name}"].equal(after[f"policy.{name}"]) for name in weights)
    normalizer = [name for name in after if ".normalizer." in name]
    assert len(normalizer) == 12
    assert all(after[name].equal(before[name]) for name in normalizer)


def test_the_optimiser_is_the_published_one():
    trainer = make_trainer(betas=(0.95, 0.999), weight_decay=1e-6)
    (group,) = trainer.optimizer.param_groups
    assert isinstance(trainer.optimizer, torch.optim.AdamW)
    assert (group["betas"], group["weight_decay"], group["eps"]) == ((0.95, 0.999), 1e-6, 1e-8)
    assert len(group["params"]) == len(list(trainer.policy.parameters()))  # the official one decays all, too


def test_a_damaged_file_is_refused(tmp_path):
    path = tmp_path / "training.safetensors"
    trainer = make_trainer()
    trainer.update()
    trainer.save(path)
    content = bytearray(path.read_bytes())
    content[-5] ^= 4
    path.write_bytes(content)
    with pytest.raises(ValueError, match="is damaged"):
        make_trainer().resume(path)


def test_the_windows_decide_what_is_normalised():
    trainer = make_trainer()
    values = trainer.windows.values()["action"]
    normalised = trainer.policy.normalizer.normalize("action", values)
    torch.testing.assert_close(normalised.amax(0), torch.ones(2))
    torch.testing.assert_close(normalised.amin(0), -torch.ones(2))


def test_a_config_of_another_size_trains_too():
    trainer = make_trainer(batch_size=1000)
    assert trainer.steps_per_epoch == 1 and len(trainer.batch_indices()) == len(trainer.windows)
    assert replace(trainer.config, batch_size=8) != trainer.config
    assert float(trainer.update()) > 0
