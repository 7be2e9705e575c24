"""The experiments by name: which of the paper's claims each one asks about, and which runs it takes."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

from mp_lib.config import STARTS, TrainConfig, scale_config
from mp_lib.interfaces import look_up
from mp_lib.presets import METHODS, PAPER_METHODS, SCALES, numbers_of
from mp_lib.sim.tasks import PAPER_TASKS, TASKS

DEFAULT_TASK = "metaworld_drawer-open"
A_TASK_OF_EACH_SUITE = (DEFAULT_TASK, "adroit_hammer", "dexart_laptop")
SHORT_TASKS = tuple(task for task in PAPER_TASKS if not task.startswith("dexart"))  # ten demonstrations, not a hundred
# Where neither all methods nor none succeed at quick (``mp_lib.study.tables.telling_table`` of the kept rows).
TELLING_TASKS = ("adroit_hammer", "adroit_pen", *SHORT_TASKS[3:])
# The ten of HDP3 (arXiv 2605.01581), of which six are the paper's.
POCKET_TASKS = (
    *SHORT_TASKS,
    *(f"metaworld_{task}" for task in ("hand-insert", "pick-place-wall", "push", "reach-wall")),
)
SEARCHED = ("metaworld_pick-place-wall", "metaworld_disassemble", "adroit_pen")  # by the search for its pocket policy
POCKETS = ("pocket_mamba", "pocket_attention", "pocket_convolution", "pocket_identity")
CONTRASTED = ("dp3", "dp3_narrow", "dp3_mamba", "dp3_mamba_hydra")  # where all seven would take too long
MAMBA = tuple(name for name in PAPER_METHODS if METHODS[name].mixer)
VARIANTS = tuple(name for name, method in METHODS.items() if method.mixer)

MARGIN = 0.05  # differences below which two methods count as alike: as many points as the paper claims at most
MOST_TRAININGS = 8  # of a method on a task, where more would be needed to tell methods apart

SEEDS = dict.fromkeys(SCALES, (0, 1, 2)) | {"smoke": (0,)}
FIVE = (0, 1, 2, 3, 4)
BETWEEN_RECORDINGS = 100  # environment seeds, of which ten or so give ten demonstrations
ONE_TASK = dict.fromkeys(SCALES, (DEFAULT_TASK,)) | dict.fromkeys(("standard", "paper"), SHORT_TASKS)
TWO_TASKS = ONE_TASK | {"quick": (DEFAULT_TASK, "adroit_hammer")}


@dataclass(frozen=True)
class Arm:
    """One condition of an experiment: what it changes of a scale's numbers.

    ``value`` is where it stands on the axis of what is varied, ``narrower`` multiplies the scale's own divisor of the
    U-Net's widths, ``by_run`` gives changes that depend on scale and seed.
    """

    label: str
    value: float = 0
    changes: Mapping = field(default_factory=dict)
    narrower: int = 1
    by_run: Callable[[str, int], dict] = lambda scale, seed: {}

    def config(self, scale: str, task: str, method: str, seed: int, **chosen) -> TrainConfig:
        """The run of this condition, which has the scale's own name where nothing is changed."""
        usual = numbers_of(scale, task, chosen.get("recipe"))
        stands_for_none = {"num_demos": TASKS[task].num_demos, "blocks_per_level": METHODS[method].blocks_per_level}
        changes = {
            key: value
            for key, value in (*self.changes.items(), *self.by_run(scale, seed).items())
            if usual.get(key) or stands_for_none.get(key) != value
        }
        divisor = usual.get("width_divisor", 1) * self.narrower
        return scale_config(scale, task, method, seed, **{"width_divisor": divisor, **chosen, **changes})


def arms_over(values: Sequence[float], changes: Callable[[float], dict]) -> tuple[Arm, ...]:
    """A condition a value, named after it."""
    return tuple(Arm(str(value), value, changes(value)) for value in values)


def evaluate_on_the_way(scale: str, seed: int) -> dict:
    """An evaluation after each epoch, where the scale has none: at ``quick`` nine in the shortest training."""
    return {} if SCALES[scale].get("eval_every_epochs", True) else {"eval_every_epochs": 1}


