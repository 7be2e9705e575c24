"""What a denoiser is made of: parameters by part, the lengths its blocks see, gradients."""

from __future__ import annotations

from collections.abc import Callable

import pandas as pd
import torch
from torch import nn

from mp_lib.drawing.style import PART_COLORS
from mp_lib.model.blocks import MixerBlock
from mp_lib.model.mamba3 import BiMamba3
from mp_lib.model.mixers import Attention
from mp_lib.model.pocket import Convolution, PocketDenoiser, TokenMixing
from mp_lib.model.policy import build_denoiser, condition_size
from mp_lib.model.unet import UNet1D
from mp_lib.presets import MAMBA_WIDTHS, METHODS, mixers_of
from mp_lib.study.efficiency import ACTION_DIM, call, count_parameters, sketch_denoiser
from mp_lib.study.sentences import join

PARTS = tuple(PART_COLORS)


def parts_of(denoiser: UNet1D | PocketDenoiser) -> dict[str, list[nn.Parameter]]:
    """The parameters of each of ``PARTS``; "rest" is embedding of the step, resampling, 1x1 residuals, output."""
    parts: dict[str, list[nn.Parameter]] = {part: [] for part in PARTS}
    SORTED[type(denoiser)](denoiser, parts)
    named = {id(parameter) for parameters in parts.values() for parameter in parameters}
    parts["rest"] = [parameter for parameter in denoiser.parameters() if id(parameter) not in named]
    return parts


def sort_u_net(denoiser: UNet1D, parts: dict[str, list[nn.Parameter]]) -> None:
    """Add what a U-Net has of all parts but the rest."""
    for block in denoiser.conditioned_blocks():
        parts["FiLM"] += block.cond_encoder.parameters()
        for piece in block.blocks:
            if isinstance(piece, MixerBlock):
                mixer, mlp = PARTS[4:6] if isinstance(piece.mixer, Attention) else PARTS[2:4]
                parts[mixer] += [*piece.norm1.parameters(), *piece.mixer.parameters()]
                parts[mlp] += [*piece.norm2.parameters(), *piece.mlp.parameters()]
            else:
                parts["convolutions"] += piece.parameters()


def sort_pocket(denoiser: PocketDenoiser, parts: dict[str, list[nn.Parameter]]) -> None:
    """Add what a denoiser of the pocket frame has of all parts but the rest; its modulation stands under FiLM."""
    parts["FiLM"] += [*denoiser.of_cond.parameters(), *denoiser.of_step.parameters()]
    for block in denoiser.blocks:
        for part, piece in zip(OF_CORES[type(block.mixer)], (block.mixer, block.mlp), strict=False):
            parts[part] += piece.parameters()


OF_CORES = {
    BiMamba3: PARTS[2:4],
    Attention: PARTS[4:6],
    Convolution: PARTS[:1],
    TokenMixing: 2 * PARTS[3:4],  # two MLPs
    nn.Identity: (),
}
SORTED: dict[type, Callable] = {UNet1D: sort_u_net, PocketDenoiser: sort_pocket}


def parameters_by_part() -> pd.DataFrame:
    """Rows (method, label, part, parameters) of every method at the paper's widths; nothing is allocated."""
    rows = [
        (method.name, method.label, part, count_parameters(parameters))
        for method in METHODS.values()
        for part, parameters in parts_of(sketch_denoiser(method.name)).items()
    ]
    return pd.DataFrame(rows, columns=["method", "label", "part", "parameters"])


def sequence_lengths(method: str, horizons: tuple[int, ...] = (4, 16)) -> pd.DataFrame:
    """Rows (horizon, block, length, channels): what each conditioned block sees, measured while one call runs."""
    denoiser, seen, rows = sketch_denoiser(method, horizon=max(horizons)), [], []
    for block in denoiser.conditioned_blocks():
        block.register_forward_hook(lambda _, inputs, output: seen.append(denoiser.length_and_channels(output)))
    for horizon in horizons:
        seen.clear()
        with torch.device("meta"):
            call(denoiser, horizon)
        rows += [(horizon, block, *shape) for block, shape in enumerate(seen, start=1)]
    return pd.DataFrame(rows, columns=["horizon", "block", "length", "channels"])


def lengths_sentence(table: pd.DataFrame) -> str:
    """How many blocks of ``sequence_lengths`` see how long a sequence."""
    told = []
    for horizon, rows in table.groupby("horizon"):
        blocks = [f"{count} see length {length}" for length, count in rows["length"].value_counts(sort=False).items()]
        told.append(f"At horizon {horizon}, of {len(rows)} blocks {join(blocks)}.")
    return f"{' '.join(told)} In a sequence of length 1 there is nothing to mix."


def skip_attention(denoiser: UNet1D) -> UNet1D:
    """Leave out the attention blocks of a denoiser but keep their weights: the release as it runs.

    There ``mamba_version == 'mambavision'`` is never true (conditional_unet1d.py:445).
    """
    for module in denoiser.modules():
        if isinstance(module, MixerBlock) and isinstance(module.mixer, Attention):
            module.forward = lambda x, kept=None: x
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
        denoiser = build_denoiser(method, ACTION_DIM, condition_size(method), horizon=max(horizons)).eval()
        for structure, change in STRUCTURES.items():
            change(denoiser)
            for horizon in horizons:
                denoiser.zero_grad()
                call(denoiser, horizon, batch).square().mean().backward()
                for part, parameters in parts_of(denoiser).items():
                    reached = sum(int(each.grad.count_nonzero()) for each in parameters if each.grad is not None)
                    rows.append((structure, horizon, part, count_parameters(parameters), reached))
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
    shares = (100 * (1 - totals / totals["dp3"])).drop("dp3")
    saved = [f"{labels[name]} {share:.1f} %" for name, share in shares.items()]
    same = [name for name in totals.index if METHODS[name].mixer and METHODS[name].down_dims == MAMBA_WIDTHS]
    larger = [labels[name] for name in same if totals[name] > totals["dp3_narrow"]]
    return (
        f"Parameters saved against DP3: {join(saved)}. Of the {len(same)} Mamba methods, {len(larger)} have more "
        f"parameters than {labels['dp3_narrow']}, the convolutional U-Net of the same widths. Where a block is larger "
        "than the convolution it replaces, all that is saved comes from the narrower channels."
    )
