"""Backends: all of them act alike; what one needs and lacks is said."""

import weakref
from dataclasses import replace

import numpy as np
import pytest
import torch

from mp_lib.config import PolicyConfig
from mp_lib.interfaces import Obs
from mp_lib.learning.rollout import rollout
from mp_lib.model import backends
from mp_lib.model.backends import BACKENDS, GraphPolicy, freeze
from mp_lib.model.policy import build_policy
from mp_lib.presets import ATTENTION, METHODS
from tests.conftest import TOY, small_widths

EXPORTS = [("simple_dp3", "paper", "onnx"), ("simple_dp3", "paper", "torch")]
SLOW = [
    pytest.param(method, attention, backend, marks=pytest.mark.slow)
    for method, row in METHODS.items()
    for attention in (ATTENTION if row.mixer else ["paper"])
    for backend in ("onnx", "compiled")
]


def make_policy(method, attention="paper"):
    torch.manual_seed(0)
    widths = small_widths(method)
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


class Line:
    """A task whose state follows the actions: what differs in one step differs in all that come after."""

    def __init__(self, num_points):
        self.cloud = torch.rand(num_points, 3, generator=torch.Generator().manual_seed(0)).numpy()

    def reset(self, seed):
        self.state = np.full(9, seed / 10, np.float32)

    def step(self, action):
        self.state[:4] = 0.9 * self.state[:4] + 0.5 * action
        return False

    def observe(self):
        return Obs(self.cloud + self.state[:3], self.state.copy())

    def close(self):
        pass


@pytest.mark.parametrize(("method", "attention", "backend"), [("simple_dp3", "paper", "onnx"), *SLOW])
def test_backends_act_alike_over_whole_rollouts(method, attention, backend):
    policy = make_policy(method, attention)
    task = replace(TOY, make_env=Line, max_steps=40)
    actions = {}
    for name in ("torch", backend):
        frozen, acted = freeze(policy, name), []
        act = frozen.act
        frozen.act = lambda *given, act=act, acted=acted: acted.append(act(*given)) or acted[-1]
        rollout(frozen, task, range(3))
        actions[name] = torch.cat(acted)
    assert len(actions[backend]) == 3 * 40 / policy.config.n_action_steps
    torch.testing.assert_close(actions[backend], actions["torch"], rtol=0, atol=1e-5)


def test_one_export_serves_batches_and_threads_of_any_number(monkeypatch):
    exports, export = [], backends.export_onnx
    monkeypatch.setattr(backends, "export_onnx", lambda *given: exports.append(1) or export(*given))
    policy = make_policy("simple_dp3")
    frozen = freeze(policy, "onnx")
    for batch, threads in ((2, 1), (5, 1), (1, 2)):
        monkeypatch.setattr(torch, "get_num_threads", lambda threads=threads: threads)
        seen, noise = history(batch), torch.randn(batch, 16, 4)
        torch.testing.assert_close(frozen.act(seen, noise), policy.act(seen, noise), rtol=0, atol=1e-5)
    assert len(exports) == 2  # of the condition's and of the denoiser's part


RUN = {"policy": lambda policy: policy, "cuda": GraphPolicy, "torch": backends.run_eagerly, "onnx": backends.run_onnx}


@pytest.mark.parametrize("kind", RUN)
def test_other_denoising_steps_are_those_of_a_policy_that_has_them_and_leave_the_first_as_it_was(kind, monkeypatch):
    monkeypatch.setattr(backends, "Replay", lambda function: function)  # stands in for a CUDA graph
    policy, seen, noise = make_policy("simple_dp3"), history(2), torch.randn(2, 16, 4)
    other = build_policy(replace(policy.config, num_inference_steps=3)).eval()
    other.load_state_dict(policy.state_dict())
    first = RUN[kind](policy)
    usual = first.act(seen, noise)
    few = first.with_steps(3)
    assert few.config.num_inference_steps == 3 and type(few) is type(first)
    torch.testing.assert_close(few.act(seen, noise), other.act(seen, noise), rtol=0, atol=1e-5)
    assert torch.equal(first.act(seen, noise), usual) and not torch.allclose(few.act(seen, noise), usual)
    with pytest.raises(ValueError, match="num_inference_steps 101"):
        first.with_steps(101)


def test_other_denoising_steps_take_no_other_weights_and_no_other_export():
    frozen = freeze(make_policy("simple_dp3"), "onnx")
    few = frozen.with_steps(2)
    assert few.run_denoise is frozen.run_denoise and few.run_condition is frozen.run_condition
    assert few.policy.model is frozen.policy.model and few.backend == "onnx"


def test_frozen_policy_does_not_follow_the_weights():
    policy = make_policy("simple_dp3")
    frozen, seen, noise = freeze(policy, "torch"), history(1), torch.randn(1, 16, 4)
    before = frozen.act(seen, noise)
    with torch.no_grad():
        for parameter in policy.parameters():
            parameter.add_(0.1)
    assert torch.equal(frozen.act(seen, noise), before)


def test_a_graph_s_memory_ends_with_its_policy():
    frozen = GraphPolicy(make_policy("simple_dp3"))
    assert frozen.table is frozen.replay.function.__closure__[0].cell_contents.table  # what refresh() sets
    left = [weakref.ref(each) for each in (frozen, frozen.policy, frozen.replay)]
    del frozen
    assert not any(each() for each in left)  # and not when garbage is collected, which recording does not do


def test_unknown_backend_lists_those_that_exist():
    with pytest.raises(ValueError, match=", ".join(BACKENDS)):
        freeze(make_policy("simple_dp3"), "tensorrt")


def test_graph_backend_refuses_a_cpu():
    with pytest.raises(ValueError, match="it is on cpu"):
        freeze(make_policy("simple_dp3"), "cuda")


def test_missing_packages_are_named(monkeypatch):
    monkeypatch.setattr("mp_lib.system.extras.find_spec", lambda name: None)
    with pytest.raises(ValueError, match=r"onnx, onnxruntime, onnxscript.*\[deploy\]"):
        freeze(make_policy("simple_dp3"), "onnx")
    assert freeze(make_policy("simple_dp3"), "auto").backend == "torch"


@pytest.mark.cuda
@pytest.mark.parametrize("method", METHODS)
def test_graph_acts_as_the_policy_does(method):
    policy = make_policy(method).cuda()
    frozen = freeze(policy, "auto")
    assert isinstance(frozen, GraphPolicy)
    for batch in (1, 3, 1):
        seen = {key: value.cuda() for key, value in history(batch).items()}
        noise = torch.randn(batch, 16, 4, device="cuda")
        torch.testing.assert_close(frozen.act(seen, noise), policy.act(seen, noise), rtol=0, atol=1e-4)
