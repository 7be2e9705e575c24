"""Kernels over the steps of a short sequence: depthwise convolution, the windows of a convolution."""

from __future__ import annotations

import triton
import triton.language as tl

from mp_lib.model.fused.grouped import Grouped, even, even_rows, power


@triton.jit
def convolved(
    x, weight, bias, at, channel, live, sample, group, L, stride, apart,
    TAPS: tl.constexpr, LEFT: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """The depthwise convolution at the steps ``at`` of one sample, before SiLU."""
    total = (
        tl.zeros([STEPS, BLOCK], tl.float32) + tl.load(bias + group * apart + channel, mask=live, other=0.0)[None, :]
    )
    for tap in tl.static_range(TAPS):
        seen_at = at + tap - LEFT
        inside = ((seen_at >= 0) & (seen_at < L))[:, None] & live[None, :]
        seen = tl.load(x + (sample * L + seen_at)[:, None] * stride + channel[None, :], mask=inside, other=0.0)
        total += seen * tl.load(weight + group * apart + channel * TAPS + tap, mask=live, other=0.0)[None, :]
    return total


@triton.jit
def conv_forward(
    x, weight, bias, y, samples, L, stride, D, apart, TAPS: tl.constexpr, LEFT: tl.constexpr,
    STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """SiLU of the depthwise convolution of one sample, a block of its channels."""
    sample, group = tl.program_id(0), tl.program_id(0) // samples
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    step = tl.arange(0, STEPS)
    live = channel < D
    total = convolved(x, weight, bias, step, channel, live, sample, group, L, stride, apart, TAPS, LEFT, STEPS, BLOCK)
    here = (step < L)[:, None] & live[None, :]
    tl.store(y + (sample * L + step)[:, None] * D + channel[None, :], total * tl.sigmoid(total), mask=here)


@triton.jit
def conv_slope(
    x, weight, bias, gy, at, channel, live, sample, group, L, stride, D, apart,
    TAPS: tl.constexpr, LEFT: tl.constexpr, STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradient of what SiLU takes at the steps ``at``; 0 outside the sequence."""
    total = convolved(x, weight, bias, at, channel, live, sample, group, L, stride, apart, TAPS, LEFT, STEPS, BLOCK)
    sigmoid = tl.sigmoid(total)
    here = ((at >= 0) & (at < L))[:, None] & live[None, :]
    given = tl.load(gy + (sample * L + at)[:, None] * D + channel[None, :], mask=here, other=0.0)
    return given * sigmoid * (1 + total * (1 - sigmoid))


@triton.jit
def conv_backward(
    x, weight, bias, gy, gx, partial, samples, L, stride, D, apart, TAPS: tl.constexpr, LEFT: tl.constexpr,
    STEPS: tl.constexpr, BLOCK: tl.constexpr,
):  # fmt: skip
    """Gradient of one sample, a block of its channels; taps and bias as partial sums (samples, D, TAPS + 1)."""
    sample, group = tl.program_id(0), tl.program_id(0) // samples
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    step = tl.arange(0, STEPS)
    live = channel < D
    total = tl.zeros([STEPS, BLOCK], tl.float32)
    for tap in tl.static_range(TAPS):
        slope = conv_slope(
            x, weight, bias, gy, step - tap + LEFT, channel, live, sample, group, L, stride, D, apart,
            TAPS, LEFT, STEPS, BLOCK,
        )  # fmt: skip
        total += slope * tl.load(weight + group * apart + channel * TAPS + tap, mask=live, other=0.0)[None, :]
    here = (step < L)[:, None] & live[None, :]
    tl.store(gx + (sample * L + step)[:, None] * D + channel[None, :], total, mask=here)
    slope = conv_slope(
        x, weight, bias, gy, step, channel, live, sample, group, L, stride, D, apart, TAPS, LEFT, STEPS, BLOCK
    )
    base = partial + (sample * D + channel) * (TAPS + 1)
    for tap in tl.static_range(TAPS):
        at = step + tap - LEFT
        inside = ((at >= 0) & (at < L))[:, None] & live[None, :]
        seen = tl.load(x + (sample * L + at)[:, None] * stride + channel[None, :], mask=inside, other=0.0)
        tl.store(base + tap, tl.sum(slope * seen, 0), mask=live)
    tl.store(base + TAPS, tl.sum(slope, 0), mask=live)


class ShortConv(Grouped):
    """SiLU of a depthwise convolution of x (G, B, L, D), weight (G, D, K), bias (G, D), ``left`` zeros before it."""

    @staticmethod
    def forward(x, weight, bias, left: int):
        x = even_rows(x)
        y = x.new_empty(x.shape)
        ShortConv.launch(conv_forward, x, weight, bias, left, y)
        return y

    @staticmethod
    def launch(kernel, x, weight, bias, left, *places):
        """Run a kernel over samples and blocks of channels."""
        groups, samples, steps, size = x.shape
        block, taps = 64, weight.shape[-1]
        apart, (weight, bias) = even(weight, bias)
        kernel[(groups * samples, -(-size // block))](
            x, weight, bias, *places, samples, steps, x.stride(-2), size, apart,
            taps, left, power(steps), block, num_warps=4,
        )  # fmt: skip

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, weight, bias, ctx.left = inputs
        ctx.save_for_backward(even_rows(x), weight, bias)

    @staticmethod
    def backward(ctx, gy):
        x, weight, bias = ctx.saved_tensors
        gx = x.new_empty(x.shape)
        partial = x.new_empty(*x.shape[:2], x.shape[-1], weight.shape[-1] + 1)
        ShortConv.launch(conv_backward, x, weight, bias, ctx.left, gy.contiguous(), gx, partial)
        sums = partial.sum(1)
        return gx, sums[..., :-1], sums[..., -1], None


@triton.jit
def gather_windows(x, y, L, out, D, TAPS: tl.constexpr, STRIDE: tl.constexpr, LEFT: tl.constexpr, BLOCK: tl.constexpr):
    """The window of one step: y[d K + k] = x[s step + k - left, d]."""
    row = tl.program_id(0)
    sample, step = row // out, row % out
    place = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    at = step * STRIDE + place % TAPS - LEFT
    inside = (place < D * TAPS) & (at >= 0) & (at < L)
    seen = tl.load(x + (sample * L + at) * D + place // TAPS, mask=inside, other=0.0)
    tl.store(y + row * D * TAPS + place, seen, mask=place < D * TAPS)


@triton.jit
def add_windows(g, gx, L, out, D, TAPS: tl.constexpr, STRIDE: tl.constexpr, LEFT: tl.constexpr, BLOCK: tl.constexpr):
    """The gradient of one step: what all windows that saw it send back."""
    row = tl.program_id(0)
    sample, at = row // L, row % L
    channel = tl.program_id(1) * BLOCK + tl.arange(0, BLOCK)
    total = tl.zeros([BLOCK], tl.float32)
    for tap in tl.static_range(TAPS):
        shifted = at + LEFT - tap
        step = shifted // STRIDE
        inside = (channel < D) & (shifted >= 0) & (shifted % STRIDE == 0) & (step < out)
        total += tl.load(g + ((sample * out + step) * D + channel) * TAPS + tap, mask=inside, other=0.0)
    tl.store(gx + row * D + channel, total, mask=channel < D)


class Windows(Grouped):
    """The windows (G, B, L', D K) of x (G, B, L, D): K steps each, every ``stride``, with ``left`` zeros around."""

    @staticmethod
    def forward(x, taps: int, stride: int, left: int):
        groups, samples, steps, size = x.shape
        out = (steps + 2 * left - taps) // stride + 1
        y, block = x.new_empty(groups, samples, out, size * taps), 512
        grid = (groups * samples * out, -(-size * taps // block))
        gather_windows[grid](x.contiguous(), y, steps, out, size, taps, stride, left, block)
        return y

    @staticmethod
    def setup_context(ctx, inputs, output):
        x, *ctx.sizes = inputs
        ctx.shape = x.shape

    @staticmethod
    def backward(ctx, g):
        groups, samples, steps, size = ctx.shape
        gx, block = g.new_empty(ctx.shape), 256
        grid = (groups * samples * steps, -(-size // block))
        add_windows[grid](g.contiguous(), gx, steps, g.shape[2], size, *ctx.sizes, block)
        return gx, None, None, None
