"""Backends: all of them act alike; what one needs and lacks is said."""

import pytest
import torch

from mp_lib.config import ATTENTION, METHODS, PolicyConfig
from mp_lib.model.backends import BACKENDS, GraphPolicy, freeze
from mp_lib.model.policy import build_policy

EXPORTS = [("simple_dp3", "paper", "onnx"), ("simple_dp3", "paper", "torch")]
SLOW = [
    pytest.param(method, attention, backend, marks=pytest.mark.slow)
    for method, row in METHODS.items()
    for attention in (ATTENTION if row.mixer else ["paper"])
    for backend in ("onnx", "compiled")
]


def make_policy(method, attention="paper"):
    torch.manual_seed(0)
    widths = tuple(width // 4 for width in METHODS[method].down_dims)
    return build_policy(PolicyConfig(method, 9, 4, attention=attention, down_dims=widths, num_points=32)).eval()


def history(batch):
    return {"point_cloud": torch.rand(batch, 2, 32, 3), "state": torch.rand(batch, 2, 9)}


@pytest.mark.parametrize(("method", "attention", "backend"), EXPORTS + SLOW)
def test_backend_acts_as_the_policy_does(method, attention, backend):
    policy = make_policy(method, attention)
    frozen = freeze(policy, backend)
    assert frozen.backend == backend
    for batch in (1, 3, 1):
        seen, noise = history(batch), torch.randn(batch, 16, 4)
        torch.testing.assert_close(frozen.act(seen, noise), policy.act(seen, noise), rtol=0, atol=1e-5)


def test_frozen_policy_does_not_follow_the_weights():
    policy = make_policy("simple_dp3")
    frozen, seen, noise = freeze(policy, "torch"), history(1), torch.randn(1, 16, 4)
    before = frozen.act(seen, noise)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1)
    assert torch.equal(frozen.act(seen, noise), before)


def test_unknown_backend_lists_those_that_exist():
    with pytest.raises(ValueError, match=", ".join(BACKENDS)):
        freeze(make_policy("simple_dp3"), "tensorrt")


def test_graph_backend_refuses_a_cpu():
    with pytest.raises(ValueError, match="it is on cpu"):
        freeze(make_policy("simple_dp3"), "cuda")


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr("mp_lib.model.backends.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"onnx, onnxruntime, onnxscript.*\[deploy\]"):
        freeze(make_policy("simple_dp3"), "onnx")
    assert freeze(make_policy("simple_dp3"), "auto").backend == "torch"


@pytest.mark.skipif(not torch.cuda.is_available(), reason="captures a CUDA graph, and there is no CUDA GPU")
@pytest.mark.parametrize("method", METHODS)
def test_graph_acts_as_the_policy_does(method):
    policy = make_policy(method).cuda()
    frozen = freeze(policy, "auto")
    assert isinstance(frozen, GraphPolicy)
    for batch in (1, 3, 1):
        seen = {key: value.cuda() for key, value in history(batch).items()}
        noise = torch.randn(batch, 16, 4, device="cuda")
        torch.testing.assert_close(frozen.act(seen, noise), policy.act(seen, noise), rtol=0, atol=1e-4)
