"""What documents say that was measured is what kept rows say."""

import csv
import re

import pytest

from mp_lib.__main__ import main
from mp_lib.study import documents
from mp_lib.study.documents import MARKED, NOTES, TABLES, notes_of, written
from mp_lib.system.paths import results_path, supplied
from tests import ROOT

FILES = documents.documents()
EXAMPLE = "before\n<!-- success, written by python -m mp_lib documents -->\nold\n<!-- end -->\nafter\n"
# A number with a unit of what one measures; not percent, of which limits, intervals and thresholds are made.
QUOTED = re.compile(
    r"[\d.,]*\d (?:µs|ms|s|min|h|seconds|minutes|hours|(?:[KMGT]i?)?B(?:/s)?)\b|\b1/\d+\.\d|\d times as (?:fast|long)"
)
SETTINGS = {
    "docs/cluster.md": {"1 h", "20 min"},  # a progress line, as an example
    "docs/data.md": {"16 MiB"},  # parts in which stores are read
    "docs/performance.md": {"24 GB", "1 GB"},  # a card, and what is left to CUDA on each
    "docs/publishing.md": {"60 MB"},  # a limit of ours
    "docs/reliability.md": {"15 seconds"},  # a limit of ours
    "docs/robot.md": {"0.2 s", "0.5 s", "16 MB"},  # clocks of an actor, and the longest message
    "docs/suites.md": {"4 ms", "12.5 ms", "20 ms", "40 ms"},  # steps of simulators and of tasks
}


@pytest.fixture
def no_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_tables_are_those_of_the_kept_rows(path, no_runs):
    text = path.read_text()
    assert written(text) == text, "python -m mp_lib documents writes it anew"
    marks = re.findall(r"written by", text)
    assert len(marks) == len(MARKED.findall(text))


def test_every_table_stands_in_one_document():
    names = [found["name"] for path in FILES for found in MARKED.finditer(path.read_text())]
    assert sorted(names) == sorted(TABLES)


def test_what_stands_between_marks_is_replaced_and_nothing_else(no_runs, monkeypatch, tmp_path, capsys):
    monkeypatch.setitem(TABLES, "success", lambda: "new\n")
    assert written(EXAMPLE) == EXAMPLE.replace("old", "new") and written("no marks") == "no marks"
    (tmp_path / "README.md").write_text(EXAMPLE)
    monkeypatch.setattr(documents, "documents", lambda: [tmp_path / "README.md"])
    assert main(["documents"]) == 0 and capsys.readouterr().out == f"{tmp_path / 'README.md'}\n"
    assert (tmp_path / "README.md").read_text() == EXAMPLE.replace("old", "new")
    assert main(["documents"]) == 0 and capsys.readouterr().out == ""


def test_runs_of_ones_own_are_not_in_the_documents(no_runs, monkeypatch):
    seen = []
    monkeypatch.setattr("mp_lib.study.runs.load_runs", lambda: seen.append(1))
    for name, make in TABLES.items():
        assert make().count("|") > 10 or name == "buttons"
    assert not seen


@pytest.mark.parametrize("path", [path for path in FILES if path.parent.name == "docs"], ids=lambda path: path.stem)
def test_prose_quotes_no_measurement(path):
    text = re.sub(r"^```.*?^```|`[^`]*`", "", MARKED.sub("", path.read_text()), flags=re.DOTALL | re.MULTILINE)
    allowed = SETTINGS.get(str(path.relative_to(ROOT)), set())
    assert set(QUOTED.findall(text)) == allowed, "what was measured stands in a table between marks"


def test_notes_are_complete_and_each_topic_is_a_table():
    with supplied(results_path("notes.csv")).open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert {row["topic"] for row in rows} == {*NOTES}
    assert all(row["what"] and row["value"] and not any("|" in cell for cell in row.values()) for row in rows)


def test_notes_leave_out_empty_columns_and_say_once_what_rows_have_alike(no_runs):
    path = results_path("notes.csv")
    path.parent.mkdir(parents=True)
    path.write_text("topic,what,value,device,how,commit\na,x,1 s,P,h,\na,y,2 s,P,i,\nb,z,3 s,Q,,c\n")
    assert notes_of("a")() == (
        "| what | measured | how |\n| --- | --- | --- |\n| x | 1 s | h |\n| y | 2 s | i |\n\nAll rows: P.\n"
    )
    assert notes_of("b")().endswith("| z | 3 s |\n\nAll rows: Q, commit c.\n")
