"""Native loops equal the slow twins in values and gradients with any number of threads; without them all runs on."""

import copy
import logging
import warnings

import pytest
import torch
from torch.nn import functional

from mp_lib.model import native
from mp_lib.model.blocks import add_kept
from mp_lib.model.encoder import PointNet
from mp_lib.model.loops import add_masked, use_loops
from mp_lib.model.mamba3 import Mamba3
from mp_lib.model.mixer import GatedNorm
from mp_lib.model.mixers import MIXERS
from mp_lib.model.unet import UNet1D
from mp_lib.system import compiler

needs_native = pytest.mark.skipif(native.library() is None, reason="no C compiler, or MP_NATIVE=off")
STATE_SPACES = [name for name in MIXERS if name != "attention"]
WITH_LOOPS = [name for name in STATE_SPACES if not issubclass(MIXERS[name], Mamba3)]  # the others have no native loops
SIZES = [(1, 1), (1, 2), (3, 5), (2, 16), (130, 4), (2, 256)]  # samples, steps; the last but one is shared by threads


def values_and_gradients(module, x, weight):
    """Output, gradient of the input and of every parameter, of a weighted sum, in float64."""
    dtype = next(module.parameters()).dtype
    x = x.to(dtype).requires_grad_()
    y = module(x)
    gradients = torch.autograd.grad((y * weight.to(dtype)).sum(), [x, *module.parameters()])
    return [each.detach().double() for each in (y, *gradients)]


def assert_near(found, expected):
    # Gradients are parts of one vector: some are differences of larger ones and have no more digits than those.
    gradient = torch.cat([each.flatten() for each in expected[1:]]).norm()
    for place, (one, other) in enumerate(zip(found, expected, strict=True)):
        assert one.isfinite().all()
        assert (one - other).norm() <= 3e-6 * (gradient if place else other.norm()), place


@needs_native
@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("samples", "steps"), SIZES)
@pytest.mark.parametrize("name", WITH_LOOPS)
def test_native_mixers_equal_slow_twins_in_float64(name, samples, steps, threads, monkeypatch):
    torch.manual_seed(0)
    mixer = MIXERS[name](d_model=32 if name != "hydra" else 64)
    for parameter in mixer.parameters():
        parameter.data += 0.1 * torch.randn_like(parameter)
    x, weight = torch.randn(2, samples, steps, mixer.in_proj.in_features)
    monkeypatch.setattr(torch, "get_num_threads", lambda: threads)
    monkeypatch.setattr(native, "SHARED_FROM", 1000)
    assert native.usable(mixer.out_proj.in_features, x)
    expected = values_and_gradients(use_loops(copy.deepcopy(mixer).double()), x, weight)
    assert_near(values_and_gradients(mixer, x, weight), expected)


@needs_native
@pytest.mark.parametrize("name", STATE_SPACES)
@pytest.mark.parametrize("shift", [-30.0, 30.0])
@pytest.mark.parametrize("parameter", ["dt", "A"])
def test_nothing_overflows_at_extreme_steps_and_decays(name, parameter, shift):
    torch.manual_seed(0)
    mixer = MIXERS[name](d_model=64)
    for key, value in mixer.named_parameters():
        if key.startswith(parameter) and key.endswith(("bias", "log")):
            value.data += shift
    x, weight = torch.randn(2, 2, 64, 64)
    assert all(each.isfinite().all() for each in values_and_gradients(mixer, x, weight))


@needs_native
def test_the_gate_covers_all_numbers():
    gate = torch.cat([torch.linspace(-200, 200, 4096), 10.0 ** torch.linspace(-30, 30, 2048), torch.zeros(16)])
    y, weight, bias = torch.ones(len(gate), 16), torch.ones(16, 1), torch.zeros(16)
    found = native.Conv.apply((gate[:, None] * y)[None], weight, bias, 0)[0, :, 0]  # SiLU alone: the only tap is 1
    torch.testing.assert_close(found, functional.silu(gate), rtol=1e-6, atol=1e-35)


