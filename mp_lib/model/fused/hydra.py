"""Kernels of Hydra's mixing: a forward and a backward matrix of Mamba-2, each shifted by a step, and a diagonal."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mp_lib.model.fused.grouped import Grouped, even, even_rows, power, precision
from mp_lib.model.fused.mixing import head_back, head_of


@triton.jit
def shifts(STEPS: tl.constexpr):
    """Matrices that move a sequence one step later, and one step earlier."""
    step = tl.arange(0, STEPS)
    later = (step[:, None] == step[None, :] + 1).to(tl.float32)
    return later, tl.trans(later)


@triton.jit
def scores_of(start, inside, N: tl.constexpr, PRECISION: tl.constexpr):
    """B, C (STEPS, N) and C · B of all pairs; B and C lie side by side from ``start`` (STEPS, 1)."""
    state = tl.arange(0, N)
    B = tl.load(start + state[None, :], mask=inside[:, None], other=0.0)
    C = tl.load(start + N + state[None, :], mask=inside[:, None], other=0.0)
    return B, C, tl.dot(C, tl.trans(B), input_precision=PRECISION)


@triton.jit
def hydra_forward(
    xBC, raw, skip, bias, A_log, y, samples, L, raw_stride, apart, H: tl.constexpr, P: tl.constexpr, N: tl.constexpr,
    STEPS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """y = M x + skip x of one sample and head."""
    sample, head = tl.program_id(0), tl.program_id(1)
    given = sample // samples * apart + head
    step, channel = tl.arange(0, STEPS), tl.arange(0, P)
    inside = step < L
    row = sample * L + step
    start = xBC + row[:, None] * (H * P + 4 * N)
    _, _, ahead = scores_of(start + H * P, inside, N, PRECISION)
    _, _, back = scores_of(start + H * P + 2 * N, inside, N, PRECISION)
    offset, A = tl.load(bias + given), -tl.exp(tl.load(A_log + given))
    dt_f = tl.load(raw + row * raw_stride + head, mask=inside, other=0.0)
    dt_b = tl.load(raw + row * raw_stride + H + head, mask=inside, other=0.0)
    M_f, _, _, _, _ = head_of(dt_f, offset, A, ahead, inside, STEPS, False)
    M_b, _, _, _, _ = head_of(dt_b, offset, A, back, inside, STEPS, True)
    later, earlier = shifts(STEPS)
    M = tl.dot(later, M_f, input_precision=PRECISION) + tl.dot(earlier, M_b, input_precision="ieee")
    x = tl.load(start + head * P + channel[None, :], mask=inside[:, None], other=0.0)
    own = tl.load(skip + row * H + head, mask=inside, other=0.0)
    out = tl.dot(M, x, input_precision=PRECISION) + own[:, None] * x
    tl.store(y + row[:, None] * (H * P) + head * P + channel[None, :], out, mask=inside[:, None])


@triton.jit
def hydra_backward(
    xBC, raw, skip, bias, A_log, gy, gxBC, graw, gskip, partial, samples, L, raw_stride, apart,
    H: tl.constexpr, P: tl.constexpr, N: tl.constexpr, STEPS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All gradients of one sample; those of bias and A_log as partial sums (samples, 2, H)."""
    sample = tl.program_id(0)
    group = sample // samples
    step, state, channel = tl.arange(0, STEPS), tl.arange(0, N), tl.arange(0, P)
    inside = step < L
    row = sample * L + step
    start = row[:, None] * (H * P + 4 * N)
    B_f, C_f, ahead = scores_of(xBC + start + H * P, inside, N, PRECISION)
    B_b, C_b, back = scores_of(xBC + start + H * P + 2 * N, inside, N, PRECISION)
    later, earlier = shifts(STEPS)
    for_ahead = tl.zeros([STEPS, STEPS], tl.float32)
    for_back = tl.zeros([STEPS, STEPS], tl.float32)
    for head in range(H):
        given = group * apart + head
        x = tl.load(xBC + start + head * P + channel[None, :], mask=inside[:, None], other=0.0)
        g = tl.load(gy + row[:, None] * (H * P) + head * P + channel[None, :], mask=inside[:, None], other=0.0)
        raw_f = tl.load(raw + row * raw_stride + head, mask=inside, other=0.0)
        raw_b = tl.load(raw + row * raw_stride + H + head, mask=inside, other=0.0)
        own = tl.load(skip + row * H + head, mask=inside, other=0.0)
        offset, A = tl.load(bias + given), -tl.exp(tl.load(A_log + given))
        M_f, decays_f, dt_f, reached_f, left_f = head_of(raw_f, offset, A, ahead, inside, STEPS, False)
        M_b, decays_b, dt_b, reached_b, left_b = head_of(raw_b, offset, A, back, inside, STEPS, True)
        M = tl.dot(later, M_f, input_precision=PRECISION) + tl.dot(earlier, M_b, input_precision="ieee")
        gx = tl.dot(tl.trans(M), g, input_precision=PRECISION) + own[:, None] * g
        tl.store(gxBC + start + head * P + channel[None, :], gx, mask=inside[:, None])
        tl.store(gskip + row * H + head, tl.sum(g * x, 1), mask=inside)
        gM = tl.dot(g, tl.trans(x), input_precision=PRECISION)
        gM_f = tl.dot(earlier, gM, input_precision="ieee")
        gM_b = tl.dot(later, gM, input_precision="ieee")
        scores_f, graw_f, gA_f = head_back(gM_f, M_f, decays_f, ahead, dt_f, reached_f, left_f, raw_f, offset, A)
        scores_b, graw_b, gA_b = head_back(gM_b, M_b, decays_b, back, dt_b, reached_b, left_b, raw_b, offset, A)
        for_ahead += scores_f
        for_back += scores_b
        graw_f = tl.where(inside, graw_f, 0.0)
        graw_b = tl.where(inside, graw_b, 0.0)
        tl.store(graw + row * 2 * H + head, graw_f, mask=inside)
        tl.store(graw + row * 2 * H + H + head, graw_b, mask=inside)
        tl.store(partial + sample * 2 * H + head, tl.sum(graw_f + graw_b, 0))
        tl.store(partial + sample * 2 * H + H + head, gA_f + gA_b)
    place = gxBC + start + H * P + state[None, :]
    tl.store(place, tl.dot(tl.trans(for_ahead), C_f, input_precision=PRECISION), mask=inside[:, None])
    tl.store(place + N, tl.dot(for_ahead, B_f, input_precision=PRECISION), mask=inside[:, None])
    tl.store(place + 2 * N, tl.dot(tl.trans(for_back), C_b, input_precision=PRECISION), mask=inside[:, None])
    tl.store(place + 3 * N, tl.dot(for_back, B_b, input_precision=PRECISION), mask=inside[:, None])


