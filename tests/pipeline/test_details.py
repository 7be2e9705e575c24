"""Executed notebooks as chapters: nothing twice, no empty columns, every picture with words, no script."""

import html
import re
from urllib.parse import unquote

import nbformat
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure

from mp_lib.drawing.display import show_table
from mp_lib.drawing.figures import publish, written
from mp_lib.pipeline.details import ACTIVE, Chapters, figures_of, link, origin, split, tidy

COMMAND = "./run_all.sh quick"


def outputs_of(*shown):
    """What a kernel stores of displayed things."""
    found = []
    for each in shown:
        data, metadata = (
            each._repr_mimebundle_() if hasattr(each, "_repr_mimebundle_") else ({"text/html": each._repr_html_()}, {})
        )
        if isinstance(data.get("text/html"), tuple):  # with metadata, as IPython has it
            data, metadata = {"text/html": data["text/html"][0]}, {"text/html": data["text/html"][1]}
        found.append(nbformat.v4.new_output("display_data", data=data, metadata=metadata))
    return found


def notebook(folder, name, *cells):
    """A notebook of (Markdown, what is displayed below it, tags of both)."""
    written = []
    for text, shown, tags in cells:
        written.append(nbformat.v4.new_markdown_cell(text, metadata={"tags": list(tags)}))
        written.append(nbformat.v4.new_code_cell("", outputs=outputs_of(*shown), metadata={"tags": list(tags)}))
    path = folder / f"{name}.ipynb"
    nbformat.write(nbformat.v4.new_notebook(cells=written), path)
    return path


@pytest.fixture
def figure(empty_root):
    """A published figure with words on it."""
    drawn = Figure(figsize=(3.4, 2))
    drawn.subplots().set(title="a task", xlabel="success (%)")
    return publish(drawn, "05_success_quick", pd.DataFrame({"success": [1]}))


TABLE = pd.DataFrame({"claim": ["a", "", "b"], "nothing": ["", "", ""], "rate": [1.5, 2.0, 3.0], "word": [*"xyz"]})


def told_of(path, empty_root):
    told = Chapters(empty_root / "data" / "reports" / "quick", COMMAND)
    title, sections = told.chapter(path)
    return title, sections, "\n".join(told.body(section) for section in sections)


def test_a_chapter_has_its_title_and_sections_and_leaves_out_what_is_for_the_notebook(empty_root, figure):
    table = show_table(TABLE)
    path = notebook(
        empty_root,
        "05_tables",
        ("# Results\n\nAn introduction.", (), ()),
        ("## Shown", (table,), ()),
        ("## Hidden", (figure,), ("notebook",)),
    )
    title, sections, body = told_of(path, empty_root)
    assert title == "Results" and [section.title for section in sections] == ["", "Shown"]
    assert "An introduction." in body and "Hidden" not in body and "<img" not in body


def test_what_was_shown_is_not_shown_again_nor_is_its_heading(empty_root, figure):
    table = show_table(TABLE)
    first, again = (("## Shown", (table, figure), ()), ("## Again\n\nThe same once more.", (table, figure), ()))
    told = Chapters(empty_root, COMMAND)
    bodies = []
    for number, cells in enumerate(((first, again), (again,))):
        _, sections = told.chapter(notebook(empty_root, f"0{number}_page", *cells))
        bodies += [(section.title, told.body(section)) for section in sections]
    assert [title for title, _ in bodies] == ["Shown"]
    assert bodies[0][1].count("<img") == bodies[0][1].count("<table") == 1


def test_a_figure_has_words_the_command_and_a_link_to_its_table(empty_root, figure):
    path = notebook(empty_root, "05_tables", ("## Success", (figure,), ()))
    _, _, body = told_of(path, empty_root)
    picture = BeautifulSoup(body, "html.parser").find("img")
    assert picture["alt"] == "Success: a task; success (%)"
    address = re.search('href="([^"]+csv)"', body).group(1)
    assert (empty_root / "data" / "reports" / "quick" / address).resolve().exists() and COMMAND in body
    assert [each.name for each in figures_of([path])] == ["05_success_quick"]


