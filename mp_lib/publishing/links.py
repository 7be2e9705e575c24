"""Whether the links of a site lead somewhere, and nothing is fetched from outside."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

from bs4 import BeautifulSoup

MEDIA = ("img", "video", "source", "audio", "script", "iframe", "embed", "track")
FETCHED = dict.fromkeys(MEDIA, ("src", "poster", "srcset")) | {  # attributes that a browser fetches unasked, by tag
    "link": ("href",),
    "object": ("data",),
    "image": ("href", "xlink:href"),
    "use": ("href", "xlink:href"),
}
STYLED = re.compile(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)")  # in a style sheet
WORDS = ("http://", "https://", "mailto:")  # what a reader may follow


def broken_links(folder: Path) -> list[str]:
    """What is wrong, a line a link: it leads nowhere, leaves the folder, begins at the server's root, or is fetched."""
    folder = folder.resolve()
    pages = {path: BeautifulSoup(path.read_bytes(), "html.parser") for path in sorted(folder.rglob("*.html"))}
    anchors = {path: {tag.get("id") or tag.get("name") for tag in page.find_all(True)} for path, page in pages.items()}
    return [
        f"{path.relative_to(folder)}: {address[:120]}: {wrong}"
        for path, page in pages.items()
        for address, fetched in addresses(page)
        if (wrong := misled(folder, path, address, fetched, anchors))
    ]


def addresses(page: BeautifulSoup) -> Iterator[tuple[str, bool]]:
    """Each address of a page, and whether a browser fetches it."""
    for tag in page.find_all(True):
        if tag.name == "a" and "href" in tag.attrs:
            yield tag["href"], False
        for name in FETCHED.get(tag.name, ()):
            if name in tag.attrs:
                yield tag[name], True
        if tag.name == "meta" and tag.get("http-equiv", "").lower() == "refresh":
            yield tag.get("content", "").lower().partition("url=")[2], True
        style = tag.get_text() if tag.name == "style" else tag.get("style", "")
        yield from ((found[1] or found[2], True) for found in STYLED.finditer(style))


def misled(folder: Path, path: Path, address: str, fetched: bool, anchors: dict[Path, set]) -> str:
    """What is wrong with an address on a page of a folder, both resolved; empty if nothing is."""
    if address.startswith("data:"):
        return "" if fetched else "a link to data"
    if address.startswith(WORDS):
        return "fetched from outside" if fetched else ""
    if address.startswith("/") or ":" in address.partition("/")[0]:
        return "not relative to its page"
    name, _, anchor = unquote(address).partition("#")
    target = (path.parent / name).resolve() if name else path
    if not target.is_relative_to(folder):
        return "leaves the site"
    if not target.is_file():
        return "leads nowhere"
    return "no such anchor" if anchor and anchor not in anchors.get(target, {anchor}) else ""
