"""Min-max normalisation: what varies goes to -1 to 1 and back, what is constant comes out as it was, to the bit."""

import pytest
import torch

from mp_lib.config import PolicyConfig
from mp_lib.model.backends import freeze
from mp_lib.model.normalizer import Normalizer
from mp_lib.model.policy import build_policy

ACTIONS = torch.stack([torch.linspace(-3, 5, 50), torch.full((50,), 0.04), torch.linspace(0.1, 0.10004, 50)], dim=-1)


@pytest.fixture
def normalizer():
    made = Normalizer({"point_cloud": 3, "state": 2, "action": 3})
    state = torch.stack([torch.linspace(0, 1, 50), torch.linspace(0.5, 0.505, 50)], dim=-1)
    made.fit({"action": ACTIONS, "state": state, "point_cloud": torch.randn(50, 8, 3)})
    return made


def test_what_varies_goes_to_minus_one_and_one_and_back(normalizer):
    normalised = normalizer.normalize("action", ACTIONS)
    for column in (0, 2):  # also what moves by 4e-5
        assert normalised[:, column].min() == pytest.approx(-1, abs=1e-2)
        assert normalised[:, column].max() == pytest.approx(1, abs=1e-2)
    torch.testing.assert_close(normalizer.unnormalize("action", normalised), ACTIONS, rtol=0, atol=1e-6)


def test_a_constant_action_is_zero_normalised_and_comes_out_as_itself_whatever_is_predicted(normalizer):
    assert not normalizer.normalize("action", ACTIONS)[:, 1].any()
    executed = normalizer.unnormalize("action", torch.randn(1000, 3))
    assert (executed[:, 1] == ACTIONS[0, 1]).all()
    assert normalizer.action_scale[1] == 0 and normalizer.action_offset[1] == ACTIONS[0, 1]


def test_an_action_that_moves_a_little_comes_out_as_little(normalizer):
    executed = normalizer.unnormalize("action", torch.tensor([[0.0, 0.0, -1.0], [0.0, 0.0, 1.0], [0.0, 0.0, 1.5]]))
    assert (executed[:, 2] - 0.1).abs().max() < 1e-4


def test_a_state_that_hardly_moves_is_only_centred(normalizer):
    state = torch.tensor([[0.5, 0.6]])
    assert normalizer.normalize("state", state)[0, 1] == pytest.approx(0.1, abs=1e-6)


def test_buffers_are_those_of_before_and_older_ones_mean_what_they_meant():
    made = Normalizer({"action": 2})
    assert list(made.state_dict()) == ["action_scale", "action_offset"]
    made.load_state_dict({"action_scale": torch.tensor([1.0, 2.0]), "action_offset": torch.tensor([-0.04, 0.5])})
    out = made.unnormalize("action", torch.tensor([[0.01, 1.0]]))
    torch.testing.assert_close(out, torch.tensor([[0.05, 0.25]]))
    torch.testing.assert_close(made.normalize("action", out), torch.tensor([[0.01, 1.0]]))


@pytest.mark.parametrize("backend", ["policy", "torch", "onnx"])
def test_every_way_to_run_a_policy_executes_constants_to_the_bit(backend):
    if backend == "onnx":
        pytest.importorskip("onnxruntime")
    torch.manual_seed(0)
    config = PolicyConfig("dp3_narrow", 2, 3, num_points=8, down_dims=(16, 32), num_inference_steps=2)
    policy = build_policy(config).eval()
    values = {"action": ACTIONS, "state": torch.randn(50, 2), "point_cloud": torch.randn(50, 8, 3)}
    policy.normalizer.fit(values)
    acting = policy if backend == "policy" else freeze(policy, backend)
    actions = acting.act({"point_cloud": torch.randn(4, 2, 8, 3), "state": torch.randn(4, 2, 2)})
    assert (actions[..., 1] == ACTIONS[0, 1]).all()


def test_a_range_too_small_to_divide_by_is_a_constant():
    normalizer = Normalizer({"action": 1})
    normalizer.fit({"action": torch.tensor([[0.0], [1e-39], [0.0]])})
    assert torch.isfinite(normalizer.normalize("action", torch.ones(1, 1))).all()
    assert torch.equal(normalizer.unnormalize("action", torch.ones(1, 1)), torch.zeros(1, 1))
