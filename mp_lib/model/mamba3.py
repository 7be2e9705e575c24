"""Mamba-3 (arXiv 2603.15569) as a mixer, in one direction of time, as published, or in both.

Parameter names, shapes and first values are those of state-spaces/mamba ``mamba_ssm/modules/mamba3.py`` of release
2.3.2.post1 with one input and one output a state (``is_mimo=False``) and no norm before the last projection. Later
commits compute A by another function. Its kernels on a GPU round to bfloat16, these forms do not.
"""

from __future__ import annotations

import math

import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from mp_lib.model.mixer import Mixer, count_heads, inverse_softplus_dt
from mp_lib.model.scan import apply_matrix
from mp_lib.model.trapezoid import Chosen, Past, before_the_first, trapezoidal_matrix, trapezoidal_step

SLOWEST = -1e-4  # A at most; without gradient where it holds, as published (A_floor)


class Mamba3(Mixer):
    """Trapezoidal rule, turning states, no convolution; each head has its own B and C by their biases.

    d_model: a multiple of half of ``headdim``. Raises a ValueError for heads that do not fill the channels.
    """

    def __init__(self, d_model: int, d_state: int = 128, expand: int = 2, headdim: int = 64):
        super().__init__()
        d_inner = expand * d_model
        heads, num_angles = count_heads(d_inner, headdim), d_state // 4  # pairs of half of the states' channels
        self.sizes = [d_inner, d_inner, d_state, d_state, heads, heads, heads, num_angles]
        self.headdim = headdim
        self.in_proj = nn.Linear(d_model, sum(self.sizes), bias=False)
        self.dt_bias = nn.Parameter(inverse_softplus_dt(heads))
        self.B_bias = nn.Parameter(torch.ones(heads, 1, d_state))
        self.C_bias = nn.Parameter(torch.ones(heads, 1, d_state))
        self.B_norm = nn.RMSNorm(d_state, eps=1e-5)
        self.C_norm = nn.RMSNorm(d_state, eps=1e-5)
        self.D = nn.Parameter(torch.ones(heads))
        self.out_proj = nn.Linear(d_inner, d_model, bias=False)

    def choose(self, u: Tensor) -> tuple[Chosen, Tensor]:
        """What an input (B, L, D) chooses of every step, and the gate z (B, L, D'); any shape before D will do."""
        z, x, B, C, dd_dt, dd_A, trap, angle = self.in_proj(u).split(self.sizes, dim=-1)
        A = (-functional.softplus(dd_A)).clamp(max=SLOWEST)
        dt = functional.softplus(dd_dt + self.dt_bias)
        kept = self.B_norm.weight.dtype  # whatever autocast makes of the projection
        B = self.B_norm(B.to(kept))[..., None, :] + self.B_bias[:, 0]
        C = self.C_norm(C.to(kept))[..., None, :] + self.C_bias[:, 0]
        angles = math.pi * angle.tanh()[..., None, :] * dt[..., None]
        x = x.unflatten(-1, (-1, self.headdim))
        return Chosen(x, B, C, dt, A * dt, trap.sigmoid(), angles), z

    def matrix(self, chosen: Chosen) -> Tensor:
        """The matrix (B, H, L, L) that multiplies x, its skip D left out."""
        return trapezoidal_matrix(chosen)

    def scan(self, chosen: Chosen) -> Tensor:
        """What the states give (B, L, H, P)."""
        return apply_matrix(self.matrix(chosen), chosen.x)

    def skip(self, x: Tensor) -> Tensor:
        """What of x (…, H, P) goes past the states."""
        return self.D[:, None] * x

    def mix(self, u: Tensor) -> Tensor:
        chosen, z = self.choose(u)
        y = self.scan(chosen) + self.skip(chosen.x)
        return rearrange(y, "b l h p -> b l (h p)") * functional.silu(z)

    def step(self, u: Tensor, past: Past | None = None) -> tuple[Tensor, Past]:
        """The output (B, D) at one step u (B, D), and what it leaves to the next; None before the first."""
        chosen, z = self.choose(u)
        y, past = trapezoidal_step(chosen, before_the_first(chosen) if past is None else past)
        return self.out_proj((y + self.skip(chosen.x)).flatten(-2) * functional.silu(z)), past


class BiMamba3(Mamba3):
    """Mamba-3 in both directions of time by the same weights: its output plus that of the flipped sequence, flipped."""

    def matrix(self, chosen: Chosen) -> Tensor:
        return trapezoidal_matrix(chosen) + trapezoidal_matrix(chosen.flip()).flip(-1, -2)

    def skip(self, x: Tensor) -> Tensor:
        return 2 * super().skip(x)
