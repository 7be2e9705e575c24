"""What a denoiser is made of: parameters by part, the lengths its blocks see, gradients, mixing matrices."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pandas as pd
import torch
from einops import rearrange
from torch import Tensor, nn
from torch.nn import functional

from mp_lib.config import MAMBA_WIDTHS, METHODS, mixers_of
from mp_lib.model.blocks import ConditionedBlock, MixerBlock
from mp_lib.model.mixers import MIXERS, Attention, short_conv
from mp_lib.model.policy import build_denoiser
from mp_lib.model.scan import quasiseparable_matrix, selective_scan, ssd_matrix
from mp_lib.model.unet import UNet1D
from mp_lib.sentences import join

ACTION_DIM, COND_DIM = 26, 256  # Adroit's hammer with two observed steps, the sizes of the official counts
PARTS = ("convolutions", "FiLM", "state-space mixers", "MLPs after them", "attention", "MLPs after attention", "rest")


def modules_by_part(denoiser: UNet1D) -> Iterator[tuple[str, nn.Module]]:
    """Pairs of a part's name and a module; every parameter in the conditioned blocks but 1x1 residuals is in one."""
    for block in (module for module in denoiser.modules() if isinstance(module, ConditionedBlock)):
        yield "FiLM", block.cond_encoder
        for piece in block.blocks:
            if not isinstance(piece, MixerBlock):
                yield "convolutions", piece
                continue
            mixer, mlp = PARTS[4:6] if isinstance(piece.mixer, Attention) else PARTS[2:4]
            yield from ((mixer, piece.norm1), (mixer, piece.mixer), (mlp, piece.norm2), (mlp, piece.mlp))


def parts_of(denoiser: UNet1D) -> dict[str, list[nn.Parameter]]:
    """The parameters of each of ``PARTS``; "rest" is embedding of the step, resampling, 1x1 residuals, output."""
    parts: dict[str, list[nn.Parameter]] = {part: [] for part in PARTS}
    for part, module in modules_by_part(denoiser):
        parts[part] += module.parameters()
    named = {id(parameter) for parameters in parts.values() for parameter in parameters}
    parts["rest"] = [parameter for parameter in denoiser.parameters() if id(parameter) not in named]
    return parts


def parameters_by_part(attention: str = "paper") -> pd.DataFrame:
    """Rows (method, label, part, parameters) of every method at the paper's widths; nothing is allocated."""
    rows = []
    for method in METHODS.values():
        with torch.device("meta"):
            denoiser = build_denoiser(method.name, ACTION_DIM, COND_DIM, attention=attention)
        for part, parameters in parts_of(denoiser).items():
            rows.append((method.name, method.label, part, sum(each.numel() for each in parameters)))
    return pd.DataFrame(rows, columns=["method", "label", "part", "parameters"])


def sequence_lengths(method: str, horizons: tuple[int, ...] = (4, 16)) -> pd.DataFrame:
    """Rows (horizon, block, length, channels): what each conditioned block sees, measured while one call runs."""
    with torch.device("meta"):
        denoiser = build_denoiser(method, ACTION_DIM, COND_DIM).eval()
        rows = []
        for horizon in horizons:
            seen: list[tuple[int, int]] = []
            hooks = [
                module.register_forward_hook(lambda _, inputs, output, seen=seen: seen.append(output.shape[:0:-1]))
                for module in denoiser.modules()
                if isinstance(module, ConditionedBlock)
            ]
            call(denoiser, horizon, batch=1)
            rows += [(horizon, block, *shape) for block, shape in enumerate(seen, start=1)]
            for hook in hooks:
                hook.remove()
    return pd.DataFrame(rows, columns=["horizon", "block", "length", "channels"])


def call(denoiser: UNet1D, horizon: int, batch: int) -> Tensor:
    """One call of a denoiser on random numbers."""
    actions, cond = torch.randn(batch, horizon, ACTION_DIM), torch.randn(batch, COND_DIM)
    return denoiser(actions, torch.arange(batch), cond)


