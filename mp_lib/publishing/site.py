"""The site: report, executed notebooks, documents, functions, figures and times, to be read without an installation.

It is a folder of plain files that fetch nothing from outside, so that it opens from a disk and below any address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from pathlib import Path

from bs4 import BeautifulSoup

from mp_lib.pipeline.experiment import Experiment
from mp_lib.pipeline.report import provenance
from mp_lib.pipeline.steps import Step
from mp_lib.publishing import executed, reference
from mp_lib.publishing.contents import Document, Ran, Shown, documents, figures, ran_steps, ran_trainings, tables
from mp_lib.publishing.links import broken_links
from mp_lib.publishing.markup import colours, rendered, sections_of
from mp_lib.publishing.shelf import Shelf
from mp_lib.study.sentences import count
from mp_lib.system.errors import InputError
from mp_lib.system.folders import whole_folder
from mp_lib.system.locks import sole_user
from mp_lib.system.paths import package, project, root, step_path

NAME = "Mamba Policy, reproduced"
MOST = 60_000_000  # bytes of all files
MARK = ".nojekyll"  # by which a site is known for one; it also has GitHub's Pages take files as they are
SAID = "Written by ./run_all.sh site, which replaces this folder.\n"
BAR = (  # what every page links to: page, name, and what is there
    ("report.html", "Report", "what holds of the paper, and by which numbers"),
    ("notebooks.html", "Notebooks", "each one executed, with its outputs, minutes and machine"),
    ("figures.html", "Figures", "each with its table and command; all kept rows"),
    ("documents.html", "Documents", "methods, tasks, statistics, costs, data, robots"),
    ("reference.html", "In Python", "what import mp_lib offers"),
)
FRONT = ("What came out", "What differs from the paper", "Two commands", "In Python")  # sections of README, reordered


class Site:
    """Writes the pages of an experiment's site into a folder."""

    def __init__(self, experiment: Experiment, steps: Sequence[Step], folder: Path):
        from jinja2 import Environment, FileSystemLoader

        self.folder, self.shelf = folder, Shelf(folder)
        self.report_path, self.command = experiment.folder / "report.html", experiment.command
        self.provenance = provenance(experiment, steps)
        self.ran = [*ran_steps(steps), *ran_trainings(experiment.scale)]
        self.documents = documents()
        self.templates = Environment(loader=FileSystemLoader(package() / "publishing" / "pages"), autoescape=True)
        for each in (*self.ran, *self.documents):
            self.shelf.add(each.path, each.page)
        self.shelf.add(self.report_path, "report.html")

    def write(self) -> None:
        """Write all pages."""
        style = package() / "publishing" / "pages" / "style.css"
        (self.folder / "style.css").write_text(f"{style.read_text()}{colours()}\n", encoding="utf-8")
        for document in self.documents:
            body = self.shelf.relinked(rendered(document.text), document.path.parent, document.page)
            self.page(document.page, document.title, body, "documents.html")
        for ran in self.ran:
            self.notebook(ran)
        self.page("index.html", NAME, self.filled("front", parts=self.front(), bar=BAR))
        self.page("notebooks.html", "Notebooks", self.filled("notebooks", ran=self.ran))
        kept = [(name, self.shelf.place(path)) for name, path in tables()]
        self.page("figures.html", "Figures", self.filled("figures", figures=[*self.figures()], kept=kept))
        self.page("documents.html", "Documents", self.filled("documents", documents=[*map(told, self.documents)]))
        self.page("reference.html", "In Python", self.filled("reference", entries=reference.entries()))
        self.report()

    def filled(self, template: str, **values) -> str:
        """A template with its values."""
        return self.templates.get_template(f"{template}.html").render(values)

    def page(self, page: str, title: str, body: str, here: str = "") -> None:
        """Write a page; ``here`` is the page that the bar marks, if not this one."""
        text = self.filled(
            "page",
            title=title if title == NAME else f"{title} · {NAME}",
            root="../" * page.count("/"),
            bar=BAR,
            here=here or page,
            body=body,
            provenance=self.provenance,
        )
        self.save(page, text)

    def save(self, page: str, text: str) -> None:
        """Write a page without the places of this machine."""
        path = self.folder / page
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(without_places(text), encoding="utf-8")

    def notebook(self, ran: Ran) -> None:
        """Write the page of an executed notebook."""
        read = executed.read(ran.path)
        body = self.filled("notebook", ran=ran, body=read.body)
        body = self.shelf.relinked(body, ran.path.parent, ran.page)
        self.page(ran.page, read.title, body, "notebooks.html")

    def front(self) -> list[tuple[str, str]]:
        """Headings of README and what stands below them, what came out first."""
        readme = next((each for each in self.documents if each.path.name == "README.md"), None)
        if readme is None:
            return []
        sections = sections_of(readme.text)
        words = {"": sections[""].partition("\n![")[0]} | {name: sections[name] for name in FRONT if name in sections}
        folder = readme.path.parent
        return [(name, self.shelf.relinked(rendered(text), folder, "index.html")) for name, text in words.items()]

    def figures(self) -> Iterator[tuple[Shown, str | None]]:
        """The figures, each of whose PNG and table are files of the site."""
        for shown in figures(self.ran, self.command):
            picture = self.folder / "figures" / f"{shown.name}.png"
            picture.parent.mkdir(exist_ok=True)
            picture.write_bytes(shown.content)
            yield shown, self.shelf.place(shown.table) if shown.table else None

    def report(self) -> None:
        """The experiment's report as it is, with a way back."""
        text = self.report_path.read_text(encoding="utf-8")
        text = self.shelf.relinked(text, self.report_path.parent, "report.html")
        back = self.filled("bar", bar=BAR, here="report.html", name=NAME)
        self.save("report.html", text.replace("<body>", f"<body>{back}", 1))


