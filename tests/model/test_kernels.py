"""mamba-ssm and causal-conv1d are used when they are there: stand-ins of the same signatures show which path runs."""

import sys
import types

import pytest
import torch

from mp_lib.model import kernels, native
from mp_lib.model.mixers import MIXERS
from mp_lib.model.scan import selective_scan_reference


@pytest.fixture
def calls(monkeypatch):
    """Stand-in packages that note their calls, on a machine whose tensors count as on a GPU."""
    noted = []

    def selective_scan_fn(u, delta, A, B, C, D=None, z=None, delta_bias=None, delta_softplus=False):
        noted.append("scan")
        u, delta, B, C = (each.transpose(1, 2) for each in (u, delta, B, C))
        return selective_scan_reference(u, delta, A, B, C).transpose(1, 2)

    def causal_conv1d_fn(x, weight, bias=None, activation=None):
        noted.append(activation)
        padded = torch.nn.functional.pad(x, (weight.shape[1] - 1, 0))
        return torch.nn.functional.silu(torch.conv1d(padded, weight[:, None], bias, groups=len(weight)))

    for name, function in (
        ("mamba_ssm.ops.selective_scan_interface", selective_scan_fn),
        ("causal_conv1d", causal_conv1d_fn),
    ):
        module = types.ModuleType(name)
        setattr(module, function.__name__, function)
        for parent in ("mamba_ssm", "mamba_ssm.ops"):
            monkeypatch.setitem(sys.modules, parent, types.ModuleType(parent))
        monkeypatch.setitem(sys.modules, name, module)
    kernels.find_kernel.cache_clear()
    monkeypatch.setattr(kernels, "on_gpu", lambda x: True)
    monkeypatch.setattr(native, "usable", lambda *tensors: False)  # they are for tensors on a CPU
    yield noted
    kernels.find_kernel.cache_clear()


EXPECTED = {
    "mamba1": ["silu", "scan"],
    "bimamba": ["silu", "scan", "silu", "scan"],
    "mamba2": ["silu"],
    "hydra": [],  # its convolution is centred
    "attention": [],
    "mamba3": [],  # it has no convolution, and the public kernel rounds to bfloat16
    "bimamba3": [],
}


@pytest.mark.parametrize("name", MIXERS)
def test_kernels_run_where_they_are_and_change_nothing(name, calls, monkeypatch):
    torch.manual_seed(0)
    mixer, x = MIXERS[name](d_model=64), torch.randn(2, kernels.SHORTEST, 64)
    with_kernels = mixer(x)
    assert calls == EXPECTED[name]
    monkeypatch.setattr(kernels, "on_gpu", lambda x: False)
    torch.testing.assert_close(with_kernels, mixer(x), rtol=1e-5, atol=1e-6)
    assert calls == EXPECTED[name]


def test_without_the_packages_our_own_forms_run(monkeypatch):
    kernels.find_kernel.cache_clear()
    for name in ("mamba_ssm", "causal_conv1d"):
        monkeypatch.setitem(sys.modules, name, None)
    monkeypatch.setattr(kernels, "on_gpu", lambda x: True)
    monkeypatch.setattr(native, "usable", lambda *tensors: False)
    assert MIXERS["mamba1"](d_model=32)(torch.randn(1, 4, 32)).isfinite().all()
    kernels.find_kernel.cache_clear()


def test_a_cpu_tensor_never_asks_for_a_kernel(monkeypatch):
    asked = []
    monkeypatch.setattr(kernels, "find_kernel", lambda *names: asked.append(names))
    MIXERS["mamba1"](d_model=32)(torch.randn(1, 4, 32))
    assert not asked
