"""An experiment as steps: demonstrations, trainings, evaluations, and the notebooks that show them."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from mp_lib.config import FINAL_SEEDS, TrainConfig, scale_config
from mp_lib.data.recording import store_path
from mp_lib.interfaces import look_up
from mp_lib.learning.evaluation import evaluation_path
from mp_lib.learning.folder import PRODUCTS
from mp_lib.pipeline.groups import stacks
from mp_lib.pipeline.pages import Pages
from mp_lib.pipeline.parameters import NUMBERS, PARAMETER_FOR
from mp_lib.pipeline.steps import Step
from mp_lib.presets import ATTENTION, METHODS, SCALES
from mp_lib.sim.tasks import TASKS, check_expert_key
from mp_lib.study.designs import DESIGNS, Design
from mp_lib.study.rows import load_kept
from mp_lib.study.sentences import count
from mp_lib.system.paths import package, root, run_path

CHOSEN_BY_NAME = ("task", "method", "scale", "seed", "attention", "demonstrator")  # 03_train has parameters for them


def cost_order(config: TrainConfig) -> tuple:
    """Sorts runs so that those that take longest come first: wide ones and long horizons, then those with mixers."""
    row = METHODS[config.method]
    return (config.seed, -config.down_dims[-1] * config.horizon, row.mixer is None)


@dataclass(frozen=True)
class Experiment:
    """Which runs to make: those of a design, on its own tasks, methods and seeds where none are given.

    Raises a ValueError that lists the choices for an unknown scale, task, method, attention or expert.
    """

    scale: str
    design: Design = DESIGNS["first"]
    tasks: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()
    seeds: tuple[int, ...] = ()
    attention: str = "paper"
    device: str = "auto"
    expert: str = "default"
    together: int = 1  # trainings of one shape that are one step, at most
    kept: bool = False  # runs whose rows are kept count as made
    edited: bool = False  # notebooks run as they are, also where their code is not the project's

    def __post_init__(self):
        look_up(SCALES, self.scale, "scale")
        look_up(ATTENTION, self.attention, "attention")
        for method in self.methods:
            look_up(METHODS, method, "method")
        for task in self.tasks:
            look_up(TASKS, task, "task")
        if self.attention != "paper" and "05_tables" not in self.design.pages:
            raise ValueError(f"attention {self.attention} given; experiment {self.design.name} has its own conditions")
        check_expert_key(self.expert)  # also where nothing is run
        for config in self.configs():
            TASKS[config.task].with_expert(self.expert)

    @property
    def name(self) -> str:
        """The experiment's name, by which its report is kept."""
        return self.scale if self.design is DESIGNS["first"] else f"{self.scale}-{self.design.name}"

    @property
    def title(self) -> str:
        """What its report is about: its name, or the scale where it shows what there is."""
        return self.name if self.design.methods else self.scale

    @property
    def command(self) -> str:
        """The call that makes it, without what says where and how fast."""
        planned = self.design.methods  # none are, where it shows what there is
        words = ["./run_all.sh", *([] if planned else [self.design.name]), self.scale]
        words += ["--experiment", self.design.name] if planned and self.design is not DESIGNS["first"] else []
        for option, values in (("--task", self.tasks), ("--methods", self.methods), ("--seeds", self.seeds)):
            words += [option, *map(str, values)] if values else []
        words += ["--attention", self.attention] if self.attention != "paper" else []
        words += ["--expert", self.expert] if self.expert != "default" else []
        words += ["--kept"] * self.kept + ["--edited"] * self.edited
        return " ".join(words)

    @property
    def any_device(self) -> str:
        """The device of steps that are as well on a CPU: the first GPU if there is one, unless another was named."""
        return "auto" if self.device == "cuda" else self.device

    @property
    def folder(self) -> Path:
        """Where the executed notebooks of the report lie."""
        return root() / "data" / "reports" / self.name

    def configs(self) -> list[TrainConfig]:
        """All runs, those that take longest first."""
        chosen = {"attention": self.attention, "demonstrator": self.expert}
        planned = self.design.configs(self.scale, self.tasks, self.methods, self.seeds, **chosen)
        return sorted((config for _, config in planned), key=cost_order)

    def selection(self) -> dict:
        """Tasks, methods, seeds and attention of the planned runs, as of ``choose_runs``, where 05_tables shows these.

        Empty where it is no page, or nothing is planned: then all of the scale are shown.
        """
        design, scale = self.design, self.scale
        if "05_tables" not in design.pages or not self.configs():
            return {}
        return {
            "tasks": list(self.tasks or design.tasks[scale]),
            "methods": list(self.methods or design.methods),
            "seeds": list(self.seeds or design.seeds[scale]),
            "attention": self.attention,
        }

    def due(self) -> list[TrainConfig]:
        """Those of all runs that are to be made here."""
        made = set(load_kept()["name"]) if self.kept else ()
        return [config for config in self.configs() if config.name not in made]

    def steps(self, cores: int) -> list[Step]:
        """All steps, each after those it needs; trainings that take longest come first."""
        configs = self.due()
        trained = {config: self.trained(config) for config in configs}
        recordings = {store_path(config): self.demonstrations(config, cores) for config in configs}
        trainings = {config: self.training(config) for config in trained.values()}
        grouped = stacks([*trainings], self.together) if self.together > 1 else []
        groups = [self.group(members) for members in grouped]
        for group, members in zip(groups, grouped, strict=True):
            trainings |= {config: replace(trainings[config], after=(group.name,)) for config in members}
        evaluations = [
            self.evaluation(config, trainings[source]) for config, source in trained.items() if config != source
        ]
        pages = Pages(self, [*trainings.values(), *evaluations], cores).steps()
        steps = [*recordings.values(), *groups, *trainings.values(), *evaluations, *pages]
        return [replace(step, as_edited=self.edited) for step in steps]

    def runs(self) -> dict[str, TrainConfig]:
        """The run of each step that is no page, by the step's name; of a recording one of those that need it."""
        found = {}
        for config in self.due():
            trained = self.trained(config)
            found |= {self.recording_name(config): config, trained.name: trained, config.name: config}
        return found

    def trained(self, config: TrainConfig) -> TrainConfig:
        """The training that a run needs: itself, or that with the scale's own number of denoising steps."""
        if not self.design.after_training:
            return config
        usual = scale_config(config.scale, config.task, config.method).num_inference_steps
        return TrainConfig(**{**asdict(config), "num_inference_steps": usual})

    def recording_name(self, config: TrainConfig) -> str:
        """The name of the step that records a run's demonstrations."""
        return f"{self.scale}-{store_path(config).stem}-demonstrations"

    def demonstrations(self, config: TrainConfig, cores: int) -> Step:
        number = f", {config.num_demos} of them" if config.num_demos else ""
        return Step(
            name=self.recording_name(config),
            title=f"record demonstrations of {config.task}{number}",
            notebook="01_demonstrations.ipynb",
            executed=self.folder / f"01_demonstrations_{store_path(config).stem}.ipynb",
            parameters={
                "task": config.task,
                "scale": self.scale,
                "expert": config.demonstrator,
                "num_demos": config.num_demos,
                "demo_seed": config.demo_seed,
            },
            products=(store_path(config),),
            cores=cores,
            kind="recording",
        )

    def training(self, config: TrainConfig) -> Step:
        folder = run_path(config.name)
        facts = asdict(config)
        chosen = {key: facts[key] for key in CHOSEN_BY_NAME}
        usual = asdict(scale_config(**chosen))
        overrides = {key: value for key, value in facts.items() if usual[key] != value}
        told = "".join(f", {key} {value}" for key, value in overrides.items())
        numbers = {PARAMETER_FOR.get(key, key): overrides.pop(key) for key in NUMBERS if key in overrides}
        return Step(
            name=config.name,
            title=f"train and evaluate {config.method} on {config.task}, seed {config.seed}{told}",
            notebook="03_train.ipynb",
            executed=folder / "03_train.ipynb",
            parameters={
                **{key: chosen[key] for key in ("task", "method", "scale", "seed", "attention")},
                "expert": config.demonstrator,
                "device": self.device,
                **numbers,
                "overrides": overrides,
            },
            facts=facts,
            inputs=(store_path(config),),
            products=tuple(folder / name for name in PRODUCTS),
            needs=(self.recording_name(config),),
            kind="training",
        )

    def group(self, members: Sequence[TrainConfig]) -> Step:
        """Runs of one shape that are trained as one, before each has its own step, which then finds it finished."""
        trainings = [self.training(config) for config in members]
        names = [step.name for step in trainings]
        digest = hashlib.blake2b(json.dumps(names).encode(), digest_size=4).hexdigest()
        tasks = ", ".join(dict.fromkeys(config.task for config in members))
        return Step(
            name=f"{self.name}-group-{digest}",
            title=f"train {len(members)} runs of {members[0].method} together on {tasks}",
            notebook=str(package() / "pipeline" / "group.ipynb"),
            executed=self.folder / f"group-{digest}.ipynb",
            parameters={
                "runs": [
                    {name: value for name, value in step.parameters.items() if name != "device"} for step in trainings
                ],
                "device": self.device,
            },
            facts={"runs": names},
            inputs=tuple(dict.fromkeys(path for step in trainings for path in step.inputs)),
            products=tuple(step.products[0] for step in trainings),
            needs=tuple(dict.fromkeys(name for step in trainings for name in step.needs)),
            kind="group",
        )

    def evaluation(self, config: TrainConfig, training: Step) -> Step:
        """A trained policy, run with another number of denoising steps."""
        steps, (result, checkpoint, _) = config.num_inference_steps, training.products
        kept = evaluation_path(checkpoint, config.final_episodes, FINAL_SEEDS, steps)
        return Step(
            name=config.name,
            title=f"evaluate {config.method} on {config.task}, seed {config.seed}, {count(steps, 'denoising step')}",
            notebook="04_evaluate.ipynb",
            executed=kept.with_suffix(".ipynb"),
            parameters={
                "checkpoint": str(checkpoint),
                "num_inference_steps": steps,
                "device": self.any_device,
                "figures": False,
            },
            inputs=(result,),
            products=(kept,),
            needs=(training.name,),
            kind="evaluation",
        )
