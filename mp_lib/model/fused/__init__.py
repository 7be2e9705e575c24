"""The U-Net's chains of small operations as one kernel each, in Triton, for GPUs; each has a twin in plain PyTorch.

The functions here take tensors without the axis over weights that the kernels have; ``torch.vmap`` adds it.
"""

from __future__ import annotations

import functools
import logging
from importlib.util import find_spec

import torch
from torch import Tensor, nn

from mp_lib.system.code_cache import keep_compiled_code

log = logging.getLogger(__name__)

LONGEST = 32  # steps of a sequence: kernels hold all of them, and matrices over them, in registers


@functools.cache
def installed() -> bool:
    """Whether Triton is there, which comes with PyTorch for CUDA, and can start; what it compiles is kept."""
    if find_spec("triton") is None:
        return False
    keep_compiled_code()
    try:
        from triton.runtime import driver

        driver.active.get_current_target()  # builds, by a C compiler and with Python's headers, what launches kernels
    except Exception as error:
        said = (str(error).splitlines() or [type(error).__name__])[0]
        log.warning("a GPU computes without kernels of our own, which takes longer: Triton cannot start (%s)", said)
        return False
    return True


def usable(x: Tensor, steps: int = 1) -> bool:
    """Whether the kernels can take this: float32 on a GPU, at most LONGEST steps, and nothing that is compiled."""
    fits = x.is_cuda and x.dtype == torch.float32 and steps <= LONGEST
    return fits and not torch.compiler.is_compiling() and installed()


def add_norm(x: Tensor, h: Tensor | None, bias, kept, norm: nn.LayerNorm | None, rate: float):
    """x + (h + bias) · kept / (1 - rate), and its layer norm; x, h (B, L, D), kept (B,)."""
    from mp_lib.model.fused.rows import AddNorm

    lone = [None if each is None else each[None] for each in (x, h, bias, kept)]
    weights = (None, None, 0.0) if norm is None else (norm.weight[None], norm.bias[None], norm.eps)
    y, normed, _ = AddNorm.apply(*lone, *weights[:2], 1 / (1 - rate), weights[2], False)
    return x if h is None else y.squeeze(0), None if norm is None else normed.squeeze(0)


def norm_relu(x: Tensor, norm: nn.LayerNorm) -> Tensor:
    """ReLU of the layer norm of x (B, L, D)."""
    from mp_lib.model.fused.rows import AddNorm

    weights = norm.weight[None], norm.bias[None]
    return AddNorm.apply(x[None], None, None, None, *weights, 1.0, norm.eps, True)[1].squeeze(0)


def gelu(u: Tensor, bias: Tensor) -> Tensor:
    """GELU of u (B, L, D) + bias (D,)."""
    from mp_lib.model.fused.gates import Gelu

    return Gelu.apply(u[None], bias[None]).squeeze(0)


def gated_norm(y: Tensor, z: Tensor, weight: Tensor, eps: float, gate_first: bool) -> Tensor:
    """As ``mixers.GatedNorm``."""
    from mp_lib.model.fused.gates import GatedNorm

    return GatedNorm.apply(y[None], z[None], weight[None], eps, gate_first)[0].squeeze(0)


def short_conv(x: Tensor, weight: Tensor, bias: Tensor, left: int) -> Tensor:
    """SiLU of a depthwise convolution, as ``mixers.short_conv``: weight (D, K)."""
    from mp_lib.model.fused.steps import ShortConv

    return ShortConv.apply(x[None], weight[None], bias[None], left).squeeze(0)


def windows(x: Tensor, taps: int, stride: int, left: int) -> Tensor:
    """The windows (B, L', D K) of x (B, L, D)."""
    from mp_lib.model.fused.steps import Windows

    return Windows.apply(x[None], taps, stride, left).squeeze(0)


def group_norm_mish(u: Tensor, bias: Tensor, norm: nn.GroupNorm, film: Tensor | None) -> Tensor:
    """scale · mish(norm(u + bias)) + shift of u (B, L, D); ``film`` (B, 2 D) holds both."""
    from mp_lib.model.fused.group_norm import GroupNormMish

    lone = [None if each is None else each[None] for each in (u, bias, norm.weight, norm.bias, film)]
    return GroupNormMish.apply(*lone, norm.num_groups, norm.eps)[0].squeeze(0)


def state_space_duality(xBC: Tensor, dt: Tensor, bias: Tensor, A_log: Tensor, D: Tensor, headdim: int, d_state: int):
    """Mamba-2's mixing of xBC (B, L, H P + 2 N) with raw step sizes dt (B, L, H)."""
    from mp_lib.model.fused.mixing import StateSpaceDuality

    lone = [each[None] for each in (xBC, dt, bias, A_log, D)]
    return StateSpaceDuality.apply(*lone, headdim, d_state).squeeze(0)


def quasiseparable(xBC: Tensor, dt: Tensor, skip: Tensor, bias: Tensor, A_log: Tensor, headdim: int, d_state: int):
    """Hydra's mixing of xBC (B, L, H P + 4 N) with raw step sizes dt (B, L, 2 H) and diagonal skip (B, L, H)."""
    from mp_lib.model.fused.hydra import Quasiseparable

    lone = [each[None] for each in (xBC, dt, skip, bias, A_log)]
    return Quasiseparable.apply(*lone, headdim, d_state).squeeze(0)


def selective_scan(u, raw, selected, bias, A_log, skip, backwards: bool) -> Tensor:
    """Mamba-1's scan of u (B, L, D) with raw step sizes, skip included; B and C end ``selected`` (B, L, R + 2 N)."""
    from mp_lib.model.fused.scanning import SelectiveScan

    lone = [each[None] for each in (u, raw, selected, bias, A_log, skip)]
    return SelectiveScan.apply(*lone, backwards).squeeze(0)


def attention(qkv: Tensor, heads: int) -> Tensor:
    """softmax(q kᵀ / √P) v of qkv (B, L, 3 H P)."""
    from mp_lib.model.fused.mixing import ShortAttention

    return ShortAttention.apply(qkv[None], heads).squeeze(0)
