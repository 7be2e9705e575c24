"""Kernels that mix the steps of a short sequence: the matrices of Mamba-2 and Hydra, attention."""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from mp_lib.model.fused.grouped import Grouped, even, even_rows, power, precision


@triton.jit
def head_of(raw, bias, A, SCORES, inside, STEPS: tl.constexpr, BACKWARDS: tl.constexpr):
    """Matrix, decays, step sizes and masks of one head; C · B of all pairs of steps are in SCORES (t, s)."""
    step = tl.arange(0, STEPS)
    shifted = raw + bias
    dt = tl.where(shifted > 20, shifted, tl.log(1 + tl.exp(tl.minimum(shifted, 20.0))))
    dt = tl.where(inside, dt, 0.0)
    if BACKWARDS:
        reached = (step[None, :] >= step[:, None]).to(tl.float32)  # (t, r)
        left = (step[:, None] < step[None, :]).to(tl.float32)  # (r, s)
        pairs = step[None, :] >= step[:, None]
    else:
        reached = (step[None, :] <= step[:, None]).to(tl.float32)
        left = (step[:, None] > step[None, :]).to(tl.float32)
        pairs = step[None, :] <= step[:, None]
    pairs = pairs & inside[:, None] & inside[None, :]
    # Each exponent is a sum of its own terms: differences of running sums would lose small decays behind large ones.
    exponents = tl.dot(reached * (dt * A)[None, :], left, input_precision="ieee")
    decays = tl.where(pairs, tl.exp(tl.where(pairs, exponents, 0.0)), 0.0)
    return SCORES * decays * dt[None, :], decays, dt, reached, left


@triton.jit
def head_back(gM, M, decays, SCORES, dt, reached, left, raw, bias, A):
    """From the gradient of a head's matrix: that of the scores, of raw step sizes, and of A's logarithm."""
    for_scores = gM * decays * dt[None, :]
    for_dt = tl.sum(gM * SCORES * decays, 0)
    spread = tl.dot(tl.trans(reached), gM * M, input_precision="ieee")  # (r, s)
    for_exponent = tl.sum(spread * left, 1)
    for_raw = (for_dt + for_exponent * A) * tl.sigmoid(raw + bias)
    return for_scores, for_raw, tl.sum(for_exponent * dt, 0) * A


