"""Inner loops in C (``native.c``), compiled when first needed: a mixer's convolution, scan, gated norm; Mish; points.

They run for float32 tensors on a CPU where a C compiler is found; elsewhere, and where a graph is traced, the
torch forms of the same functions run, which is said once. ``MP_NATIVE=off`` leaves them out.
"""

from __future__ import annotations

import ctypes
import functools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from mp_lib.model.tracing import traced
from mp_lib.system.compiler import build

SOURCE = Path(__file__).with_suffix(".c")
WIDTH = 16  # UNIT of native.c: numbers in the widest vector
SHARED_FROM = 1 << 16  # numbers in a tensor from which threads share the work; below, waking them costs more


def library() -> ctypes.CDLL | None:
    """The compiled functions; None where they cannot be had."""
    return build(SOURCE)


def usable(channels: int, *tensors: Tensor) -> bool:
    """Whether the native loops can take these tensors, of which the first have ``channels`` numbers a step."""
    return (
        channels % WIDTH == 0
        and all(each.device.type == "cpu" and each.dtype == torch.float32 for each in tensors)
        and not traced()
        and library() is not None
    )


@functools.cache
def helpers(count: int) -> ThreadPoolExecutor:
    """Threads that share the work; they wait without spinning."""
    return ThreadPoolExecutor(count, thread_name_prefix="native")


