"""Every mixer's fast form equals its slow twin, in values and gradients, also at extreme step sizes and decays."""

import copy

import pytest
import torch

from mp_lib.config import PolicyConfig
from mp_lib.model import fused
from mp_lib.model.loops import LOOP_FORMS, use_loops
from mp_lib.model.mixers import MIXERS
from mp_lib.model.policy import build_policy
from mp_lib.presets import METHODS
from tests.conftest import small_widths

LENGTHS = (1, 2, 3, 4, 8, 16, 37, 64, 256)


def no_change(mixer):
    pass


def tiny_steps(mixer):
    shift_steps(mixer, -30.0)


def huge_steps(mixer):
    # 500 times the largest initial step. Beyond, the mixer's norm cancels nearly all of a step's gradient; the scans
    # themselves are tested up to a thousand (test_scan.py).
    shift_steps(mixer, 50.0)


def huge_decays(mixer):
    shift_decays(mixer, 7.0)


def tiny_decays(mixer):
    shift_decays(mixer, -30.0)


def shift_steps(mixer, amount):
    with torch.no_grad():
        for name, parameter in mixer.named_parameters():
            if name in ("dt_bias", "dt_proj.bias", "dt_proj_b.bias"):
                parameter.add_(amount)


def shift_decays(mixer, amount):
    with torch.no_grad():
        for name, parameter in mixer.named_parameters():
            if name in ("A_log", "A_b_log"):
                parameter.add_(amount)


def values_and_gradients(mixer, x, weight):
    mixer.zero_grad()
    x = x.clone().requires_grad_()
    y = mixer(x)
    (y * weight).sum().backward()
    return {"y": y.detach(), "x": x.grad, **{name: each.grad.clone() for name, each in mixer.named_parameters()}}


@pytest.mark.parametrize("change", [no_change, tiny_steps, huge_steps, huge_decays, tiny_decays])
@pytest.mark.parametrize("name", MIXERS)
def test_fast_form_equals_slow_twin(name, change):
    torch.manual_seed(0)
    fast = MIXERS[name](d_model=64).double()
    change(fast)
    slow = use_loops(copy.deepcopy(fast))
    assert type(slow) is LOOP_FORMS[type(fast)]
    for length in LENGTHS:
        x, weight = torch.randn(2, 2, length, 64, dtype=torch.float64)
        found, expected = values_and_gradients(fast, x, weight), values_and_gradients(slow, x, weight)
        # All gradients are parts of one vector: some are differences of larger ones, as in the norm's backward pass,
        # and have no more digits than those.
        gradient = torch.cat([value.flatten() for key, value in expected.items() if key != "y"]).norm()
        for key, value in expected.items():
            assert torch.isfinite(found[key]).all(), (length, key)
            reference = value.norm() if key == "y" else gradient
            assert (found[key] - value).norm() <= 1e-12 * reference, (length, key)


def test_loops_reach_every_mixer_of_a_network():
    from mp_lib.model.policy import build_denoiser

    denoiser = use_loops(build_denoiser("dp3_mamba_hydra", 4, 32, (32, 64)))
    assert not any(type(module) in LOOP_FORMS for module in denoiser.modules())
    assert any(type(module) in LOOP_FORMS.values() for module in denoiser.modules())


@pytest.mark.parametrize("method", METHODS)
def test_slow_twins_of_a_policy_ask_for_no_fused_kernel_and_give_the_same(method, monkeypatch):
    torch.manual_seed(0)
    policy = build_policy(PolicyConfig(method, 9, 4, down_dims=small_widths(method), num_points=32)).train()
    history = {"point_cloud": torch.rand(3, 2, 32, 3), "state": torch.rand(3, 2, 9)}
    given = torch.rand(3, 16, 4), torch.arange(3), policy.encode(**history)
    kept = policy.model.draw_kept(3, policy.device)
    expected = policy.model(*given, kept)
    slow = use_loops(policy)
    monkeypatch.setattr(fused, "usable", lambda *given: pytest.fail("a slow twin asked for fused kernels"))
    torch.testing.assert_close(slow.encode(**history), given[2], rtol=0, atol=1e-5)
    torch.testing.assert_close(slow.model(*given, kept), expected, rtol=0, atol=1e-4)