def told(document: Document) -> tuple[str, str, str]:
    """A document's page, its title, and its first paragraph as HTML without links."""
    text = sections_of(document.text)[""].strip() or document.text
    soup = BeautifulSoup(rendered(text.split("\n\n")[0]), "html.parser")
    return document.page, document.title, soup.get_text(" ").strip()


def write_site(experiment: Experiment, steps: Sequence[Step]) -> Path:
    """Write an experiment's site into site/, in the place of an earlier one, and return its first page.

    Its report must have been written. Raises an InputError, and leaves what was there, if that is no earlier site, a
    link leads nowhere or the whole is larger than MOST, and an InUseError where another process writes it.
    """
    folder = root() / "site"
    with sole_user(step_path("site.lock"), "the site"):
        refuse_others(folder)
        with whole_folder(folder, replace_old=True) as draft:
            Site(experiment, steps, draft).write()
            (draft / MARK).write_text(SAID, encoding="utf-8")
            check(draft)
    return folder / "index.html"


def refuse_others(folder: Path) -> None:
    """Raise an InputError if something of that name is no site that was written before."""
    taken = folder.is_symlink() or folder.exists()
    if taken and (folder.is_symlink() or not (folder / MARK).is_file() or (folder / MARK).read_text() != SAID):
        raise InputError(f"{folder} was not written by ./run_all.sh site, and would be replaced; move it away")


def check(folder: Path) -> None:
    """Raise an InputError if a site has a wrong link, or is too large."""
    if wrong := broken_links(folder):
        raise InputError(
            f"{count(len(wrong), 'link')} of the site lead nowhere: {wrong[0]}; mend the document or notebook it is in"
        )
    sizes = {path: path.stat().st_size for path in folder.rglob("*") if path.is_file()}
    if (size := sum(sizes.values())) > MOST:
        largest = max(sizes, key=sizes.__getitem__)
        said = f"{size / 1e6:.0f} MB, {sizes[largest] / 1e6:.0f} of them in {largest.relative_to(folder)}"
        raise InputError(
            f"the site has {said}; at most {MOST / 1e6:.0f} are meant to be: move some runs out of data/runs"
        )


def without_places(text: str) -> str:
    """A page that does not say where on this machine it was made; pictures and films stay as they are."""
    home = Path.home()
    places = {str(place) for place in (root(), root().resolve(), project(), home)} - {"/"}
    alternatives = "|".join(map(re.escape, sorted(places, key=len, reverse=True)))
    pattern = re.compile(rf"(?<![\w/.~-])({alternatives})(/|(?![\w-])(?!\.\w))")

    def said(found: re.Match) -> str:
        if found[1] == str(home):
            return f"~{found[2]}"
        return "" if found[2] else "."

    parts = re.split(r"(data:[\w/+.-]+;base64,[A-Za-z0-9+/=]*)", text)
    return "".join(part if place % 2 else pattern.sub(said, part) for place, part in enumerate(parts))
