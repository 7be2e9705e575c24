"""What a site shows: executed notebooks and how long they took, figures with their tables, documents."""

from __future__ import annotations

import base64
import contextlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from mp_lib.config import prefix
from mp_lib.learning.folder import PRODUCTS
from mp_lib.pipeline.details import Figure, block_of
from mp_lib.pipeline.steps import Step
from mp_lib.system.errors import InputError
from mp_lib.system.files import read_json
from mp_lib.system.paths import checkout, figures_path, project, results_path, root, run_path, supplied
from mp_lib.system.provenance import file_hash

OTHERS = ("README.md", "CONTRIBUTING.md", "CHANGELOG.md")  # documents beside docs/
FOLDERS = ("data/results", "data/paper", "data/policies", "figures", "plugins")  # whose README some document links to
KEPT = {  # figures that come with the project: what they show, their table, and what writes them
    "success.png": ("Success on the paper's tasks, from kept runs", "runs.csv", "python -m mp_lib documents"),
    "pocket.png": ("Success of pocket policies, from kept runs", "runs.csv", "python -m mp_lib documents"),
    "ten_tasks.png": ("The paper's ten tasks", "", "python -m mp_lib gallery"),
    "wall_times.png": ("Twelve runs by the number of workers", "wall_times.csv", "python -m mp_lib scaling"),
}


@dataclass(frozen=True)
class Ran:
    """An executed notebook: its page in the site, what it did, how long that took, and on what."""

    path: Path
    page: str
    title: str
    minutes: float
    machine: str


@dataclass(frozen=True)
class Shown:
    """A figure: its PNG and words, the heading it stands below, on which page, its table, what makes both."""

    name: str
    content: bytes
    words: str
    heading: str
    page: str
    table: Path | None
    command: str


@dataclass(frozen=True)
class Document:
    """A text of the project and its page."""

    path: Path
    page: str

    @property
    def text(self) -> str:
        """What it says, in Markdown."""
        return self.path.read_text(encoding="utf-8")

    @property
    def title(self) -> str:
        """Its first heading; its path where it has none."""
        first = next(iter(self.text.lstrip().splitlines()), "")
        return first.removeprefix("# ") if first.startswith("# ") else str(self.path.relative_to(project()))


def ran_steps(steps: Sequence[Step]) -> list[Ran]:
    """The steps that were executed, the notebooks in the order of their names."""
    found = [step for step in steps if step.executed.exists()]
    return [
        Ran(step.executed, f"notebooks/{step.executed.stem}.html", step.title, step.seconds() / 60, step.machine())
        for step in sorted(found, key=lambda step: step.executed.name)
    ]


def ran_trainings(scale: str) -> list[Ran]:
    """The newest executed training of each method at a scale."""
    newest: dict[str, Ran] = {}
    pages = run_path().glob(f"{prefix(scale)}-*/03_train.ipynb")
    for path in sorted(pages, key=lambda path: path.stat().st_mtime):
        with contextlib.suppress(OSError, ValueError, LookupError, TypeError, AttributeError):  # as tables leave it out
            result = read_json(path.parent / PRODUCTS[0])
            config, seconds = result["config"], sum(result["seconds"].values())
            title = f"train and evaluate {config['method']} on {config['task']}, seed {config['seed']}"
            page = f"notebooks/{path.parent.name}.html"
            newest[config["method"]] = Ran(path, page, title, seconds / 60, result["device"])
    return [newest[method] for method in sorted(newest)]


def documents() -> list[Document]:
    """Every document that comes with the project, README first; none where the package was installed alone."""
    folder = checkout()
    if folder is None:
        return []
    found = [Document(folder / name, f"documents/{Path(name).stem.lower()}.html") for name in OTHERS]
    found += [Document(path, f"documents/{path.stem}.html") for path in sorted((folder / "docs").glob("*.md"))]
    return found + [
        Document(folder / name / "README.md", f"documents/{name.replace('/', '-')}.html") for name in FOLDERS
    ]


def figures(ran: Iterable[Ran], command: str) -> Iterator[Shown]:
    """The figures of executed notebooks that were written under a name, then those that come with the project."""
    seen = set()
    for notebook in ran:
        for heading, each in below_headings(notebook.path):
            if each.name and each.name not in seen:
                seen.add(each.name)
                table = figures_path() / f"{each.name}.csv"
                same = table.is_file() and file_hash(table) == each.digest
                content, behind = base64.b64decode(each.content), table if same else None
                yield Shown(each.name, content, each.words, heading, notebook.page, behind, command)
    for name, (heading, table, written_by) in KEPT.items():
        if (path := supplied(results_path(name))).exists():
            behind = path.with_name(table) if table else None  # of the same folder: another's may be other rows
            behind = behind if behind and behind.exists() else None
            yield Shown(path.stem, path.read_bytes(), heading, heading, "", behind, written_by)


def below_headings(path: Path) -> Iterator[tuple[str, Figure]]:
    """The figures of an executed notebook, each with the heading that it stands below."""
    heading = ""
    for cell in read_json(path)["cells"]:
        outputs = cell.get("outputs", ())
        shown = ("".join(output.get("data", {}).get("text/markdown", "")) for output in outputs)
        said = ["".join(cell["source"])] if cell["cell_type"] == "markdown" else []
        for output, text in zip((None, *outputs), (*(said or [""]), *shown), strict=True):
            heading = next((line.lstrip("# ") for line in text.splitlines() if line.startswith("#")), heading)
            if output and isinstance(figure := block_of(output, ""), Figure):
                if figure.name and Path(figure.name).name != figure.name:
                    raise InputError(f"{path} has a figure of the name {figure.name!r}, which is a path; run it anew")
                yield heading, figure


def tables() -> list[tuple[str, Path]]:
    """What was measured and is kept, and what others have published, by name below data/."""
    found = {}
    for name in ("results/*.csv", "results/earlier/*.csv", "paper/*.csv"):
        for folder in (project() / "data", root() / "data"):
            found |= {str(path.relative_to(folder)): path for path in folder.glob(name)}
    return sorted(found.items())