def test_a_table_has_no_empty_column_and_joins_the_cells_that_a_claim_spans(empty_root):
    _, _, body = told_of(notebook(empty_root, "05_tables", ("## Table", (show_table(TABLE),), ())), empty_root)
    page = BeautifulSoup(body, "html.parser")
    assert [cell.get_text() for cell in page.find_all("th")] == ["claim", "rate", "word"]
    cells = page.find_all("td")
    assert all(cell.get_text() for cell in cells) and cells[0]["rowspan"] == "2"
    assert {cell.get_text() for cell in page.find_all(class_="number")} == {"rate", "1.5", "2.0", "3.0"}


def test_what_an_output_holds_runs_nothing_and_every_picture_and_film_is_described(empty_root):
    class Given:
        def _repr_html_(self):
            return '<p>text</p><script>alert(1)</script><img src="data:,"><video src="data:,"></video>'

    _, _, body = told_of(notebook(empty_root, "04_evaluate", ("## Seen", (Given(),), ())), empty_root)
    page = BeautifulSoup(body, "html.parser")
    assert "script" not in body and "text" in body
    assert page.find("img")["alt"] == page.find("video")["aria-label"] == "Seen"


@pytest.mark.parametrize(
    "given",
    [
        "<SCRIPT>alert(1)</SCRIPT>",
        "<script src=x>",
        "<svg onload='alert(1)'><circle/></svg>",
        "<p OnClick='alert(1)'>text</p>",
        "<a href=' java\nscript:alert(1)'>text</a>",
        "<iframe srcdoc='<p>text</p>'></iframe>",
        "<META http-equiv=refresh content='0; url=//somewhere'>",
        "<form action=/x><button formaction=javascript:alert(1)>text</button></form>",
    ],
)
def test_no_letters_of_an_output_can_act(given):
    page = BeautifulSoup(tidy(f"<p>before</p>{given}", ""), "html.parser")
    assert not page.find_all(ACTIVE) and page.find("p").get_text() == "before"
    attributes = [pair for tag in page.find_all(True) for pair in tag.attrs.items()]
    assert not any(name.startswith("on") or "script:" in "".join(value.split()) for name, value in attributes)


def test_a_comment_in_a_block_of_code_is_no_title():
    text = "# Title\n\nWords.\n\n```bash\n# a comment\nls\n```\n\n## Section\n~~~\n# more\n```\n# and more\n~~~"
    assert [heading for heading, _ in split(text)] == ["", "# Title", "## Section"]
    assert "# a comment" in split(text)[1][1] and "# and more" in split(text)[2][1]


def test_addresses_and_names_mean_themselves_whatever_letters_they_have(empty_root):
    name = "a&b <c> #1 %"
    publish(Figure(), name, pd.DataFrame({"x": [1]}))
    folder = empty_root / "data" / "reports" / "quick"
    link_to = BeautifulSoup(origin(**written_as(name), folder=folder, command="a & b"), "html.parser").find("a")
    assert link_to.get_text() == f"{name}.csv" and "&amp;" not in link_to["href"]
    assert (folder / unquote(link_to["href"])).resolve() == (empty_root / "figures" / f"{name}.csv")
    address = link(empty_root / "figures" / f"{name}.csv", folder)
    assert html.escape(address) == address  # so that a template may escape it, too


def written_as(name):
    facts = written(name)
    return {"name": facts["table"], "digest": facts["digest"]}


def test_a_table_says_the_command_and_links_what_was_written_with_it_and_nothing_later(empty_root, figure):
    table = show_table(TABLE, metadata=written("05_success_quick"))
    path = notebook(empty_root, "05_tables", ("## Shown", (table, figure, show_table(TABLE[["word"]])), ()))
    body = told_of(path, empty_root)[2]
    assert body.count("05_success_quick.csv</a>") == 2 and body.count(COMMAND) == 3
    publish(Figure(), "05_success_quick", pd.DataFrame({"success": [2]}))  # by another call of the scale
    body = told_of(path, empty_root)[2]
    assert ".csv" not in body and body.count(COMMAND) == 3
