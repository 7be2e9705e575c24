"""The report: the answer first, the same numbers every time, whole in a browser offline, from what is kept alone."""

import html
import re
from dataclasses import asdict
from pathlib import Path
from types import SimpleNamespace

import pandas as pd
import pytest
from bs4 import BeautifulSoup

from mp_lib.insight.reel import LIST, Film
from mp_lib.pipeline.details import NO_WORDS
from mp_lib.pipeline.report import build_report
from mp_lib.pipeline.steps import Step
from mp_lib.presets import METHODS, PAPER_METHODS
from mp_lib.study.answer import Answer, answer
from mp_lib.study.claims import ALIKE, CLAIMS, FAILS, HOLDS, NOTHING, UNDECIDED
from mp_lib.study.designs import DESIGNS, REPORT
from mp_lib.system.files import write_json
from tests.browser import needs_browser, probed
from tests.smoke import PAGES, run_pipeline

PROBE = """
<script nonce="probe">
const refused = [];
document.addEventListener("securitypolicyviolation", event => refused.push(event.blockedURI));
window.addEventListener("load", () => {
  const width = image => image.getBoundingClientRect().width;
  const all = selector => [...document.querySelectorAll(selector)];
  const entries = performance.getEntriesByType("resource").map(entry => entry.name);
  const probe = document.createElement("pre");
  probe.id = "probe";
  probe.textContent = JSON.stringify({
    refused,
    images: all("img").map(image => [image.complete && image.naturalWidth, width(image)]),
    films: all("video, source").map(film => film.src.slice(0, 5)),
    requests: entries.filter(name => !name.startsWith("data:")),
    wide: all("section, img, p").filter(each => each.scrollWidth > innerWidth).length,
    beyond: all("main table").filter(each => width(each) > width(each.parentElement) + 1).length,
    head: document.querySelector(".head").getBoundingClientRect().bottom,
    contents: document.querySelector("nav").getBoundingClientRect().top,
    stays: getComputedStyle(document.querySelector("nav")).position,
    scrolls: getComputedStyle(document.querySelector("nav")).overflowY,
    longest: document.querySelector("nav").getBoundingClientRect().height - innerHeight,
  });
  document.body.append(probe);
});
</script>
"""


VERDICTS = (HOLDS, FAILS, UNDECIDED, ALIKE, NOTHING)
UNKNOWN = (NO_WORDS, "A picture", "A film")  # what is said of that of which nothing is known
FIRST_SEEN = 900  # pixels of a window that is 1280 wide


def test_the_answer_comes_first(smoke_run):
    check(smoke_run.report.read_text(), PAGES)
    page = smoke_run.page.read_text()
    check(page, DESIGNS["first"].pages)
    head = head_of(page)
    assert len(re.findall("<video", head)) == 2 and "05_success_smoke.csv" in head
    for told in (r"\d{4}-\d\d-\d\d", "commit ", "CPU cores?", r"\./run_all\.sh smoke", "min of steps"):
        assert re.search(told, head.partition('class="provenance"')[2]), told


