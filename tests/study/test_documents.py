"""What documents say that was measured is what kept rows say."""

import re

import pytest

from mp_lib.__main__ import main
from mp_lib.study import documents
from mp_lib.study.documents import MARKED, TABLES, written
from tests import ROOT

FILES = documents.documents()
EXAMPLE = "before\n<!-- success, written by python -m mp_lib documents -->\nold\n<!-- end -->\nafter\n"


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
    for make in TABLES.values():
        assert make().count("|") > 10
    assert not seen
