"""The parts of the U-Net: convolution block, FiLM, mixer block, the conditioned residual block.

Tensors are (B, D, L), channels first, except inside a mixer. Names of submodules are the official ones
(``blocks.0``, ``cond_encoder.1``, ``residual_conv``), so that official weights load.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor, nn

from mp_lib.model import fused, native
from mp_lib.model.mixers import MIXERS
from mp_lib.model.tracing import traced, under_vmap
from mp_lib.model.windows import WindowProduct, windows_of

FEW_ROWS = 32  # steps of all samples up to which a convolution without gradient is cheaper as a product
LARGE = 2**18  # weights from which one with gradient is, layout of its neighbours included (AMD EPYC, batch 16)


class Conv1d(nn.Conv1d):
    """The library's convolution, or one product of its windows (B L, D K) with the weights as they are.

    The library brings the weights into an order of its own at each call, and their gradient back out of it, which for
    an action chunk takes up to six times as long as the product, in training two and a half times. On a GPU it is
    always a product; on a CPU never where it is compiled or exported.
    """

    def forward(self, x: Tensor) -> Tensor:
        if x.device.type != "cpu" or under_vmap():
            return self.multiply(x)
        if torch.compiler.is_compiling():  # where a look at the number of samples would fix it
            return super().forward(x)
        if torch.is_grad_enabled():
            return self.multiply_for_gradient(x) if self.weight.numel() >= LARGE else super().forward(x)
        return self.multiply(x) if x.shape[0] * x.shape[2] <= FEW_ROWS else super().forward(x)

    def multiply_for_gradient(self, x: Tensor) -> Tensor:
        """The convolution of x (B, D, L) as a product, whose gradient is a product, too."""
        given = (x.transpose(1, 2), self.weight, self.bias, self.stride[0], self.padding[0])
        return WindowProduct.apply(*given).transpose(1, 2)

    def multiply(self, x: Tensor) -> Tensor:
        """The convolution of x (B, D, L) as a product."""
        return nn.functional.linear(self.windows(x), self.weight.flatten(1), self.bias).transpose(1, 2)

    def windows(self, x: Tensor) -> Tensor:
        """The windows (B, L', D K) of x (B, D, L)."""
        (taps,), (stride,), (padding,) = self.kernel_size, self.stride, self.padding
        steps = x.transpose(1, 2)
        if (taps, stride) == (1, 1):
            return steps
        if fused.usable(x, x.shape[2]):
            return fused.windows(steps, taps, stride, padding)
        if not torch.is_grad_enabled():
            return windows_of(steps, taps, stride, padding)
        # Slices: the gradient of unfold() may be added up in any order.
        padded = nn.functional.pad(steps, (0, 0, padding, padding))
        reach = padded.shape[1] - taps + 1
        return torch.stack([padded[:, tap : tap + reach : stride] for tap in range(taps)], dim=-1).flatten(2)


class Mish(nn.Mish):
    """x tanh(softplus(x)); with gradient on a CPU by a native loop, since the library goes number by number."""

    def forward(self, x: Tensor) -> Tensor:
        if torch.is_grad_enabled() and native.usable(x.numel(), x):
            return native.Mish.apply(x)
        return super().forward(x)


class ConvBlock(nn.Module):
    """Convolution, group norm (8 groups), Mish: (B, D, L) -> (B, D', L) (official conv1d_components.py)."""

    branches = 0  # that stochastic depth may drop

    def __init__(self, in_channels: int, out_channels: int, kernel_size: int = 5, num_groups: int = 8):
        super().__init__()
        self.block = nn.Sequential(
            Conv1d(in_channels, out_channels, kernel_size, padding=kernel_size // 2),
            nn.GroupNorm(num_groups, out_channels),
            Mish(),
        )

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        return self.run_fused(x, None) if fused.usable(x, x.shape[2]) else self.block(x)

    def run_fused(self, x: Tensor, film: Tensor | None) -> Tensor:
        """The block as gathering, one product and one kernel; ``film`` (B, 2 D) is applied at its end."""
        conv, norm, _ = self.block
        product = nn.functional.linear(conv.windows(x), conv.weight.flatten(1))
        return fused.group_norm_mish(product, conv.bias, norm, film).transpose(1, 2)


class FilmBlock(ConvBlock):
    """A convolution block and FiLM: scale · x + bias as in the official code, not (1 + scale) · x."""

    def forward(self, x: Tensor, modulation: Tensor) -> Tensor:
        """x (B, D', L), scales and biases (B, 2 D) -> (B, D, L)."""
        return self.run_fused(x, modulation) if fused.usable(x, x.shape[2]) else self.run_plain(x, modulation)

    def run_plain(self, x: Tensor, modulation: Tensor) -> Tensor:
        """The block as operations of the library."""
        scale, bias = modulation[..., None].chunk(2, dim=1)
        return torch.addcmul(bias, self.block(x), scale)


class MLP(nn.Module):
    """Two linear layers with GELU, four times wider inside (conditional_unet1d.py:98-113 of the release)."""

    def __init__(self, channels: int, ratio: int = 4):
        super().__init__()
        self.fc1 = nn.Linear(channels, ratio * channels)
        self.fc2 = nn.Linear(ratio * channels, channels)

    def forward(self, x: Tensor) -> Tensor:
        return self.fc2(nn.functional.gelu(self.fc1(x)))


def add_kept(x: Tensor, branch: Callable[[Tensor], Tensor], kept: Tensor, rate: float) -> Tensor:
    """x (B, L, D) plus ``branch`` of the samples that stochastic depth keeps, scaled up so that the mean stays.

    ``kept`` (B,) is 1 for those, else 0. On a CPU the branch runs for the kept samples alone, which gives the same at
    four fifths of the cost. Where counting them would interrupt a GPU's queue or a traced graph, and where there are
    none, it runs for all.
    """
    if x.device.type == "cpu" and not traced() and 0 < kept.sum() < len(x):
        places = kept.nonzero()[:, 0]
        return x.index_add(0, places, branch(x.index_select(0, places)).to(x.dtype), alpha=1 / (1 - rate))
    return torch.addcmul(x, branch(x), kept[:, None, None] / (1 - rate))


class MixerBlock(nn.Module):
    """Pre-norm mixer and pre-norm MLP, a residual each (B, D, L) -> (B, D, L).

    One class for state-space and attention halves of an XMamba block. In training each branch is dropped for a
    sample with probability 0.2 (stochastic depth), the release's constant (conditional_unet1d.py:130, :180).
    """

    branches = 2
    add_dropping = staticmethod(add_kept)

    def __init__(self, channels: int, mixer: str, drop_path_rate: float = 0.2):
        super().__init__()
        self.norm1 = nn.LayerNorm(channels)
        self.mixer = MIXERS[mixer](d_model=channels)
        self.norm2 = nn.LayerNorm(channels)
        self.mlp = MLP(channels)
        self.drop_path_rate = drop_path_rate

    def forward(self, x: Tensor, kept: Tensor | None = None) -> Tensor:
        """``kept`` (branches, B): 1 where a branch is kept, 0 where it is dropped; None keeps all as they are."""
        x = x.transpose(1, 2)
        run = self.run_fused if fused.usable(x, x.shape[1]) else self.run_plain
        return run(x, *((None, None) if kept is None else kept)).transpose(1, 2)

    def run_plain(self, x: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        """The block as operations of the library; x (B, L, D)."""
        x = self.add(x, lambda rest: self.mixer(self.norm1(rest)), first)
        return self.add(x, lambda rest: self.mlp(self.norm2(rest)), second)

    def run_fused(self, x: Tensor, first: Tensor | None, second: Tensor | None) -> Tensor:
        """The block with what lies between its products as one kernel each; x (B, L, D)."""
        rate, last, mlp = self.drop_path_rate, self.mixer.get_submodule(self.mixer.last), self.mlp
        _, normed = fused.add_norm(x, None, None, None, self.norm1, 0.0)
        mixed = nn.functional.linear(self.mixer.mix(normed), last.weight)
        x, normed = fused.add_norm(x, mixed, last.bias, first, self.norm2, rate if first is not None else 0.0)
        inner = fused.gelu(nn.functional.linear(normed, mlp.fc1.weight), mlp.fc1.bias)
        grown = nn.functional.linear(inner, mlp.fc2.weight)
        return fused.add_norm(x, grown, mlp.fc2.bias, second, None, rate if second is not None else 0.0)[0]

    def add(self, x: Tensor, branch: Callable[[Tensor], Tensor], kept: Tensor | None) -> Tensor:
        """x plus a branch of it, of the samples that are kept."""
        return x + branch(x) if kept is None else self.add_dropping(x, branch, kept, self.drop_path_rate)


class ConditionedBlock(nn.Module):
    """Convolution, FiLM by the condition, what ``make_tail`` adds, and a residual around it all.

    ``make_tail(channels)`` returns the modules after FiLM: one more convolution in DP3, Mamba and
    attention in Mamba Policy.
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
        self.blocks = nn.ModuleList([FilmBlock(in_channels, out_channels, kernel_size), *make_tail(out_channels)])
        self.branches = sum(block.branches for block in self.blocks)
        self.cond_encoder = nn.Sequential(nn.Mish(), nn.Linear(cond_dim, 2 * out_channels))
        same = in_channels == out_channels
        self.residual_conv = nn.Identity() if same else Conv1d(in_channels, out_channels, 1)

    def forward(self, x: Tensor, modulation: Tensor, kept: Tensor | None = None) -> Tensor:
        """x (B, D', L) and FiLM's scales and biases (B, 2 D), as ``cond_encoder`` gives them -> (B, D, L).

        ``kept`` (branches, B) tells which branches stochastic depth keeps; None all.
        """
        first, *tail = self.blocks
        y = first(x, modulation)
        parts = len(tail) * [None] if kept is None else kept.split([block.branches for block in tail], dim=-2)
        for block, its in zip(tail, parts, strict=True):
            y = block(y, its)
        return y + self.residual_conv(x)


def conv_tail(channels: int) -> list[nn.Module]:
    """What follows FiLM in DP3: a second convolution block."""
    return [ConvBlock(channels, channels)]


def mixer_tail(mixers: tuple[str, ...]) -> Callable[[int], list[nn.Module]]:
    """What follows FiLM in Mamba Policy: one mixer block a name, e.g. ("mamba2", "attention")."""
    return lambda channels: [MixerBlock(channels, mixer) for mixer in mixers]
