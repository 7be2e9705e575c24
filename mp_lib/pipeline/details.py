"""Executed notebooks as chapters of a page: text and outputs without code, and nothing that was shown before."""

from __future__ import annotations

import base64
import html
import os
import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from hashlib import blake2b
from pathlib import Path
from urllib.parse import quote

from mp_lib.drawing.figures import SCREEN_DPI
from mp_lib.drawing.style import COLUMN
from mp_lib.system.files import read_json
from mp_lib.system.notebook import MARK
from mp_lib.system.paths import figures_path
from mp_lib.system.provenance import file_hash

NO_WORDS = "A figure without words"  # where nothing stands on it, which a test does not let pass
LEFT_OUT = "notebook"  # tag of cells that are shown in the notebook alone: the page says it elsewhere
NARROW = COLUMN * SCREEN_DPI + 1  # pixels, of a figure that leaves room for another one beside it
FENCE = re.compile(r" {0,3}(`{3,}|~{3,})(.*)")  # around code in Markdown
ACTIVE = ["script", "iframe", "frame", "object", "embed", "link", "meta", "base", "form"]  # tags that run or fetch
NUMBER = re.compile(r"[-+−(\[]*[\d.,]+( %)?( \(.*\))?( ± \d+)?[)\]]?")  # what a cell of numbers holds
MANY = 7  # columns from which a table is set smaller
SHORT = 60  # letters; what is shorter may be said again


@dataclass(frozen=True)
class Figure:
    """A picture of a notebook: a PNG in base64, its width in pixels, its words, and the name it was written under.

    ``digest`` is that of the table that was written with it.
    """

    content: str
    width: int
    words: str
    name: str = ""
    digest: str = ""

    def html(self, folder: Path, command: str, kind: str) -> str:
        """The picture and where it comes from, as seen from a page in ``folder``; ``kind`` is a class of the page."""
        told = origin(self.name, self.digest, folder, command)
        source, words = f"data:image/png;base64,{self.content}", html.escape(self.words or NO_WORDS)
        return (
            f'<figure class="{kind}"><img width="{self.width}" alt="{words}" src="{source}">'
            f"<figcaption>{told}</figcaption></figure>"
        )


@dataclass
class Section:
    """A heading and what stands below it: HTML and figures; ``calls`` counts cells of code, ``shown`` their outputs."""

    title: str = ""
    blocks: list[str | Figure] = field(default_factory=list)
    calls: int = 0
    shown: int = 0

    @property
    def tells(self) -> bool:
        """Whether there is something in it: where code was called, more than the words around that."""
        return bool(self.blocks) and (not self.title or self.shown > 0 or self.calls == 0)


class Chapters:
    """Turns notebooks into chapters of a page in ``folder``, one after the other; what one has shown no other shows."""

    def __init__(self, folder: Path, command: str):
        self.folder, self.command = folder, command
        self.seen: set[bytes] = set()

    def is_new(self, content: str) -> bool:
        """Whether something of these letters was not shown yet; from now on it was."""
        digest = blake2b(content.encode(), digest_size=16).digest()
        new = digest not in self.seen or len(content) < SHORT
        self.seen.add(digest)
        return new

    def chapter(self, path: Path) -> tuple[str, list[Section]]:
        """The title of an executed notebook and its sections, the first of which has no title."""
        title, sections = path.stem.replace("_", " "), [Section()]
        for cell in read_json(path)["cells"]:
            if LEFT_OUT in cell["metadata"].get("tags", ()):
                continue
            if cell["cell_type"] == "markdown":
                for heading, text in split("".join(cell["source"])):
                    if heading.startswith("# "):
                        title = heading.removeprefix("# ")
                    elif heading:
                        sections.append(Section(heading.lstrip("# ")))
                    sections[-1].blocks += [markdown(text)] if text and self.is_new(text) else []
            sections[-1].calls += cell["cell_type"] == "code"
            for output in cell.get("outputs", ()):
                self.add(output, sections[-1])
        return title, [section for section in sections if section.tells]

    def add(self, output: dict, section: Section) -> None:
        """Add an output of a cell to a section unless it was shown; bars and what went to stderr are left out."""
        if output.get("name") == "stderr" or output.get("metadata") == MARK:
            return
        block = block_of(output, section.title)
        if block is not None and self.is_new(block.content if isinstance(block, Figure) else block):
            section.blocks.append(block)
            section.shown += 1
            if isinstance(block, str) and "<table" in block:
                known = output["metadata"].get("text/html", {})
                told = origin(known.get("table", ""), known.get("digest", ""), self.folder, self.command)
                section.blocks.append(f'<p class="from">{told}</p>')

    def body(self, section: Section) -> str:
        """A section's blocks as HTML: figures that leave room stand side by side, a single one beside the text."""
        narrow = [each for each in section.blocks if isinstance(each, Figure) and each.width <= NARROW]
        alone = len(narrow) == 1 and not any("<table" in each for each in section.blocks if isinstance(each, str))
        blocks = [*narrow, *(each for each in section.blocks if each not in narrow)] if alone else section.blocks
        place = "beside" if alone else ""
        return "\n".join(self.drawn(each, place) if isinstance(each, Figure) else each for each in blocks)

    def drawn(self, figure: Figure, place: str) -> str:
        """A figure as HTML, beside the text or by its own width."""
        kind = (place or "narrow") if figure.width <= NARROW else "wide"
        return figure.html(self.folder, self.command, kind)


