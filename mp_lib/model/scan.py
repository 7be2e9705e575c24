"""State-space recurrences: a slow reference and a form for short sequences of each.

Every function maps a sequence of length L to one of the same length. Letters beside those of
``mp_lib.interfaces``: N states, H heads, P channels of a head (D = H P).

- Mamba-1 (arXiv 2312.00752, algorithm 2): ``selective_scan_reference`` and ``selective_scan``
- Mamba-2 (arXiv 2405.21060, section 3): ``ssd_reference`` and ``ssd_matrix``, the semiseparable matrix
- Hydra (arXiv 2407.09941, section 3): ``quasiseparable_matrix``

Accumulation is in the precision of the inputs, float32 in every policy. Decays are exponents of
sums of non-positive terms, masked before ``exp``, so nothing overflows however large dt or A become.
"""

from __future__ import annotations

import torch
from torch import Tensor

from mp_lib.model.kernels import scan_by_kernel
from mp_lib.model.selective_scan import SelectiveScan
from mp_lib.model.tracing import traced


def selective_scan_reference(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Mamba-1's recurrence, one step after the other.

    u, dt (B, L, D); A (D, N), negative; B, C (B, L, N); returns y (B, L, D) without the skip D u.
    """
    state = u.new_zeros(u.shape[0], u.shape[2], A.shape[1])
    outputs = []
    for step in range(u.shape[1]):
        decay = torch.exp(dt[:, step, :, None] * A)
        drive = dt[:, step, :, None] * B[:, step, None, :] * u[:, step, :, None]
        state = decay * state + drive
        outputs.append((state * C[:, step, None, :]).sum(-1))
    return torch.stack(outputs, dim=1)


def selective_scan_traced(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The same with one operation a step, so that a traced graph stays small: exporting takes a quarter of the time."""
    decays = torch.exp(dt[..., None] * A)
    drives = (dt * u)[..., None] * B[:, :, None, :]
    states = [drives[:, 0]]
    for step in range(1, u.shape[1]):
        states.append(torch.addcmul(drives[:, step], decays[:, step], states[-1]))
    return (torch.stack(states, dim=1) * C[:, :, None, :]).sum(-1)


def selective_scan(u: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor, backwards: bool = False) -> Tensor:
    """The same as ``selective_scan_reference``; ``backwards`` runs it from the last step to the first.

    On a GPU mamba-ssm's kernel runs where it is installed, else ``SelectiveScan``; a graph traces the short form.
    """
    if backwards:
        u, dt, B, C = (each.flip(1) for each in (u, dt, B, C))
    y = scan_by_kernel(u, dt, A, B, C)
    if y is None:
        y = (selective_scan_traced if traced() else SelectiveScan.apply)(u, dt, A, B, C)
    return y.flip(1) if backwards else y


def segment_sums(x: Tensor) -> Tensor:
    """Sums over segments: (…, L) -> (…, L, L) with [t, s] = x[s+1] + … + x[t], and -inf where t < s.

    Each sum is of its own terms alone: a difference of two cumulative sums would lose the small
    decays that follow a large one.
    """
    length = x.shape[-1]
    steps = torch.arange(length, device=x.device)
    after = steps[:, None] > steps[None, :]
    terms = torch.where(after, x[..., :, None], x.new_zeros(()))
    return terms.cumsum(-2).masked_fill(steps[:, None] < steps[None, :], -torch.inf)


def ssd_reference(x: Tensor, dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """Mamba-2's recurrence, one step after the other.

    x (B, L, H, P); dt (B, L, H); A (H,), negative; B, C (B, L, N); returns y (B, L, H, P) without the skip.
    """
    batch, length, heads, channels = x.shape
    state = x.new_zeros(batch, heads, channels, B.shape[-1])
    outputs = []
    for step in range(length):
        decay = torch.exp(dt[:, step] * A)[..., None, None]
        drive = torch.einsum("bh,bhp,bn->bhpn", dt[:, step], x[:, step], B[:, step])
        state = decay * state + drive
        outputs.append(torch.einsum("bhpn,bn->bhp", state, C[:, step]))
    return torch.stack(outputs, dim=1)


def ssd_matrix(dt: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
    """The matrix M (B, H, L, L) of Mamba-2: y = M x equals ``ssd_reference``.

    M[t, s] = C_t · B_s exp(A (dt_{s+1} + … + dt_t)) dt_s for s <= t: cheaper than any scan while L
    is below the number of states, as it is in a policy.
    """
    dt = dt.transpose(1, 2)
    decay = torch.exp(segment_sums(dt * A[:, None]))
    return (C @ B.transpose(1, 2))[:, None] * decay * dt[:, :, None, :]


def quasiseparable_matrix(dt: tuple[Tensor, Tensor], A: Tensor, B: tuple[Tensor, Tensor], C: tuple[Tensor, Tensor]):
    """Hydra's matrix (B, H, L, L) without its diagonal: a forward and a backward scan, each shifted by one step.

    The pairs are (forward, backward) in the order of time; y_f[l] reads the state after step l-1
    with C[l-1], y_b[l] the state after step l+1 with C[l+1] (goombalab/hydra, hydra.py, ``torch.roll``).
    """
    forward = ssd_matrix(dt[0], A, B[0], C[0])
    backward = ssd_matrix(dt[1].flip(1), A, B[1].flip(1), C[1].flip(1))
    shifted = [torch.nn.functional.pad(matrix[..., :-1, :], (0, 0, 1, 0)) for matrix in (forward, backward)]
    return shifted[0] + shifted[1].flip(-1, -2)


def apply_matrix(matrix: Tensor, x: Tensor) -> Tensor:
    """y = M x a head: matrix (B, H, L, L), x (B, L, H, P) -> (B, L, H, P)."""
    return (matrix @ x.transpose(1, 2)).transpose(1, 2)
