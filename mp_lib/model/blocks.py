"""The parts of the U-Net: convolution block, FiLM, mixer block, the conditioned residual block.

Tensors are (B, D, L), channels first, except inside a mixer. Names of submodules are the official ones
(``blocks.0``, ``cond_encoder.1``, ``residual_conv``), so that official weights load.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mp_lib.model.mixers import MIXERS

FEW_ROWS = 32  # steps of all samples up to which a convolution is cheaper as a product


class Conv1d(nn.Conv1d):
    """The library's convolution; for few steps on a CPU, without gradient, as one matrix product.

    At each call the library brings the weights into an order of its own, which for an action chunk of one sample
    takes up to six times as long as the product of its windows (B L, D K) with the weights as they are.
    """

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() or torch.compiler.is_compiling() or x.device.type != "cpu":
            return super().forward(x)
        return self.multiply(x) if x.shape[0] * x.shape[2] <= FEW_ROWS else super().forward(x)

    def multiply(self, x: Tensor) -> Tensor:
        """The convolution of x (B, D, L) as a product."""
        padded = nn.functional.pad(x, 2 * self.padding)
        windows = padded.unfold(2, self.kernel_size[0], self.stride[0]).transpose(1, 2).flatten(2)
        return nn.functional.linear(windows, self.weight.flatten(1), self.bias).transpose(1, 2)


class ConvBlock(nn.Module):
    """Convolution, group norm (8 groups), Mish: (B, D, L) -> (B, D', L) (official conv1d_components.py)."""

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 5, num_groups: int = 8):
        super().__init__()
        self.block = nn.Sequential(
            Conv1d(in_channels, out_channels, kernel_size, padding=kernel_size // 2),
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


def draw_kept(x: Tensor, rate: float) -> Tensor:
    """1 for each sample (B,) whose branch is kept, 0 with probability ``rate``."""
    return torch.empty(len(x), device=x.device, dtype=x.dtype).bernoulli_(1 - rate)


def add_kept(x: Tensor, branch: Callable[[Tensor], Tensor], rate: float) -> Tensor:
    """x (B, L, D) plus ``branch`` of the samples that stochastic depth keeps, scaled up so that the mean stays.

    On a CPU the branch runs for the kept samples alone, which gives the same at four fifths of the cost. Where
    counting them would interrupt a GPU's queue or a traced graph, and where there are none, it runs for all.
    """
    kept = draw_kept(x, rate)
    if x.device.type == "cpu" and not torch.compiler.is_compiling() and 0 < kept.sum() < len(x):
        places = kept.nonzero()[:, 0]
        return x.index_add(0, places, branch(x.index_select(0, places)).to(x.dtype), alpha=1 / (1 - rate))
    return torch.addcmul(x, branch(x), kept[:, None, None] / (1 - rate))


class MixerBlock(nn.Module):
    """Pre-norm mixer and pre-norm MLP, a residual each (B, D, L) -> (B, D, L).

    One class for state-space and attention halves of an XMamba block. In training each branch is dropped for a
    sample with probability 0.2 (stochastic depth), the release's constant (conditional_unet1d.py:130, :180).
    """

    add_dropping = staticmethod(add_kept)

    def __init__(self, channels: int, mixer: str, drop_path_rate: float = 0.2):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.mixer = MIXERS[mixer](d_model=channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels)
        self.drop_path_rate = drop_path_rate

    def forward(self, x: Tensor) -> Tensor:
        x = x.transpose(1, 2)
        x = self.add(x, lambda kept: self.mixer(self.norm1(kept)))
        x = self.add(x, lambda kept: self.mlp(self.norm2(kept)))
        return x.transpose(1, 2)

    def add(self, x: Tensor, branch: Callable[[Tensor], Tensor]) -> Tensor:
        """x plus a branch of it, in training with stochastic depth."""
        if self.training and self.drop_path_rate > 0:
            return self.add_dropping(x, branch, self.drop_path_rate)
        return x + branch(x)


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
        self.residual_conv = nn.Identity() if same else Conv1d(in_channels, out_channels, 1)

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
