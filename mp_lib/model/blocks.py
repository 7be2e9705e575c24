"""The parts of the U-Net: convolution block, FiLM, mixer block, the conditioned residual block.

Tensors are (B, D, L), channels first, except inside a mixer. Names of submodules are the official ones
(``blocks.0``, ``cond_encoder.1``, ``residual_conv``), so that official weights load.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mp_lib.model.mixers import MIXERS


class ConvBlock(nn.Module):
    """Convolution, group norm (8 groups), Mish: (B, D, L) -> (B, D', L) (official conv1d_components.py)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 5, num_groups: int = 8):
        super().__init__()
        self.block = nn.Sequential(
            nn.Conv1d(in_channels, out_channels, kernel_size, padding=kernel_size // 2),
            nn.GroupNorm(num_groups, out_channels),
            nn.Mish(),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.block(x)


class MLP(nn.Module):
    """Two linear layers with GELU, four times wider inside (conditional_unet1d.py:98-113 of the release)."""

    def __init__(self, channels: int, ratio: int = 4):
        super().__init__()
        self.fc1 = nn.Linear(channels, ratio * channels)
        self.fc2 = nn.Linear(ratio * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


def drop_path(x: Tensor, rate: float, training: bool) -> Tensor:
    """Stochastic depth: in training, drop a branch for whole samples with probability ``rate`` and rescale the rest."""
    if not training or rate == 0:
        return x
    keep = torch.empty(x.shape[0], 1, 1, device=x.device, dtype=x.dtype).bernoulli_(1 - rate)
    return x * keep / (1 - rate)


class MixerBlock(nn.Module):
    """Pre-norm mixer and pre-norm MLP, a residual and a drop-path each (B, D, L) -> (B, D, L).

    One class for state-space and attention halves of an XMamba block; drop-path 0.2 is the release's
    constant (conditional_unet1d.py:130, :180).
    """

    def __init__(self, channels: int, mixer: str, drop_path_rate: float = 0.2):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.mixer = MIXERS[mixer](d_model=channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels)
        self.drop_path_rate = drop_path_rate

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        x = x + drop_path(self.mixer(self.norm1(x)), self.drop_path_rate, self.training)
        x = x + drop_path(self.mlp(self.norm2(x)), self.drop_path_rate, self.training)
        return x.transpose(1, 2)


class ConditionedBlock(nn.Module):
    """Convolution, FiLM by the condition, what ``make_tail`` adds, and a residual around it all.

    ``make_tail(channels)`` returns the modules after FiLM: one more convolution in DP3, Mamba and
    attention in Mamba Policy. FiLM is scale · x + bias as in the code, not (1 + scale) · x.
    """

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        cond_dim: int,
        make_tail: Callable[[int], list[nn.Module]],
        kernel_size: int = 5,
    ):
        super().__init__()
        self.blocks = nn.ModuleList([ConvBlock(in_channels, out_channels, kernel_size), *make_tail(out_channels)])
        self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(cond_dim, 2 * out_channels))
        same = in_channels == out_channels
        self.residual_conv = nn.Identity() if same else nn.Conv1d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """x (B, D', L) and FiLM's scales and biases (B, 2 D), as ``cond_encoder`` gives them -> (B, D, L)."""
        first, *tail = self.blocks
        scale, bias = modulation[..., None].chunk(2, dim=1)
        y = torch.addcmul(bias, first(x), scale)
        for block in tail:
            y = block(y)
        return y + self.residual_conv(x)


def conv_tail(channels: int) -> list[nn.Module]:
    """What follows FiLM in DP3: a second convolution block."""
    return [ConvBlock(channels, channels)]


def mixer_tail(mixers: tuple[str, ...]) -> Callable[[int], list[nn.Module]]:
    """What follows FiLM in Mamba Policy: one mixer block a name, e.g. ("mamba2", "attention")."""
    return lambda channels: [MixerBlock(channels, mixer) for mixer in mixers]
