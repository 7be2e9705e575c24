"""Documents as HTML: anchors as links name them, tables in frames, code in colours."""

import re

import pytest
from bs4 import BeautifulSoup

from mp_lib.publishing.contents import documents
from mp_lib.publishing.markup import anchor, colours, rendered, sections_of
from tests.test_docs import anchors

every_document = pytest.mark.parametrize("document", documents(), ids=lambda each: each.page)


@every_document
def test_headings_have_the_anchors_that_links_name(document):
    page = BeautifulSoup(rendered(document.text), "html.parser")
    assert {each["id"] for each in page.find_all(re.compile("h[1-6]"))} == anchors(document.path)


@every_document
def test_every_table_and_block_of_code_of_a_document_is_on_its_page(document):
    page = BeautifulSoup(rendered(document.text), "html.parser")
    assert len(page.find_all("table")) == len(re.findall(r"^\|[ :|-]+\|$", document.text, flags=re.MULTILINE))
    assert all(table.parent["class"] == ["frame"] for table in page.find_all("table"))
    assert len(page.select("div.code")) == len(re.findall(r"^ *```\w*$", document.text, flags=re.MULTILINE)) / 2
    assert "<!--" not in str(page)


def test_a_language_that_nobody_knows_is_shown_as_it_is():
    assert "a &lt; b" in rendered("```martian\na < b\n```")


def test_code_has_a_style_for_each_of_its_colours():
    used = {
        name
        for tag in BeautifulSoup(rendered("```python\nx = 'a'  # b\n```"), "html.parser").select("pre span[class]")
        for name in tag["class"]
    }
    used -= {"n"}  # plain names are as text is
    assert used and all(f".{name} " in colours() for name in used)


def test_what_stands_in_code_stays_what_it_is():
    page = BeautifulSoup(rendered("`a --b <c> & d`"), "html.parser")
    assert page.find("code").get_text() == "a --b <c> & d" and page.find("code").find("span").get_text() == "--b"


def test_comments_are_left_out_but_not_in_code():
    page = rendered("<!-- a -->\nb <!-- c --> d\n\n`<!-- e -->`\n")
    assert "a" not in BeautifulSoup(page, "html.parser").find("p").get_text().split() and " c " not in page
    assert BeautifulSoup(page, "html.parser").find("code").get_text() == "<!-- e -->"


def test_sections_are_parted_at_headings_of_the_second_level():
    parts = sections_of("# Title\n\nabove\n\n## One\n\na\n\n### Below\n\nb\n\n## Two\nc\n")
    assert [*parts] == ["", "One", "Two"] and "### Below" in parts["One"] and parts[""].strip() == "above"


def test_anchors_are_as_github_makes_them():
    assert anchor("What `keep --pack` writes, and why?") == "what-keep---pack-writes-and-why"
