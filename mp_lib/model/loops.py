"""Slow twins: the mixers as plain recurrences, line by line as in their papers and public implementations, and the rest
as operations of the library, on a GPU as well.

They have the parameters of the fast forms and are what the benchmark calls the official formulation:
eager, one step of the scan after the other, library convolutions, both directions as separate scans.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from einops import rearrange, repeat
from torch import Tensor, nn
from torch.nn import functional

from mp_lib.model.blocks import Conv1d, ConvBlock, FilmBlock, Mish, MixerBlock
from mp_lib.model.encoder import PointNet
from mp_lib.model.mamba3 import BiMamba3, Mamba3
from mp_lib.model.mixers import Attention, BiMamba, Hydra, Mamba1, Mamba2
from mp_lib.model.scan import selective_scan_reference, ssd_reference
from mp_lib.model.trapezoid import Chosen, trapezoidal_reference
from mp_lib.model.unet import Upsample


def library_conv(x: Tensor, conv: nn.Conv1d) -> Tensor:
    """SiLU of the module's own convolution of x (B, L, D), cut to L steps."""
    return functional.silu(conv(x.transpose(1, 2))[..., : x.shape[1]].transpose(1, 2))


class LoopMamba1(Mamba1):
    """Mamba-1 as mamba_simple.py and selective_scan_ref of state-spaces/mamba compute it."""

    def scan(self, x: Tensor, suffix: str = "", backwards: bool = False) -> Tensor:
        if backwards:
            return self.scan(x.flip(1), suffix).flip(1)
        x = library_conv(x, getattr(self, f"conv1d{suffix}"))
        dt, B, C = getattr(self, f"x_proj{suffix}")(x).split([self.dt_rank, self.d_state, self.d_state], dim=-1)
        dt = functional.softplus(getattr(self, f"dt_proj{suffix}")(dt))
        A = -torch.exp(getattr(self, f"A{suffix}_log"))
        return selective_scan_reference(x, dt, A, B, C) + x * getattr(self, f"D{suffix}")


class LoopBiMamba(BiMamba):
    """The bidirectional Mamba of Vim and VideoMamba: two scans, one of the flipped sequence."""

    scan = LoopMamba1.scan


class LoopMamba2(Mamba2):
    """Mamba-2 as mamba2_simple.py of state-spaces/mamba computes it, the scan as a recurrence."""

    def forward(self, u: Tensor) -> Tensor:
        z, xBC, dt = self.in_proj(u).split(self.sizes, dim=-1)
        x, B, C = library_conv(xBC, self.conv1d).split([z.shape[-1], self.d_state, self.d_state], dim=-1)
        dt = functional.softplus(dt + self.dt_bias)
        x = rearrange(x, "b l (h p) -> b l h p", p=self.headdim)
        y = ssd_reference(x, dt, -torch.exp(self.A_log), B, C) + x * self.D[:, None]
        return self.out_proj(self.norm.compose(rearrange(y, "b l h p -> b l (h p)"), z))


class LoopHydra(Hydra):
    """Hydra as goombalab's hydra.py computes it: the flipped sequence as a second half of the batch."""

    def forward(self, u: Tensor) -> Tensor:
        z, xBC, dt = self.in_proj(u).split(self.sizes, dim=-1)
        dt_f, dt_b = dt.chunk(2, dim=-1)
        x, BC_f, BC_b = library_conv(xBC, self.conv1d).split([z.shape[-1]] + 2 * [2 * self.d_state], dim=-1)
        dt = functional.softplus(torch.cat([dt_f, dt_b.flip(1)]) + self.dt_bias)
        B, C = torch.cat([BC_f, BC_b.flip(1)]).chunk(2, dim=-1)
        both = rearrange(torch.cat([x, x.flip(1)]), "b l (h p) -> b l h p", p=self.headdim)
        y = rearrange(ssd_reference(both, dt, -torch.exp(self.A_log), B, C), "b l h p -> b l (h p)")
        y = torch.cat([torch.zeros_like(y[:, :1]), y[:, :-1]], dim=1)
        forward, backward = y.chunk(2)
        skip = repeat(functional.linear(x, self.fc_D.weight, self.D), "b l h -> b l (h p)", p=self.headdim)
        return self.out_proj(self.norm.compose(forward + backward.flip(1) + x * skip, z))


class LoopMamba3(Mamba3):
    """Mamba-3 as the oracle of mamba-ssm 2.3.2.post1's tests computes it, one step after the other."""

    def scan(self, chosen: Chosen) -> Tensor:
        return trapezoidal_reference(chosen)


class LoopBiMamba3(BiMamba3):
    """The same of the sequence and of the flipped one."""

    def scan(self, chosen: Chosen) -> Tensor:
        return trapezoidal_reference(chosen) + trapezoidal_reference(chosen.flip()).flip(1)


class LibraryAttention(Attention):
    """Attention by the library's fused kernel, as the release writes it."""

    def forward(self, x: Tensor) -> Tensor:
        q, k, v = rearrange(self.qkv(x), "b l (three h p) -> three b h l p", three=3, h=self.num_heads)
        return self.proj(rearrange(functional.scaled_dot_product_attention(q, k, v), "b h l p -> b l (h p)"))


def add_masked(x: Tensor, branch: Callable[[Tensor], Tensor], kept: Tensor, rate: float) -> Tensor:
    """x plus a branch of all samples, those that stochastic depth drops multiplied by zero."""
    return x + branch(x) * (kept[:, None, None] / (1 - rate))


class MaskedMixerBlock(MixerBlock):
    """A block whose stochastic depth computes what it drops, as the release's does."""

    add_dropping = staticmethod(add_masked)

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        first, second = (None, None) if kept is None else kept
        return self.run_plain(x.transpose(1, 2), first, second).transpose(1, 2)


class LibraryConvBlock(ConvBlock):
    """A convolution block without fused kernels."""

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        return self.block(x)


class LibraryFilmBlock(FilmBlock):
    """A convolution block with FiLM without fused kernels."""

    forward = FilmBlock.run_plain


class LibraryUpsample(Upsample):
    """The library's transposed convolution everywhere."""

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class LibraryPointNet(PointNet):
    """All points, with and without gradient."""

    def forward(self, points: Tensor) -> Tensor:
        return self.final_projection(self.mlp(points).amax(1))


LOOP_FORMS = {
    Conv1d: nn.Conv1d,
    Mish: nn.Mish,
    ConvBlock: LibraryConvBlock,
    FilmBlock: LibraryFilmBlock,
    Upsample: LibraryUpsample,
    PointNet: LibraryPointNet,
    MixerBlock: MaskedMixerBlock,
    Mamba1: LoopMamba1,
    BiMamba: LoopBiMamba,
    Mamba2: LoopMamba2,
    Hydra: LoopHydra,
    Mamba3: LoopMamba3,
    BiMamba3: LoopBiMamba3,
    Attention: LibraryAttention,
}


def use_loops(module: nn.Module) -> nn.Module:
    """Let every part of ``module`` compute in its slow form, with the parameters it has; returns ``module``."""
    for part in module.modules():
        if type(part) in LOOP_FORMS:
            part.__class__ = LOOP_FORMS[type(part)]
    return module
