"""Every number of the paper, each with its source. Methods and scales stand by name in ``mp_lib.presets``.

Sources: [cfg] the release's config/dp3_mamba.yaml, [dp3] arXiv 2403.03954, [mp] arXiv 2409.07163.
"""

from __future__ import annotations

import functools
import hashlib
import re
from dataclasses import asdict, dataclass, fields

from mp_lib.interfaces import look_up
from mp_lib.presets import METHODS, U_NETS, mixers_of, numbers_of, recipe_of, width_unit
from mp_lib.system.errors import InputError, shown
from mp_lib.system.values import Bound, check_bounds, meaning, read_fields, within

CURVE_SEEDS, FINAL_SEEDS = 10_000, 70_000  # first environment seeds of evaluations; those of demonstrations start at 0
EARLIER_FINAL_SEEDS = 40_000  # those of results from before; some choices were made after looking at them
EXPLORING_SEEDS = 80_000  # where playing, comparing and looking begin, none of which is in a table

# What share of the demonstrations is held out, at least one of them if any: the release's val_ratio
# (common/sampler.py:56).
SPLITS = {"all": 0.0, "released": 0.02}

# The first values of the encoder's last layers: as PyTorch draws them, or such that its features have mean 0 and
# deviation 1 over the training windows (``mp_lib.learning.start``).
STARTS = ("released", "standardised")

# What a network predicts of actions: them as recorded, or how they differ from the state at "now"; and by what a
# policy that goes on from other weights scales its numbers: by the new data, or as there.
ACTIONS, NORMALIZERS = ("absolute", "relative"), ("fit", "kept")
UNNAMED = "none"  # instead of weights to begin with


@dataclass(frozen=True)
class PolicyConfig:
    """What a policy is; saved beside its weights, enough to build it again.

    ``action_dim`` counts what the network predicts, which of relative actions may be more numbers than are executed.
    ``state_kinds`` and ``action_kinds`` say what the numbers of states and of executed actions are, as texts of
    ``mp_lib.geometry.kinds.Layout``; empty where nobody has said it.
    """

    method: str
    state_dim: int
    action_dim: int
    attention: str = "paper"
    horizon: int = 16  # T; [dp3] 16, [cfg] 4
    n_obs_steps: int = 2  # To; [cfg]
    n_action_steps: int = 8  # Ta; [dp3] 8, [cfg] 4, of which 3 are executed
    num_points: int = 512  # N; [cfg] task.shape_meta
    down_dims: tuple[int, ...] | None = None  # None: the paper's widths of the method
    blocks_per_level: int | None = None  # None: the method's own
    step_embed_dim: int = 128  # [cfg] diffusion_step_embed_dim
    num_train_steps: int = 100  # [cfg] noise_scheduler
    num_inference_steps: int = 10  # [cfg]
    actions: str = "absolute"  # one of ACTIONS
    state_kinds: str = ""
    action_kinds: str = ""

    def __post_init__(self):
        read_fields(self)
        look_up(dict.fromkeys(ACTIONS), self.actions, "kind of actions")
        unit = width_unit(self.method, self.attention)
        check_bounds(asdict(self), BOUNDS, COUNT)
        if self.n_obs_steps - 1 + self.n_action_steps > self.horizon:
            raise InputError(
                f"horizon {self.horizon}, n_obs_steps {self.n_obs_steps}, n_action_steps {self.n_action_steps} given; "
                f"n_obs_steps - 1 + n_action_steps must not exceed the horizon"
            )
        widths = METHODS[self.method].down_dims if self.down_dims is None else self.down_dims
        object.__setattr__(self, "down_dims", widths)
        if self.method not in U_NETS and len(widths) != 1:
            raise InputError(f"down_dims {widths} given; those of {self.method} must be one number")
        if self.blocks_per_level is None:
            object.__setattr__(self, "blocks_per_level", METHODS[self.method].blocks_per_level)
        if self.horizon % 2 ** (len(widths) - 1):
            raise InputError(f"horizon {self.horizon} given; it must be a multiple of {2 ** (len(widths) - 1)}")
        if not widths or any(width % unit for width in widths):
            raise InputError(f"down_dims {widths} given; those of {self.method} must be multiples of {unit}")
        if self.num_inference_steps > self.num_train_steps:
            allowed = f"1 to {self.num_train_steps}, num_train_steps"
            raise InputError(f"num_inference_steps {self.num_inference_steps} given; it must be {allowed}")


