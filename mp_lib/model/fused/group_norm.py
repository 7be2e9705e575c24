"""Kernels of group norm, Mish and FiLM over the steps of a short sequence, forward and backward."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mp_lib.model.fused.grouped import Grouped, even, even_rows, power


@triton.jit
def mish_of(value):
    """Mish and its slope."""
    expo = tl.exp(tl.minimum(value, 20.0))
    squared = (1 + expo) * (1 + expo)
    tangent = tl.where(value > 20, 1.0, (squared - 1) / (squared + 1))
    slope = tangent + value * (1 - tangent * tangent) * tl.sigmoid(value)
    return value * tangent, slope


@triton.jit
def group_forward(
    u, bias, weight, shift, film, y, stats, samples, L, D, per_group, film_stride, apart, eps,
    HAS_FILM: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """scale · mish(norm(u + bias)) + shift of one sample and group of channels."""
    sample, part = tl.program_id(0), tl.program_id(1)
    group = sample // samples
    step, inner = tl.arange(0, STEPS), tl.arange(0, BLOCK)
    channel = part * per_group + inner
    live = inner < per_group
    inside = (step < L)[:, None] & live[None, :]
    where = (sample * L + step)[:, None] * D + channel[None, :]
    given = group * apart + channel
    value = tl.load(u + where, mask=inside, other=0.0) + tl.load(bias + given, mask=live, other=0.0)[None, :]
    value = tl.where(inside, value, 0.0)
    mean = tl.sum(tl.sum(value, 1), 0) / (L * per_group)
    centred = tl.where(inside, value - mean, 0.0)
    scale = 1 / tl.sqrt(tl.sum(tl.sum(centred * centred, 1), 0) / (L * per_group) + eps)
    value = centred * scale * tl.load(weight + given, mask=live, other=0.0)[None, :]
    value += tl.load(shift + given, mask=live, other=0.0)[None, :]
    value, _ = mish_of(value)
    if HAS_FILM:
        value *= tl.load(film + sample * film_stride + channel, mask=live, other=0.0)[None, :]
        value += tl.load(film + sample * film_stride + D + channel, mask=live, other=0.0)[None, :]
    tl.store(y + where, value, mask=inside)
    place = 2 * (sample * tl.num_programs(1) + part)
    tl.store(stats + place, mean)
    tl.store(stats + place + 1, scale)


@triton.jit
def group_backward(
    u, bias, weight, shift, film, stats, gy, gu, partial, gfilm, samples, L, D, per_group, film_stride, apart,
    HAS_FILM: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of one sample and group of channels; of bias, weight, shift as partial sums (samples, 3, D)."""
    sample, part = tl.program_id(0), tl.program_id(1)
    group = sample // samples
    step, inner = tl.arange(0, STEPS), tl.arange(0, BLOCK)
    channel = part * per_group + inner
    live = inner < per_group
    inside = (step < L)[:, None] & live[None, :]
    where = (sample * L + step)[:, None] * D + channel[None, :]
    given = group * apart + channel
    place = 2 * (sample * tl.num_programs(1) + part)
    mean, scale = tl.load(stats + place), tl.load(stats + place + 1)
    value = tl.load(u + where, mask=inside, other=0.0) + tl.load(bias + given, mask=live, other=0.0)[None, :]
    normed = tl.where(inside, (value - mean) * scale, 0.0)
    scaling = tl.load(weight + given, mask=live, other=0.0)[None, :]
    activated, slope = mish_of(normed * scaling + tl.load(shift + given, mask=live, other=0.0)[None, :])
    back = tl.load(gy + where, mask=inside, other=0.0)
    if HAS_FILM:
        tl.store(gfilm + sample * 2 * D + channel, tl.sum(back * activated, 0), mask=live)
        tl.store(gfilm + sample * 2 * D + D + channel, tl.sum(back, 0), mask=live)
        back *= tl.load(film + sample * film_stride + channel, mask=live, other=0.0)[None, :]
    back *= slope
    base = partial + sample * 3 * D + channel
    tl.store(base + D, tl.sum(back * normed, 0), mask=live)
    tl.store(base + 2 * D, tl.sum(back, 0), mask=live)
    back *= scaling
    size = L * per_group
    along = tl.sum(tl.sum(back * normed, 1), 0) / size
    level = tl.sum(tl.sum(back, 1), 0) / size
    back = tl.where(inside, (back - level - normed * along) * scale, 0.0)
    tl.store(gu + where, back, mask=inside)
    tl.store(base, tl.sum(back, 0), mask=live)


class GroupNormMish(Grouped):
    """scale · mish(group_norm(u + bias)) + shift: u (G, B, L, D), bias and the norm's weights (G, D), film (G, B, 2 D).

    ``film`` holds scales and shifts; None leaves them out.
    """

    @staticmethod
    def forward(u, bias, weight, shift, film, num_groups: int, eps: float):
        u = u.contiguous()
        groups, samples, steps, size = u.shape
        y, stats = torch.empty_like(u), u.new_empty(groups, samples, num_groups, 2)
        film = None if film is None else even_rows(film)
        per_group = size // num_groups
        apart, (bias, weight, shift) = even(bias, weight, shift)
        group_forward[(groups * samples, num_groups)](
            u, bias, weight, shift, film, y, stats, samples, steps, size, per_group,
            0 if film is None else film.stride(-2), apart, eps,
            film is not None, power(steps), power(per_group), num_warps=4,
        )  # fmt: skip
        return y, stats

    @staticmethod
    def setup_context(ctx, inputs, output):
        u, bias, weight, shift, film, ctx.num_groups, _ = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(u.contiguous(), bias, weight, shift, film, output[1])

    @staticmethod
    def backward(ctx, gy, _):
        u, bias, weight, shift, film, stats = ctx.saved_tensors
        groups, samples, steps, size = u.shape
        gu, partial = torch.empty_like(u), u.new_empty(groups, samples, 3, size)
        film = None if film is None else even_rows(film)
        gfilm = None if film is None else film.new_empty(film.shape)
        per_group = size // ctx.num_groups
        apart, (bias, weight, shift) = even(bias, weight, shift)
        group_backward[(groups * samples, ctx.num_groups)](
            u, bias, weight, shift, film, stats, gy.contiguous(), gu, partial, gfilm, samples, steps, size, per_group,
            0 if film is None else film.stride(-2), apart, film is not None, power(steps), power(per_group),
            num_warps=4,
        )  # fmt: skip
        sums = partial.sum(1)
        return gu, sums[:, 0], sums[:, 1], sums[:, 2], gfilm, None, None