@dataclass(frozen=True)
class Design:
    """One experiment: every method in every condition, on every task with every seed.

    ``varied`` names what the arms differ in. ``tasks`` and ``seeds`` are those of each scale. ``after_training``: the
    arms differ in how a trained policy is run, so that one training serves all; ``paired``: in how one and the same
    policy is trained on the same frames, so that trainings of one seed draw alike in all arms. ``reference`` is the
    method, or the arm, that the others are compared with. ``drawn`` names its figure, one of
    ``mp_lib.drawing.success.DRAWN``, ``pages`` the notebooks that show it. ``asks`` is the question in one sentence,
    ``about`` the method without which nothing answers it, if it is of one.
    """

    name: str
    title: str
    asks: str
    methods: tuple[str, ...]
    varied: str = ""
    arms: tuple[Arm, ...] = (Arm("as the scale has it"),)
    tasks: Mapping[str, tuple[str, ...]] = field(default_factory=lambda: ONE_TASK)
    seeds: Mapping[str, tuple[int, ...]] = field(default_factory=lambda: SEEDS)
    after_training: bool = False
    paired: bool = False
    reference: str = "dp3"
    drawn: str = "methods"
    about: str = ""
    pages: tuple[str, ...] = ("07_ablations",)

    def configs(
        self, scale: str, tasks: Sequence[str] = (), methods: Sequence[str] = (), seeds: Sequence[int] = (), **chosen
    ) -> list[tuple[Arm, TrainConfig]]:
        """All runs with their conditions; its own tasks, methods and seeds where none are given.

        ``chosen`` are numbers for all of them, such as ``demonstrator``. A method without mixers has one run where arms
        differ in attention alone.
        """
        look_up(SCALES, scale, "scale")
        found = {}
        for seed in seeds or self.seeds[scale]:
            for method in methods or self.methods:
                for task in tasks or self.tasks[scale]:
                    for arm in self.arms:
                        config = arm.config(scale, task, method, seed, **chosen)
                        found.setdefault(config, arm)
        return [(arm, config) for config, arm in found.items()]


