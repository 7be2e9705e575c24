"""Mamba-1's scan with a backward pass written by hand.

The recurrence runs over (B, N, D) slices, channels last, so that every product with B and C over
all steps is one batched matrix product after the loop, and a step costs four operations.
"""

from __future__ import annotations

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable


def run_states(drive: Tensor, dt: Tensor, A: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
    """States and decays, both (L, B, N, D), of h_t = exp(dt_t A) h_{t-1} + B_t drive_t.

    drive = dt u and dt are (L, B, D), A is (N, D), B is (L, B, N).
    """
    states = torch.mul(B[..., None], drive[:, :, None, :])
    decays = torch.empty_like(states)
    for step in range(len(states)):
        torch.mul(dt[step, :, None, :], A, out=decays[step]).exp_()
        if step:
            states[step].addcmul_(decays[step], states[step - 1])
    return states, decays


class SelectiveScan(torch.autograd.Function):
    """y (B, L, D) of u, dt (B, L, D), A (D, N), B, C (B, L, N), and its gradient."""

    @staticmethod
    def forward(ctx, u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        u, dt, B, C = (each.transpose(0, 1).contiguous() for each in (u, dt, B, C))
        A = A.T.contiguous()
        states, decays = run_states(dt * u, dt, A, B)
        ctx.save_for_backward(u, dt, A, B, C, states, decays)
        return torch.matmul(C[:, :, None, :], states)[:, :, 0].transpose(0, 1)

    @staticmethod
    @once_differentiable
    def backward(ctx, grad_y: Tensor):
        u, dt, A, B, C, states, decays = ctx.saved_tensors
        grad_y = grad_y.transpose(0, 1).contiguous()
        grad_states = torch.mul(C[..., None], grad_y[:, :, None, :])
        for step in reversed(range(len(states) - 1)):
            grad_states[step].addcmul_(grad_states[step + 1], decays[step + 1])
        grad_C = torch.matmul(states, grad_y[..., None])[..., 0]
        grad_B = torch.matmul(grad_states, (dt * u)[..., None])[..., 0]
        grad_drive = torch.matmul(B[:, :, None, :], grad_states)[:, :, 0]
        grad_exponent = grad_states[1:].mul_(states[:-1]).mul_(decays[1:])
        grad_dt = grad_drive * u
        grad_dt[1:] += (grad_exponent * A).sum(2)
        grad_A = grad_exponent.mul_(dt[1:, :, None, :]).sum((0, 1))
        back = (each.transpose(0, 1) for each in (grad_drive * dt, grad_dt))
        return *back, grad_A.T, grad_B.transpose(0, 1), grad_C.transpose(0, 1)
