"""The notebooks that show an experiment, as steps behind its runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from functools import partial

from mp_lib.insight import reel
from mp_lib.model.weights import KEPT
from mp_lib.pipeline.steps import Step
from mp_lib.presets import METHODS
from mp_lib.study import beyond, claims
from mp_lib.study.designs import DEFAULT_TASK
from mp_lib.study.runs import kept_files, patterns
from mp_lib.system.paths import figures_path, notebooks_path, package

MEASURED_ANEW = {  # in 06_efficiency
    "smoke": (),
    "quick": ("dp3_mamba_hydra",),
    "pocket": ("pocket_mamba",),
    **dict.fromkeys(("standard", "paper"), tuple(METHODS)),
}
TOURS = {  # what they are shown with: seconds to a few minutes, and policies that come with the project
    "01_demonstrations": ("demonstrations of a task", {"task": DEFAULT_TASK, "scale": "quick"}),
    "03_train": ("a training, tiny", {"task": DEFAULT_TASK, "method": "dp3_mamba_hydra", "scale": "smoke"}),
    "08_explore": ("a policy that comes with the project", {"policy": "pocket_mamba"}),
    "09_what_if": ("what if something is otherwise", {"policies": ["pocket_mamba"], "episodes": 10}),
}


class Pages:
    """The pages of an ``Experiment`` whose ``runs`` are these steps; where it plans no run, of all that there is."""

    def __init__(self, experiment, runs: list[Step], cores: int):
        self.experiment, self.runs, self.cores = experiment, runs, cores
        self.scale, self.design = experiment.scale, experiment.design
        self.planned = experiment.configs()

    def steps(self) -> list[Step]:
        """A step a page."""
        makers = {
            "00_overview": self.overview,
            "02_model_anatomy": self.anatomy,
            "04_evaluate": self.evaluation,
            "05_tables": self.tables,
            "06_efficiency": self.efficiency,
            "07_ablations": self.ablations,
            **{name: partial(self.tour, name) for name in TOURS},
        }
        return [*(makers[name]() for name in self.design.pages), *self.films()]

    def filmed(self) -> list[Step]:
        """The trainings of whose policies there are films: one of Mamba Policy and its rival."""
        trainings = {step.name: step for step in self.runs if step.kind == "training"}
        keys = ("method", "task", "seed")
        rows = [{key: step.facts[key] for key in keys} | {"name": name} for name, step in trainings.items()]
        return [trainings[row["name"]] for row in reel.cast(rows)]

    def films(self) -> list[Step]:
        """The step that plays them again for the report, or policies that are there where no training is planned."""
        needs = self.filmed()
        found = [step.products[1] for step in needs] or reel.cast_here(self.scale)
        if not found or not self.design.pages:
            return []
        folder = self.experiment.folder / "films"
        return [
            Step(
                name=f"{self.experiment.name}-films",
                title="films for the report",
                notebook=str(package() / "pipeline" / "films.ipynb"),
                executed=self.experiment.folder / "films.ipynb",
                parameters={"checkpoints": [*map(str, found)], "folder": str(folder)},
                inputs=(package(), *found),
                products=(folder / reel.LIST, *(folder / name for name in reel.always(len(found)))),
                needs=tuple(step.name for step in needs),
            )
        ]

    def evaluation(self) -> Step:
        needs = self.filmed()[:1]
        checkpoint = needs[0].products[1] if needs else KEPT
        parameters = {"checkpoint": str(checkpoint), "device": self.experiment.any_device}
        return self.reader("04_evaluate", "evaluate a stored checkpoint", parameters, needs=needs)

    def tables(self) -> Step:
        asked, scale = self.experiment, self.scale
        parameters = {"scale": scale, "tasks": [], "methods": [], "seeds": [], "attention": ""} | asked.selection()
        parameters |= {"expert": asked.expert, "kept": asked.kept}
        several = {name for name, key in (("tasks", "task"), ("seeds", "seed")) if self.differ_in(key)}
        names = ("success", *sorted(several), "parameters", "speed", "curves") if self.planned else ()
        figures = [f"05_{name}_{scale}" for name in names]
        title = "verdicts, tables and figures"
        reads = dict.fromkeys([scale, beyond.SCALE, beyond.RIVALS])
        return self.reader("05_tables", title, parameters, after=self.runs, figures=figures, reads=tuple(reads))

    def differ_in(self, key: str) -> bool:
        """Whether the planned runs differ in one of their numbers."""
        return len({getattr(config, key) for config in self.planned}) > 1

    def ablations(self) -> Step:
        experiments = [self.design.name] if self.planned else []
        figures = [f"07_{name}_{self.scale}" for name in experiments]
        parameters = {"scale": self.scale, "experiments": experiments, "methods": list(self.experiment.methods)}
        parameters |= {"expert": self.experiment.expert, "kept": self.experiment.kept}
        title = self.design.title.lower() if self.planned else "ablations"
        return self.reader("07_ablations", title, parameters, after=self.runs, figures=figures, reads=(self.scale,))

    def efficiency(self) -> Step:
        # Behind the trainings and alone, so that nothing else disturbs what it times.
        parameters = {"scale": self.scale, "anew": list(MEASURED_ANEW[self.scale]) if self.planned else []}
        figures = [f"06_{name}_{self.scale}" for name in ("costs", "lengths")]
        title = "parameters, multiply-adds, latency"
        return self.reader("06_efficiency", title, parameters, after=self.runs, figures=figures, cores=self.cores)

    def overview(self) -> Step:
        # Behind the runs: it shows the newest film and the rates of all that there are.
        given, figures = {"scale": self.scale}, ["00_method"]
        return self.reader("00_overview", "overview", given, after=self.runs, figures=figures, reads=(self.scale,))

    def anatomy(self) -> Step:
        task = next((config.task for config in self.planned), DEFAULT_TASK)
        parameters = {"scale": self.scale, "task": task}
        figures = ["02_parameters", *(f"02_{name}_{self.scale}_{task}" for name in ("mixing", "field"))]
        title = "anatomy of the models"
        return self.reader("02_model_anatomy", title, parameters, after=self.runs, figures=figures, reads=(self.scale,))

    def tour(self, name: str) -> Step:
        """A notebook that is shown for its own sake, which is no chapter of the report."""
        step = self.reader(name, f"a tour: {TOURS[name][0]}", dict(TOURS[name][1]), cores=self.cores)
        return replace(step, executed=self.experiment.folder / "tour" / step.executed.name)

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
        reads: Sequence[str] = (),
    ) -> Step:
        """A step of seconds, which depends on the package's code, too, and on all runs of the scales in ``reads``."""
        results = (product for step in (*needs, *after) for product in step.products if product.suffix == ".json")
        own = (notebooks_path() / f"{notebook}.ipynb", package(), *claims.other_files())
        kept = kept_files() if reads else []
        return Step(
            name=f"{self.experiment.name}-{notebook}",
            title=title,
            notebook=f"{notebook}.ipynb",
            executed=self.experiment.folder / f"{notebook}.ipynb",
            parameters=parameters,
            inputs=tuple(dict.fromkeys([*own, *kept, *results])),
            patterns=tuple(pattern for scale in reads for pattern in patterns(scale)),
            products=tuple(figures_path() / f"{name}.png" for name in figures),
            needs=tuple(step.name for step in needs),
            after=tuple(step.name for step in after),
            cores=cores,
        )
