"""Sequence mixers (B, L, D) -> (B, L, D) by name: the paper's four state-space variants, attention, and Mamba-3.

Parameter names and shapes are those of the official implementations, so that official weights load:
state-spaces/mamba ``mamba_simple.py`` and ``mamba2.py``, the bidirectional Mamba of Vim and VideoMamba
(``bimamba_type="v2"``), goombalab/hydra ``hydra.py``. Inside this file d is d_model and D = 2 d.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from mp_lib.model import fused, native
from mp_lib.model.kernels import scan_kernel
from mp_lib.model.mamba3 import BiMamba3, Mamba3
from mp_lib.model.mixer import GatedNorm, Mixer, count_heads, inverse_softplus_dt, short_conv
from mp_lib.model.scan import apply_matrix, quasiseparable_matrix, selective_scan, ssd_matrix


class Mamba1(Mixer):
    """Selective state space (arXiv 2312.00752): each of D channels has N states with their own decays."""

    def __init__(self, d_model: int, d_state: int = 16, d_conv: int = 4, expand: int = 2, dt_rank: int | None = None):
        super().__init__()
        d_inner = expand * d_model
        self.d_state = d_state
        self.dt_rank = dt_rank or math.ceil(d_model / 16)
        self.in_proj = nn.Linear(d_model, 2 * d_inner, bias=False)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)
        self.add_direction(d_inner, d_conv, suffix="")

    def add_direction(self, d_inner: int, d_conv: int, suffix: str) -> None:
        """Add the parameters of one direction of the scan, named with ``suffix``."""
        A = torch.arange(1.0, self.d_state + 1).repeat(d_inner, 1)
        dt_proj = nn.Linear(self.dt_rank, d_inner)
        nn.init.uniform_(dt_proj.weight, -(self.dt_rank**-0.5), self.dt_rank**-0.5)
        dt_proj.bias = nn.Parameter(inverse_softplus_dt(d_inner))
        conv = nn.Conv1d(d_inner, d_inner, d_conv, groups=d_inner, padding=d_conv - 1)
        self.add_module(f"conv1d{suffix}", conv)
        self.add_module(f"x_proj{suffix}", nn.Linear(d_inner, self.dt_rank + 2 * self.d_state, bias=False))
        self.add_module(f"dt_proj{suffix}", dt_proj)
        self.register_parameter(f"A{suffix}_log", nn.Parameter(A.log()))
        self.register_parameter(f"D{suffix}", nn.Parameter(torch.ones(d_inner)))

    def scan(self, x: Tensor, suffix: str = "", backwards: bool = False) -> Tensor:
        """One direction: causal convolution, selection of dt, B and C by the input, scan; (B, L, D) -> (B, L, D)."""
        conv, x_proj, dt_proj, A_log, D = (
            getattr(self, name)
            for name in (f"conv1d{suffix}", f"x_proj{suffix}", f"dt_proj{suffix}", f"A{suffix}_log", f"D{suffix}")
        )
        x = short_conv(x, conv, left=conv.kernel_size[0] - 1, backwards=backwards)
        selected, A = x_proj(x), -torch.exp(A_log)
        if native.usable(x.shape[-1], x, selected, dt_proj.weight, dt_proj.bias, A, D):
            return native.SelectiveScan.apply(x, selected, dt_proj.weight, dt_proj.bias, A, D, backwards)
        dt, B, C = selected.split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        if fused.usable(x, x.shape[1]) and scan_kernel(x) is None:
            raw = functional.linear(dt, dt_proj.weight)
            return fused.selective_scan(x, raw, selected, dt_proj.bias, A_log, D, backwards)
        dt = functional.softplus(dt_proj(dt))
        return torch.addcmul(selective_scan(x, dt, A, B, C, backwards), x, D)

    def mix(self, x: Tensor) -> Tensor:
        x, z = self.in_proj(x).chunk(2, dim=-1)
        return self.scan(x) * functional.silu(z)


class BiMamba(Mamba1):
    """Mamba-1 in both directions of time with shared projections (Vim, arXiv 2401.09417; VideoMamba)."""

    def __init__(self, d_model: int, d_state: int = 16, d_conv: int = 4, expand: int = 2, dt_rank: int | None = None):
        super().__init__(d_model, d_state, d_conv, expand, dt_rank)
        self.add_direction(expand * d_model, d_conv, suffix="_b")

    def mix(self, x: Tensor) -> Tensor:
        x, z = self.in_proj(x).chunk(2, dim=-1)
        both = self.scan(x) + self.scan(x, "_b", backwards=True)
        return both * functional.silu(z)


class Mamba2(Mixer):
    """State-space duality (arXiv 2405.21060): one decay a head, B and C shared by the heads.

    headdim 32 as in the release (conditional_unet1d.py:143).
    """

    def __init__(self, d_model: int, d_state: int = 128, d_conv: int = 4, expand: int = 2, headdim: int = 32):
        super().__init__()
        d_inner = expand * d_model
        heads = count_heads(d_inner, headdim)
        self.sizes = [d_inner, d_inner + 2 * d_state, heads]
        self.d_state, self.headdim = d_state, headdim
        self.in_proj = nn.Linear(d_model, sum(self.sizes), bias=False)
        self.conv1d = nn.Conv1d(self.sizes[1], self.sizes[1], d_conv, groups=self.sizes[1], padding=d_conv - 1)
        self.dt_bias = nn.Parameter(inverse_softplus_dt(heads))
        self.A_log = nn.Parameter(torch.empty(heads).uniform_(1, 16).log())
        self.D = nn.Parameter(torch.ones(heads))
        self.norm = GatedNorm(d_inner, gate_first=True)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def mix(self, u: Tensor) -> Tensor:
        z, xBC, dt = self.in_proj(u).split(self.sizes, dim=-1)
        xBC = short_conv(xBC, self.conv1d, left=self.conv1d.kernel_size[0] - 1)
        if fused.usable(xBC, xBC.shape[1]):
            y = fused.state_space_duality(xBC, dt, self.dt_bias, self.A_log, self.D, self.headdim, self.d_state)
            return self.norm(y, z)
        x, B, C = xBC.split([z.shape[-1], self.d_state, self.d_state], dim=-1)
        heads = rearrange(x, "b l (h p) -> b l h p", p=self.headdim)
        matrix = ssd_matrix(functional.softplus(dt + self.dt_bias), -torch.exp(self.A_log), B, C)
        y = torch.addcmul(apply_matrix(matrix, heads), heads, self.D[:, None])
        return self.norm(rearrange(y, "b l h p -> b l (h p)"), z)


class Hydra(Mixer):
    """Quasiseparable mixer (arXiv 2407.09941): Mamba-2 forwards and backwards in one L x L matrix, and its diagonal."""

    def __init__(self, d_model: int, d_state: int = 64, d_conv: int = 7, expand: int = 2, headdim: int = 64):
        super().__init__()
        d_inner = expand * d_model
        heads = count_heads(d_inner, headdim)
        self.sizes = [d_inner, d_inner + 4 * d_state, 2 * heads]
        self.d_state, self.headdim = d_state, headdim
        self.in_proj = nn.Linear(d_model, sum(self.sizes), bias=False)
        self.conv1d = nn.Conv1d(self.sizes[1], self.sizes[1], d_conv, groups=self.sizes[1], padding=d_conv // 2)
        self.dt_bias = nn.Parameter(inverse_softplus_dt(heads))
        self.A_log = nn.Parameter(torch.zeros(heads))
        self.D = nn.Parameter(torch.ones(heads))
        self.fc_D = nn.Linear(d_inner, heads, bias=False)
        self.norm = GatedNorm(d_inner, gate_first=False)
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def mix(self, u: Tensor) -> Tensor:
        z, xBC, dt = self.in_proj(u).split(self.sizes, dim=-1)
        xBC = short_conv(xBC, self.conv1d, left=self.conv1d.kernel_size[0] // 2)
        x, B_f, C_f, B_b, C_b = xBC.split([z.shape[-1]] + 4 * [self.d_state], dim=-1)
        skip = functional.linear(x, self.fc_D.weight, self.D)
        if fused.usable(xBC, xBC.shape[1]):
            y = fused.quasiseparable(xBC, dt, skip, self.dt_bias, self.A_log, self.headdim, self.d_state)
            return self.norm(y, z)
        heads = rearrange(x, "b l (h p) -> b l h p", p=self.headdim)
        dt = tuple(functional.softplus(each + self.dt_bias) for each in dt.chunk(2, dim=-1))
        matrix = quasiseparable_matrix(dt, -torch.exp(self.A_log), (B_f, B_b), (C_f, C_b))
        y = torch.addcmul(apply_matrix(matrix, heads), heads, skip[..., None])
        return self.norm(rearrange(y, "b l h p -> b l (h p)"), z)


class Attention(Mixer):
    """Multi-head self-attention, 8 heads, qkv without bias (conditional_unet1d.py:48-95 of the release)."""

    last = "proj"

    def __init__(self, d_model: int, num_heads: int = 8):
        super().__init__()
        if d_model % num_heads:
            raise ValueError(f"{d_model} channels cannot be divided into {num_heads} heads; choose a multiple of it")
        self.num_heads = num_heads
        self.qkv = nn.Linear(d_model, 3 * d_model, bias=False)
        self.proj = nn.Linear(d_model, d_model)

    def mix(self, x: Tensor) -> Tensor:
        qkv = self.qkv(x)
        if fused.usable(qkv, qkv.shape[1]):
            return fused.attention(qkv, self.num_heads)
        q, k, v = rearrange(qkv, "b l (three h p) -> three b h l p", three=3, h=self.num_heads)
        # At a policy's lengths two plain matrix products beat the CPU's blocked attention kernel.
        weights = torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1)
        return rearrange(weights @ v, "b h l p -> b l (h p)")


MIXERS = {
    "mamba1": Mamba1,
    "mamba2": Mamba2,
    "bimamba": BiMamba,
    "hydra": Hydra,
    "attention": Attention,
    "mamba3": Mamba3,
    "bimamba3": BiMamba3,
}
