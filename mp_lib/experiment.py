"""The experiment as steps: demonstrations, trainings, an evaluation, tables, report."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from mp_lib.config import ATTENTION, METHODS, SCALES, TrainConfig, scale_config
from mp_lib.interfaces import look_up
from mp_lib.paths import demos_path, figures_path, published_path, root, run_path
from mp_lib.sim.tasks import TASKS
from mp_lib.steps import Step

MEASURED_ANEW = {"smoke": (), "quick": ("dp3_mamba_hydra",), "paper": tuple(METHODS)}  # in 06_efficiency


def cost_order(method: str) -> tuple:
    """Sorts methods so that the costliest come first: wide ones, then those with mixers, then the rest."""
    row = METHODS[method]
    return (-row.down_dims[-1], row.mixer is None)


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
    expert: str = "default"

    def __post_init__(self):
        look_up(SCALES, self.scale, "scale")
        look_up(ATTENTION, self.attention, "attention")
        for task in self.tasks:
            look_up(TASKS, task, "task").with_expert(self.expert)
        for method in self.methods:
            look_up(METHODS, method, "method")

    @property
    def folder(self) -> Path:
        """Where the executed notebooks of the report lie."""
        return root() / "data" / "reports" / self.scale

    def steps(self, cores: int) -> list[Step]:
        """All steps, each after those it needs; trainings that take longest come first."""
        ordered = sorted(self.methods, key=cost_order)
        runs = [(task, method, seed) for seed in self.seeds for method in ordered for task in self.tasks]
        trainings = [self.training(*run) for run in runs]
        readers = [self.evaluation(trainings[-1], *runs[-1]), self.tables(trainings), self.efficiency(trainings, cores)]
        explanations = [self.overview(), self.anatomy(trainings)]
        return [*(self.demonstrations(task, cores) for task in self.tasks), *trainings, *explanations, *readers]

    def config(self, task: str, method: str, seed: int) -> TrainConfig:
        """The configuration of one run."""
        return scale_config(self.scale, task, method, seed, attention=self.attention, demonstrator=self.expert)

    def demos(self, task: str) -> Path:
        """The demonstrations of a task at this scale."""
        config = self.config(task, self.methods[0], 0)
        return demos_path(task, config.num_points, config.num_demos or TASKS[task].num_demos, self.expert)

    def recording_name(self, task: str) -> str:
        """The name of the step that records a task."""
        return f"{self.scale}-{task}-demonstrations" + ("" if self.expert == "default" else f"-{self.expert}")

    def demonstrations(self, task: str, cores: int) -> Step:
        return Step(
            name=self.recording_name(task),
            title=f"record demonstrations of {task}",
            notebook="01_demonstrations.ipynb",
            executed=self.folder / f"01_demonstrations_{task}.ipynb",
            parameters={"task": task, "scale": self.scale, "expert": self.expert},
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
                "expert": self.expert,
            },
            facts=asdict(config),
            inputs=(self.demos(task),),
            products=tuple(folder / name for name in ("result.json", "policy.safetensors", "rollout.mp4")),
            needs=(self.recording_name(task),),
        )

    def evaluation(self, training: Step, task: str, method: str, seed: int) -> Step:
        checkpoint = run_path(self.config(task, method, seed).name) / "policy.safetensors"
        parameters = {"checkpoint": str(checkpoint), "device": self.device}
        return self.reader("04_evaluate", "evaluate a stored checkpoint", parameters, needs=[training])

    def tables(self, trainings: list[Step]) -> Step:
        parameters = {
            "scale": self.scale,
            "tasks": list(self.tasks),
            "methods": list(self.methods),
            "seeds": list(self.seeds),
            "attention": self.attention,
            "expert": self.expert,
        }
        figures = [f"05_{name}_{self.scale}" for name in ("success", "parameters", "curves")]
        return self.reader("05_tables", "tables and figures", parameters, after=trainings, figures=figures)

    def efficiency(self, trainings: list[Step], cores: int) -> Step:
        # Behind the trainings and alone, so that nothing else disturbs what it times.
        parameters = {"scale": self.scale, "anew": list(MEASURED_ANEW[self.scale])}
        figures = [f"06_{name}_{self.scale}" for name in ("costs", "lengths")]
        title = "parameters, multiply-adds, latency"
        return self.reader("06_efficiency", title, parameters, after=trainings, figures=figures, cores=cores)

    def overview(self) -> Step:
        return self.reader("00_overview", "overview", {"scale": self.scale}, figures=["00_method"])

    def anatomy(self, trainings: list[Step]) -> Step:
        parameters = {"scale": self.scale, "task": self.tasks[0]}
        figures = ["02_parameters", *(f"02_{name}_{self.scale}_{self.tasks[0]}" for name in ("mixing", "field"))]
        return self.reader("02_model_anatomy", "anatomy of the models", parameters, after=trainings, figures=figures)

    def reader(
        self,
        notebook: str,
        title: str,
        parameters: dict,
        *,
        needs: Sequence[Step] = (),
        after: Sequence[Step] = (),
        figures: Sequence[str] = (),
        cores: int = 1,
    ) -> Step:
        """A step that takes seconds and so depends on the package's code, too."""
        results = (product for step in (*needs, *after) for product in step.products if product.suffix == ".json")
        return Step(
            name=f"{self.scale}-{notebook}",
            title=title,
            notebook=f"{notebook}.ipynb",
            executed=self.folder / f"{notebook}.ipynb",
            parameters=parameters,
            inputs=(root() / "notebooks" / f"{notebook}.ipynb", Path(__file__).parent, published_path(), *results),
            products=tuple(figures_path() / f"{name}.png" for name in figures),
            needs=tuple(step.name for step in needs),
            after=tuple(step.name for step in after),
            cores=cores,
        )
