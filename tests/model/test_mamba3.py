"""Mamba-3's forms agree, its clamp holds, and it is the published one where the reference cannot tell."""

import math

import numpy as np
import pytest
import torch

from mp_lib.model.loops import use_loops
from mp_lib.model.mamba3 import SLOWEST, BiMamba3, Mamba3
from mp_lib.model.mixers import MIXERS
from mp_lib.model.trapezoid import turn
from tests.model.test_mixers import REFERENCE

LENGTHS = (1, 2, 4, 8, 16, 17, 37, 64, 128)


def published(kind=Mamba3, dtype=torch.float32):
    """A mixer with the reference's parameters, and the reference's arrays."""
    with np.load(REFERENCE / "mamba3.npz") as file:
        arrays = {key: torch.from_numpy(values) for key, values in file.items()}
    mixer = kind(d_model=64)
    mixer.load_state_dict({key.removeprefix("param:"): each for key, each in arrays.items() if "param:" in key})
    return mixer.to(dtype), {key: each.to(dtype) for key, each in arrays.items()}


@pytest.mark.parametrize("length", LENGTHS)
def test_outputs_equal_the_reference_of_that_release(length):
    mixer, arrays = published()
    expected = arrays[f"out:y{length}"]
    with torch.no_grad():
        error = mixer(arrays[f"in:x{length}"]) - expected
    assert error.norm() < 1e-5 * expected.norm()
    assert error.abs().max() < 1e-5 * expected.abs().max()


def test_gradients_equal_the_reference_of_that_release():
    mixer, arrays = published()
    (mixer(arrays["in:x16"]) * arrays["in:w16"]).sum().backward()
    for name, weight in mixer.named_parameters():
        expected = arrays[f"grad:{name}"]
        assert (weight.grad - expected).norm() < 1e-5 * expected.norm(), name


@pytest.mark.parametrize("kind", [Mamba3, BiMamba3])
@pytest.mark.parametrize("length", LENGTHS)
def test_the_slow_twin_is_the_same(kind, length):
    mixer, arrays = published(kind, torch.float64)
    with torch.no_grad():
        fast = mixer(arrays[f"in:x{length}"])
        slow = use_loops(mixer)(arrays[f"in:x{length}"])
    assert (fast - slow).abs().max() < 1e-12 * max(1, float(slow.abs().max()))


@pytest.mark.parametrize("length", LENGTHS)
def test_step_after_step_is_the_whole(length):
    mixer, arrays = published(dtype=torch.float64)
    steps, past = arrays[f"in:x{length}"].unbind(1), None
    with torch.no_grad():
        for step, expected in zip(steps, mixer(torch.stack(steps, dim=1)).unbind(1), strict=True):
            found, past = mixer.step(step, past)
            assert (found - expected).abs().max() < 1e-12
    assert (past.angles >= 0).all() and (past.angles < 2 * math.pi).all()


@pytest.mark.parametrize("length", [1, 4, 16])
def test_both_directions_are_one_and_that_of_the_flipped_sequence(length):
    both, arrays = published(BiMamba3, torch.float64)
    one, _ = published(dtype=torch.float64)
    x = arrays[f"in:x{length}"]
    with torch.no_grad():
        assert (both(x) - one(x) - one(x.flip(1)).flip(1)).abs().max() < 1e-12


@pytest.mark.parametrize(("raw", "expected"), [(-20.0, SLOWEST), (0.0, -math.log(2)), (30.0, -30.0)])
def test_no_decay_is_slower_than_the_floor(raw, expected):
    """Where the floor holds, the clamp has no gradient, as in the public code."""
    mixer = Mamba3(d_model=32)
    heads = torch.arange(sum(mixer.sizes[:5]), sum(mixer.sizes[:6]))
    with torch.no_grad():
        mixer.in_proj.weight.zero_()
        mixer.in_proj.weight[heads, 0] = raw
    u = torch.zeros(1, 1, 32)
    u[..., 0] = 1
    chosen, _ = mixer.choose(u)
    torch.testing.assert_close(chosen.decay / chosen.dt, torch.full((1, 1, 1), expected))
    (chosen.decay / chosen.dt).sum().backward()
    assert bool(mixer.in_proj.weight.grad[heads].any()) == (expected != SLOWEST)


def test_a_turn_keeps_lengths_and_leaves_the_rest():
    torch.manual_seed(0)
    vectors, angles = torch.randn(3, 12, dtype=torch.float64), torch.randn(3, 4, dtype=torch.float64)
    turned = turn(vectors, angles)
    torch.testing.assert_close(turned[:, 8:], vectors[:, 8:])
    pairs = [each[:, :8].unflatten(1, (4, 2)) for each in (vectors, turned)]
    torch.testing.assert_close(*(torch.view_as_complex(each.contiguous()).abs() for each in pairs))
    found = torch.view_as_complex(pairs[1].contiguous()) / torch.view_as_complex(pairs[0].contiguous())
    torch.testing.assert_close(found, torch.polar(torch.ones_like(angles), angles))


@pytest.mark.parametrize("d_model", [128, 256, 512])
def test_it_has_as_many_parameters_as_hydra(d_model):
    counts = [
        sum(each.numel() for each in MIXERS[name](d_model=d_model).parameters())
        for name in ("mamba3", "bimamba3", "hydra")
    ]
    assert counts[0] == counts[1]
    assert abs(counts[0] / counts[2] - 1) < 0.004