def figures_of(paths: Iterable[Path]) -> Iterable[Figure]:
    """The figures of executed notebooks."""
    for path in paths:
        outputs = (output for cell in read_json(path)["cells"] for output in cell.get("outputs", ()))
        yield from (each for output in outputs if isinstance(each := block_of(output, ""), Figure))


def split(text: str) -> list[tuple[str, str]]:
    """Text in Markdown as pairs (heading, what is below it); the first heading is empty."""
    parts, fence = [("", [])], ""
    for line in text.splitlines():
        mark = FENCE.match(line)
        if mark and fence:
            fence = "" if mark[1].startswith(fence) and not mark[2].strip() else fence
        elif mark:
            fence = mark[1]
        elif not fence and re.match("#{1,2} ", line):  # in a block of code that is a comment
            parts.append((line.strip(), []))
            continue
        parts[-1][1].append(line)
    return [(heading, "\n".join(lines).strip()) for heading, lines in parts]


def markdown(text: str) -> str:
    """Markdown as HTML; links to other notebooks, which lie elsewhere, are left to their words."""
    from nbconvert.filters.markdown_mistune import markdown2html_mistune

    text = re.sub(r"\[([^\]]+)\]\([\w./-]+\.ipynb\)", r"\1", text)
    return tidy(markdown2html_mistune(text), "")


def block_of(output: dict, title: str) -> str | Figure | None:
    """An output as a figure or as HTML; None for what only a program would read."""
    data = {kind: "".join(text) for kind, text in output.get("data", {}).items() if not isinstance(text, dict)}
    if "image/png" in data:
        known = output["metadata"].get("image/png", {})
        width, words = int(known.get("width", 0)), known.get("alt", "")
        content = "".join(data["image/png"].split())
        told = ": ".join(filter(None, (title, words)))
        made = known.get("figure", ""), known.get("digest", "")
        return Figure(content, width or png_width(content), told, *made)
    readers: dict[str, Callable[[str], str]] = {
        "text/html": lambda text: tidy(text, title),
        "text/markdown": markdown,
        "text/plain": preformatted,
    }
    if data:
        return next((read(data[kind]) for kind, read in readers.items() if kind in data), None)
    return preformatted("".join(output.get("text", ())) or "\n".join(output.get("traceback", ())))


def png_width(content: str) -> int:
    """The width in pixels of a PNG in base64: bytes 16 to 20 of it."""
    return int.from_bytes(base64.b64decode(content[:32])[16:20], "big")


def preformatted(text: str) -> str | None:
    """Text as a program printed it; None for nothing."""
    return f"<pre>{html.escape(text.strip())}</pre>" if text.strip() else None


def tidy(source: str, title: str) -> str:
    """HTML with its tables made readable and a description of every picture and film; what could act is left out.

    That is ``ACTIVE``, attributes that begin with "on", and addresses that begin with "javascript:".
    """
    if "<" not in source:
        return source
    from bs4 import BeautifulSoup

    page = BeautifulSoup(source, "html.parser")  # which writes all names in small letters
    for mark in page.select("a.anchor-link"):  # of headings, by nbconvert
        mark.extract()
    for active in page.find_all(ACTIVE):
        active.extract()
    for tag in page.find_all(True):
        for name, value in [*tag.attrs.items()]:
            address = "".join(str(value).split()).lower()  # browsers read past spaces and line ends in it
            if name.lower().startswith("on") or address.startswith("javascript:"):
                del tag[name]
    for table in page.find_all("table"):
        tidy_table(table)
    for picture in page.find_all("img"):
        picture["alt"] = picture.get("alt") or title or "A picture"
    for film in page.find_all("video"):
        film["aria-label"] = film.get("aria-label") or title or "A film"
    return str(page)


def tidy_table(table) -> None:
    """Leave empty columns out, set numbers to the right and words to the left, and join cells that say nothing new.

    An empty cell of the first column stands for the one above it.
    """
    rows = [row.find_all(["th", "td"]) for row in table.find_all("tr")]
    rows = [row for row in rows if len(row) == len(rows[0])]
    body = [row for row in rows if any(cell.name == "td" for cell in row)]
    for place, column in enumerate(zip(*body, strict=True)):
        texts = [cell.get_text().strip() for cell in column]
        cells = [row[place] for row in rows]
        for cell in cells:
            cell.attrs.pop("style", None)
        if not any(texts):
            [cell.decompose() for cell in cells]
        elif all(NUMBER.fullmatch(text) for text in texts if text):
            for cell in cells:
                cell["class"] = "number"
    merge_first_column([row[0] for row in body if not row[0].decomposed])
    if rows and len([cell for cell in rows[0] if not cell.decomposed]) >= MANY:
        table["class"] = "many"


def merge_first_column(cells: list) -> None:
    """Let a cell stand for the empty ones below it."""
    above = None
    for cell in cells:
        if cell.get_text().strip() or above is None:
            above = cell
        else:
            above["rowspan"] = int(above.get("rowspan", 1)) + 1
            cell.decompose()


def link(path: Path, folder: Path) -> str:
    """The address of a file as seen from a page in a folder; no letter of it means anything in HTML."""
    return quote(os.path.relpath(path, folder))


def origin(name: str, digest: str, folder: Path, command: str) -> str:
    """Where a figure or table comes from, as HTML: a link to the csv of that name, and the command.

    No link where the file is another by now: figures/ has one of a name, whichever call has written it.
    """
    table, links = figures_path() / f"{name}.csv", []
    if name and table.is_file() and file_hash(table) == digest:
        links = [f'<a href="{link(table, folder)}">{html.escape(table.name)}</a>']
    return " · ".join([*links, f"<code>{html.escape(command)}</code>"])
