"""The report: verdicts first, the same numbers every time, whole in a browser offline, and from what is kept alone."""

import html
import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from mp_lib.study.claims import CLAIMS, FAILS, HOLDS, NOTHING, UNDECIDED
from mp_lib.study.designs import REPORT
from tests.pipeline.conftest import PAGES, run_pipeline

BROWSER = next(filter(shutil.which, ("chromium", "chromium-browser", "google-chrome")), None)
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
  });
  document.body.append(probe);
});
</script>
"""


def test_claims_and_verdicts_come_first(smoke_run):
    check(smoke_run.report.read_text(), PAGES)


@pytest.mark.slow
def test_so_they_do_where_nothing_was_run(tmp_path):
    done = run_pipeline("report", root=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    check(Path(done.stdout.splitlines()[-1]).read_text(), REPORT.pages)


def check(page, pages):
    """That a report has these pages, and verdicts in their place."""
    text = html.unescape(re.sub(r"<[^>]+>", " ", page))
    sections = re.findall(r'<section id="([^"]+)"', page)
    assert sections[0] == "05_tables" and set(sections) == {*pages}
    verdicts = text[text.index("Which claims hold") : text.index("Success\n") if "Success\n" in text else None]
    for claim in CLAIMS:
        line = re.search(rf"\({claim.letter}\) [^:]+:\s+({'|'.join((HOLDS, FAILS, UNDECIDED, NOTHING))})", verdicts)
        assert line, claim.letter
    assert text.index("Which claims hold") < text.index("Ablations")
    assert "Traceback" not in text and "nan" not in text.split()


def test_the_same_results_give_the_same_numbers_to_the_byte(smoke_run):
    """Those of 05_tables, which the report has made again."""
    names = [name for name in smoke_run.figures if name.startswith("05_") and not name.endswith(".json")]
    assert {name.rpartition(".")[2] for name in names} == {"csv", "png", "pdf"}
    for name in names:
        assert (smoke_run.root / "figures" / name).read_bytes() == smoke_run.figures[name], name


@pytest.mark.skipif(BROWSER is None, reason="no Chromium is installed (Debian: apt install chromium)")
def test_a_browser_draws_every_figure_and_asks_nobody(smoke_run, tmp_path):
    page = tmp_path / "page.html"
    written = smoke_run.page.read_text()
    assert "script-src" not in written  # so that default-src stands for it: the page runs none, only the test's own
    allowed = written.replace("default-src 'none';", "default-src 'none'; script-src 'nonce-probe';", 1)
    page.write_text(allowed.replace("</nav>", "</nav>" + PROBE))
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--disable-background-networking"),
            *("--disable-component-update", "--disable-sync", "--no-first-run", f"--user-data-dir={tmp_path / 'user'}"),
            *("--host-resolver-rules=MAP * ~NOTFOUND", "--window-size=1200,900", "--virtual-time-budget=20000"),
            *("--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=180,
        env=os.environ | {"HOME": str(tmp_path)},
    )
    found = re.search(r'<pre id="probe">(.*?)</pre>', done.stdout, re.DOTALL)
    assert found, done.stderr[-2000:]
    seen = json.loads(html.unescape(found.group(1)))
    assert len(seen["images"]) >= 10 and all(natural > 0 and shown > 0 for natural, shown in seen["images"])
    assert all(film == "data:" for film in seen["films"] if film)
    assert seen["requests"] == seen["refused"] == [] and seen["wide"] == 0
    assert "default-src 'none'" in done.stdout  # whatever a notebook's output held, the browser would not fetch it
