"""Kernels over rows: GELU with its bias, and the gated norm, forward and backward."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mp_lib.model.fused.grouped import Grouped, even, even_rows, power, shares, warps


@triton.jit
def gelu_forward(u, bias, y, rows, D, apart, BLOCK: tl.constexpr):
    """GELU of u + bias, a block of a row."""
    row = tl.program_id(0)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = place < D
    value = tl.load(u + row * D + place, mask=inside, other=0.0)
    value += tl.load(bias + row // rows * apart + place, mask=inside, other=0.0)
    tl.store(y + row * D + place, 0.5 * value * (1 + tl.erf(value * 0.7071067811865476)), mask=inside)


@triton.jit
def gelu_backward(u, bias, gy, gu, partial, rows, D, apart, share: tl.constexpr, BLOCK: tl.constexpr):
    """Gradient of ``share`` rows of a block, and what they add to that of the bias."""
    part, group = tl.program_id(0), tl.program_id(2)
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    inside = place < D
    offset = tl.load(bias + group * apart + place, mask=inside, other=0.0)
    total = tl.zeros([BLOCK], tl.float32)
    for index in range(share):
        local = part * share + index
        row = group * rows + local
        live = inside & (local < rows)
        value = tl.load(u + row * D + place, mask=live, other=0.0) + offset
        slope = 0.5 * (1 + tl.erf(value * 0.7071067811865476)) + value * 0.3989422804014327 * tl.exp(
            -0.5 * value * value
        )
        gradient = tl.load(gy + row * D + place, mask=live, other=0.0) * slope
        tl.store(gu + row * D + place, gradient, mask=live)
        total += gradient
    tl.store(partial + (group * tl.num_programs(0) + part) * D + place, total, mask=inside)


@triton.jit
def gated_forward(
    y, z, weight, out, scales, rows, stride, D, apart, eps, GATE_FIRST: tl.constexpr, BLOCK: tl.constexpr
):
    """norm(y silu(z)) or norm(y) silu(z) of one row; rows of z lie ``stride`` apart."""
    row = tl.program_id(0)
    place = tl.arange(0, BLOCK)
    inside = place < D
    value = tl.load(y + row * D + place, mask=inside, other=0.0)
    gate = tl.load(z + row * stride + place, mask=inside, other=0.0)
    gate = gate * tl.sigmoid(gate)
    if GATE_FIRST:
        value *= gate
    scale = 1 / tl.sqrt(tl.sum(value * value, 0) / D + eps)
    value *= scale * tl.load(weight + row // rows * apart + place, mask=inside, other=0.0)
    if not GATE_FIRST:
        value *= gate
    tl.store(out + row * D + place, value, mask=inside)
    tl.store(scales + row, scale)


@triton.jit
def gated_backward(
    y, z, weight, scales, g, gy, gz, partial, rows, stride, D, apart, share: tl.constexpr,
    GATE_FIRST: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of ``share`` rows of a group, and what they add to that of the weight."""
    part, group = tl.program_id(0), tl.program_id(1)
    place = tl.arange(0, BLOCK)
    inside = place < D
    scaling = tl.load(weight + group * apart + place, mask=inside, other=0.0)
    total = tl.zeros([BLOCK], tl.float32)
    for index in range(share):
        local = part * share + index
        row = group * rows + local
        live = inside & (local < rows)
        value = tl.load(y + row * D + place, mask=live, other=0.0)
        raw = tl.load(z + row * stride + place, mask=live, other=0.0)
        given = tl.load(g + row * D + place, mask=live, other=0.0)
        scale = tl.load(scales + row, mask=local < rows, other=0.0)
        sigmoid = tl.sigmoid(raw)
        gate = raw * sigmoid
        slope = sigmoid * (1 + raw * (1 - sigmoid))
        inner = value * gate if GATE_FIRST else value
        normed = inner * scale
        outer = given if GATE_FIRST else given * gate
        total += outer * normed
        back = outer * scaling
        back = (back - normed * (tl.sum(back * normed, 0) / D)) * scale
        if GATE_FIRST:
            tl.store(gy + row * D + place, back * gate, mask=live)
            tl.store(gz + row * D + place, back * value * slope, mask=live)
        else:
            tl.store(gy + row * D + place, back, mask=live)
            tl.store(gz + row * D + place, given * normed * scaling * slope, mask=live)
    tl.store(partial + (group * tl.num_programs(0) + part) * D + place, total, mask=inside)


class Gelu(Grouped):
    """GELU of u (G, B, L, D) + bias (G, D)."""

    @staticmethod
    def forward(u, bias):
        u = u.contiguous()
        y, size = torch.empty_like(u), u.shape[-1]
        block = min(1024, power(size))
        apart, (bias,) = even(bias)
        gelu_forward[(u.numel() // size, -(-size // block))](u, bias, y, u[0].numel() // size, size, apart, block)
        return y

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.save_for_backward(inputs[0].contiguous(), inputs[1])

    @staticmethod
    def backward(ctx, gy):
        u, bias = ctx.saved_tensors
        size, groups, gu = u.shape[-1], len(u), torch.empty_like(u)
        rows, block = u[0].numel() // size, min(1024, power(size))
        parts, share = shares(groups * 2, rows)
        apart, (bias,) = even(bias)
        partial = u.new_empty(groups, parts, size)
        gelu_backward[(parts, -(-size // block), groups)](
            u, bias, gy.contiguous(), gu, partial, rows, size, apart, share, block
        )
        return gu, partial.sum(1)


class GatedNorm(Grouped):
    """norm(y silu(z)) · weight if ``gate_first``, else norm(y) · weight · silu(z); y, z (G, B, L, D), weight (G, D)."""

    @staticmethod
    def forward(y, z, weight, eps: float, gate_first: bool):
        y = y.contiguous()
        out, size = torch.empty_like(y), y.shape[-1]
        scales = y.new_empty(y.shape[:-1])
        block = power(size)
        z = even_rows(z)
        apart, (weight,) = even(weight)
        gated_forward[(scales.numel(),)](
            y, z, weight, out, scales, scales[0].numel(), z.stride(-2), size, apart, eps, gate_first, block,
            num_warps=warps(block),
        )  # fmt: skip
        return out, scales

    @staticmethod
    def setup_context(ctx, inputs, output):
        y, z, weight, _, ctx.gate_first = inputs
        ctx.mark_non_differentiable(output[1])
        ctx.save_for_backward(y.contiguous(), even_rows(z), weight, output[1])

    @staticmethod
    def backward(ctx, g, _):
        y, z, weight, scales = ctx.saved_tensors
        groups, rows, size = len(y), scales[0].numel(), y.shape[-1]
        gy, gz = torch.empty_like(y), torch.empty_like(y)
        parts, share = shares(groups, rows)
        partial, block = y.new_empty(groups, parts, size), power(size)
        apart, (weight,) = even(weight)
        gated_backward[(parts, groups)](
            y, z, weight, scales, g.contiguous(), gy, gz, partial, rows, z.stride(-2), size, apart, share,
            ctx.gate_first, block, num_warps=warps(block),
        )  # fmt: skip
        return gy, gz, partial.sum(1), None, None
