"""Kernels of Mamba-1's selective scan over a short sequence, in either direction of time."""

from __future__ import annotations

import triton
import triton.language as tl

from mp_lib.model.fused.grouped import Grouped, even, even_rows

BLOCK = 32  # channels of a program


@triton.jit
def step_of(u, raw, selected, offset, A, row, channel, live, state, raw_stride, chosen, D, R, N: tl.constexpr):
    """u, shifted and plain step sizes (BLOCK,), the state's decay and drive (BLOCK, N), B and C (N,) of one step."""
    value = tl.load(u + row * D + channel, mask=live, other=0.0)
    shifted = tl.load(raw + row * raw_stride + channel, mask=live, other=0.0) + offset
    dt = tl.where(shifted > 20, shifted, tl.log(1 + tl.exp(tl.minimum(shifted, 20.0))))
    B = tl.load(selected + row * chosen + R + state)
    C = tl.load(selected + row * chosen + R + N + state)
    return value, shifted, dt, tl.exp(dt[:, None] * A), (dt * value)[:, None] * B[None, :], B, C


@triton.jit
def scan_forward(
    u, raw, selected, bias, A_log, skip, y, samples, raw_stride, chosen, apart, D, R,
    L: tl.constexpr, N: tl.constexpr, BACKWARDS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """y of one sample, a block of its channels."""
    sample, group = tl.program_id(0), tl.program_id(0) // samples
    channel, state = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK), tl.arange(0, N)
    live = channel < D
    given = group * apart + channel
    offset = tl.load(bias + given, mask=live, other=0.0)
    own = tl.load(skip + given, mask=live, other=0.0)
    A = -tl.exp(tl.load(A_log + group * apart + channel[:, None] * N + state[None, :], mask=live[:, None], other=0.0))
    h = tl.zeros([BLOCK, N], tl.float32)
    for index in range(L):
        row = sample * L + (L - 1 - index if BACKWARDS else index)
        value, _, _, decay, drive, _, C = step_of(
            u, raw, selected, offset, A, row, channel, live, state, raw_stride, chosen, D, R, N
        )
        h = decay * h + drive
        tl.store(y + row * D + channel, tl.sum(h * C[None, :], 1) + own * value, mask=live)