def call(name: str, count: int, size: int, *arguments, sums: tuple[Tensor, ...] = ()) -> list[Tensor]:
    """Call a function on the samples 0 to ``count`` of tensors with ``size`` numbers; torch's threads share them.

    ``sums`` are shapes to which every thread adds in an array of its own; their sums over threads are returned.
    """
    function = getattr(library(), name)
    threads = min(torch.get_num_threads(), count) if size >= SHARED_FROM else 1
    shares = [torch.zeros(threads, *each.shape) for each in sums]
    given = [ctypes.c_void_p(each.data_ptr()) if isinstance(each, Tensor) else number(each) for each in arguments]

    def work(thread: int) -> None:
        bounds = (ctypes.c_long(count * part // threads) for part in (thread, thread + 1))
        if function(*bounds, *given, *(ctypes.c_void_p(share[thread].data_ptr()) for share in shares)):
            raise MemoryError(f"native loop {name}: no memory for the states of {count} samples")

    if threads == 1:
        work(0)
    else:
        rest = [helpers(threads - 1).submit(work, thread) for thread in range(1, threads)]
        work(0)
        for each in rest:
            each.result()
    return [share.sum(0) if threads > 1 else share[0] for share in shares]


def number(value: int | float) -> ctypes.c_long | ctypes.c_float:
    """A number as C takes it."""
    return ctypes.c_float(value) if isinstance(value, float) else ctypes.c_long(value)


def rows(x: Tensor) -> Tensor:
    """``x`` (…, D) as native.c reads slices: each row whole, all rows at one distance; copied if it is not so."""
    even = x.stride(-1) == 1 and all(
        x.stride(k) == x.stride(k + 1) * x.shape[k + 1] or x.shape[k] == 1 for k in range(x.dim() - 2)
    )
    return x if even else x.new_empty(x.shape).copy_(x)  # contiguous() keeps the odd stride of a single step


class SelectiveScan(torch.autograd.Function):
    """Mamba-1's scan with all that goes into it: y (B, L, D) of u (B, L, D) and what it selects (B, L, R + 2 N).

    ``selected`` holds, side by side, what ``weight`` (D, R) and ``bias`` (D,) make dt of, B and C; A is (D, N),
    ``skip`` (D,). From the last step to the first if ``backwards``.
    """

    @staticmethod
    def forward(ctx, u, selected, weight, bias, A, skip, backwards: bool) -> Tensor:
        u, selected, weight, A = (each.contiguous() for each in (u, selected, weight.T, A.T))
        ctx.save_for_backward(u, selected, weight, bias, A, skip)
        ctx.sizes = (*u.shape[1:], len(A), len(weight), int(backwards))
        y = torch.empty_like(u)
        call("scan", len(u), u.numel(), *ctx.sizes, u, selected, weight, bias, A, skip, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gy: Tensor):
        u, selected, weight, bias, A, skip = ctx.saved_tensors
        gu, gselected = torch.empty_like(u), torch.empty_like(selected)
        given = (*ctx.sizes, *ctx.saved_tensors, gy.contiguous(), gu, gselected)
        sums = call("scan_gradient", len(u), u.numel(), *given, sums=(weight, bias, A, skip))
        gweight, gbias, gA, gskip = sums
        return gu, gselected, gweight.T, gbias, gA.T, gskip, None


class Conv(torch.autograd.Function):
    """SiLU of a depthwise convolution of x (B, L, D) with weight (D, K), bias (D,), ``left`` zeros before the start."""

    @staticmethod
    def forward(ctx, x: Tensor, weight: Tensor, bias: Tensor, left: int) -> Tensor:
        x, weight = rows(x), weight.T.contiguous()
        ctx.save_for_backward(x, weight, bias)
        ctx.sizes = (*x.shape[1:], len(weight), left, x.stride(1))
        y = x.new_empty(x.shape)
        call("conv", len(x), x.numel(), *ctx.sizes, x, weight, bias, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gy: Tensor):
        x, weight, bias = ctx.saved_tensors
        gx = x.new_empty(x.shape)
        given = (*ctx.sizes, x, weight, bias, gy.contiguous(), gx)
        gweight, gbias = call("conv_gradient", len(x), x.numel(), *given, sums=(weight, bias))
        return gx, gweight.T, gbias, None


class GatedNorm(torch.autograd.Function):
    """norm(y silu(z)) if ``gate_first``, else norm(y) silu(z); y, z (B, L, D), weight (D,)."""

    @staticmethod
    def forward(ctx, y: Tensor, z: Tensor, weight: Tensor, eps: float, gate_first: bool) -> Tensor:
        y, z = y.contiguous(), rows(z)
        out, scale = torch.empty_like(y), y.new_empty(y.shape[:-1])
        ctx.save_for_backward(y, z, weight, scale)
        ctx.sizes = (y.shape[-1], z.stride(-2), int(gate_first))
        call("norm", scale.numel(), y.numel(), *ctx.sizes, float(eps), y, z, weight, out, scale)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx, gout: Tensor):
        y, z, weight, scale = ctx.saved_tensors
        gy, gz = torch.empty_like(y), torch.empty_like(y)
        given = (*ctx.sizes, y, z, weight, scale, gout.contiguous(), gy, gz)
        (gweight,) = call("norm_gradient", scale.numel(), y.numel(), *given, sums=(weight,))
        return gy, gz, gweight, None, None


class Mish(torch.autograd.Function):
    """x tanh(softplus(x)) of x, as many numbers as a multiple of WIDTH."""

    @staticmethod
    def forward(ctx, x: Tensor) -> Tensor:
        x = x.contiguous()
        ctx.save_for_backward(x)
        y = torch.empty_like(x)
        call("mish", x.numel() // WIDTH, x.numel(), x, y)
        return y

    @staticmethod
    @once_differentiable
    def backward(ctx, gy: Tensor) -> Tensor:
        (x,) = ctx.saved_tensors
        gx = torch.empty_like(x)
        call("mish_gradient", x.numel() // WIDTH, x.numel(), x, gy.contiguous(), gx)
        return gx


def norm_relu(x: Tensor, weight: Tensor, shift: Tensor, eps: float) -> Tensor:
    """ReLU of the layer norm of x (…, D), written over x; without gradient."""
    x = x.contiguous()
    call("norm_relu", x.numel() // x.shape[-1], x.numel(), x.shape[-1], float(eps), weight, shift, x)
    return x


def argmax(x: Tensor) -> Tensor:
    """The first place n of the greatest of x (M, N, D) for each m and d (M, D), of a NaN if there is one."""
    found = torch.empty(len(x), x.shape[2], dtype=torch.int64)
    call("argmax", len(x), x.numel(), *x.shape[1:], x.contiguous(), found)
    return found
