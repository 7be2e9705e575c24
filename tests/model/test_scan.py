"""Fast forms of scans and convolutions equal their slow twins, in values and gradients, at any step size and decay."""

import pytest
import torch
from torch.autograd import gradcheck
from torch.nn import functional

from mp_lib.model import scan
from mp_lib.model.depthwise import DepthwiseConv, depthwise_conv
from mp_lib.model.selective_scan import SelectiveScan

LENGTHS = (1, 2, 3, 4, 16, 37, 64, 256)
REGIMES = {  # powers of ten of dt and of -A, each drawn uniformly between
    "initial": ((-3, -1), (0, 1.2)),
    "huge": ((3, 3), (3, 3)),
    "tiny": ((-12, -9), (-12, -9)),
    "fast and hardly decaying": ((3, 3), (-9, -3)),
    "mixed": ((-9, 3), (-9, 3)),
}


def powers(generator, size, exponents, dtype=torch.float64):
    low, high = exponents
    return 10 ** (low + (high - low) * torch.rand(size, generator=generator, dtype=dtype))


def normal(generator, size, dtype=torch.float64):
    return torch.randn(size, generator=generator, dtype=dtype)


def scan_inputs(length, regime, dtype=torch.float64):
    """u, dt, A, B, C of Mamba-1."""
    generator = torch.Generator().manual_seed(length)
    dt, decay = REGIMES[regime]
    return (
        normal(generator, (2, length, 4), dtype),
        powers(generator, (2, length, 4), dt, dtype),
        -powers(generator, (4, 3), decay, dtype),
        normal(generator, (2, length, 3), dtype),
        normal(generator, (2, length, 3), dtype),
    )


def ssd_inputs(length, regime, dtype=torch.float64):
    """x, dt, A, B, C of Mamba-2."""
    generator = torch.Generator().manual_seed(length)
    dt, decay = REGIMES[regime]
    return (
        normal(generator, (2, length, 2, 4), dtype),
        powers(generator, (2, length, 2), dt, dtype),
        -powers(generator, (2,), decay, dtype),
        normal(generator, (2, length, 3), dtype),
        normal(generator, (2, length, 3), dtype),
    )


def hydra_inputs(length, regime, dtype=torch.float64):
    """x, dt_f, dt_b, A, B_f, B_b, C_f, C_b of Hydra."""
    x, dt, A, B, C = ssd_inputs(length, regime, dtype)
    return x, dt, dt.flip(0), A, B, B.flip(0), C, C.flip(0)


def ssd_fast(x, dt, A, B, C):
    return scan.apply_matrix(scan.ssd_matrix(dt, A, B, C), x)


def hydra_fast(x, dt_f, dt_b, A, B_f, B_b, C_f, C_b):
    return scan.apply_matrix(scan.quasiseparable_matrix((dt_f, dt_b), A, (B_f, B_b), (C_f, C_b)), x)


def hydra_slow(x, dt_f, dt_b, A, B_f, B_b, C_f, C_b):
    """Two recurrences; each step's output is the state that the step before it (in its direction) has left."""

    def shifted(dt, B, C, order):
        outputs = [0 * x[:, 0]] * x.shape[1]
        state = x.new_zeros(*x.shape[:1], *x.shape[2:], B.shape[-1])
        for step, reader in zip(order, order[1:], strict=False):
            drive = dt[:, step, :, None, None] * x[:, step, :, :, None] * B[:, step, None, None, :]
            state = torch.exp(A * dt[:, step])[..., None, None] * state + drive
            outputs[reader] = (state * C[:, step, None, None, :]).sum(-1)
        return torch.stack(outputs, dim=1)

    order = list(range(x.shape[1]))
    return shifted(dt_f, B_f, C_f, order) + shifted(dt_b, B_b, C_b, order[::-1])


TWINS = {
    "selective scan, traced": (scan.selective_scan_traced, scan.selective_scan_reference, scan_inputs),
    "selective scan": (scan.selective_scan, scan.selective_scan_reference, scan_inputs),
    "ssd": (ssd_fast, scan.ssd_reference, ssd_inputs),
    "quasiseparable": (hydra_fast, hydra_slow, hydra_inputs),
}


def values_and_gradients(function, inputs):
    inputs = [each.clone().requires_grad_() for each in inputs]
    output = function(*inputs)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output).sin()
    gradients = torch.autograd.grad((output * weights).sum(), inputs, materialize_grads=True)
    return [output.detach(), *gradients]