@triton.jit
def scan_backward(
    u, raw, selected, bias, A_log, skip, gy, gu, graw, gBC, gA, partial, samples, raw_stride, chosen, apart, D, R,
    L: tl.constexpr, N: tl.constexpr, BACKWARDS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradients of one sample and block; of B and C a block's part, of the weights a sample's.

    The states before a step are computed anew for each step: cheaper than keeping them all while L is short.
    """
    sample, group, part = tl.program_id(0), tl.program_id(0) // samples, tl.program_id(1)
    channel, state = part * BLOCK + tl.arange(0, BLOCK), tl.arange(0, N)
    live = channel < D
    given = group * apart + channel
    offset = tl.load(bias + given, mask=live, other=0.0)
    own = tl.load(skip + given, mask=live, other=0.0)
    A = -tl.exp(tl.load(A_log + group * apart + channel[:, None] * N + state[None, :], mask=live[:, None], other=0.0))
    for_state = tl.zeros([BLOCK, N], tl.float32)
    for_A = tl.zeros([BLOCK, N], tl.float32)
    for_bias = tl.zeros([BLOCK], tl.float32)
    for_skip = tl.zeros([BLOCK], tl.float32)
    for back in range(L):
        last = L - 1 - back
        before = tl.zeros([BLOCK, N], tl.float32)
        for index in range(L - 1):
            row = sample * L + (L - 1 - index if BACKWARDS else index)
            _, _, _, decay, drive, _, _ = step_of(
                u, raw, selected, offset, A, row, channel, live, state, raw_stride, chosen, D, R, N
            )
            before = tl.where(index < last, decay * before + drive, before)
        row = sample * L + (L - 1 - last if BACKWARDS else last)
        value, shifted, dt, decay, drive, B, C = step_of(
            u, raw, selected, offset, A, row, channel, live, state, raw_stride, chosen, D, R, N
        )
        g = tl.load(gy + row * D + channel, mask=live, other=0.0)
        for_state += g[:, None] * C[None, :]
        place = gBC + ((sample * tl.num_programs(1) + part) * L + row - sample * L) * 2 * N + state
        tl.store(place, tl.sum(for_state * (dt * value)[:, None], 0))
        tl.store(place + N, tl.sum(g[:, None] * (decay * before + drive), 0))
        along = tl.sum(for_state * B[None, :], 1)
        tl.store(gu + row * D + channel, g * own + along * dt, mask=live)
        through = for_state * decay * before
        for_dt = along * value + tl.sum(through * A, 1)
        for_raw = for_dt * tl.sigmoid(shifted)
        tl.store(graw + row * D + channel, for_raw, mask=live)
        for_A += through * dt[:, None] * A
        for_bias += for_raw
        for_skip += g * value
        for_state *= decay
    where = (sample * D + channel[:, None]) * N + state[None, :]
    tl.store(gA + where, for_A, mask=live[:, None])
    tl.store(partial + sample * 2 * D + channel, for_bias, mask=live)
    tl.store(partial + sample * 2 * D + D + channel, for_skip, mask=live)


class SelectiveScan(Grouped):
    """Mamba-1's scan: u, raw (G, B, L, D), selected (G, B, L, R + 2 N), bias, skip (G, D), A_log (G, D, N) -> y.

    ``selected`` holds B and C behind what raw was made of; y includes skip · u.
    """

    @staticmethod
    def forward(u, raw, selected, bias, A_log, skip, backwards: bool):
        u, raw, selected = u.contiguous(), even_rows(raw), selected.contiguous()
        groups, samples, steps, size = u.shape
        states = A_log.shape[-1]
        apart, (bias, A_log, skip) = even(bias, A_log, skip)
        y = u.new_empty(u.shape)
        chosen = selected.shape[-1]
        scan_forward[(groups * samples, -(-size // BLOCK))](
            u, raw, selected, bias, A_log, skip, y, samples, raw.stride(-2), chosen, apart, size, chosen - 2 * states,
            steps, states, backwards, BLOCK, num_warps=2,
        )  # fmt: skip
        return y

    @staticmethod
    def setup_context(ctx, inputs, output):
        u, raw, selected, bias, A_log, skip, ctx.backwards = inputs
        ctx.save_for_backward(u.contiguous(), even_rows(raw), selected.contiguous(), bias, A_log, skip)

    @staticmethod
    def backward(ctx, gy):
        u, raw, selected, bias, A_log, skip = ctx.saved_tensors
        groups, samples, steps, size = u.shape
        states, chosen, parts = A_log.shape[-1], selected.shape[-1], -(-size // BLOCK)
        apart, (bias, A_log, skip) = even(bias, A_log, skip)
        gu, graw = u.new_empty(u.shape), u.new_empty(u.shape)
        gBC = u.new_empty(groups, samples, parts, steps, 2 * states)
        gA, partial = u.new_empty(groups, samples, size, states), u.new_empty(groups, samples, 2, size)
        scan_backward[(groups * samples, parts)](
            u, raw, selected, bias, A_log, skip, gy.contiguous(), gu, graw, gBC, gA, partial, samples, raw.stride(-2),
            chosen, apart, size, chosen - 2 * states, steps, states, ctx.backwards, BLOCK, num_warps=2,
        )  # fmt: skip
        gselected = u.new_zeros(selected.shape)
        gselected[..., chosen - 2 * states :] = gBC.sum(2)
        sums = partial.sum(1)
        return gu, graw, gselected, sums[:, 0], gA.sum(1), sums[:, 1], None
