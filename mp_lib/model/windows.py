"""A convolution as one product of its windows with its weights, forwards and backwards, for a CPU.

The library brings weights, and in training also their gradients, into an order of its own at every call. At a policy's
lengths, where weights are much larger than activations, that is most of what it does.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable
from torch.nn import functional


def windows_of(x: Tensor, taps: int, stride: int, padding: int) -> Tensor:
    """The windows (B, L', D K) of x (B, L, D): K steps each, every ``stride``, with ``padding`` zeros at both ends."""
    if (taps, stride, padding) == (1, 1, 0):
        return x
    padded = functional.pad(x, (0, 0, padding, padding)) if padding else x
    return padded.unfold(1, taps, stride).flatten(2)


class WindowProduct(torch.autograd.Function):
    """The convolution (B, L', O) of x (B, L, D) with weight (O, D, K) and bias (O,).

    Windows are made again for the gradient, since they are K times as large as x.
    """

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor | None, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.sizes, ctx.biased = (stride, padding), bias is not None
        return functional.linear(windows_of(x, weight.shape[2], stride, padding), weight.flatten(1), bias)

    @staticmethod
    @once_differentiable
    def backward(ctx, g: Tensor) -> tuple:
        x, weight = ctx.saved_tensors
        (stride, padding), (_, size, taps) = ctx.sizes, weight.shape
        steps, rows = x.shape[1], g.flatten(0, 1)
        for_weight = (rows.T @ windows_of(x, taps, stride, padding).flatten(0, 1)).view_as(weight)
        for_x = None
        if ctx.needs_input_grad[0]:
            parts = (rows @ weight.flatten(1)).view(*g.shape[:2], size, taps)
            whole = g.new_zeros(len(x), steps + 2 * padding, size)
            reach = (g.shape[1] - 1) * stride + 1
            for tap in range(taps):
                whole[:, tap : tap + reach : stride] += parts[..., tap]
            for_x = whole[:, padding : padding + steps]
        return for_x, for_weight, rows.sum(0) if ctx.biased else None, None, None