def functions():
    """Each native function of its first argument (1, 3, 32) alone."""
    torch.manual_seed(0)
    weight, bias, selected = torch.randn(32, 3), torch.randn(32), torch.randn(1, 3, 2 + 2 * 4)
    decay, low = -torch.rand(32, 4), torch.randn(32, 2)
    return {
        "convolution": lambda x: native.Conv.apply(x, weight, bias, 2),
        "scan": lambda x: native.SelectiveScan.apply(x, selected, low, bias, decay, bias, False),
        "norm": lambda x: native.GatedNorm.apply(x, torch.ones(1, 3, 32), bias, 1e-5, True),
    }


@needs_native
@pytest.mark.parametrize("name", functions())
def test_a_nan_reaches_all_that_depends_on_it_and_nothing_else(name):
    x = torch.randn(1, 3, 32)
    x[0, 1, 5] = torch.nan
    found = functions()[name](x)[0].isnan()
    assert found[1, 5] and not found[0].any()
    assert found[2, 5] == (name != "norm")  # convolution and scan carry it on
    assert found[1].all() == (name == "norm") and not (name != "norm" and found[:, 6].any())


@needs_native
@pytest.mark.parametrize("name", STATE_SPACES)
def test_lower_precision_is_left_to_torch(name):
    torch.manual_seed(0)
    mixer, x = MIXERS[name](d_model=64), torch.randn(2, 5, 64)
    with torch.autocast("cpu", torch.bfloat16), torch.no_grad():
        found = mixer(x)
    torch.testing.assert_close(found.float(), mixer(x), rtol=0.1, atol=0.02)


@needs_native
def test_a_traced_module_records_torch_forms():
    mixer, x = MIXERS["mamba1"](d_model=64).eval(), torch.randn(2, 5, 64)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert not any("Python" in str(node) for node in torch.jit.trace(mixer, x, check_trace=False).graph.nodes())


@needs_native
@pytest.mark.parametrize("x", [torch.randn(3, 32, 1).transpose(1, 2), torch.randn(1, 3, 32).transpose(0, 1)])
def test_single_steps_with_odd_strides_are_read_right(x):
    weight, bias = torch.randn(32, 1), torch.randn(32)
    found = native.Conv.apply(x, weight, bias, 0)
    torch.testing.assert_close(found, functional.silu(x * weight[:, 0] + bias))


@needs_native
@pytest.mark.parametrize("gate_first", [True, False])
def test_slices_of_a_wider_tensor_are_read_in_place(gate_first):
    torch.manual_seed(0)
    wide, norm = torch.randn(3, 5, 96), GatedNorm(32, gate_first)
    z, y = wide[..., 64:], torch.randn(3, 5, 32)
    assert native.rows(z) is z and native.rows(wide.transpose(1, 2)).is_contiguous()
    torch.testing.assert_close(norm(y, z), norm.compose(y, z))


@needs_native
def test_second_derivatives_are_refused_rather_than_wrong():
    x = torch.randn(1, 4, 64, requires_grad=True)
    first = torch.autograd.grad(MIXERS["mamba1"](d_model=64)(x).square().sum(), x, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


@pytest.mark.parametrize("reason", ["off", "no compiler", "broken compiler"])
@pytest.mark.parametrize("name", WITH_LOOPS)
def test_without_native_loops_the_torch_forms_run(name, reason, monkeypatch, tmp_path, caplog):
    torch.manual_seed(0)
    mixer, x = MIXERS[name](d_model=64), torch.randn(2, 9, 64)
    expected = mixer(x)
    broken = tmp_path / "cc"
    broken.write_text("#!/bin/sh\necho 'no such flag' >&2\nexit 1\n")
    broken.chmod(0o700)
    monkeypatch.delenv("MP_NATIVE", raising=False)
    change = {
        "off": lambda: monkeypatch.setenv("MP_NATIVE", "off"),
        "no compiler": lambda: monkeypatch.setattr(compiler, "which", lambda command: None),
        "broken compiler": lambda: monkeypatch.setattr(compiler, "find_compiler", lambda: str(broken)),
    }
    change[reason]()
    compiler.build.cache_clear()
    with caplog.at_level(logging.INFO, "mp_lib.system.compiler"):
        found = mixer(x)
    compiler.build.cache_clear()
    assert [each for each in caplog.messages if "not used" in each], "nothing was said"
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-6)


