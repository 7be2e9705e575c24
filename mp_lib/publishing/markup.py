"""Documents as HTML: Markdown as the project writes it, with the anchors that its links name."""

from __future__ import annotations

import html
import re

import mistune
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import get_lexer_by_name
from pygments.util import ClassNotFound

COMMENT = re.compile(r"<!--.*?-->\n?", re.DOTALL)
TAG = re.compile(r"<[^>]+>")
FORMATTER = HtmlFormatter(cssclass="code")


class Renderer(mistune.HTMLRenderer):
    """Headings have anchors, code has colours, and no line ends within an option of a command."""

    def heading(self, text: str, level: int, **attributes) -> str:
        return f'<h{level} id="{anchor(html.unescape(TAG.sub("", text)))}">{text}</h{level}>\n'

    def block_html(self, html: str) -> str:
        return without_comments(html)

    def inline_html(self, html: str) -> str:
        return without_comments(html)

    def codespan(self, text: str) -> str:
        words = (f"<span>{word}</span>" if word.startswith("--") else word for word in html.escape(text).split(" "))
        return f"<code>{' '.join(words)}</code>"

    def block_code(self, code: str, info: str | None = None) -> str:
        return colour(code, (info or "text").split()[0])


def rendered(text: str) -> str:
    """Markdown as HTML, without its comments."""
    make = mistune.create_markdown(renderer=Renderer(escape=False), plugins=["table", "strikethrough"])
    return framed(make(text))


def without_comments(text: str) -> str:
    """HTML that somebody wrote, without its comments."""
    return COMMENT.sub("", text)


def framed(page: str) -> str:
    """HTML whose tables are in frames of their own, which scroll where they are wider than the page."""
    return page.replace("<table", '<div class="frame"><table').replace("</table>", "</table></div>")


def anchor(heading: str) -> str:
    """The anchor of a heading, as GitHub makes it."""
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


def colour(code: str, language: str) -> str:
    """A piece of code as HTML; as it is where nobody knows the language."""
    try:
        lexer = get_lexer_by_name(language)
    except ClassNotFound:
        lexer = get_lexer_by_name("text")
    return highlight(code, lexer, FORMATTER)


def colours() -> str:
    """The style sheet of ``colour``."""
    return FORMATTER.get_style_defs(".code")


def sections_of(text: str) -> dict[str, str]:
    """What stands below each heading of the second level, in order; the first, named "", is what stands above."""
    parts = re.split(r"^## (.+)$", re.sub(r"\A# .*\n", "", text), flags=re.MULTILINE)
    return {"": parts[0], **dict(zip(parts[1::2], parts[2::2], strict=True))}