@triton.jit
def ssd_forward(
    xBC, raw, bias, A_log, D, y, samples, L, raw_stride, apart, H: tl.constexpr, P: tl.constexpr, N: tl.constexpr,
    STEPS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """y = M x + D x of one sample and head."""
    sample, head = tl.program_id(0), tl.program_id(1)
    group = sample // samples
    step, state, channel = tl.arange(0, STEPS), tl.arange(0, N), tl.arange(0, P)
    inside = step < L
    row = sample * L + step
    start = xBC + row[:, None] * (H * P + 2 * N)
    B = tl.load(start + H * P + state[None, :], mask=inside[:, None], other=0.0)
    C = tl.load(start + H * P + N + state[None, :], mask=inside[:, None], other=0.0)
    scores = tl.dot(C, tl.trans(B), input_precision=PRECISION)
    x = tl.load(start + head * P + channel[None, :], mask=inside[:, None], other=0.0)
    dt = tl.load(raw + row * raw_stride + head, mask=inside, other=0.0)
    given = group * apart + head
    A = -tl.exp(tl.load(A_log + given))
    M, _, _, _, _ = head_of(dt, tl.load(bias + given), A, scores, inside, STEPS, False)
    out = tl.dot(M, x, input_precision=PRECISION) + tl.load(D + given) * x
    tl.store(y + row[:, None] * (H * P) + head * P + channel[None, :], out, mask=inside[:, None])


@triton.jit
def ssd_backward(
    xBC, raw, bias, A_log, D, gy, gxBC, graw, partial, samples, L, raw_stride, apart,
    H: tl.constexpr, P: tl.constexpr, N: tl.constexpr, STEPS: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """All gradients of one sample; those of bias, A_log and D as partial sums (samples, 3, H)."""
    sample = tl.program_id(0)
    group = sample // samples
    step, state, channel = tl.arange(0, STEPS), tl.arange(0, N), tl.arange(0, P)
    inside = step < L
    row = sample * L + step
    width: tl.constexpr = H * P + 2 * N
    start = row[:, None] * width
    B = tl.load(xBC + start + H * P + state[None, :], mask=inside[:, None], other=0.0)
    C = tl.load(xBC + start + H * P + N + state[None, :], mask=inside[:, None], other=0.0)
    scores = tl.dot(C, tl.trans(B), input_precision=PRECISION)
    for_scores = tl.zeros([STEPS, STEPS], tl.float32)
    for head in range(H):
        given = group * apart + head
        x = tl.load(xBC + start + head * P + channel[None, :], mask=inside[:, None], other=0.0)
        g = tl.load(gy + row[:, None] * (H * P) + head * P + channel[None, :], mask=inside[:, None], other=0.0)
        dt_raw = tl.load(raw + row * raw_stride + head, mask=inside, other=0.0)
        offset, skip = tl.load(bias + given), tl.load(D + given)
        A = -tl.exp(tl.load(A_log + given))
        M, decays, dt, reached, left = head_of(dt_raw, offset, A, scores, inside, STEPS, False)
        gx = tl.dot(tl.trans(M), g, input_precision=PRECISION) + skip * g
        tl.store(gxBC + start + head * P + channel[None, :], gx, mask=inside[:, None])
        gM = tl.dot(g, tl.trans(x), input_precision=PRECISION)
        added, for_raw, for_A = head_back(gM, M, decays, scores, dt, reached, left, dt_raw, offset, A)
        for_scores += added
        for_raw = tl.where(inside, for_raw, 0.0)
        tl.store(graw + row * H + head, for_raw, mask=inside)
        tl.store(partial + sample * 3 * H + head, tl.sum(for_raw, 0))
        tl.store(partial + sample * 3 * H + H + head, for_A)
        tl.store(partial + sample * 3 * H + 2 * H + head, tl.sum(tl.sum(g * x, 1), 0))
    gB = tl.dot(tl.trans(for_scores), C, input_precision=PRECISION)
    gC = tl.dot(for_scores, B, input_precision=PRECISION)
    tl.store(gxBC + start + H * P + state[None, :], gB, mask=inside[:, None])
    tl.store(gxBC + start + H * P + N + state[None, :], gC, mask=inside[:, None])


class StateSpaceDuality(Grouped):
    """Mamba-2's mixing.

    xBC (G, B, L, H P + 2 N), raw step sizes (G, B, L, H), bias, A_log, D (G, H) -> (G, B, L, H P).
    """

    @staticmethod
    def forward(xBC, raw, bias, A_log, D, headdim: int, d_state: int):
        xBC, raw = xBC.contiguous(), even_rows(raw)
        groups, samples, steps, _ = xBC.shape
        heads = raw.shape[-1]
        apart, (bias, A_log, D) = even(bias, A_log, D)
        y = xBC.new_empty(groups, samples, steps, heads * headdim)
        ssd_forward[(groups * samples, heads)](
            xBC, raw, bias, A_log, D, y, samples, steps, raw.stride(-2), apart,
            heads, headdim, d_state, power(steps), precision(), num_warps=2,
        )  # fmt: skip
        return y

    @staticmethod
    def setup_context(ctx, inputs, output):
        xBC, raw, bias, A_log, D, *ctx.sizes = inputs
        ctx.save_for_backward(xBC.contiguous(), even_rows(raw), bias, A_log, D)

    @staticmethod
    def backward(ctx, gy):
        xBC, raw, bias, A_log, D = ctx.saved_tensors
        groups, samples, steps, _ = xBC.shape
        heads = raw.shape[-1]
        apart, (bias, A_log, D) = even(bias, A_log, D)
        gxBC, graw = torch.empty_like(xBC), raw.new_empty(raw.shape)
        partial = xBC.new_empty(groups, samples, 3, heads)
        ssd_backward[(groups * samples,)](
            xBC, raw, bias, A_log, D, gy.contiguous(), gxBC, graw, partial, samples, steps, raw.stride(-2), apart,
            heads, *ctx.sizes, power(steps), precision(), num_warps=4,
        )  # fmt: skip
        sums = partial.sum(1)
        return gxBC, graw, sums[:, 0], sums[:, 1], sums[:, 2], None, None


@triton.jit
def attention_forward(qkv, y, L, scale, H: tl.constexpr, P: tl.constexpr, STEPS: tl.constexpr, WIDE: tl.constexpr,
    PRECISION: tl.constexpr,
):  # fmt: skip
    """softmax(q kᵀ scale) v of one sample and head, whose P channels are filled up to WIDE."""
    sample, head = tl.program_id(0), tl.program_id(1)
    step, channel = tl.arange(0, STEPS), tl.arange(0, WIDE)
    inside = step < L
    here = inside[:, None] & (channel < P)[None, :]
    start = qkv + ((sample * L + step) * 3 * H + head)[:, None] * P + channel[None, :]
    q = tl.load(start, mask=here, other=0.0) * scale
    k = tl.load(start + H * P, mask=here, other=0.0)
    v = tl.load(start + 2 * H * P, mask=here, other=0.0)
    scores = tl.where(inside[None, :], tl.dot(q, tl.trans(k), input_precision=PRECISION), -float("inf"))
    weights = tl.exp(scores - tl.max(scores, 1)[:, None])
    weights /= tl.sum(weights, 1)[:, None]
    out = tl.dot(weights, v, input_precision=PRECISION)
    place = ((sample * L + step) * H + head)[:, None] * P + channel[None, :]
    tl.store(y + place, out, mask=here)


@triton.jit
def attention_backward(qkv, gy, gqkv, L, scale, H: tl.constexpr, P: tl.constexpr, STEPS: tl.constexpr,
    WIDE: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Gradients of q, k and v of one sample and head."""
    sample, head = tl.program_id(0), tl.program_id(1)
    step, channel = tl.arange(0, STEPS), tl.arange(0, WIDE)
    inside = step < L
    here = inside[:, None] & (channel < P)[None, :]
    where = ((sample * L + step) * 3 * H + head)[:, None] * P + channel[None, :]
    q = tl.load(qkv + where, mask=here, other=0.0) * scale
    k = tl.load(qkv + where + H * P, mask=here, other=0.0)
    v = tl.load(qkv + where + 2 * H * P, mask=here, other=0.0)
    place = ((sample * L + step) * H + head)[:, None] * P + channel[None, :]
    g = tl.load(gy + place, mask=here, other=0.0)
    scores = tl.where(inside[None, :], tl.dot(q, tl.trans(k), input_precision=PRECISION), -float("inf"))
    weights = tl.exp(scores - tl.max(scores, 1)[:, None])
    weights /= tl.sum(weights, 1)[:, None]
    weights = tl.where(inside[:, None], weights, 0.0)
    tl.store(gqkv + where + 2 * H * P, tl.dot(tl.trans(weights), g, input_precision=PRECISION), mask=here)
    back = tl.dot(g, tl.trans(v), input_precision=PRECISION)
    back = weights * (back - tl.sum(weights * back, 1)[:, None])
    tl.store(gqkv + where, tl.dot(back, k, input_precision=PRECISION) * scale, mask=here)
    tl.store(gqkv + where + H * P, tl.dot(tl.trans(back), q, input_precision=PRECISION), mask=here)


class ShortAttention(Grouped):
    """Attention over a short sequence: qkv (G, B, L, 3 H P) -> (G, B, L, H P)."""

    @staticmethod
    def forward(qkv, heads: int):
        qkv = qkv.contiguous()
        groups, samples, steps, size = qkv.shape
        y, channels = qkv.new_empty(groups, samples, steps, size // 3), size // 3 // heads
        attention_forward[(groups * samples, heads)](
            qkv, y, steps, channels**-0.5, heads, channels, power(steps), power(channels), precision(),
            num_warps=4 if size <= 3072 else 8,
        )  # fmt: skip
        return y

    @staticmethod
    def setup_context(ctx, inputs, output):
        ctx.heads = inputs[1]
        ctx.save_for_backward(inputs[0].contiguous())

    @staticmethod
    def backward(ctx, gy):
        (qkv,) = ctx.saved_tensors
        groups, samples, steps, size = qkv.shape
        gqkv, channels = torch.empty_like(qkv), size // 3 // ctx.heads
        attention_backward[(groups * samples, ctx.heads)](
            qkv, gy.contiguous(), gqkv, steps, channels**-0.5, ctx.heads, channels, power(steps),
            power(channels), precision(),
            num_warps=4 if size <= 3072 else 8,
        )  # fmt: skip
        return gqkv, None
