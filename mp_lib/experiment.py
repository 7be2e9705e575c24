"""The experiment as steps: demonstrations, trainings, an evaluation, tables, report."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from mp_lib.config import ATTENTION, METHODS, SCALES, TrainConfig, scale_config
from mp_lib.interfaces import look_up
from mp_lib.paths import demos_path, published_path, root, run_path
from mp_lib.sim.tasks import TASKS
from mp_lib.steps import Step

COSTLIEST_FIRST = ("dp3", "dp3_mamba_bi", "dp3_mamba", "dp3_mamba_hydra", "dp3_mamba_v2", "dp3_narrow", "simple_dp3")


@dataclass(frozen=True)
class Experiment:
    """Which runs to make: every method on every task with every seed.

    Raises a ValueError that lists the choices for an unknown scale, task, method or attention.
    """

    scale: str
    tasks: tuple[str, ...]
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    attention: str
    device: str

    def __post_init__(self):
        look_up(SCALES, self.scale, "scale")
        look_up(ATTENTION, self.attention, "attention")
        for task in self.tasks:
            look_up(TASKS, task, "task")
        for method in self.methods:
            look_up(METHODS, method, "method")

    @property
    def folder(self) -> Path:
        """Where the executed notebooks of the report lie."""
        return root() / "data" / "reports" / self.scale

    def steps(self, cores: int) -> list[Step]:
        """All steps, each after those it needs; trainings that take longest come first."""
        ordered = sorted(self.methods, key=COSTLIEST_FIRST.index)
        runs = [(task, method, seed) for seed in self.seeds for method in ordered for task in self.tasks]
        trainings = [self.training(*run) for run in runs]
        readers = [self.evaluation(trainings[-1], *runs[-1]), self.tables(trainings), self.efficiency(trainings)]
        explanations = [self.overview(), self.anatomy()]
        return [*(self.demonstrations(task, cores) for task in self.tasks), *trainings, *explanations, *readers]

    def config(self, task: str, method: str, seed: int) -> TrainConfig:
        """The configuration of one run."""
        return scale_config(self.scale, task, method, seed, attention=self.attention)

    def demos(self, task: str) -> Path:
        """The demonstrations of a task at this scale."""
        config = self.config(task, self.methods[0], 0)
        return demos_path(task, config.num_points, config.num_demos or TASKS[task].num_demos)

    def demonstrations(self, task: str, cores: int) -> Step:
        return Step(
            name=f"{self.scale}-{task}-demonstrations",
            title=f"record demonstrations of {task}",
            notebook="01_demonstrations.ipynb",
            executed=self.folder / f"01_demonstrations_{task}.ipynb",
            parameters={"task": task, "scale": self.scale},
            products=(self.demos(task),),
            cores=cores,
        )

    def training(self, task: str, method: str, seed: int) -> Step:
        config = self.config(task, method, seed)
        folder = run_path(config.name)
        return Step(
            name=config.name,
            title=f"train and evaluate {method} on {task}, seed {seed}",
            notebook="03_train.ipynb",
            executed=folder / "03_train.ipynb",
            parameters={
                "task": task,
                "method": method,
                "scale": self.scale,
                "seed": seed,
                "attention": self.attention,
                "device": self.device,
            },
            inputs=(self.demos(task),),
            products=tuple(folder / name for name in ("result.json", "policy.safetensors", "rollout.mp4")),
            needs=(f"{self.scale}-{task}-demonstrations",),
        )

    def evaluation(self, training: Step, task: str, method: str, seed: int) -> Step:
        checkpoint = run_path(self.config(task, method, seed).name) / "policy.safetensors"
        return self.reader("04_evaluate", "evaluate a stored checkpoint", [training], {"checkpoint": str(checkpoint)})

    def tables(self, trainings: list[Step]) -> Step:
        parameters = {"scale": self.scale, "tasks": list(self.tasks), "methods": list(self.methods)}
        return self.reader("05_tables", "tables and figures", trainings, parameters, (published_path(),))

    def efficiency(self, trainings: list[Step]) -> Step:
        # After the trainings, so that nothing else disturbs what it times.
        return self.reader("06_efficiency", "parameters, multiply-adds, latency", trainings, {"scale": self.scale})

    def overview(self) -> Step:
        return self.reader("00_overview", "overview", [], {"scale": self.scale})

    def anatomy(self) -> Step:
        return self.reader("02_model_anatomy", "anatomy of the models", [], {})

    def reader(
        self, notebook: str, title: str, after: list[Step], parameters: dict, inputs: tuple[Path, ...] = ()
    ) -> Step:
        """A step that takes seconds and so depends on the package's code, too."""
        return Step(
            name=f"{self.scale}-{notebook}",
            title=title,
            notebook=f"{notebook}.ipynb",
            executed=self.folder / f"{notebook}.ipynb",
            parameters=parameters,
            inputs=(
                root() / "notebooks" / f"{notebook}.ipynb",
                Path(__file__).parent,
                *(product for step in after for product in step.products if product.suffix == ".json"),
                *inputs,
            ),
            needs=tuple(step.name for step in after),
        )