def skip_attention(denoiser: UNet1D) -> UNet1D:
    """Leave out the attention blocks of a denoiser but keep their weights: the release as it runs.

    There ``mamba_version == 'mambavision'`` is never true (conditional_unet1d.py:445).
    """
    for module in denoiser.modules():
        if isinstance(module, MixerBlock) and isinstance(module.mixer, Attention):
            module.forward = lambda x: x
    return denoiser


STRUCTURES: dict[str, Callable[[UNet1D], UNet1D]] = {
    "as the paper draws it": lambda denoiser: denoiser,
    "as the release runs": skip_attention,
}


def gradient_reach(method: str, horizons: tuple[int, ...] = (4, 16), batch: int = 4) -> pd.DataFrame:
    """How many parameters of each part get a gradient that is not zero, at the paper's widths.

    Rows (structure, horizon, part, parameters, reached). Two structures of the same weights: with
    attention, and with attention left out as in the release.
    """
    rows = []
    with torch.random.fork_rng():
        torch.manual_seed(0)
        denoiser = build_denoiser(method, ACTION_DIM, COND_DIM, attention="paper").eval()
        for structure, change in STRUCTURES.items():
            change(denoiser)
            for horizon in horizons:
                denoiser.zero_grad()
                call(denoiser, horizon, batch).square().mean().backward()
                for part, parameters in parts_of(denoiser).items():
                    reached = sum(int(each.grad.count_nonzero()) for each in parameters if each.grad is not None)
                    rows.append((structure, horizon, part, sum(each.numel() for each in parameters), reached))
    return pd.DataFrame(rows, columns=["structure", "horizon", "part", "parameters", "reached"])


def reach_sentence(method: str, table: pd.DataFrame) -> str:
    """What ``gradient_reach`` found about attention."""
    attention = table[table["part"].isin(PARTS[4:6])]
    if not mixers_of(method, "paper"):
        return f"`{method}` has no attention; choose one of the Mamba methods to see what attention gets."
    found = attention.groupby(["structure", "horizon"], sort=False)["reached"].sum()
    carried = attention[["part", "parameters"]].drop_duplicates()["parameters"].sum()
    told = [
        f"{structure}, {join([f'{reached:,} at horizon {horizon}' for (_, horizon), reached in rows.items()])}"
        for structure, rows in found.groupby(level="structure", sort=False)
    ]
    return f"Attention and its MLPs have {carried:,} parameters. Of these get a gradient: {'; '.join(told)}."


def saving_sentence(table: pd.DataFrame) -> str:
    """What each method saves against DP3, and which are smaller than a convolutional network of the Mamba widths."""
    totals = table.groupby("method", sort=False)["parameters"].sum()
    labels = {name: METHODS[name].label for name in totals.index}
    saved = [f"{labels[name]} {1 - total / totals['dp3']:.1%}" for name, total in totals.items() if name != "dp3"]
    same = [name for name in totals.index if METHODS[name].mixer and METHODS[name].down_dims == MAMBA_WIDTHS]
    larger = [labels[name] for name in same if totals[name] > totals["dp3_narrow"]]
    return (
        f"Parameters saved against DP3: {join(saved)}. Of the {len(same)} Mamba methods, {len(larger)} have more "
        f"parameters than {labels['dp3_narrow']}, the convolutional U-Net of the same widths. Where a block is larger "
        "than the convolution it replaces, all that is saved comes from the narrower channels."
    )


# The matrices M(x) of y = M(x) x, heads first: what the mixer multiplies with, for the steps, gates and
# projections that x itself has chosen. Each repeats its mixer's forward up to the product.


