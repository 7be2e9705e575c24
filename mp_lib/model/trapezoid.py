"""Mamba-3's recurrence (arXiv 2603.15569): a trapezoidal rule, and states that turn; all at once, and step by step.

Letters beside those of ``mp_lib.interfaces``: N states, H heads, P channels of a head, S angles. A state gets, at each
step, what the step drives it with and what the step before did, in shares that the input chooses::

    h_t = a_t h_{t-1} + (1 - λ_t) dt_t a_t x_{t-1} ⊗ B_{t-1} + λ_t dt_t x_t ⊗ B_t,    a_t = exp(A_t dt_t)
    y_t = h_t C_t

B_t and C_t are turned by the angles of all steps up to t, so that states oscillate. Nothing is driven before the first
step. In float32 whatever the inputs' precision would allow, as every recurrence here.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import torch
from torch import Tensor

from mp_lib.model.scan import segment_sums


class Chosen(NamedTuple):
    """What the input has chosen of every step; at one step alone all are without L."""

    x: Tensor  # (B, L, H, P), what drives
    B: Tensor  # (B, L, H, N), not turned yet
    C: Tensor  # (B, L, H, N), likewise
    dt: Tensor  # (B, L, H), step sizes, positive
    decay: Tensor  # (B, L, H), A dt, negative
    share: Tensor  # (B, L, H), λ, from 0 to 1
    angles: Tensor  # (B, L, H, S), by how much further B and C are turned than at the step before

    def flip(self) -> Chosen:
        """The same of the sequence from its end."""
        return Chosen(*(each.flip(1) for each in self))


class Past(NamedTuple):
    """What one step leaves to the next."""

    state: Tensor  # (B, H, P, N)
    x: Tensor  # (B, H, P)
    B: Tensor  # (B, H, N), as it was turned then
    angles: Tensor  # (B, H, S), sums of all up to then, from 0 to 2 π


def turn(vectors: Tensor, angles: Tensor) -> Tensor:
    """Vectors (…, N) whose first 2 S channels are turned, in neighbouring pairs, by angles (…, S); the rest stays."""
    turned = 2 * angles.shape[-1]
    first, second = vectors[..., :turned].unflatten(-1, (-1, 2)).unbind(-1)
    cos, sin = angles.cos(), angles.sin()
    pairs = torch.stack([first * cos - second * sin, first * sin + second * cos], dim=-1)
    return torch.cat([pairs.flatten(-2), vectors[..., turned:]], dim=-1)


def trapezoidal_matrix(chosen: Chosen) -> Tensor:
    """The matrix M (B, H, L, L) of the whole recurrence: y = M x equals ``trapezoidal_reference``.

    M[t, s] = C_t · B_s exp(Σ A dt from s+1 to t) (λ_s dt_s + (1 - λ_{s+1}) dt_{s+1}) for s < t, and C_t · B_t λ_t dt_t.
    """
    angles = chosen.angles.cumsum(1)
    B, C = (turn(each, angles).transpose(1, 2) for each in (chosen.B, chosen.C))
    dt, share = chosen.dt.transpose(1, 2), chosen.share.transpose(1, 2)  # (B, H, L)
    own = share * dt
    handed_on = torch.nn.functional.pad((dt - own)[..., 1:], (0, 1))
    weights = own[:, :, None] + handed_on[:, :, None].expand(-1, -1, dt.shape[-1], -1).tril(-1)
    return C @ B.transpose(-1, -2) * torch.exp(segment_sums(chosen.decay.transpose(1, 2))) * weights


def before_the_first(chosen: Chosen) -> Past:
    """What the first step finds: nothing. ``chosen`` is of one step."""
    state = chosen.x.new_zeros(*chosen.x.shape, chosen.B.shape[-1])
    return Past(state, torch.zeros_like(chosen.x), torch.zeros_like(chosen.B), torch.zeros_like(chosen.angles))


def trapezoidal_step(chosen: Chosen, past: Past) -> tuple[Tensor, Past]:
    """One step of the recurrence: y (B, H, P), and what it leaves to the next. ``chosen`` is of one step."""
    angles = torch.remainder(past.angles + chosen.angles, 2 * math.pi)  # the same, and exact however long it goes on
    B, C = turn(chosen.B, angles), turn(chosen.C, angles)
    a, now = chosen.decay.exp(), chosen.share * chosen.dt
    before = (chosen.dt - now) * a
    state = a[..., None, None] * past.state
    state = state + before[..., None, None] * past.x[..., :, None] * past.B[..., None, :]
    state = state + now[..., None, None] * chosen.x[..., :, None] * B[..., None, :]
    return (state @ C[..., None]).squeeze(-1), Past(state, chosen.x, B, angles)


def trapezoidal_reference(chosen: Chosen) -> Tensor:
    """The recurrence, one step after the other: y (B, L, H, P)."""
    steps = [Chosen(*parts) for parts in zip(*(each.unbind(1) for each in chosen), strict=True)]
    past, outputs = before_the_first(steps[0]), []
    for step in steps:
        y, past = trapezoidal_step(step, past)
        outputs.append(y)
    return torch.stack(outputs, dim=1)