def distance(found, expected):
    """The norm of the difference as a share of the norm of what is expected."""
    return float((found - expected).norm() / expected.norm().clamp(min=1e-300))


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("regime", REGIMES)
@pytest.mark.parametrize("length", LENGTHS)
def test_fast_and_slow_agree_in_values_and_gradients(twin, regime, length):
    fast, slow, make_inputs = TWINS[twin]
    inputs = make_inputs(length, regime)
    expected = values_and_gradients(slow, inputs)
    for place, (found, wanted) in enumerate(zip(values_and_gradients(fast, inputs), expected, strict=True)):
        assert found.isfinite().all() and wanted.isfinite().all()
        assert found.shape == wanted.shape
        assert distance(found, wanted) < 1e-12, f"output {place} (0: values, then gradients)"


@pytest.mark.parametrize("twin", TWINS)
@pytest.mark.parametrize("regime", REGIMES)
def test_nothing_overflows_in_float32(twin, regime):
    fast, _, make_inputs = TWINS[twin]
    for length in LENGTHS:
        assert all(
            each.isfinite().all() for each in values_and_gradients(fast, make_inputs(length, regime, torch.float32))
        )


def test_a_traced_scan_needs_no_function_written_by_hand(monkeypatch):
    inputs = scan_inputs(5, "initial")
    monkeypatch.setattr(torch.compiler, "is_compiling", lambda: True)
    monkeypatch.setattr(SelectiveScan, "apply", None)
    assert torch.equal(scan.selective_scan(*inputs), scan.selective_scan_traced(*inputs))


def test_a_scan_backwards_is_that_of_the_flipped_sequence():
    u, dt, A, B, C = scan_inputs(5, "initial")
    flipped = (each.flip(1) for each in (u, dt))
    expected = scan.selective_scan(*flipped, A, B.flip(1), C.flip(1)).flip(1)
    assert torch.equal(scan.selective_scan(u, dt, A, B, C, backwards=True), expected)


@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_hand_written_backward_pass_of_the_scan(length):
    inputs = [each.requires_grad_() for each in scan_inputs(length, "initial")]
    assert gradcheck(SelectiveScan.apply, inputs)


@pytest.mark.parametrize("needed", range(5))
def test_a_gradient_for_one_input_alone_is_the_same(needed):
    inputs = scan_inputs(6, "initial")
    expected = values_and_gradients(scan.selective_scan_reference, inputs)[1 + needed]
    inputs[needed].requires_grad_()
    output = scan.selective_scan(*inputs)
    weights = torch.linspace(-1, 1, output.numel(), dtype=output.dtype).view_as(output).sin()
    assert distance(torch.autograd.grad(output, inputs[needed], weights)[0], expected) < 1e-12


def test_second_derivatives_are_refused_rather_than_wrong():
    u, dt, A, B, C = scan_inputs(3, "initial")
    loss = scan.selective_scan(u.requires_grad_(), dt, A, B, C).square().sum()
    first = torch.autograd.grad(loss, u, create_graph=True)[0]
    with pytest.raises(RuntimeError, match="once_differentiable"):
        first.sum().backward()


def test_segment_sums_are_sums_of_their_own_terms():
    x = 10.0 ** torch.tensor([0, 12, -3, 2, -5], dtype=torch.float64)
    found = scan.segment_sums(x)
    for t in range(5):
        for s in range(5):
            expected = x[s + 1 : t + 1].sum() if t >= s else torch.tensor(-torch.inf)
            assert found[t, s] == expected


CONVOLUTIONS = [(4, 3), (7, 3), (4, 0), (1, 0), (3, 1)]  # (taps, zeros before)


def convolution_inputs(length, taps, dtype=torch.float64):
    generator = torch.Generator().manual_seed(length)
    return tuple(normal(generator, size, dtype) for size in ((2, length, 5), (5, taps), (5,)))


def torch_convolution(x, weight, bias, left):
    padded = functional.pad(x.transpose(1, 2), (left, weight.shape[1] - 1 - left))
    return functional.conv1d(padded, weight[:, None], bias, groups=len(weight)).transpose(1, 2)


@pytest.mark.parametrize("fast", [DepthwiseConv.apply, depthwise_conv], ids=["by hand", "traced"])
@pytest.mark.parametrize(("taps", "left"), CONVOLUTIONS)
@pytest.mark.parametrize("length", LENGTHS)
def test_depthwise_convolutions_agree_with_torch(fast, taps, left, length):
    inputs = convolution_inputs(length, taps)
    expected = values_and_gradients(lambda *each: torch_convolution(*each, left), inputs)
    for found, wanted in zip(values_and_gradients(lambda *each: fast(*each, left), inputs), expected, strict=True):
        assert found.shape == wanted.shape
        assert distance(found, wanted) < 1e-12


@pytest.mark.parametrize(("taps", "left"), CONVOLUTIONS)
@pytest.mark.parametrize("length", [1, 2, 5])
def test_the_hand_written_backward_pass_of_the_convolution(taps, left, length):
    inputs = [each.requires_grad_() for each in convolution_inputs(length, taps)]
    assert gradcheck(lambda *each: DepthwiseConv.apply(*each, left), inputs)
