"""Kernels over rows: a residual branch and its layer norm, forward and backward."""

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from mp_lib.model.fused.grouped import Grouped, even, power, shares, warps


@triton.jit
def add_norm_forward(
    x, h, bias, kept, weight, shift, y, n, stats, rows, steps, D, apart, rate_scale, eps,
    HAS_H: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_KEPT: tl.constexpr, HAS_NORM: tl.constexpr, RELU: tl.constexpr,
    BLOCK: tl.constexpr,
):  # fmt: skip
    """y = x + (h + bias) · kept · rate_scale and n = norm(y) of one row; ``rows`` rows a group, ``steps`` a sample."""
    row = tl.program_id(0).to(tl.int64)  # points of many stacked runs have more than 2^31 numbers
    group = row // rows
    place = tl.arange(0, BLOCK)
    inside = place < D
    value = tl.load(x + row * D + place, mask=inside, other=0.0)
    if HAS_H:
        branch = tl.load(h + row * D + place, mask=inside, other=0.0)
        if HAS_BIAS:
            branch += tl.load(bias + group * apart + place, mask=inside, other=0.0)
        if HAS_KEPT:
            branch *= tl.load(kept + row // steps) * rate_scale
        value += branch
        tl.store(y + row * D + place, value, mask=inside)
    if HAS_NORM:
        mean = tl.sum(value, 0) / D
        centred = tl.where(inside, value - mean, 0.0)
        scale = 1 / tl.sqrt(tl.sum(centred * centred, 0) / D + eps)
        normed = centred * scale * tl.load(weight + group * apart + place, mask=inside, other=0.0)
        normed += tl.load(shift + group * apart + place, mask=inside, other=0.0)
        if RELU:
            normed = tl.maximum(normed, 0.0)
        tl.store(n + row * D + place, normed, mask=inside)
        tl.store(stats + 2 * row, mean)
        tl.store(stats + 2 * row + 1, scale)


@triton.jit
def add_norm_backward(
    y, gy, gn, kept, weight, shift, stats, gx, gh, partial, rows, steps, D, apart, rate_scale, share: tl.constexpr,
    HAS_GY: tl.constexpr, HAS_H: tl.constexpr, HAS_BIAS: tl.constexpr, HAS_KEPT: tl.constexpr, HAS_NORM: tl.constexpr,
    RELU: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of ``share`` rows of a group, and what they add to those of weight, shift and bias."""
    part, group = tl.program_id(0), tl.program_id(1)
    place = tl.arange(0, BLOCK)
    inside = place < D
    for_weight = tl.zeros([BLOCK], tl.float32)
    for_shift = tl.zeros([BLOCK], tl.float32)
    for_bias = tl.zeros([BLOCK], tl.float32)
    for index in range(share):
        local = part * share + index
        row = group * rows + local
        live = inside & (local < rows)
        gradient = tl.zeros([BLOCK], tl.float32)
        if HAS_GY:
            gradient += tl.load(gy + row * D + place, mask=live, other=0.0)
        if HAS_NORM:
            mean = tl.load(stats + 2 * row, mask=local < rows, other=0.0)
            scale = tl.load(stats + 2 * row + 1, mask=local < rows, other=0.0)
            normed = tl.where(live, (tl.load(y + row * D + place, mask=live, other=0.0) - mean) * scale, 0.0)
            given = tl.load(gn + row * D + place, mask=live, other=0.0)
            scaling = tl.load(weight + group * apart + place, mask=inside, other=0.0)
            if RELU:
                level = tl.load(shift + group * apart + place, mask=inside, other=0.0)
                given = tl.where(normed * scaling + level > 0, given, 0.0)
            for_weight += given * normed
            for_shift += given
            given *= scaling
            along = tl.sum(given * normed, 0) / D
            gradient += tl.where(live, (given - tl.sum(given, 0) / D - normed * along) * scale, 0.0)
        tl.store(gx + row * D + place, gradient, mask=live)
        if HAS_H:
            if HAS_KEPT:
                gradient *= tl.load(kept + row // steps, mask=local < rows, other=0.0) * rate_scale
            tl.store(gh + row * D + place, gradient, mask=live)
            for_bias += gradient
    base = partial + (group * tl.num_programs(0) + part) * 3 * D + place
    if HAS_NORM:
        tl.store(base, for_weight, mask=inside)
        tl.store(base + D, for_shift, mask=inside)
    if HAS_BIAS:
        tl.store(base + 2 * D, for_bias, mask=inside)


def any_of(*tensors: Tensor | None) -> bool:
    """Whether one of them is there."""
    return any(each is not None for each in tensors)


class AddNorm(Grouped):
    """(y, n) = (x + (h + bias) · kept / (1 - rate), norm(y)).

    x, h (G, B, L, D), bias, weight, shift (G, D), kept (G, B). Of h, bias, kept, and of weight and shift, None leaves
    out what they would do; y is x where there is no h.
    """

    @staticmethod
    def forward(x, h, bias, kept, weight, shift, rate_scale: float, eps: float, relu: bool):
        x = x.contiguous()
        h = None if h is None else h.contiguous()
        kept = None if kept is None else kept.contiguous()
        apart, (bias, weight, shift) = even(bias, weight, shift) if any_of(bias, weight) else (0, 3 * [None])
        groups, samples, steps, size = x.shape
        block = power(size)
        y = x if h is None else torch.empty_like(x)
        n = torch.empty_like(x) if weight is not None else x.new_empty(groups, 0)
        stats = x.new_empty(groups, samples * steps if weight is not None else 0, 2)
        add_norm_forward[(groups * samples * steps,)](
            x, h, bias, kept, weight, shift, y, n, stats, samples * steps, steps, size, apart, rate_scale, eps,
            h is not None, bias is not None, kept is not None, weight is not None, relu, block,
            num_warps=warps(block),
        )  # fmt: skip
        return (y if h is not None else x.new_empty(groups, 0)), n, stats

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, h, bias, kept, weight, shift, ctx.rate_scale, _, ctx.relu = inputs
        y, n, stats = output
        ctx.mark_non_differentiable(stats)
        ctx.has = h is not None, bias is not None, kept is not None, weight is not None
        ctx.shape = x.shape
        ctx.set_materialize_grads(False)
        ctx.save_for_backward(y if h is not None else x.contiguous(), kept, weight, shift, stats)

    @staticmethod
    def backward(ctx, gy, gn, _):
        y, kept, weight, shift, stats = ctx.saved_tensors
        has_h, has_bias, has_kept, has_norm = ctx.has
        groups, samples, steps, size = ctx.shape
        has_norm = has_norm and gn is not None
        gy = None if gy is None or not gy.numel() else gy.contiguous()
        gn = gn.contiguous() if has_norm else None
        parts, share = shares(groups, samples * steps)
        kept = None if kept is None else kept.contiguous()
        apart, (weight, shift) = even(weight, shift) if has_norm else (0, [None, None])
        gx = y.new_empty(ctx.shape)
        plain = has_h and not has_kept
        gh = gx if plain or not has_h else torch.empty_like(gx)
        partial = y.new_empty(groups, parts, 3, size)
        block = power(size)
        add_norm_backward[(parts, groups)](
            y, gy, gn, kept, weight, shift, stats, gx, gh, partial, samples * steps, steps, size, apart,
            ctx.rate_scale, share, gy is not None, has_h and not plain or has_bias, has_bias, has_kept, has_norm,
            ctx.relu, block, num_warps=warps(block),
        )  # fmt: skip
        sums = partial.sum(1)
        return (
            *(gx, gh if has_h else None, sums[:, 2] if has_bias else None, None),
            *((sums[:, 0], sums[:, 1]) if has_norm else (None, None)),
            *(None, None, None),
        )
