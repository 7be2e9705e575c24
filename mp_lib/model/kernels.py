"""CUDA kernels of mamba-ssm and causal-conv1d (extra ``[cuda]``): used on a GPU where they are installed."""

from __future__ import annotations

import functools
import importlib
import logging
from collections.abc import Callable

from torch import Tensor

from mp_lib.model.tracing import traced

log = logging.getLogger(__name__)

SHORTEST = 32  # steps from which mamba-ssm's scan may win; at 4 to 16 it made a training step 1.4 times as long (H100)


@functools.cache
def find_kernel(module: str, name: str) -> Callable | None:
    """A function of a package, or None if that is not installed or does not load here; says once which."""
    try:
        kernel = getattr(importlib.import_module(module), name)
    except Exception as error:  # without a GPU, or built for another torch, these packages fail in many ways
        log.info("%s.%s is not used: %s", module, name, error)
        return None
    log.info("%s.%s is used", module, name)
    return kernel


def on_gpu(x: Tensor) -> bool:
    """Whether a tensor is where the kernels run."""
    return x.is_cuda


def kernel_for(x: Tensor, module: str, name: str) -> Callable | None:
    """The kernel, if ``x`` is on a GPU and the package is there."""
    return find_kernel(module, name) if on_gpu(x) and not traced() else None


def scan_kernel(u: Tensor) -> Callable | None:
    """mamba-ssm's selective scan for u (B, L, D) of at least SHORTEST steps; None where it cannot be used."""
    asked = ("mamba_ssm.ops.selective_scan_interface", "selective_scan_fn")
    return kernel_for(u, *asked) if u.shape[1] >= SHORTEST else None


def scan_by_kernel(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor | None:
    """mamba-ssm's selective scan, shapes as in ``mp_lib.model.scan``; None where it cannot be used."""
    if (kernel := scan_kernel(u)) is None:
        return None
    u, dt, B, C = (each.transpose(1, 2).contiguous() for each in (u, dt, B, C))
    return kernel(u, dt, A, B, C).transpose(1, 2)


def conv_by_kernel(x: Tensor, weight: Tensor, bias: Tensor, left: int) -> Tensor | None:
    """causal-conv1d's convolution with SiLU of x (B, L, D); None where it cannot be used or looks to both sides."""
    kernel = kernel_for(x, "causal_conv1d", "causal_conv1d_fn")
    if kernel is None or left not in (0, weight.shape[1] - 1):
        return None
    if left == 0:  # it looks at what comes later: causal in the other direction of time
        return conv_by_kernel(x.flip(1), weight.flip(1), bias, weight.shape[1] - 1).flip(1)
    return kernel(x.transpose(1, 2), weight, bias, activation="silu").transpose(1, 2)
