"""The effective receptive field (arXiv 1701.04128) of whole denoisers: which noisy action moves which predicted one."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from mp_lib.drawing.networks import percent, square
from mp_lib.insight.mixing import blind_to_later, later_share, own_share, told
from mp_lib.insight.specimens import Specimen
from mp_lib.model.unet import UNet1D
from mp_lib.presets import METHODS
from mp_lib.study.sentences import join
from mp_lib.system.progress import tracked

ROWS = 64  # entries of the output whose gradients are taken in one call


def receptive_field(denoiser: UNet1D, actions: Tensor, step: Tensor, cond: Tensor) -> Tensor:
    """Mean |d output[t] / d actions[s]| (T, T) over the windows (B, T, A) and all pairs of their numbers.

    Every entry of the output has its own copy of the window in a batch, so one backward pass serves ``ROWS`` of them.
    """
    batch, horizon, size = actions.shape
    field = actions.new_zeros(horizon, horizon)
    entries = torch.cartesian_prod(torch.arange(batch), torch.arange(horizon), torch.arange(size))
    for window, to, number in (rows.unbind(1) for rows in entries.split(ROWS)):
        copies = actions[window].requires_grad_()
        output = denoiser(copies, step[window], cond[window])
        output[torch.arange(len(window)), to, number].sum().backward()
        field.index_add_(0, to, copies.grad.abs().sum(-1))
    return field / (batch * size**2)


def field_table(specimens: Sequence[Specimen], count: int = 4, diffusion_step: int = 50) -> pd.DataFrame:
    """Rows (method, label, to, source, gradient, share, weights) over ``count`` windows.

    ``share`` is a gradient's part of all that its output step gets: every row of the picture sums to 1.
    """
    rows = []
    for specimen in tracked(specimens, "follow gradients"):
        policy = specimen.policy()
        field = receptive_field(policy.model, *specimen.inputs(policy, count, diffusion_step))
        shares = field / field.sum(1, keepdim=True)
        named = (specimen.method, METHODS[specimen.method].label)
        rows += [
            (*named, t, s, float(field[t, s]), float(shares[t, s]), specimen.weights)
            for t, s in np.ndindex(field.shape)
        ]
    return pd.DataFrame(rows, columns=["method", "label", "to", "source", "gradient", "share", "weights"])


def sentence(table: pd.DataFrame) -> str:
    """Which share of the gradient falls on later steps and on the step itself, and what an even spread would give."""
    found = {name: square(rows, "share") for name, rows in table.groupby("label", sort=False)}
    even = np.ones_like(next(iter(found.values())))
    later, own = (f"{percent(100 * share(even))} % if spread evenly" for share in (later_share, own_share))
    return (
        f"Share of the gradient on later steps ({later}): {told(found, later_share)}. On the step itself ({own}): "
        f"{told(found, own_share)}. Methods whose prediction of a step ignores later ones: "
        f"{join(blind_to_later(found)) or 'none'}."
    )
