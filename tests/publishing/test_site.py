"""The site: whole in a browser without a network, its links lead somewhere, and it is written whole or not at all."""

import json
import re
from pathlib import Path

import pytest
from bs4 import BeautifulSoup

import mp_lib
from mp_lib.presets import PAPER_METHODS
from mp_lib.publishing import executed, site
from mp_lib.publishing.contents import Document, below_headings, ran_trainings
from mp_lib.publishing.links import broken_links
from mp_lib.publishing.shelf import Shelf
from mp_lib.publishing.site import BAR, MOST, without_places, write_site
from mp_lib.system.errors import InputError
from tests import ROOT
from tests.browser import needs_browser, probed
from tests.smoke import run_pipeline, two_pages

POLICY = re.compile(r'<meta http-equiv="Content-Security-Policy"[^>]*>')
PROBE = """
<script>
window.addEventListener("load", () => {
  const probe = document.createElement("pre");
  probe.id = "probe";
  probe.textContent = JSON.stringify({
    images: [...document.querySelectorAll("img")].map(image => image.complete && image.naturalWidth),
    entries: performance.getEntriesByType("resource").map(entry => entry.name),
    wide: document.documentElement.scrollWidth - innerWidth,
    sheets: document.styleSheets.length,
  });
  document.body.append(probe);
});
</script>
"""

SEEN = ("index.html", "notebooks/05_tables.html", "documents/experiments.html", "reference.html")