# What numbers of a run and of a policy have to be, COUNT where they are not named. Upper bounds lie far beyond what is
# used, where a slip of the hand would end in no memory, or never.
MANY = 10**9
COUNT = within(1, MANY)
BOUNDS: dict[str, Bound] = {
    "seed": within(0, 2**128 - 1),  # what NumPy's seeds hold
    "first_seed": within(0, 2**62),  # of environments, and of torch's noise, whose seeds have 64 bits
    **dict.fromkeys(("warmup_steps", "demo_episodes"), within(0, MANY)),
    "demo_seed": within(0, CURVE_SEEDS - 1),
    **dict.fromkeys(("weight_decay", "ema_power"), within(0, 1000)),
    "learning_rate": ("more than 0", lambda value: value > 0),
    "betas": ("at least 0 and less than 1", lambda value: 0 <= value < 1),
    "ema_max": ("from 0 to 1", lambda value: 0 <= value <= 1),
    **dict.fromkeys(("horizon", "n_obs_steps", "n_action_steps"), within(1, 4096)),
    **dict.fromkeys(("state_dim", "action_dim", "down_dims"), within(1, 2**16)),
    "step_embed_dim": ("even and at least 4", lambda value: value in range(4, 2**16, 2)),  # sines and cosines
    **dict.fromkeys(("num_points", "num_train_steps", "final_episodes"), within(1, 10**6)),
    "blocks_per_level": within(1, 100),
    "eval_episodes": within(1, FINAL_SEEDS - CURVE_SEEDS),
    "held_out": ("at least 0 and less than 1", lambda value: 0 <= value < 1),
    "held_out_episodes": within(0, MANY),
}
LONGEST_WORD = 60  # in a folder's name, which file systems cut off at 255 letters
INSTEAD_OF = {"num_epochs": "num_steps", "num_steps": "num_epochs", "demo_episodes": "num_demos"}


