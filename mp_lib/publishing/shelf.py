"""Where the project's files stand in a site: pages by what they are made of, others copied as links need them."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from urllib.parse import quote, unquote

from bs4 import BeautifulSoup

from mp_lib.system.paths import project, root

FETCHED = ("http://", "https://")
ELSEWHERE = (*FETCHED, "mailto:", "data:")
COPIED = (".csv", ".png", ".cff", ".json", ".txt", ".toml", ".yml", ".sh", "")  # endings; the last is LICENSE's
LARGEST = 2_000_000  # bytes of a file that is copied because something links to it


class Shelf:
    """The folder of a site and what stands where in it."""

    def __init__(self, folder: Path):
        self.folder = folder
        self.pages: dict[Path, str] = {}

    def add(self, source: Path, page: str) -> None:
        """From now on a link to ``source`` leads to this page."""
        self.pages[source.resolve()] = page

    def place(self, target: Path) -> str | None:
        """Where a file of the project stands in the site, which it is copied to if need be; None if it has no place."""
        target = target.resolve()
        if target in self.pages:
            return self.pages[target]
        if not target.is_file() or target.suffix not in COPIED or target.stat().st_size > LARGEST:
            return None
        for base, place in ((root(), "files"), (project(), "files/project")):
            if target.is_relative_to(base.resolve()):
                place = f"{place}/{target.relative_to(base.resolve()).as_posix()}"
                break
        else:
            return None
        (self.folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(target, self.folder / place)
        return place

    def relinked(self, source: str, folder: Path, page: str) -> str:
        """HTML whose links, which begin in a folder of the project, lead to where that stands, as seen from a page.

        What has no place keeps its words and loses its link; of a picture from outside its words are left.
        """
        soup = BeautifulSoup(source, "html.parser")
        for tag in soup.find_all(["a", "img"]):
            name = "href" if tag.name == "a" else "src"
            address = tag.get(name, "")
            if tag.name == "img" and address.startswith(FETCHED):
                tag.replace_with(tag.get("alt", ""))
            if not address or address.startswith((*ELSEWHERE, "#")):
                continue
            path, _, anchor = unquote(address).partition("#")
            if (place := self.place(folder / path)) is None:
                tag.unwrap() if tag.name == "a" else tag.decompose()
            else:
                tag[name] = seen_from(place, page) + (f"#{anchor}" if anchor else "")
                if tag.name == "img" and tag.parent.name != "a":  # to see it large
                    tag.wrap(soup.new_tag("a", href=tag[name]))
        return str(soup)


def seen_from(place: str, page: str) -> str:
    """The address of a place in a site as a page of it writes it."""
    return quote(os.path.relpath(place, Path(page).parent))