@pytest.fixture(scope="module")
def written(smoke_run):
    """The site of the smoke scale."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MP_ROOT", str(smoke_run.root))
        experiment = two_pages()
        yield write_site(experiment, experiment.steps(2)).parent


def test_it_has_every_page_and_every_executed_notebook(written, smoke_run):
    assert all((written / page).is_file() for page, *_ in BAR)
    shown = BeautifulSoup((written / "notebooks.html").read_text(), "html.parser")
    rows = [[cell.get_text() for cell in row.find_all("td")] for row in shown.find_all("tr")[1:]]
    assert {"05_tables.ipynb", "07_ablations.ipynb", "03_train.ipynb"} <= {row[1] for row in rows}
    assert all(float(row[2]) >= 0 and row[3] and row[3] != "not noted" for row in rows)
    assert all(any(f"train and evaluate {method} on" in row[0] for row in rows) for method in PAPER_METHODS)


def test_its_links_lead_somewhere_and_it_is_small_and_asks_nobody(written):
    assert broken_links(written) == []
    assert sum(path.stat().st_size for path in written.rglob("*") if path.is_file()) < MOST
    for path in written.rglob("*.html"):
        page = BeautifulSoup(path.read_bytes(), "html.parser")
        assert not page.find_all(["script", "iframe", "object", "form"]), path
        assert page.find("meta", attrs={"http-equiv": "Content-Security-Policy"}), path
        assert all(image.get("alt", "").strip() for image in page.find_all("img")), path


def test_no_page_says_where_it_was_made(written, smoke_run):
    for path in written.rglob("*.html"):
        assert str(smoke_run.root) not in path.read_text(), path
        assert str(ROOT) not in path.read_text() and str(Path.home()) + "/" not in path.read_text(), path


def test_every_figure_has_its_table_and_command(written):
    page = BeautifulSoup((written / "figures.html").read_text(), "html.parser")
    figures = page.find_all("figure")
    assert len({figure["id"] for figure in figures}) == len(figures) > 3
    assert all(figure.find("code").get_text().split()[0] in ("./run_all.sh", "python") for figure in figures)
    assert sum(figure.find("a") is not None for figure in figures) >= len(figures) - 1  # one was photographed


def test_the_front_page_says_what_holds_before_how_to_install(written):
    text = BeautifulSoup((written / "index.html").read_text(), "html.parser").get_text()
    assert text.index("What came out") < text.index("(a) ") < text.index("Two commands")
    assert all(f"({letter}) " in text for letter in "abcdefghi")


def test_every_function_has_its_words(written):
    page = BeautifulSoup((written / "reference.html").read_text(), "html.parser")
    assert {each["id"] for each in page.find_all("section", id=True)} == {*mp_lib.__all__, "Trained"}


@needs_browser
@pytest.mark.parametrize("width", [1280, 390])
@pytest.mark.parametrize(
    "name", ["index.html", "notebooks/05_tables.html", "documents/experiments.html", "reference.html"]
)
def test_a_browser_draws_it_on_a_wide_and_on_a_narrow_screen(written, tmp_path, name, width):
    page = written / name
    probe = page.with_name(f"probe-{width}-{page.name}")  # beside it, for its links are relative
    probe.write_text(POLICY.sub("", page.read_text()).replace("</body>", f"{PROBE}</body>"))
    try:
        seen, _ = probed(probe, tmp_path, width, 900)
    finally:
        probe.unlink()
    assert all(seen["images"]) and seen["sheets"] == 1
    assert all(address.startswith(("file:", "data:")) for address in seen["entries"])
    assert seen["wide"] <= 0


def test_an_earlier_site_stays_where_a_link_leads_nowhere(written, smoke_run, monkeypatch, tmp_path):
    before = (written / "index.html").read_bytes()
    (tmp_path / "wrong.md").write_text("# Wrong\n\n[nowhere](#nowhere)\n")
    wrong = Document(tmp_path / "wrong.md", "documents/wrong.html")
    monkeypatch.setattr(site, "documents", lambda: [wrong])
    experiment = two_pages()
    with pytest.raises(InputError, match="of the site lead nowhere: documents/wrong.html: #nowhere"):
        write_site(experiment, experiment.steps(2))
    assert (written / "index.html").read_bytes() == before
    assert [path.name for path in written.parent.glob("*site*")] == ["site"]


def test_so_it_does_where_the_whole_is_too_large(written, monkeypatch):
    monkeypatch.setattr(site, "MOST", 1000)
    experiment = two_pages()
    with pytest.raises(InputError, match="at most 0 are meant"):
        write_site(experiment, experiment.steps(2))
    assert (written / "index.html").is_file()


@pytest.mark.parametrize("kind", ["folder", "file", "link"])
def test_what_is_no_site_stays(smoke_run, written, kind, tmp_path, monkeypatch):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    own = tmp_path / "site"
    if kind == "folder":
        own.mkdir()
        (own / "thesis.txt").write_text("mine")
    elif kind == "file":
        own.write_text("mine")
    else:
        own.symlink_to(written)
    with pytest.raises(InputError, match="would be replaced; move it away"):
        write_site(two_pages(), [])
    assert (own / "thesis.txt").exists() if kind == "folder" else own.exists()


def test_pictures_stay_as_they_are_where_a_page_forgets_its_place(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_ROOT", str(tmp_path / "root"))
    monkeypatch.setattr(Path, "home", lambda: Path("/home/ada"))
    others = "/home/ada/x /home/adab at /home/ada."
    inside = f"<b>{tmp_path}/root/data/runs/a</b> {tmp_path}/rooted {others} {ROOT}/notebooks"
    assert without_places(inside) == f"<b>data/runs/a</b> {tmp_path}/rooted ~/x /home/adab at ~. notebooks"
    picture = '<img src="data:image/png;base64,AAAA/home/adaBBBB/home/ada/+=">'
    assert without_places(picture) == picture
    monkeypatch.setattr(Path, "home", lambda: Path("/"))
    assert without_places('<a href="/x">a</a> / b') == '<a href="/x">a</a> / b'


@pytest.mark.parametrize("content", ["{}", "[]", "{", '{"config": {}, "seconds": {"train": 1}}'])
def test_a_damaged_run_is_left_out(empty_root, content):
    folder = empty_root / "data" / "runs" / "smoke-x"
    folder.mkdir(parents=True)
    (folder / "03_train.ipynb").write_text("{}")
    (folder / "result.json").write_text(content)
    assert ran_trainings("smoke") == []


def test_a_figure_whose_name_is_a_path_is_refused(tmp_path):
    data = {"image/png": "iVBORw0KGgoAAAANSUhEUgAAAAEAAAAB"}
    output = {"output_type": "display_data", "data": data, "metadata": {"image/png": {"figure": "../evil"}}}
    cell = {"cell_type": "code", "source": "x", "metadata": {}, "outputs": [output]}
    (tmp_path / "x.ipynb").write_text(json.dumps({"cells": [cell]}))
    with pytest.raises(InputError, match="which is a path"):
        list(below_headings(tmp_path / "x.ipynb"))


def test_what_acts_is_left_out_of_text_and_outputs(tmp_path):
    acting = '<script>alert(1)</script><meta http-equiv="refresh" content="0;url=https://example.org">'
    source = f'# A\n\n{acting}<b onclick="x()">b</b>'
    output = {"output_type": "display_data", "data": {"text/html": source[5:]}, "metadata": {}}
    cells = [
        {"cell_type": "markdown", "source": source, "metadata": {}},
        {"cell_type": "code", "source": "x", "metadata": {}, "outputs": [output]},
    ]
    (tmp_path / "x.ipynb").write_text(json.dumps({"cells": cells}))
    page = executed.read(tmp_path / "x.ipynb")
    assert page.title == "A" and not re.search("<script|<meta|onclick", page.body) and page.body.count("<b>b</b>") == 2


def test_a_root_behind_a_link_has_its_files_on_the_site(tmp_path, monkeypatch):
    (tmp_path / "real").mkdir()
    (tmp_path / "linked").symlink_to(tmp_path / "real")
    monkeypatch.setenv("MP_ROOT", str(tmp_path / "linked"))
    (tmp_path / "real" / "a.csv").write_text("a")
    assert Shelf(tmp_path / "site").place(tmp_path / "linked" / "a.csv") == "files/a.csv"
    assert Shelf(tmp_path / "site").place(ROOT / "CITATION.cff") == "files/project/CITATION.cff"
    assert Shelf(tmp_path / "site").place(Path("/etc/hostname")) is None


@pytest.mark.slow
def test_one_command_makes_it_where_nothing_was_run(tmp_path):
    done = run_pipeline("site", "smoke", root=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    folder = tmp_path / "site"
    assert done.stdout.splitlines()[-1] == str(folder / "index.html") and broken_links(folder) == []
    shown = {path.stem for path in (folder / "notebooks").iterdir()}
    assert {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")} <= shown


def test_the_executed_notebooks_are_json_nowhere_in_it(written):
    assert not [path for path in written.rglob("*") if path.suffix == ".ipynb"]
    for path in written.rglob("*.json"):
        json.loads(path.read_text())