@pytest.mark.slow
def test_so_it_does_where_nothing_was_run(tmp_path):
    done = run_pipeline("report", root=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    check(Path(done.stdout.splitlines()[-1]).read_text(), REPORT.pages)


@pytest.fixture
def films(empty_root):
    """A step that has left two films, and an experiment of that step alone."""
    folder = empty_root / "data" / "reports" / "smoke"
    (folder / "films").mkdir(parents=True)
    rows = [Film(name, "pair", name, f"words on {name}") for name in ("one.mp4", "two.mp4")]
    for row in rows:
        (folder / "films" / row.file).write_bytes(b"film")
    write_json(folder / "films" / LIST, {"films": [asdict(row) for row in rows]})
    facts = {"name": "smoke", "title": "smoke", "scale": "smoke", "command": "./run_all.sh smoke", "any_device": "cpu"}
    step = Step("films", "films", "/films.ipynb", folder / "films.ipynb", products=(folder / "films" / LIST,))
    return SimpleNamespace(folder=folder, **facts), step


def test_films_are_those_of_a_step_that_is_done_and_one_that_is_gone_is_said_to_be(films):
    experiment, step = films
    nothing = Answer("", "", {}, [])
    assert build_report(experiment, [step], nothing).read_text().count("<video") == 2
    assert "<video" not in build_report(experiment, [], nothing).read_text()  # it failed: they are of an earlier call
    (experiment.folder / "films" / "two.mp4").unlink()
    page = build_report(experiment, [step], nothing).read_text()
    assert page.count("<video") == 1 and "not there any more: two.mp4." in page


def test_the_verdicts_of_a_page_stand_beside_it_whoever_writes_to_figures(films, empty_root):
    experiment, step = films
    found = answer("smoke")
    page = BeautifulSoup(build_report(experiment, [step], found).read_text(), "html.parser")
    (address,) = {each["href"] for each in page.find_all("a", href=re.compile("csv$"))}
    table = pd.read_csv(experiment.folder / address, keep_default_na=False)
    assert [*table["verdict"]] == [*found.evidence["verdict"]] and not (empty_root / "figures").exists()


def head_of(page):
    return page[page.index('id="answer"') : page.index('id="details"')]


def check(page, pages):
    """That a report has these chapters behind a sentence and six verdicts, the methods before what came out."""
    head = head_of(page)
    chapters = [name for name in re.findall(r'<h2 id="(\d\d_[^"]+)"', page) if not name.startswith("01_")]
    assert {*chapters} == {*pages} and chapters[0] == min(pages)
    assert re.search(r'<p class="sentence">[^<]+of the paper', head)
    text = " ".join(html.unescape(re.sub(r"<[^>]+>", " ", head)).split())
    for claim in CLAIMS:
        assert re.search(rf"\({claim.letter}\) [^:]+: ({'|'.join(VERDICTS)})", text), claim.letter
    assert "Traceback" not in page and "nan" not in html.unescape(re.sub(r"<[^>]+>", " ", page)).split()


@pytest.fixture(params=["page", "report"])
def written(request, smoke_run):
    """A report: of the smoke scale, and of two pages."""
    return getattr(smoke_run, request.param).read_text()


def test_it_runs_nothing_and_asks_nobody(written):
    page = BeautifulSoup(written, "html.parser")
    assert not page.find_all(["script", "link", "iframe", "object", "form"])
    for name in ("src", "srcset", "poster", "data"):
        assert all(each[name].startswith("data:") for each in page.find_all(attrs={name: True}))
    assert not re.search(r"@import|url\(", "".join(style.get_text() for style in page.find_all("style")))


def test_every_picture_and_film_says_what_it_shows_and_no_two_are_equal(written):
    page = BeautifulSoup(written, "html.parser")
    pictures, films = page.find_all("img"), page.find_all("video")
    assert all(picture["alt"].strip() for picture in pictures) and all(film["aria-label"].strip() for film in films)
    for shown in (pictures, films):
        assert len({each["src"] for each in shown}) == len(shown)
    assert not {picture["alt"] for picture in pictures} & {*UNKNOWN} and not any(
        film["aria-label"] in UNKNOWN for film in films
    )
    assert all(film.has_attr("loop") and film.has_attr("muted") and film.has_attr("autoplay") for film in films)


def test_no_table_is_mostly_empty_and_none_stands_twice(written):
    tables = BeautifulSoup(written, "html.parser").find_all("table")
    for table in tables:
        cells = [cell.get_text().strip() for cell in table.find_all("td")]
        assert 2 * len([text for text in cells if text]) >= len(cells), table.get_text()[:200]
    texts = [table.get_text() for table in tables]
    assert len({*texts}) == len(texts)


def test_its_links_lead_to_what_is_there(written, smoke_run):
    page, folder = BeautifulSoup(written, "html.parser"), smoke_run.page.parent
    names = {each["id"] for each in page.find_all(id=True)}
    addresses = [link["href"] for link in page.find_all("a", href=True)]
    assert all(address[1:] in names for address in addresses if address.startswith("#"))
    tables = [address for address in addresses if address.endswith(".csv")]
    assert tables and all((folder / address).resolve().exists() for address in tables)


def test_the_terminal_ends_with_rates_verdicts_and_the_path(smoke_run):
    *lines, path = smoke_run.said.splitlines()
    assert Path(path) == smoke_run.page
    for claim, line in zip(CLAIMS, lines[-len(CLAIMS) :], strict=True):
        assert f"({claim.letter}) {claim.says}: " in line and line.endswith(VERDICTS)
    rates = [line.split("  ")[1].strip() for line in lines if re.search(r"  \d+ \(\d+ to \d+\)$", line)]
    assert rates == [METHODS[name].label for name in PAPER_METHODS]


def test_the_same_results_give_the_same_numbers_to_the_byte(smoke_run):
    """Those of 05_tables, which the report has made again."""
    names = [name for name in smoke_run.figures if name.startswith("05_") and not name.endswith(".json")]
    assert {name.rpartition(".")[2] for name in names} == {"csv", "png", "pdf"}
    for name in names:
        assert (smoke_run.root / "figures" / name).read_bytes() == smoke_run.figures[name], name


@needs_browser
def test_a_browser_draws_every_figure_and_asks_nobody(smoke_run, tmp_path):
    page = tmp_path / "page.html"
    written = smoke_run.page.read_text()
    assert "script-src" not in written  # so that default-src stands for it: the page runs none, only the test's own
    allowed = written.replace("default-src 'none';", "default-src 'none'; script-src 'nonce-probe';", 1)
    page.write_text(allowed.replace("</nav>", "</nav>" + PROBE))
    seen, drawn = probed(page, tmp_path, 1280, FIRST_SEEN)
    assert len(seen["images"]) >= 10 and all(natural > 0 and shown > 0 for natural, shown in seen["images"])
    assert all(film == "data:" for film in seen["films"] if film)
    assert seen["requests"] == seen["refused"] == [] and seen["wide"] == seen["beyond"] == 0
    assert seen["head"] <= FIRST_SEEN and seen["contents"] < FIRST_SEEN / 2
    assert seen["stays"] == "sticky" and seen["scrolls"] == "auto" and seen["longest"] <= 0  # contents stay in sight
    assert "default-src 'none'" in drawn  # whatever a notebook's output held, the browser would not fetch it
