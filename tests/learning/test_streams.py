"""Trainings draw by what they train on what, and by their seed: so they are independent, whatever tasks are called."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from mp_lib.config import PolicyConfig, scale_config
from mp_lib.data.windows import ActionWindows
from mp_lib.learning.streams import BATCHES, NOISE, WEIGHTS, Streams
from mp_lib.learning.trainer import Trainer
from mp_lib.model.checkpoint import load_tensors, save_tensors
from mp_lib.presets import U_NETS

POLICY = PolicyConfig("simple_dp3", 3, 2, horizon=4, n_action_steps=3, num_points=8, down_dims=(32, 32, 32))
LENGTHS = {"horizon": 4, "n_obs_steps": 2, "n_action_steps": 3}


def make_arrays(frames, start=0):
    generator = np.random.default_rng(start)
    shapes = {"point_cloud": (frames, 8, 3), "state": (frames, 3), "action": (frames, 2)}
    return {key: generator.normal(size=shape).astype(np.float32) for key, shape in shapes.items()}


def make_windows(**changes):
    return ActionWindows(make_arrays(30) | changes, np.array([15, 30]), **LENGTHS)


def drawn(policy=POLICY, windows=None, seed=0):
    streams = Streams(policy, make_windows() if windows is None else windows, seed)
    return [streams.seed(stream, index) for stream in (WEIGHTS, BATCHES, NOISE) for index in range(3)]


def make_trainer(task="toy", policy=POLICY, windows=None, **changes):
    sizes = {"horizon": 4, "n_action_steps": 3, "num_points": 8, "batch_size": 8}
    config = scale_config("smoke", task, policy.method, **sizes | changes)
    return Trainer(config, policy, windows or make_windows(), torch.device("cpu"))


def test_no_two_streams_or_items_are_alike():
    assert len({*drawn()}) == 9 and drawn() == drawn()


OTHERS = {
    **{f"method {method}": (replace(POLICY, method=method), None, 0) for method in U_NETS if method != POLICY.method},
    "attention": (replace(POLICY, attention="released"), None, 0),
    "horizon": (replace(POLICY, horizon=8), None, 0),
    "seed": (POLICY, None, 1),
    "cloud": (POLICY, make_windows(point_cloud=make_arrays(30)["point_cloud"] + 1), 0),
    "state": (POLICY, make_windows(state=make_arrays(30)["state"] + 1), 0),
    "action": (POLICY, make_windows(action=make_arrays(30)["action"] + 1), 0),
    "fewer": (POLICY, ActionWindows(make_arrays(30), np.array([15, 30]), demo_episodes=[0], **LENGTHS), 0),
}


@pytest.mark.parametrize("other", OTHERS.values(), ids=OTHERS)
def test_what_is_another_training_shares_nothing(other):
    assert not {*drawn()} & {*drawn(*other)}


def test_the_same_frames_train_the_same_whatever_lies_beside_them_and_the_task_is_called():
    more, spare = make_arrays(30), make_arrays(12, start=1)
    beside = {key: np.concatenate([spare[key], more[key]]) for key in more}
    chosen = ActionWindows(beside, np.array([12, 27, 42]), demo_episodes=[1, 2], **LENGTHS)
    first, second = make_trainer(), make_trainer("another_task", windows=chosen)
    assert [float(first.update()) for _ in range(3)] == [float(second.update()) for _ in range(3)]


def test_how_one_policy_is_trained_and_sampled_changes_no_draw():
    assert drawn() == drawn(replace(POLICY, num_inference_steps=2))
    first, second = make_trainer(), make_trainer(start="standardised", learning_rate=1e-2)
    assert first.streams.origin == second.streams.origin
    states = (trainer.policy.model.state_dict() for trainer in (first, second))
    assert all(a.equal(b) for a, b in zip(*(each.values() for each in states), strict=True))


@pytest.mark.parametrize("version", [None, 1, "2"])
def test_a_training_with_other_draws_is_not_gone_on_with(tmp_path, version):
    path, trainer = tmp_path / "training.safetensors", make_trainer()
    trainer.update()
    trainer.save(path)
    tensors, header = load_tensors(path)
    save_tensors(path, tensors, header | {"streams": version})
    with pytest.raises(ValueError, match=r"training\.safetensors is of a release that drew other random numbers"):
        make_trainer().resume(path)