@dataclass(frozen=True)
class TrainConfig:
    """One run: everything that its result depends on. ``name`` is the name of its folder.

    Values are taken as what they mean (``mp_lib.system.values``), so that a run has one name however a count of it was
    written; 1 and 1.0 in place of a broken number have two, as runs of theirs always had. An InputError for a value, or
    values together, that no training could use.
    """

    task: str
    method: str
    scale: str
    seed: int = 0
    recipe: int = 1  # which of the scale's, ``mp_lib.presets``
    attention: str = "paper"
    horizon: int = 16
    n_obs_steps: int = 2
    n_action_steps: int = 8
    num_points: int = 512
    width_divisor: int = 1  # all widths of the U-Net are divided by it; other networks are small as they are
    blocks_per_level: int | None = None  # of the U-Net; None: the method's own
    num_train_steps: int = 100  # of diffusion; [cfg] noise_scheduler
    num_inference_steps: int = 10
    train_points: int | None = None  # of each cloud that a training step sees, drawn anew each time; None: all
    num_demos: int | None = None  # None: the paper's number for the task's suite
    demo_episodes: tuple[int, ...] | None = None  # which of a store that is given; None: the first num_demos, or all
    demo_seed: int = 0  # the first environment seed that they are recorded on
    demonstrator: str = "default"  # which of the task's experts they come from
    split: str = "all"  # "released": at least one demonstration is held out, as the release does
    held_out: float | None = None  # the share of them that is, instead of the split's
    held_out_episodes: tuple[int, ...] | None = None  # which of them, by their number, instead of a share
    actions: str = "absolute"  # or relative to the state at "now", one of ACTIONS
    init: str = UNNAMED  # the digest of the weights that it goes on from
    normalizer: str = "fit"  # to the demonstrations, or kept as it is in those weights, one of NORMALIZERS
    batch_size: int = 128  # [cfg] dataloader
    num_epochs: int | None = 3000  # [cfg] training.num_epochs; None: num_steps counts
    num_steps: int | None = None
    learning_rate: float = 1e-4  # [cfg] optimizer, as are the next three
    betas: tuple[float, float] = (0.95, 0.999)
    weight_decay: float = 1e-6
    warmup_steps: int = 500  # [cfg] training.lr_warmup_steps
    start: str = "released"  # the encoder's first values, one of STARTS
    ema_power: float = 0.75  # [cfg] ema
    ema_max: float = 0.9999  # [cfg] ema.max_value
    eval_every_epochs: int | None = 200  # [cfg] training.rollout_every; None: only at the end
    eval_episodes: int = 20  # [cfg] task.env_runner
    final_episodes: int = 50  # ours: fresh seeds, last checkpoint

    def __post_init__(self):
        read_fields(self)
        if not mixers_of(self.method, self.attention):
            object.__setattr__(self, "attention", "paper")  # there is none either way: one run, not two
        if self.method in METHODS and self.method not in U_NETS:
            object.__setattr__(self, "width_divisor", 1)  # small as it is
        numbers_of(self.scale, self.task, self.recipe)  # that there are such
        if (self.num_epochs is None) == (self.num_steps is None):
            raise InputError(f"num_epochs {self.num_epochs} and num_steps {self.num_steps} given; set exactly one")
        for key, value in asdict(self).items():
            if isinstance(value, str) and not re.fullmatch(r"[\w.-]+", value):
                allowed = "it is part of a file name: use letters, digits, '_', '-', '.'"
                raise InputError(f"{key} {shown(value)} given; {allowed}")
        self.check()

    def check(self) -> None:
        """Raise an InputError for numbers, or numbers together, that no training could use."""
        check_bounds(asdict(self), BOUNDS, COUNT)
        look_up(SPLITS, self.split, "split")
        look_up(dict.fromkeys(STARTS), self.start, "start")
        look_up(dict.fromkeys(NORMALIZERS), self.normalizer, "normalizer")
        if self.normalizer == "kept" and self.init == UNNAMED:
            raise InputError("normalizer kept given, but no weights to begin with; give init, or normalizer fit")
        if None not in (self.held_out, self.held_out_episodes):
            raise InputError("held_out and held_out_episodes given; give one of them: a share, or their numbers")
        chosen = self.demo_episodes
        if chosen is not None and len({*chosen}) < max(1, len(chosen)):
            raise InputError(f"demo_episodes {shown(list(chosen))} given; name one or more, each once: [0, 3, 5]")
        self.check_widths()
        self.policy(state_dim=1, action_dim=1)

    def check_widths(self) -> None:
        """Raise an InputError that lists the divisors of the U-Net's widths that leave whole heads and groups."""
        widths, unit = METHODS[self.method].down_dims, width_unit(self.method, self.attention)
        allowed = [divisor for divisor in range(1, min(widths) + 1) if not any(w % (divisor * unit) for w in widths)]
        if self.width_divisor not in allowed:
            choices = ", ".join(map(str, allowed))
            raise InputError(f"width_divisor {self.width_divisor} given; of {self.method} it must be one of: {choices}")

    def policy(self, state_dim: int, action_dim: int, **kinds: str) -> PolicyConfig:
        """The policy that it trains where states and actions have these sizes, and numbers of these ``kinds``."""
        own = {field.name for field in fields(PolicyConfig)} & {field.name for field in fields(self)}
        shared = {name: getattr(self, name) for name in (*own, "down_dims")}
        return PolicyConfig(state_dim=state_dim, action_dim=action_dim, **shared, **kinds)

    @property
    def down_dims(self) -> tuple[int, ...]:
        """The U-Net's widths at this scale."""
        return tuple(width // self.width_divisor for width in METHODS[self.method].down_dims)

    @functools.cached_property
    def name(self) -> str:
        """scale-task-method-seed, and what differs from the numbers of the scale's recipe."""
        usual = usual_numbers(self.scale, self.task, self.method, self.recipe) | {"seed": self.seed}
        changed = {key: value for key, value in asdict(self).items() if usual[key] != value}
        parts = [prefix(self.scale, self.recipe), self.task, self.method, f"seed{self.seed}"]
        words = {
            key: ",".join(map(str, value)) if isinstance(value, tuple) else value for key, value in changed.items()
        }
        for key, word in words.items():
            if len(str(word)) > LONGEST_WORD:  # such as fifty demo_episodes
                words[key] = hashlib.blake2b(word.encode(), digest_size=4).hexdigest()
        return "-".join(parts + [f"{key}={word}" for key, word in sorted(words.items())])


def prefix(scale: str, recipe: int | None = None) -> str:
    """How names of runs begin: the scale, and from its second recipe on the recipe, e.g. "quick2"; None is today's."""
    recipe = recipe_of(scale) if recipe is None else recipe
    return f"{scale}{recipe}" if recipe > 1 else scale


def scale_config(scale: str, task: str, method: str, seed: int = 0, **changes) -> TrainConfig:
    """The run of one method on one task at a scale; ``changes`` replace single numbers, ``recipe`` all of the scale's.

    Of epochs and steps the one that is given counts, and of demonstrations those that are named instead of a number of
    them. An unknown scale, method or key raises an InputError that lists those that exist.
    """
    kinds = {field.name: field.type for field in fields(TrainConfig)}
    given = {key: meaning(key, look_up(kinds, key, "parameter"), value) for key, value in changes.items()}
    instead = {other: None for key, other in INSTEAD_OF.items() if given.get(key) is not None}
    usual = {"task": task, "method": method, "scale": scale, "seed": seed}
    return TrainConfig(**usual | numbers_of(scale, task, given.get("recipe")) | instead | given)


@functools.cache  # with it the runs of an experiment are compared, of which there are hundreds
def usual_numbers(scale: str, task: str, method: str, recipe: int) -> dict:
    """All fields of a run by a recipe of the scale that changes nothing of it, to be read only."""
    return asdict(scale_config(scale, task, method, recipe=recipe))
