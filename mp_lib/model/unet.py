"""The one U-Net: DP3, Simple DP3 and every Mamba variant differ only in the parts that are passed in."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from itertools import pairwise

import torch
from torch import Tensor, nn

from mp_lib.model.blocks import LARGE, ConditionedBlock, Conv1d, ConvBlock
from mp_lib.model.tracing import under_vmap


class StepEmbedding(nn.Module):
    """Sinusoids of the diffusion step: (B,) -> (B, size), sines first (official positional_embedding.py)."""

    def __init__(self, size: int):
        super().__init__()
        self.size = size

    def forward(self, step: Tensor) -> Tensor:
        half = self.size // 2
        rates = torch.exp(torch.arange(half, device=step.device) * (-math.log(10000) / (half - 1)))
        angles = step[..., None] * rates
        return torch.cat([angles.sin(), angles.cos()], dim=-1)


class Downsample(nn.Module):
    """Halve the length: (B, D, L) -> (B, D, ceil(L / 2))."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = Conv1d(channels, channels, 3, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class Upsample(nn.Module):
    """Double the length: (B, D, L) -> (B, D, 2 L)."""

    def __init__(self, channels: int):
        super().__init__()
        self.conv = nn.ConvTranspose1d(channels, channels, 4, stride=2, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        on_cpu = x.device.type == "cpu" and not under_vmap()
        large = torch.is_grad_enabled() and self.conv.weight.numel() >= LARGE and not torch.compiler.is_compiling()
        return self.conv(x) if on_cpu and not large else self.multiply(x)

    def multiply(self, x: Tensor) -> Tensor:
        """The transposed convolution as one product and four shifted sums (see ``Conv1d``)."""
        return add_taps(x.transpose(1, 2) @ self.conv.weight.flatten(1), self.conv.bias)


def add_taps(product: Tensor, bias: Tensor) -> Tensor:
    """What each step adds to the four of twice the length that it reaches (B, L, D 4), added up: (B, D, 2 L)."""
    taps = product.unflatten(2, (-1, 4))
    none = torch.zeros_like(taps[:, :1, :, 0])
    even = taps[..., 1] + torch.cat([none, taps[:, :-1, :, 3]], dim=1)
    odd = taps[..., 2] + torch.cat([taps[:, 1:, :, 0], none], dim=1)
    return torch.stack([even, odd], dim=2).flatten(1, 2).transpose(1, 2) + bias[:, None]


class UNet1D(nn.Module):
    """A denoiser: forward(actions (B, T, A), step (B,), cond (B, C)) -> (B, T, A).

    ``make_tail`` is the part that tells the methods apart (see ``ConditionedBlock``);
    ``blocks_per_level`` is 2, in Simple DP3 1. T must be a multiple of 2 to the number of
    down-samplings, else a ValueError is raised. Structure: conditional_unet1d.py and
    simple_conditional_unet1d.py of the official repositories.
    """

    def __init__(
        self,
        action_dim: int,
        cond_dim: int,
        down_dims: Sequence[int],
        make_tail: Callable[[int], list[nn.Module]],
        step_embed_dim: int = 128,
        blocks_per_level: int = 2,
    ):
        super().__init__()
        self.cond_dim = cond_dim
        self.length_multiple = 2 ** (len(down_dims) - 1)
        self.diffusion_step_encoder = nn.Sequential(
            StepEmbedding(step_embed_dim),
            nn.Linear(step_embed_dim, 4 * step_embed_dim),
            nn.Mish(),
            nn.Linear(4 * step_embed_dim, step_embed_dim),
        )

        def stack(in_channels: int, out_channels: int) -> list[nn.Module]:
            widths = [in_channels] + blocks_per_level * [out_channels]
            return [ConditionedBlock(*pair, step_embed_dim + cond_dim, make_tail) for pair in pairwise(widths)]

        levels = list(pairwise([action_dim, *down_dims]))
        self.down_modules = nn.ModuleList(
            nn.ModuleList([*stack(*level), Downsample(level[1]) if depth < len(levels) else nn.Identity()])
            for depth, level in enumerate(levels, start=1)
        )
        self.mid_modules = nn.ModuleList(stack(down_dims[-1], down_dims[-1]))
        self.up_modules = nn.ModuleList(
            nn.ModuleList([*stack(2 * wide, narrow), Upsample(narrow)]) for narrow, wide in reversed(levels[1:])
        )
        self.final_conv = nn.Sequential(ConvBlock(down_dims[0], down_dims[0]), Conv1d(down_dims[0], action_dim, 1))
        self.modulation_sizes = [block.cond_encoder[1].out_features for block in self.conditioned_blocks()]

    def forward(self, actions: Tensor, step: Tensor, cond: Tensor, kept: Tensor | None = None) -> Tensor:
        """``kept`` (branches, B) of ``draw_kept``; where it is None, in training, it is drawn here."""
        if kept is None and self.training:
            kept = self.draw_kept(len(actions), actions.device)
        embedded = torch.cat([self.diffusion_step_encoder(step), cond], dim=-1)
        modulation = torch.cat([block.cond_encoder(embedded) for block in self.conditioned_blocks()], dim=-1)
        return self.denoise(actions, modulation, kept)

    def draw_kept(self, batch: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """For each branch that stochastic depth may drop and each sample (branches, B): 1 if it is kept, else 0."""
        rates = [
            block.drop_path_rate
            for part in self.conditioned_blocks()
            for block in part.blocks
            if block.branches
            for _ in range(block.branches)
        ]
        drawn = [torch.empty(batch, device=device).bernoulli_(1 - rate, generator=generator) for rate in rates]
        return torch.stack(drawn) if drawn else torch.empty(0, batch, device=device)

    def conditioned_blocks(self) -> list[ConditionedBlock]:
        """All blocks, in the order in which they run."""
        levels = (*self.down_modules, self.mid_modules, *self.up_modules)
        return [block for level in levels for block in level if isinstance(block, ConditionedBlock)]

    def length_and_channels(self, output: Tensor) -> tuple[int, int]:
        """Of what a block has given: the steps that it sees, and its width."""
        return output.shape[2], output.shape[1]

    def cond_weights(self, cond_dim: int) -> list[Tensor]:
        """What ``cond_modulation`` multiplies a condition of that size with."""
        return [block.cond_encoder[1].weight[:, -cond_dim:] for block in self.conditioned_blocks()]

    def step_modulation(self, steps: Tensor) -> Tensor:
        """What diffusion steps (K,) add to every block's scales and biases: (K, F), the constants included.

        FiLM is linear behind an activation of single numbers, so the parts of step and condition add up.
        While an action chunk is sampled the first is a table, the second is needed once.
        """
        embedded = nn.functional.mish(self.diffusion_step_encoder(steps))
        size = embedded.shape[-1]
        layers = [block.cond_encoder[1] for block in self.conditioned_blocks()]
        parts = [nn.functional.linear(embedded, layer.weight[:, :size], layer.bias) for layer in layers]
        return torch.cat(parts, dim=-1)

    def cond_modulation(self, cond: Tensor) -> Tensor:
        """What a condition (B, C) adds to every block's scales and biases: (B, F)."""
        activated = nn.functional.mish(cond)
        layers = [block.cond_encoder[1] for block in self.conditioned_blocks()]
        return torch.cat(
            [nn.functional.linear(activated, layer.weight[:, -cond.shape[-1] :]) for layer in layers], dim=-1
        )

    def denoise(self, actions: Tensor, modulation: Tensor, kept: Tensor | None = None) -> Tensor:
        """The predicted sample (B, T, A) of noisy actions (B, T, A) under all blocks' modulation (B, F)."""
        if actions.shape[-2] % self.length_multiple:
            raise ValueError(f"horizon {actions.shape[-2]} given; it must be a multiple of {self.length_multiple}")
        x = actions.transpose(-1, -2)
        blocks = self.conditioned_blocks()
        parts = modulation.split(self.modulation_sizes, dim=-1)
        branches = len(blocks) * [None] if kept is None else kept.split([block.branches for block in blocks], dim=-2)
        given = zip(parts, branches, strict=True)
        skips = []
        for *blocks, resample in self.down_modules:
            for block in blocks:
                x = block(x, *next(given))
            skips.append(x)
            x = resample(x)
        for block in self.mid_modules:
            x = block(x, *next(given))
        for *blocks, resample in self.up_modules:
            x = torch.cat([x, skips.pop()], dim=-2)
            for block in blocks:
                x = block(x, *next(given))
            x = resample(x)
        return self.final_conv(x).transpose(-1, -2)
