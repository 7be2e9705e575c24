"""Links of a site are followed: every kind of wrong one is told."""

import pytest

from mp_lib.publishing.links import broken_links

PAGE = '<html><body id="top"><h2 id="here">x</h2>{}</body></html>'


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "in").mkdir()
    (tmp_path / "other.html").write_text(PAGE.format(""))
    (tmp_path / "table.csv").write_text("a")
    (tmp_path.parent / "outside.html").write_text("x")
    return tmp_path


def told(folder, body):
    (folder / "in" / "page.html").write_text(PAGE.format(body))
    return broken_links(folder)


RIGHT = (
    '<a href="../other.html">a</a>',
    '<a href="../other.html#here">a</a>',
    '<a href="#here">a</a>',
    '<a href="../table.csv">a</a>',
    '<a href="https://arxiv.org/abs/2409.07163">a</a>',
    '<img src="data:image/png;base64,AAAA">',
)
WRONG = {
    '<a href="nowhere.html">a</a>': "leads nowhere",
    '<a href="../in">a</a>': "leads nowhere",
    '<a href="../other.html#gone">a</a>': "no such anchor",
    '<a href="#gone">a</a>': "no such anchor",
    '<a href="../../outside.html">a</a>': "leaves the site",
    '<a href="/other.html">a</a>': "not relative to its page",
    '<a href="file:///etc/hosts">a</a>': "not relative to its page",
    '<a href="javascript:alert(1)">a</a>': "not relative to its page",
    '<a href="data:text/html,x">a</a>': "a link to data",
    '<img src="https://example.org/a.png">': "fetched from outside",
    '<script src="https://example.org/a.js"></script>': "fetched from outside",
    '<link rel="stylesheet" href="//example.org/a.css">': "not relative to its page",
    '<video src="gone.mp4"></video>': "leads nowhere",
    '<video poster="https://example.org/a.png"></video>': "fetched from outside",
    '<img srcset="https://example.org/a.png 2x">': "fetched from outside",
    '<svg><image href="https://example.org/a.png"></image></svg>': "fetched from outside",
    '<meta http-equiv="Refresh" content="0; URL=https://example.org">': "fetched from outside",
    '<b style="background: url(https://example.org/a.png)">a</b>': "fetched from outside",
    '<style>@import "https://example.org/a.css";</style>': "fetched from outside",
}


@pytest.mark.parametrize("body", RIGHT)
def test_what_leads_somewhere_is_not_told(folder, body):
    assert told(folder, body) == []


@pytest.mark.parametrize(("body", "wrong"), WRONG.items())
def test_what_does_not_is(folder, body, wrong):
    (line,) = told(folder, body)
    assert line.startswith("in/page.html: ") and line.endswith(wrong)
