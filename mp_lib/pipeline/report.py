"""The report: one HTML page that begins with the answer; it asks no network, and forbids the browser scripts."""

from __future__ import annotations

import base64
import time
from collections.abc import Sequence
from pathlib import Path

from mp_lib.config import prefix
from mp_lib.insight.reel import LIST, Film, films_in
from mp_lib.pipeline.details import Chapters, Figure, figures_of, link
from mp_lib.pipeline.experiment import Experiment
from mp_lib.pipeline.steps import NOTE, Step, noted
from mp_lib.study.answer import Answer
from mp_lib.study.sentences import count
from mp_lib.system.device import choose_device, device_name
from mp_lib.system.files import write_atomically
from mp_lib.system.paths import package, run_path
from mp_lib.system.provenance import commit
from mp_lib.system.workers import usable_cores

ORDER = (  # of chapters: what is compared stands before what came out
    "00_overview",
    "01_demonstrations",
    "05_tables",
    "07_ablations",
    "04_evaluate",
    "02_model_anatomy",
    "06_efficiency",
)

TITLES = {"00_overview": "What is claimed, and what is compared"}  # where a notebook's own is that of the whole page


def build_report(experiment: Experiment, steps: Sequence[Step], answer: Answer) -> Path:
    """Write the page of an experiment and return its path: the answer first, then how each number was obtained.

    Details are the executed notebooks of the experiment's folder; those of trainings and evaluations lie beside their
    results, and are listed at the end. Before all else it names notebooks that were executed as somebody had edited
    them.
    """
    from jinja2 import Environment, FileSystemLoader

    folder = experiment.folder
    executed = [step for step in steps if step.executed.exists()]
    pages = sorted((step.executed for step in executed if is_chapter(step, folder)), key=place_of)
    figure, (films, gone) = head_figure(experiment, pages), films_of(steps)
    templates = Environment(loader=FileSystemLoader(package() / "pipeline"), autoescape=True)
    page = templates.get_template("report.html").render(
        title=f"Mamba Policy, reproduced: {experiment.title}",
        edited="; ".join(edits_of(experiment.scale, steps)),
        answer=answer,
        figure=figure.html(folder, experiment.command, "head") if figure else "",
        pair=[shown(path, film) for path, film in films if film.place == "pair"],
        others=[shown(path, film) for path, film in films if film.place != "pair"],
        gone=", ".join(gone),
        evidence=write_evidence(answer, folder),
        provenance=provenance(experiment, steps),
        chapters=chapters_of(experiment, pages, figure),
        files=[(step.title, link(step.executed, folder), minutes([step])) for step in executed],
    )
    path = folder / "report.html"
    write_atomically(path, page.encode())
    return path


def edits_of(scale: str, steps: Sequence[Step]) -> list[str]:
    """How notebooks had been edited that had a part in these steps, or in any run of the scale, as all are judged."""
    runs = sorted(run_path().glob(f"{prefix(scale)}-*/**/*{NOTE}"))
    told = [line for step in steps for line in step.edited()] + [line for path in runs for line in noted(path)]
    return [*dict.fromkeys(told)]


def is_chapter(step: Step, folder: Path) -> bool:
    """Whether a step's notebook is one of the numbered ones and is told of in this folder."""
    return step.executed.parent == folder and not Path(step.notebook).is_absolute()


def place_of(path: Path) -> tuple[int, str]:
    """Where a chapter stands."""
    return next((place for place, start in enumerate(ORDER) if path.stem.startswith(start)), len(ORDER)), path.stem


def head_figure(experiment: Experiment, pages: Sequence[Path]) -> Figure | None:
    """The figure of success, or the first one of all that was written; None where there is none."""
    found = [figure for figure in figures_of(pages) if figure.name]
    wanted = f"05_success_{experiment.scale}"
    ablations = [figure for figure in found if figure.name.startswith("07_")]
    return next((figure for figure in found if figure.name == wanted), next(iter(ablations), None))


def chapters_of(experiment: Experiment, pages: Sequence[Path], figure: Figure | None) -> list[dict]:
    """Chapters as the template wants them: id, title, link to the notebook, sections of id, title and body."""
    told = Chapters(experiment.folder, experiment.command)
    if figure:
        told.is_new(figure.content)
    chapters = []
    for path in pages:
        title, sections = told.chapter(path)
        title = title_of(path, title, pages)
        name = path.stem.replace(".", "-")
        parts = [
            {"id": f"{name}-{place}", "title": section.title, "body": told.body(section)}
            for place, section in enumerate(sections)
        ]
        address = link(path, experiment.folder)
        chapters.append({"id": name, "title": title, "link": address, "file": path.name, "sections": parts})
    return chapters


def title_of(path: Path, title: str, pages: Sequence[Path]) -> str:
    """A chapter's title: the notebook's own, with what the recording is called where there are several."""
    start = "01_demonstrations_"
    several = path.stem.startswith(start) and sum(page.stem.startswith(start) for page in pages) > 1
    return f"{title}: {path.stem.removeprefix(start)}" if several else TITLES.get(path.stem, title)


def films_of(steps: Sequence[Step]) -> tuple[list[tuple[Path, Film]], list[str]]:
    """The films that one of these steps has left, and the names of those that are not there any more.

    Those of a step that has failed are none of this report's: they show policies of an earlier call.
    """
    folders = [path.parent for step in steps for path in step.products if path.name == LIST]
    films = [(folder / film.file, film) for folder in folders for film in films_in(folder)]
    there = [(path, film) for path, film in films if path.exists()]
    return there, [path.name for path, _ in films if not path.exists()]


def shown(path: Path, film: Film) -> dict:
    """A film as the template wants it."""
    content = base64.b64encode(path.read_bytes()).decode()
    return {"title": film.title, "said": film.said, "source": f"data:video/mp4;base64,{content}"}


def write_evidence(answer: Answer, folder: Path) -> str:
    """Write the table that the verdicts were taken from beside the page and return its address; empty without verdicts.

    It is the page's own: other calls of the scale write figures/05_claims_<scale>.csv, too.
    """
    path = folder / "claims.csv"
    path.unlink(missing_ok=True)
    if not answer.verdicts:
        return ""
    write_atomically(path, answer.evidence.to_csv(index=False).encode())
    return link(path, folder)


def provenance(experiment: Experiment, steps: Sequence[Step]) -> list[str]:
    """Date, commit, machine, command, and the minutes of all steps one after the other."""
    device = device_name(choose_device(experiment.any_device))
    return [
        time.strftime("%Y-%m-%d"),
        f"commit {commit()}",
        f"{device}, {count(usable_cores(), 'CPU core')}",
        experiment.command,
        f"{minutes(steps)} min of steps",
    ]


def minutes(steps: Sequence[Step]) -> str:
    """How long these steps took when they were last run, one after the other."""
    return f"{sum(step.seconds() for step in steps) / 60:.1f}"
