"""The matrix M(x) of every mixer, y = M(x) x over the steps of a sequence, as it is inside a whole policy.

M is what a mixer multiplies with, for the step sizes, gates and projections that its input has chosen: it is exact, and
``Mixing.output`` is the mixer's own output again.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from mp_lib.drawing.networks import MIXER_LABELS, percent, square
from mp_lib.insight.specimens import Specimen
from mp_lib.model.blocks import MixerBlock
from mp_lib.model.mixer import short_conv
from mp_lib.model.mixers import MIXERS
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.model.scan import quasiseparable_matrix, selective_scan, ssd_matrix
from mp_lib.study.sentences import join
from mp_lib.system.progress import tracked


@dataclass(frozen=True)
class Mixing:
    """A mixer taken apart: it multiplies values with matrices, and finishes with what acts on every step alone.

    ``matrices`` (B, H, L, L) and ``values`` (B, H, L, P) are pairs, one in all but the bidirectional variant; where
    every channel has a matrix of its own, H counts channels and P is 1.
    """

    matrices: tuple[Tensor, ...]
    values: tuple[Tensor, ...]
    finish: Callable[[Tensor], Tensor]

    @property
    def matrix(self) -> Tensor:
        """M (B, H, L, L), the sum of all directions."""
        return sum(self.matrices)

    def output(self) -> Tensor:
        """What the mixer gives (B, L, D): M times its values, finished."""
        mixed = sum(matrix @ values for matrix, values in zip(self.matrices, self.values, strict=True))
        return self.finish(rearrange(mixed, "b h l p -> b l (h p)"))


def take_mamba1(mixer: nn.Module, x: Tensor) -> Mixing:
    values, z = mixer.in_proj(x).chunk(2, dim=-1)
    matrix, values = mamba1_direction(mixer, values)
    return Mixing((matrix,), (values,), lambda y: mixer.out_proj(y * functional.silu(z)))


def take_bimamba(mixer: nn.Module, x: Tensor) -> Mixing:
    values, z = mixer.in_proj(x).chunk(2, dim=-1)
    forward, backward = mamba1_direction(mixer, values), mamba1_direction(mixer, values.flip(1), "_b")
    pairs = [forward, (backward[0].flip(-1, -2), backward[1].flip(-2))]
    return Mixing(*zip(*pairs, strict=True), lambda y: mixer.out_proj(y * functional.silu(z)))


def mamba1_direction(mixer: nn.Module, values: Tensor, suffix: str = "") -> tuple[Tensor, Tensor]:
    """M (B, D, L, L) and values (B, D, L, 1) of one direction, by the scan of a unit impulse at each step."""
    conv, x_proj, dt_proj, A_log, D = (
        getattr(mixer, name)
        for name in (f"conv1d{suffix}", f"x_proj{suffix}", f"dt_proj{suffix}", f"A{suffix}_log", f"D{suffix}")
    )
    values = short_conv(values, conv, left=conv.kernel_size[0] - 1)
    dt, B, C = x_proj(values).split([mixer.dt_rank, mixer.d_state, mixer.d_state], dim=-1)
    dt, one = functional.softplus(dt_proj(dt)), torch.eye(values.shape[1], dtype=values.dtype)
    impulses = one[:, None, :, None].expand(-1, len(values), -1, values.shape[-1])
    columns = torch.stack([selective_scan(impulse.contiguous(), dt, -torch.exp(A_log), B, C) for impulse in impulses])
    matrix = rearrange(columns, "s b t d -> b d t s") + D[:, None, None] * one
    return matrix, rearrange(values, "b l d -> b d l 1")


def take_mamba2(mixer: nn.Module, x: Tensor) -> Mixing:
    z, xBC, dt = mixer.in_proj(x).split(mixer.sizes, dim=-1)
    xBC = short_conv(xBC, mixer.conv1d, left=mixer.conv1d.kernel_size[0] - 1)
    values, B, C = xBC.split([z.shape[-1], mixer.d_state, mixer.d_state], dim=-1)
    matrix = ssd_matrix(functional.softplus(dt + mixer.dt_bias), -torch.exp(mixer.A_log), B, C)
    matrix = matrix + mixer.D[:, None, None] * torch.eye(x.shape[1], dtype=x.dtype)
    heads = rearrange(values, "b l (h p) -> b h l p", p=mixer.headdim)
    return Mixing((matrix,), (heads,), lambda y: mixer.out_proj(mixer.norm(y, z)))


def take_hydra(mixer: nn.Module, x: Tensor) -> Mixing:
    z, xBC, dt = mixer.in_proj(x).split(mixer.sizes, dim=-1)
    xBC = short_conv(xBC, mixer.conv1d, left=mixer.conv1d.kernel_size[0] // 2)
    values, B_f, C_f, B_b, C_b = xBC.split([z.shape[-1]] + 4 * [mixer.d_state], dim=-1)
    dt = tuple(functional.softplus(each + mixer.dt_bias) for each in dt.chunk(2, dim=-1))
    matrix = quasiseparable_matrix(dt, -torch.exp(mixer.A_log), (B_f, B_b), (C_f, C_b))
    matrix = matrix + torch.diag_embed(functional.linear(values, mixer.fc_D.weight, mixer.D).transpose(1, 2))
    heads = rearrange(values, "b l (h p) -> b h l p", p=mixer.headdim)
    return Mixing((matrix,), (heads,), lambda y: mixer.out_proj(mixer.norm(y, z)))


def take_attention(mixer: nn.Module, x: Tensor) -> Mixing:
    q, k, v = rearrange(mixer.qkv(x), "b l (three h p) -> three b h l p", three=3, h=mixer.num_heads)
    return Mixing((torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1),), (v,), mixer.proj)


def take_mamba3(mixer: nn.Module, x: Tensor) -> Mixing:
    chosen, z = mixer.choose(x)
    skip = mixer.skip(torch.ones_like(chosen.x))[..., 0].transpose(1, 2)  # (B, H, L)
    matrix, heads = mixer.matrix(chosen) + torch.diag_embed(skip), rearrange(chosen.x, "b l h p -> b h l p")
    return Mixing((matrix,), (heads,), lambda y: mixer.out_proj(y * functional.silu(z)))


TAKE_APART: dict[str, Callable[[nn.Module, Tensor], Mixing]] = {  # each repeats its mixer's forward up to the product
    "mamba1": take_mamba1,
    "mamba2": take_mamba2,
    "bimamba": take_bimamba,
    "hydra": take_hydra,
    "attention": take_attention,
    **dict.fromkeys(("mamba3", "bimamba3"), take_mamba3),
}


@torch.no_grad()
def captured(policy: DiffusionPolicy, inputs: Sequence[Tensor], block: int, mixer: str) -> tuple[nn.Module, Tensor]:
    """The mixer of this name in a conditioned block, counted from 1, and what it gets (B, L, D) in one call."""
    blocks = policy.model.conditioned_blocks()
    if not 1 <= block <= len(blocks):
        raise ValueError(f"block {block} given; it must be from 1 to {len(blocks)}")
    pieces = [piece.mixer for piece in blocks[block - 1].blocks if isinstance(piece, MixerBlock)]
    module = next(piece for piece in pieces if isinstance(piece, MIXERS[mixer]))
    seen: list[Tensor] = []
    with module.register_forward_pre_hook(lambda _, given: seen.append(given[0])):
        policy.model(*inputs)
    return module, seen[0]


@torch.no_grad()
def mixing_table(specimens: Sequence[Specimen], block: int = 1, diffusion_step: int = 50) -> pd.DataFrame:
    """Rows (mixer, to, source, weight, error, weights): mean |M| over heads or channels, in one block, on one window.

    Each matrix is divided by its largest entry. ``error`` is the largest difference of M x, finished, from what the
    mixer itself gives, as a share of the largest output, in float64; ``weights`` says whose they are.
    """
    rows = []
    for specimen in tracked(specimens, "take mixers apart"):
        policy = specimen.policy()
        mixer, x = captured(policy, specimen.inputs(policy, 1, diffusion_step), block, specimen.mixer)
        mixer, x = mixer.double(), x.double()
        mixing, output = TAKE_APART[specimen.mixer](mixer, x), mixer(x)
        error = float((mixing.output() - output).abs().max() / output.abs().max())
        weight = mixing.matrix[0].abs().mean(0)
        weight /= weight.max()
        rows += [
            (specimen.mixer, t, s, float(weight[t, s]), error, specimen.weights) for t, s in np.ndindex(weight.shape)
        ]
    return pd.DataFrame(rows, columns=["mixer", "to", "source", "weight", "error", "weights"])


def blind_to_later(pictures: dict[str, np.ndarray]) -> list[str]:
    """Those of pictures (L, L) by name that are exactly zero on later steps."""
    return [name for name, weights in pictures.items() if not np.triu(weights, 1).any()]


def later_share(weights: np.ndarray) -> float:
    """Which share of the entries of (L, L), each row counting alike, lies on later steps."""
    return float((np.triu(weights, 1).sum(1) / weights.sum(1)).mean())


def own_share(weights: np.ndarray) -> float:
    """Which share of the entries of (L, L), each row counting alike, lies on the step itself."""
    return float((weights.diagonal() / weights.sum(1)).mean())


def told(pictures: dict[str, np.ndarray], share: Callable[[np.ndarray], float]) -> str:
    """A share of each picture (L, L) by its name, e.g. "Mamba-1 75 % and Hydra 25 %"; none of none."""
    return join([f"{name} {percent(100 * share(weights))} %" for name, weights in pictures.items()]) or "none"


def sentence(table: pd.DataFrame) -> str:
    """What ``mixing_table`` found about later steps."""
    found = {MIXER_LABELS[name]: square(rows, "weight") for name, rows in table.groupby("mixer", sort=False)}
    causal = blind_to_later(found)
    others = {name: weights for name, weights in found.items() if name not in causal}
    return (
        f"Exactly zero above the diagonal, so that no step hears of later ones: {join(causal) or 'none'}. Share of "
        f"|M| on later steps: {told(others, later_share)}; on the step itself, the skip included: "
        f"{told(found, own_share)}. Multiplied out, M gives every mixer's own output to {table['error'].max():.0e} of "
        "its largest entry."
    )
