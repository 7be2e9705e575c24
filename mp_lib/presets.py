"""Methods and scales by name: the paper's seven methods and those of ours beyond it, and in which numbers each scale
differs from the paper's protocol, today and under earlier recipes.

Of a scale only what differs from the paper's protocol stands here, which is the defaults of
``mp_lib.config.TrainConfig``.
"""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from mp_lib.interfaces import look_up
from mp_lib.system.errors import InputError


@dataclass(frozen=True)
class Method:
    """One row of ``METHODS``: the network's widths, its blocks a level, and the mixer of its blocks, if any.

    ``frame`` is what it is built in, one of ``mp_lib.model.policy.FRAMES``: the U-Net, whose ``mixer`` may be followed
    by attention, or the pocket frame, which has one width, and of whose blocks ``core`` is the mixer. ``scale`` is the
    smallest at which it is worth training.

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
    frame: str = "unet"
    core: str | None = None
    scale: str = "quick"


def pocket(name: str, label: str, width: int, core: str, blocks: int = 3) -> Method:
    """A row of the pocket frame: blocks of one width."""
    return Method(
        name, label, (width,), blocks_per_level=blocks, group="beyond", frame="pocket", core=core, scale="pocket"
    )


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
        # In the pocket frame the mixer is exchanged at equal parameters, which the widths make up for.
        pocket("pocket_mamba", "pocket Mamba", 64, "state_space"),
        pocket("pocket_attention", "pocket attention", 68, "attention"),
        pocket("pocket_convolution", "pocket convolution", 64, "convolution"),
        pocket("pocket_identity", "pocket without mixing", 82, "identity"),
        # The denoiser of HDP3 (arXiv 2605.01581), of its size, 2.5 M.
        pocket("diffusion_mixer", "diffusion mixer", 182, "tokens", blocks=8),
    )
}
PAPER_METHODS = tuple(name for name, method in METHODS.items() if method.group == "paper")
U_NETS = tuple(name for name, method in METHODS.items() if method.frame == "unet")

# What follows the state-space half of a Mamba block: attention as in the paper's figure 2, or, as the
# released code runs, nothing (conditional_unet1d.py:445 is never true).
ATTENTION = {"paper": ("attention",), "released": ()}
NO_ATTENTION = ", no attention"  # behind a method's name where it is left out

# Of what number a width has to be a multiple: the groups of the U-Net's norms, which is also the number of attention's
# heads, and what fills the mixers' heads of 32 and 64 channels of twice the width.
NORM_GROUPS, HEADS = 8, {"mamba2": 16, "hydra": 32, "mamba3": 32, "bimamba3": 32}
# Likewise, and what sines and cosines halve.
CORE_UNITS = {"state_space": 16, "attention": 4, "convolution": 2, "identity": 2, "tokens": 2}


def width_unit(method: str, attention: str) -> int:
    """Of what number every width of a method's network has to be a multiple."""
    if core := look_up(METHODS, method, "method").core:
        return CORE_UNITS[core]
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


SMALL = {"num_points": 256, "width_divisor": 4, "batch_size": 16, "num_epochs": None, "eval_every_epochs": None}

# The numbers of quick are ours, chosen for success within half an hour on 2 cores: how, says docs/experiments.md.
SCALES: dict[str, dict] = {
    "smoke": {
        "num_points": 64,
        "width_divisor": 4,
        "num_demos": 2,
        "batch_size": 16,
        "num_epochs": None,
        "num_steps": 8,
        "learning_rate": 1e-3,
        "warmup_steps": 2,
        "eval_every_epochs": None,
        "eval_episodes": 1,
        "final_episodes": 2,
    },
    "quick": SMALL
    | {"recipe": 2, "num_steps": 1200, "learning_rate": 7e-4, "warmup_steps": 50, "start": "standardised"},
    # Ours as well, chosen for pocket_mamba: docs/experiments.md. Two diffusion steps, in training, too.
    "pocket": {
        "train_points": 128,
        "num_train_steps": 2,
        "num_inference_steps": 2,
        "batch_size": 64,
        "num_epochs": None,
        "num_steps": 4000,
        "learning_rate": 1e-3,
        "warmup_steps": 100,
        "start": "standardised",
        "eval_every_epochs": None,
    },
    "standard": {"num_epochs": 300, "eval_every_epochs": 20},
    "paper": {},
}
EARLIER: dict[tuple[str, int], dict] = {  # by scale and recipe
    # Chosen on metaworld_drawer-open by the error on ten more demonstrations and by success, on dexart_laptop by
    # success. For equal time batch 16 learnt more than 32 and 64; 3e-3 was too high.
    ("quick", 1): SMALL | {"num_steps": 1600, "learning_rate": 7e-4, "warmup_steps": 50}
}

# In what the protocol of a suite differs, by the first word of its tasks' names; a scale's own numbers come before it,
# and what is special to both comes last.
SUITES: dict[str, dict] = {"dexart": {"num_points": 1120}}  # [dp3] config/task/dexart_*.yaml: 1024 and 96 imagined ones
SPECIAL: dict[tuple[str, int, str], dict] = {  # by scale, recipe and suite
    ("quick", 1, "dexart"): {"num_steps": 3200},  # a hundred demonstrations, not ten
    ("quick", 2, "dexart"): {"num_steps": 2400},
    ("quick", 2, "adroit"): {"num_steps": 2400},  # hands of two dozen joints are learnt more slowly
}


def recipe_of(scale: str) -> int:
    """The recipe by which a scale trains today; 1 for one that has had no other."""
    return look_up(SCALES, scale, "scale").get("recipe", 1)


def numbers_of(scale: str, task: str, recipe: int | None = None) -> dict:
    """What a scale changes of the paper's protocol on a task, by a recipe of its own; None is today's.

    An InputError that lists those that exist for an unknown scale or recipe.
    """
    today = recipe_of(scale)
    recipe, suite = today if recipe is None else recipe, str(task).split("_")[0]
    if recipe != today and (scale, recipe) not in EARLIER:
        known = sorted({today, *(number for name, number in EARLIER if name == scale)})
        raise InputError(f"recipe {recipe} of {scale} given; it has: {', '.join(map(str, known))}")
    numbers = SCALES[scale] if recipe == today else EARLIER[scale, recipe]
    return SUITES.get(suite, {}) | numbers | SPECIAL.get((scale, recipe, suite), {})
