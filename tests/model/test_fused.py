"""Fused kernels equal their plain twins, alone and for several weights at once: values and gradients.

Without a GPU they run in Triton's interpreter. Where there is no Triton, there is nothing to test: it comes with
PyTorch for CUDA, or by ``pip install triton``.
"""

import os

import pytest
import torch

DEVICE = "cuda" if torch.cuda.is_available() else "cpu"
if DEVICE == "cpu":
    os.environ["TRITON_INTERPRET"] = "1"  # read when kernels are defined
pytest.importorskip("triton", reason="fused kernels need Triton, which is not installed")

from mp_lib.model import fused, native  # noqa: E402
from mp_lib.model.blocks import Conv1d, ConvBlock, FilmBlock, MixerBlock  # noqa: E402
from mp_lib.model.encoder import PointNet  # noqa: E402
from mp_lib.model.mixers import MIXERS  # noqa: E402
from mp_lib.model.stacking import call_stacked  # noqa: E402
from mp_lib.model.unet import Downsample, Upsample  # noqa: E402

SAMPLES, CHANNELS = 3, 64


def sequence(length, channels=CHANNELS):
    return torch.randn(SAMPLES, channels, length)


class DroppingBlock(MixerBlock):
    """A mixer block of which stochastic depth has dropped a branch of two samples."""

    def forward(self, x):
        return super().forward(x, torch.tensor([[1.0, 0, 1], [0, 1, 1]], device=x.device))


PARTS = {
    "convolution": (lambda: Conv1d(CHANNELS, 24, 5, padding=2), lambda length: [sequence(length)]),
    "residual convolution": (lambda: Conv1d(CHANNELS, 24, 1), lambda length: [sequence(length)]),
    "convolution block": (lambda: ConvBlock(20, 40), lambda length: [sequence(length, 20)]),
    "FiLM": (lambda: FilmBlock(20, 40), lambda length: [sequence(length, 20), torch.randn(SAMPLES, 80)]),
    "down": (lambda: Downsample(CHANNELS), lambda length: [sequence(length)]),
    "up": (lambda: Upsample(CHANNELS), lambda length: [sequence(length)]),
    **{mixer: (lambda mixer=mixer: MixerBlock(CHANNELS, mixer), lambda length: [sequence(length)]) for mixer in MIXERS},
    **{
        f"{mixer}, some dropped": (
            lambda mixer=mixer: DroppingBlock(CHANNELS, mixer),
            lambda length: [sequence(length)],
        )
        for mixer in MIXERS
    },
    "few points": (lambda: PointNet(8, (8, 16, 32)), lambda length: [torch.randn(SAMPLES, length, 3)]),
    "points": (lambda: PointNet(8, (8, 16, 32)), lambda length: [torch.randn(SAMPLES, 32 + length, 3)]),
}


@pytest.fixture(autouse=True)
def plain_elsewhere(monkeypatch):
    """What is not fused is PyTorch's own."""
    monkeypatch.setattr(native, "usable", lambda *given: False)


def run(part, weights, inputs, use, monkeypatch):
    """Outputs and gradients of weights and inputs, with the kernels or without."""
    monkeypatch.setattr(fused, "usable", lambda x, steps=1: use)
    inputs = [each.clone().requires_grad_() for each in inputs]
    weights = {name: each.clone().requires_grad_() for name, each in weights.items()}
    output = call_stacked(part, weights, tuple(inputs))
    # At one step nothing depends on the decays: their gradient may be missing instead of zero.
    loss = (output.square() * torch.linspace(0.5, 1, output.numel(), device=output.device).view_as(output)).sum()
    return output, torch.autograd.grad(loss, [*weights.values(), *inputs], materialize_grads=True)


@pytest.mark.parametrize("copies", [1, 2])
@pytest.mark.parametrize("length", [1, 5, 16])
@pytest.mark.parametrize("name", PARTS)
def test_a_part_is_the_same_with_kernels_and_without(name, length, copies, monkeypatch):
    torch.manual_seed(0)
    make, examples = PARTS[name]
    parts = [make().to(DEVICE) for _ in range(copies)]
    # Weights of a stack lie apart, as in one tensor that holds all of a policy.
    weights = {
        key: torch.stack([dict(part.named_parameters())[key].detach() for part in parts])
        for key, _ in parts[0].named_parameters()
    }
    inputs = [torch.stack(each).to(DEVICE) for each in zip(*(examples(length) for _ in parts), strict=True)]
    (plain, by_plain), (found, by_found) = (run(parts[0], weights, inputs, use, monkeypatch) for use in (False, True))
    torch.testing.assert_close(found, plain, rtol=1e-5, atol=1e-5)
    for expected, gradient in zip(by_plain, by_found, strict=True):
        scale = float(expected.abs().max()) + 1e-3
        torch.testing.assert_close(gradient / scale, expected / scale, rtol=1e-4, atol=2e-5)
