"""The methods by name: the paper's seven, and those of ours beyond it; their mixers and how they are called."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mp_lib.interfaces import look_up


@dataclass(frozen=True)
class Method:
    """One row of ``METHODS``: the U-Net's widths, its blocks a level, and the mixer of its blocks, if any.

    ``published`` is the method's name in data/paper/published.csv. ``group`` says in whose comparison it stands:
    "paper", the seven of which the paper's claims are asked, the baseline that it lacks among them; or "beyond".
    """

    name: str
    label: str
    down_dims: tuple[int, ...]
    mixer: str | None = None
    blocks_per_level: int = 2
    published: str | None = None
    group: str = "paper"


MAMBA_WIDTHS = (128, 256, 512)  # [cfg] policy.down_dims
METHODS = {
    method.name: method
    for method in (
        Method("dp3", "DP3", (512, 1024, 2048), published="DP3"),
        Method("simple_dp3", "Simple DP3", (128, 256, 384), blocks_per_level=1, published="Simple DP3"),
        Method("dp3_narrow", "DP3, narrow", MAMBA_WIDTHS),
        Method("dp3_mamba", "Mamba-1", MAMBA_WIDTHS, mixer="mamba1", published="Mamba Policy"),
        Method("dp3_mamba_v2", "Mamba-2", MAMBA_WIDTHS, mixer="mamba2"),
        Method("dp3_mamba_bi", "bidirectional", MAMBA_WIDTHS, mixer="bimamba"),
        Method("dp3_mamba_hydra", "Hydra", MAMBA_WIDTHS, mixer="hydra"),
        Method("dp3_mamba_v3", "Mamba-3", MAMBA_WIDTHS, mixer="mamba3", group="beyond"),
        Method("dp3_mamba_v3_bi", "Mamba-3, both ways", MAMBA_WIDTHS, mixer="bimamba3", group="beyond"),
    )
}
PAPER_METHODS = tuple(name for name, method in METHODS.items() if method.group == "paper")

# What follows the state-space half of a Mamba block: attention as in the paper's figure 2, or, as the
# released code runs, nothing (conditional_unet1d.py:445 is never true).
ATTENTION = {"paper": ("attention",), "released": ()}
NO_ATTENTION = ", no attention"  # behind a method's name where it is left out

# Of what number a width has to be a multiple: the groups of the U-Net's norms, which is also the number of attention's
# heads, and what fills the mixers' heads of 32 and 64 channels of twice the width.
NORM_GROUPS, HEADS = 8, {"mamba2": 16, "hydra": 32, "mamba3": 32, "bimamba3": 32}


def width_unit(method: str, attention: str) -> int:
    """Of what number every width of a method's U-Net has to be a multiple."""
    return math.lcm(NORM_GROUPS, *(HEADS.get(mixer, 1) for mixer in mixers_of(method, attention)))


def mixers_of(method: str, attention: str) -> tuple[str, ...]:
    """The mixers of a method's blocks in order, e.g. ("mamba2", "attention"); () for DP3's convolutions."""
    second = look_up(ATTENTION, attention, "attention")
    first = look_up(METHODS, method, "method").mixer
    return (first, *second) if first else ()


def kinds(methods: Iterable[str] = METHODS) -> list[tuple[str, str]]:
    """(method, attention) for every attention that a method can have; "" for one that has none either way."""
    return [(name, attention) for name in methods for attention in (ATTENTION if METHODS[name].mixer else ("",))]


def kind_name(method: str, attention: str = "") -> str:
    """How a method is called in tables and figures, e.g. "Mamba-1, no attention"; another's name stays as it is."""
    name = METHODS[method].label if method in METHODS else method
    return f"{name}{NO_ATTENTION}" if attention == "released" else name
