"""The scales by name: in which numbers each differs from the paper's protocol, today and under earlier recipes.

Only what differs from the paper's protocol stands here, which is the defaults of ``mp_lib.config.TrainConfig``.
"""

from __future__ import annotations

from mp_lib.interfaces import look_up
from mp_lib.system.errors import InputError

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
