"""What a mixer is and what several of them share: first step sizes, a short convolution, a gated norm, heads."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

from mp_lib.model import fused, native
from mp_lib.model.depthwise import DepthwiseConv, depthwise_conv
from mp_lib.model.kernels import conv_by_kernel
from mp_lib.model.tracing import traced


def inverse_softplus_dt(size: int, low: float = 1e-3, high: float = 0.1, floor: float = 1e-4) -> Tensor:
    """Biases (size,) whose softplus is log-uniform in [low, high]: how every variant starts its step sizes dt."""
    dt = torch.exp(torch.rand(size) * (math.log(high) - math.log(low)) + math.log(low)).clamp(min=floor)
    return dt + torch.log(-torch.expm1(-dt))


def short_conv(x: Tensor, conv: nn.Conv1d, left: int, backwards: bool = False) -> Tensor:
    """SiLU of a depthwise convolution over L of x (B, L, D), with ``left`` zeros before the sequence.

    ``backwards`` is that of the flipped sequence, flipped back.
    """
    weight = conv.weight[:, 0]
    if backwards:
        weight, left = weight.flip(1), weight.shape[1] - 1 - left
    if native.usable(x.shape[-1], x, weight, conv.bias):
        return native.Conv.apply(x, weight, conv.bias, left)
    if fused.usable(x, x.shape[1]):
        return fused.short_conv(x, weight, conv.bias, left)
    if (y := conv_by_kernel(x, weight, conv.bias, left)) is not None:
        return y
    convolve = depthwise_conv if traced() else DepthwiseConv.apply
    return functional.silu(convolve(x, weight, conv.bias, left))


class GatedNorm(nn.Module):
    """Root-mean-square norm of y (B, L, D) (eps 1e-5) with a gate z: norm(y silu(z)), or norm(y) silu(z).

    ``gate_first`` chooses; it is the opposite of the official ``norm_before_gate``.
    """

    def __init__(self, size: int, gate_first: bool, eps: float = 1e-5):
        super().__init__()
        self.weight = nn.Parameter(torch.ones(size))
        self.gate_first, self.eps = gate_first, eps

    def forward(self, y: Tensor, z: Tensor) -> Tensor:
        if native.usable(y.shape[-1], y, z, self.weight):
            return native.GatedNorm.apply(y, z, self.weight, self.eps, self.gate_first)
        if fused.usable(y, y.shape[1]):
            return fused.gated_norm(y, z, self.weight, self.eps, self.gate_first)
        return self.compose(y, z)

    def compose(self, y: Tensor, z: Tensor) -> Tensor:
        """The same of torch's own operations."""
        gate = functional.silu(z)
        normed = functional.rms_norm(y * gate if self.gate_first else y, self.weight.shape, self.weight, self.eps)
        return normed if self.gate_first else normed * gate


class Mixer(nn.Module):
    """A mixer: ``mix`` up to the projection named ``last``, and that projection."""

    last = "out_proj"

    def forward(self, x: Tensor) -> Tensor:
        return self.get_submodule(self.last)(self.mix(x))


def count_heads(channels: int, headdim: int) -> int:
    """The number of heads of ``headdim`` channels; raise a ValueError if they do not fill the channels."""
    if headdim < 1 or channels % headdim:
        raise ValueError(f"{channels} channels cannot be divided into heads of {headdim}; choose a multiple of it")
    return channels // headdim