def mamba1_matrix(mixer: nn.Module, x: Tensor, suffix: str = "") -> Tensor:
    """M (B, D, L, L) of one direction, a matrix a channel: the scan of unit impulses, one at each step."""
    values = mixer.in_proj(x).chunk(2, dim=-1)[0]
    conv, x_proj, dt_proj, A_log, D = (
        getattr(mixer, name)
        for name in (f"conv1d{suffix}", f"x_proj{suffix}", f"dt_proj{suffix}", f"A{suffix}_log", f"D{suffix}")
    )
    values = values.flip(1) if suffix else values
    values = short_conv(values, conv, left=conv.kernel_size[0] - 1)
    dt, B, C = x_proj(values).split([mixer.dt_rank, mixer.d_state, mixer.d_state], dim=-1)
    dt = functional.softplus(dt_proj(dt))
    impulses = torch.eye(x.shape[1])[:, None, :, None].expand(-1, len(x), -1, values.shape[-1])
    columns = torch.stack([selective_scan(impulse.contiguous(), dt, -torch.exp(A_log), B, C) for impulse in impulses])
    matrix = rearrange(columns, "s b t d -> b d t s") + D[:, None, None] * torch.eye(x.shape[1])
    return matrix.flip(-1, -2) if suffix else matrix


def bimamba_matrix(mixer: nn.Module, x: Tensor) -> Tensor:
    """M (B, D, L, L): forward and backward, each after its own convolution."""
    return mamba1_matrix(mixer, x) + mamba1_matrix(mixer, x, "_b")


def mamba2_matrix(mixer: nn.Module, x: Tensor) -> Tensor:
    """M (B, H, L, L), the skip on its diagonal."""
    z, xBC, dt = mixer.in_proj(x).split(mixer.sizes, dim=-1)
    xBC = short_conv(xBC, mixer.conv1d, left=mixer.conv1d.kernel_size[0] - 1)
    _, B, C = xBC.split([z.shape[-1], mixer.d_state, mixer.d_state], dim=-1)
    matrix = ssd_matrix(functional.softplus(dt + mixer.dt_bias), -torch.exp(mixer.A_log), B, C)
    return matrix + mixer.D[:, None, None] * torch.eye(x.shape[1])


def hydra_matrix(mixer: nn.Module, x: Tensor) -> Tensor:
    """M (B, H, L, L), the skip on its diagonal."""
    z, xBC, *dt = mixer.in_proj(x).split(mixer.sizes, dim=-1)
    xBC = short_conv(xBC, mixer.conv1d, left=mixer.conv1d.kernel_size[0] // 2)
    values, B_f, C_f, B_b, C_b = xBC.split([z.shape[-1]] + 4 * [mixer.d_state], dim=-1)
    dt = tuple(functional.softplus(each + mixer.dt_bias) for each in dt)
    matrix = quasiseparable_matrix(dt, -torch.exp(mixer.A_log), (B_f, B_b), (C_f, C_b))
    return matrix + torch.diag_embed(functional.linear(values, mixer.fc_D.weight, mixer.D).transpose(1, 2))


def attention_matrix(mixer: nn.Module, x: Tensor) -> Tensor:
    """M (B, H, L, L): the softmax of queries and keys."""
    q, k, _ = rearrange(mixer.qkv(x), "b l (three h p) -> three b h l p", three=3, h=mixer.num_heads)
    return torch.softmax((q * q.shape[-1] ** -0.5) @ k.transpose(-1, -2), dim=-1)


MATRICES = {
    "mamba1": mamba1_matrix,
    "mamba2": mamba2_matrix,
    "bimamba": bimamba_matrix,
    "hydra": hydra_matrix,
    "attention": attention_matrix,
}


@torch.no_grad()
def mixing_table(length: int = 16, d_model: int = 128, seed: int = 0) -> pd.DataFrame:
    """Rows (mixer, to, source, weight): mean |M| over heads or channels of freshly made mixers on random tokens.

    Each matrix is divided by its largest entry.
    """
    rows = []
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        x = torch.randn(1, length, d_model)
        for name, matrix_of in MATRICES.items():
            weights = matrix_of(MIXERS[name](d_model=d_model), x)[0].abs().mean(0)
            weights /= weights.max()
            rows += [(name, t, s, float(weights[t, s])) for t in range(length) for s in range(length)]
    return pd.DataFrame(rows, columns=["mixer", "to", "source", "weight"])