def test_other_numbers_and_places_are_left_to_torch():
    x = torch.zeros(1, 2, 32)
    assert not native.usable(31, x) and not native.usable(32, x.double()) and not native.usable(32, x.to("meta"))


@needs_native
def test_nothing_is_left_where_it_was_built(tmp_path, monkeypatch):
    monkeypatch.setattr(compiler.tempfile, "tempdir", str(tmp_path))
    compiler.build.cache_clear()
    assert native.library() is not None
    assert not list(tmp_path.iterdir())


RATE = 0.3


@pytest.mark.parametrize("seed", range(6))  # three samples: all, some or none of them are kept
def test_leaving_out_dropped_samples_gives_what_multiplying_by_zero_gives(seed):
    x, layer = torch.randn(3, 4, 8, dtype=torch.float64), torch.nn.Linear(8, 8).double()

    def run(add):
        torch.manual_seed(seed)
        inputs = x.clone().requires_grad_()
        y = add(inputs, layer, torch.bernoulli(torch.full((3,), 1 - RATE, dtype=torch.float64)), RATE)
        return [y, *torch.autograd.grad(y.square().sum(), [inputs, *layer.parameters()])]

    torch.testing.assert_close(run(add_kept), run(add_masked))


def test_the_branch_of_dropped_samples_is_not_computed():
    seen, kept = [], torch.tensor([1.0, 0, 0, 1, 1])
    for add in (add_kept, add_masked):
        add(torch.zeros(5, 2, 4), lambda rest: seen.append(len(rest)) or rest, kept, RATE)
    assert seen == [3, 5]


def test_the_official_formulation_computes_what_it_drops():
    from mp_lib.model.policy import build_denoiser

    denoiser = use_loops(build_denoiser("dp3_mamba", 4, 32, (32, 64)))
    assert isinstance(denoiser, UNet1D)
    assert {block.add_dropping for block in denoiser.modules() if hasattr(block, "add_dropping")} == {add_masked}


def test_native_mish_equals_the_librarys():
    x = torch.cat([torch.linspace(-30, 30, 992), torch.tensor([-1e4, -90.0, 20.0, 20.1, 1e4, torch.nan] + 10 * [0.0])])
    inputs = [x.clone().requires_grad_() for _ in range(2)]
    found, expected = native.Mish.apply(inputs[0]), functional.mish(inputs[1])
    torch.testing.assert_close(found, expected, rtol=1e-6, atol=1e-6, equal_nan=True)
    weights = torch.linspace(-1, 1, len(x))
    gradients = [torch.autograd.grad(y, given, weights)[0] for y, given in zip((found, expected), inputs, strict=True)]
    torch.testing.assert_close(*gradients, rtol=1e-5, atol=1e-6, equal_nan=True)


def test_native_norm_and_argmax_equal_the_librarys():
    torch.manual_seed(0)
    norm, x = torch.nn.LayerNorm(48), torch.randn(5, 7, 48)
    torch.nn.init.normal_(norm.weight), torch.nn.init.normal_(norm.bias)
    with torch.no_grad():
        expected = torch.relu(norm(x))
        torch.testing.assert_close(native.norm_relu(x.clone(), norm.weight, norm.bias, norm.eps), expected)
        x[0, 3, 5], x[2, :, 1], x[1, 0, 0] = torch.nan, 4.0, torch.inf  # a NaN, a tie
        assert native.argmax(x).equal(x.argmax(1))
        assert native.norm_relu(x.clone(), norm.weight, norm.bias, norm.eps)[0, 3].isnan().all()


def test_the_encoder_finds_the_same_critical_points_natively(monkeypatch):
    torch.manual_seed(0)
    encoder, points = PointNet(16, (16, 32, 48)), torch.randn(9, 40, 3)
    found = encoder.critical_points(points)
    monkeypatch.setattr(native, "usable", lambda *given: False)
    for one, other in zip(found, encoder.critical_points(points), strict=True):
        assert one.equal(other)
