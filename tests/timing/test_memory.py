"""The memory of a training as computed: bytes that can be counted by hand, and how many fit a card."""

import pytest
import torch

from mp_lib.config import PolicyConfig
from mp_lib.model.policy import build_policy
from mp_lib.presets import METHODS
from mp_lib.timing.memory import CARDS, COPIES, TAKEN, peak_megabytes, training_bytes, what_fits
from mp_lib.timing.subjects import Subject
from mp_lib.timing.workloads import MAKERS


@pytest.mark.parametrize("method", METHODS)
def test_weights_are_there_five_times_and_activations_grow_with_the_batch(method):
    sketch = Subject(method, "", 16).sketch()
    weights, activations = training_bytes(sketch, 64)
    assert weights == COPIES * 4 * sum(each.numel() for each in sketch.parameters())
    assert 1.9 * activations < training_bytes(sketch, 128)[1] < 2.1 * activations


def test_a_sketch_keeps_no_less_than_a_policy_that_leaves_out_what_gets_no_gradient():
    config = PolicyConfig("dp3_mamba_v2", 24, 26, down_dims=(32, 64))
    whole = build_policy(config)
    with torch.device("meta"):
        sketch = build_policy(config)
    assert training_bytes(whole, 16)[0] == training_bytes(sketch, 16)[0]
    assert 0.1 * training_bytes(sketch, 16)[1] < training_bytes(whole, 16)[1] <= training_bytes(sketch, 16)[1]


def test_what_is_kept_are_the_inputs_of_products_and_activations():
    """Of two linear layers with a ReLU between them: the input, and what the ReLU gives."""
    net = torch.nn.Sequential(torch.nn.Linear(4, 8), torch.nn.ReLU(), torch.nn.Linear(8, 2))

    class Toy(torch.nn.Module):
        config = PolicyConfig("simple_dp3", 4, 2, horizon=4, n_action_steps=3, n_obs_steps=1, num_points=1)
        device = torch.device("cpu")

        def __init__(self):
            super().__init__()
            self.net = net

        def loss(self, batch):
            return self.net(batch["state"]).sum()

    assert training_bytes(Toy(), 16) == (COPIES * 4 * (4 * 8 + 8 + 8 * 2 + 2), 4 * 16 * (4 + 8))


def test_a_gpu_s_peak_is_what_tensors_took_beside_those_that_were_there(monkeypatch):
    called = []
    monkeypatch.setitem(MAKERS["chunk"], "cuda", lambda subject, batch: lambda: called.append(batch))
    for name, value in {
        "memory_allocated": 10**6,
        "reset_peak_memory_stats": None,
        "max_memory_allocated": 5e6,
    }.items():
        monkeypatch.setattr(torch.cuda, name, lambda device, value=value: value)
    assert peak_megabytes(Subject("dp3", "", 16, "cuda"), "chunk", "cuda", 3, 1, "float32") == 4.0
    assert called == [3, 3]


def test_as_many_trainings_fit_a_card_as_there_are_bytes_for_beside_cuda_s():
    rows = what_fits()
    assert [row["method"] for row in rows] == [*METHODS]
    for row in rows:
        left = {card: (card * 10**9 - TAKEN) / (1e9 * (row["weights"] + row["activations"])) for card in CARDS}
        assert all(row[f"{card} GB"] <= fitting < row[f"{card} GB"] + 1 for card, fitting in left.items())
