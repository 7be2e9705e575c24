"""The pocket frame: a stack of few small blocks over the steps of a chunk, in which only the mixer differs by method.

A block is one mixer and one MLP behind norms that the condition scales, shifts and gates (adaptive layer norm, as in
DiT, arXiv 2212.09748). It is called as the U-Net is: what diffusion step and condition add to its modulation is
added up, so that a chunk computes its condition once.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional

from mp_lib.interfaces import look_up
from mp_lib.model.mamba3 import BiMamba3
from mp_lib.model.mixer import Mixer
from mp_lib.model.mixers import Attention
from mp_lib.model.unet import StepEmbedding

CONDITION, STEP = 128, 16  # widths between condition, or diffusion step, and modulation
PARTS = 6  # of a block's modulation: scale, shift and gate of each of its two branches


class Convolution(Mixer):
    """A gated depthwise convolution over five steps, centred."""

    def __init__(self, d_model: int, expand: int = 2, taps: int = 5):
        super().__init__()
        self.in_proj = nn.Linear(d_model, 2 * expand * d_model, bias=False)
        inner = expand * d_model
        self.conv1d = nn.Conv1d(inner, inner, taps, groups=inner, padding=taps // 2)
        self.out_proj = nn.Linear(inner, d_model, bias=False)

    def mix(self, x: Tensor) -> Tensor:
        x, z = self.in_proj(x).chunk(2, dim=-1)
        return self.conv1d(x.transpose(1, 2)).transpose(1, 2) * functional.silu(z)


class TokenMixing(nn.Module):
    """An MLP over the steps, the same for each channel (MLP-Mixer, arXiv 2105.01601): (B, L, D) -> (B, L, D).

    A chunk of fewer steps is mixed as if zeros followed; a ValueError for one of more than ``length``.
    """

    def __init__(self, length: int, hidden: int = 64):
        super().__init__()
        self.take_in, self.give_out = nn.Linear(length, hidden), nn.Linear(hidden, length)
        self.length = length

    def forward(self, x: Tensor) -> Tensor:
        steps = x.shape[1]
        if steps > self.length:
            raise ValueError(f"{steps} steps given; this method mixes at most {self.length}, its horizon")
        whole = functional.pad(x.transpose(1, 2), (0, self.length - steps))
        return self.give_out(functional.gelu(self.take_in(whole)))[..., :steps].transpose(1, 2)


# By channels and horizon. Without mixing, each step is predicted from the condition and its place alone.
CORES: dict[str, Callable[[int, int], nn.Module]] = {
    "state_space": lambda channels, _: BiMamba3(channels, d_state=16, headdim=32),
    "attention": lambda channels, _: Attention(channels, num_heads=4),
    "convolution": lambda channels, _: Convolution(channels),
    "identity": lambda _, __: nn.Identity(),
    "tokens": lambda _, length: TokenMixing(length),
}


class PocketBlock(nn.Module):
    """Mixer and MLP, each behind a norm that is modulated, gated and added: (B, L, D) -> (B, L, D)."""

    def __init__(self, channels: int, core: str, horizon: int, expand: int = 2):
        super().__init__()
        self.norm1, self.norm2 = (nn.LayerNorm(channels, elementwise_affine=False) for _ in range(2))
        self.mixer = look_up(CORES, core, "core")(channels, horizon)
        self.mlp = nn.Sequential(
            nn.Linear(channels, expand * channels), nn.GELU(), nn.Linear(expand * channels, channels)
        )

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """``modulation`` (B, 6 D): scale less 1, shift and gate less 1 of the mixer, then of the MLP."""
        scale1, shift1, gate1, scale2, shift2, gate2 = modulation[..., None, :].chunk(PARTS, dim=-1)
        x = x + (1 + gate1) * self.mixer(self.norm1(x) * (1 + scale1) + shift1)
        return x + (1 + gate2) * self.mlp(self.norm2(x) * (1 + scale2) + shift2)


class PocketDenoiser(nn.Module):
    """A denoiser: forward(actions (B, T, A), step (B,), cond (B, C)) -> (B, T, A), for any T, or up to ``horizon``."""

    def __init__(
        self, action_dim: int, cond_dim: int, width: int, core: str, num_blocks: int, step_embed_dim: int, horizon: int
    ):
        super().__init__()
        size = (1 + PARTS * num_blocks) * width
        self.take_in = nn.Linear(action_dim, width)
        self.place = StepEmbedding(width)
        self.of_cond = nn.Sequential(nn.Linear(cond_dim, CONDITION), nn.Mish(), nn.Linear(CONDITION, size))
        self.of_step = nn.Sequential(
            *(StepEmbedding(step_embed_dim), nn.Linear(step_embed_dim, STEP), nn.Mish()), nn.Linear(STEP, size)
        )
        self.blocks = nn.ModuleList(PocketBlock(width, core, horizon) for _ in range(num_blocks))
        self.norm = nn.LayerNorm(width)
        self.give_out = nn.Linear(width, action_dim)
        self.width, self.cond_dim = width, cond_dim

    def forward(self, actions: Tensor, step: Tensor, cond: Tensor, kept: Tensor | None = None) -> Tensor:
        """``kept`` is there for what the U-Net takes; no branch is dropped."""
        return self.denoise(actions, self.step_modulation(step) + self.cond_modulation(cond))

    def draw_kept(self, batch: int, device: torch.device, generator: torch.Generator | None = None) -> Tensor:
        """Which branches stochastic depth keeps (0, B): it has none."""
        return torch.empty(0, batch, device=device)

    def conditioned_blocks(self) -> list[PocketBlock]:
        """All blocks, in the order in which they run."""
        return [*self.blocks]

    def length_and_channels(self, output: Tensor) -> tuple[int, int]:
        """Of what a block has given: the steps that it sees, and its width."""
        return output.shape[1], output.shape[2]

    def cond_weights(self, cond_dim: int) -> list[Tensor]:
        """What ``cond_modulation`` multiplies a condition with."""
        return [layer.weight for layer in (self.of_cond[0], self.of_cond[2])]

    def step_modulation(self, steps: Tensor) -> Tensor:
        """What diffusion steps (K,) add to the modulation: (K, F)."""
        return self.of_step(steps)

    def cond_modulation(self, cond: Tensor) -> Tensor:
        """What a condition (B, C) adds to the modulation: (B, F)."""
        return self.of_cond(cond)

    def denoise(self, actions: Tensor, modulation: Tensor) -> Tensor:
        """The predicted sample (B, T, A) of noisy actions (B, T, A) under all blocks' modulation (B, F)."""
        first, *parts = modulation.split([self.width, *len(self.blocks) * [PARTS * self.width]], dim=-1)
        places = self.place(torch.arange(actions.shape[-2], device=actions.device))
        x = self.take_in(actions) + places + first[..., None, :]
        for block, part in zip(self.blocks, parts, strict=True):
            x = block(x, part)
        return self.give_out(self.norm(x))