class Quasiseparable(Grouped):
    """Hydra's mixing.

    xBC (G, B, L, H P + 4 N), raw step sizes (G, B, L, 2 H), skip (G, B, L, H), bias, A_log (G, H) -> (G, B, L, H P).
    """

    @staticmethod
    def forward(xBC, raw, skip, bias, A_log, headdim: int, d_state: int):
        xBC, raw, skip = xBC.contiguous(), even_rows(raw), skip.contiguous()
        groups, samples, steps, _ = xBC.shape
        heads = skip.shape[-1]
        apart, (bias, A_log) = even(bias, A_log)
        y = xBC.new_empty(groups, samples, steps, heads * headdim)
        hydra_forward[(groups * samples, heads)](
            xBC, raw, skip, bias, A_log, y, samples, steps, raw.stride(-2), apart,
            heads, headdim, d_state, power(steps), precision(), num_warps=4,
        )  # fmt: skip
        return y

    @staticmethod
    def setup_context(ctx, inputs, output):
        xBC, raw, skip, bias, A_log, *ctx.sizes = inputs
        ctx.save_for_backward(xBC.contiguous(), even_rows(raw), skip.contiguous(), bias, A_log)

    @staticmethod
    def backward(ctx, gy):
        xBC, raw, skip, bias, A_log = ctx.saved_tensors
        groups, samples, steps, _ = xBC.shape
        heads = skip.shape[-1]
        apart, (bias, A_log) = even(bias, A_log)
        gxBC, graw, gskip = torch.empty_like(xBC), raw.new_empty(raw.shape), torch.empty_like(skip)
        partial = xBC.new_empty(groups, samples, 2, heads)
        hydra_backward[(groups * samples,)](
            xBC, raw, skip, bias, A_log, gy.contiguous(), gxBC, graw, gskip, partial, samples, steps, raw.stride(-2),
            apart, heads, *ctx.sizes, power(steps), precision(), num_warps=4,
        )  # fmt: skip
        sums = partial.sum(1)
        return gxBC, graw, gskip, sums[:, 0], sums[:, 1], None, None