TOUR = ("01_demonstrations", "03_train", "08_explore", "09_what_if")  # notebooks that no report needs
EVERYTHING = ("00_overview", "02_model_anatomy", "04_evaluate", "05_tables", "06_efficiency")
DESIGNS = {
    design.name: design
    for design in (
        Design(
            "first",
            "A first table",
            "Do all methods learn one task?",
            PAPER_METHODS,
            tasks=dict.fromkeys(SCALES, (DEFAULT_TASK,)),
            seeds=dict.fromkeys(SCALES, (0,)),
            pages=EVERYTHING,
        ),
        Design(
            "main",
            "The main table",
            "Does Mamba Policy succeed more often than DP3?",
            PAPER_METHODS,
            tasks=dict.fromkeys(SCALES, PAPER_TASKS) | {"smoke": A_TASK_OF_EACH_SUITE},
            pages=EVERYTHING,
        ),
        Design(
            "variants",
            "State-space variants",
            "Does it matter which state-space model the blocks hold?",
            ("dp3", *VARIANTS),
        ),
        Design(
            "mamba3",
            "Mamba-3",
            "Does Mamba-3, which came after the paper, do better than its variants?",
            ("dp3", "dp3_narrow", "dp3_mamba_v2", "dp3_mamba_hydra", "dp3_mamba_v3"),
            tasks=ONE_TASK | {"quick": TELLING_TASKS},
            about="dp3_mamba_v3",
        ),
        Design(
            "pocket",
            "A policy for the pocket",
            "How often does a policy of less than half a million parameters succeed?",
            ("pocket_mamba", "simple_dp3", "diffusion_mixer"),
            tasks=dict.fromkeys(SCALES, POCKET_TASKS) | {"smoke": (DEFAULT_TASK,)},
            reference="pocket_mamba",
            about="pocket_mamba",
        ),
        Design(
            "core",
            "Whether the state space matters",
            "Does the state-space mixer of a small policy help, or would attention, convolution or no mixing do?",
            POCKETS,
            tasks=dict.fromkeys(SCALES, POCKET_TASKS) | {"smoke": (DEFAULT_TASK,)},
            reference="pocket_mamba",
            about="pocket_mamba",
        ),
        Design(
            "width",
            "Convolution of the same width",
            "Is a DP3 of Mamba Policy's widths as good, without any state-space block?",
            ("dp3", "simple_dp3", "dp3_narrow", "dp3_mamba"),
        ),
        Design(
            "attention",
            "With and without attention",
            "Does the attention half contribute, which the paper draws and the release never runs?",
            MAMBA,
            varied="attention",
            reference="released",
            arms=(Arm("paper", 1, {"attention": "paper"}), Arm("released", 0, {"attention": "released"})),
        ),
        Design(
            "horizon",
            "Horizon",
            "Is Mamba Policy more robust than DP3 where long chunks are predicted and half of each is executed?",
            CONTRASTED,
            varied="horizon T",
            drawn="conditions",
            arms=arms_over((4, 16, 32, 64), lambda T: {"horizon": T, "n_action_steps": T // 2}),
        ),
        Design(
            "demonstrations",
            "Number of demonstrations",
            "Which method needs the fewest demonstrations?",
            CONTRASTED,
            varied="demonstrations",
            drawn="conditions",
            arms=arms_over((5, 10, 20), lambda count: {"num_demos": count}),
        ),
        Design(
            "denoising",
            "Denoising steps",
            "How many denoising steps does a trained policy need?",
            CONTRASTED,
            varied="denoising steps",
            drawn="conditions",
            arms=arms_over((1, 2, 4, 10), lambda steps: {"num_train_steps": 100, "num_inference_steps": steps}),
            reference="10",
            after_training=True,
        ),
        Design(
            "size",
            "Width and depth",
            "How large does the U-Net have to be, with Mamba and without?",
            ("dp3_narrow", "dp3_mamba"),
            varied="blocks a level, widths",
            reference="dp3_narrow",
            drawn="sizes",
            arms=tuple(
                Arm(f"{blocks}, {width}", blocks, {"blocks_per_level": blocks}, narrower)
                for blocks in (1, 2)
                for width, narrower in (("full", 1), ("half", 2), ("quarter", 4))
            ),
        ),
        Design(
            "start",
            "First values of the encoder",
            "Does success depend on how much of the encoder's features tells, at the start, where the object is?",
            CONTRASTED,
            varied="start",
            reference="released",
            paired=True,
            arms=tuple(Arm(start, value, {"start": start}) for value, start in enumerate(STARTS)),
            seeds=dict.fromkeys(SCALES, FIVE),
        ),
        Design(
            "recordings",
            "Demonstrations drawn anew",
            "How much of the spread between trainings is due to which ten demonstrations were recorded?",
            ("dp3_narrow", "dp3_mamba"),
            varied="demonstrations",
            tasks=TWO_TASKS,
            reference="the same ten",
            arms=(
                Arm("the same ten", 0),
                Arm("ten of its own", 1, by_run=lambda scale, seed: {"demo_seed": BETWEEN_RECORDINGS * (seed + 1)}),
            ),
            seeds=dict.fromkeys(SCALES, FIVE),
        ),
        Design(
            "score",
            "How success is scored",
            "How much higher is the paper's score, the mean of the best five evaluations, than that of the last one?",
            ("dp3", "dp3_mamba"),
            tasks=TWO_TASKS,
            arms=(Arm("evaluated on the way", by_run=evaluate_on_the_way),),
        ),
    )
}
REPORT = Design(  # of what there is, nothing is run for it
    "report",
    "What holds",
    "Which of the paper's claims hold?",
    (),
    pages=("05_tables", "07_ablations", "00_overview", "02_model_anatomy", "04_evaluate", "06_efficiency"),
)
SITE = replace(REPORT, name="site", pages=(*REPORT.pages, *TOUR))  # and a tour of the other notebooks
SHOWING = {design.name: design for design in (REPORT, SITE)}  # what shows what there is
ABLATIONS = tuple(name for name, design in DESIGNS.items() if "07_ablations" in design.pages)
