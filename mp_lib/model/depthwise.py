"""Depthwise convolution over short sequences, channels last, with a backward pass written by hand.

A grouped convolution over 4 to 16 steps spends its time in set-up, and autograd through slices fills
a whole tensor with zeros a tap; here a tap is one fused multiply-add either way.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def tap_slices(length: int, taps: int, left: int):
    """For each tap that meets the sequence, (tap, outputs it writes, inputs it reads) as slices of L."""
    for tap in range(taps):
        shift = tap - left
        if abs(shift) < length:
            yield tap, slice(max(0, -shift), length - max(0, shift)), slice(max(0, shift), length - max(0, -shift))


class DepthwiseConv(torch.autograd.Function):
    """x (B, L, D), weight (D, K), bias (D,) -> (B, L, D), with ``left`` zeros before the sequence."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, left: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.left = left
        y = torch.addcmul(bias, x, weight[:, left])
        for tap, outputs, inputs in tap_slices(x.shape[1], weight.shape[1], left):
            if tap != left:
                y[:, outputs].addcmul_(x[:, inputs], weight[:, tap])
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y: Tensor):
        x, weight = ctx.saved_tensors
        grad_x = grad_y * weight[:, ctx.left]
        grad_weight = torch.zeros_like(weight)
        for tap, outputs, inputs in tap_slices(x.shape[1], weight.shape[1], ctx.left):
            if tap != ctx.left:
                grad_x[:, inputs].addcmul_(grad_y[:, outputs], weight[:, tap])
            grad_weight[:, tap] = (x[:, inputs] * grad_y[:, outputs]).sum((0, 1))
        return grad_x, grad_weight, grad_y.sum((0, 1)), None


def depthwise_conv(x: Tensor, weight: Tensor, bias: Tensor, left: int) -> Tensor:
    """The same for a graph that is traced: zeros around, one multiply-add a tap."""
    taps = weight.shape[1]
    padded = torch.nn.functional.pad(x, (0, 0, left, taps - 1 - left))
    y = bias
    for tap in range(taps):
        y = torch.addcmul(y, padded[:, tap : tap + x.shape[1]], weight[:, tap])
    return y
