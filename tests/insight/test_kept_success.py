"""README's figures show the kept rows, tasks in their order, and say from which numbers they were drawn."""

import pytest

from mp_lib.insight import kept_success
from mp_lib.insight.kept_success import FIGURES, digest

every = pytest.mark.parametrize("figure", FIGURES, ids=[figure.file for figure in FIGURES])


@pytest.fixture(autouse=True)
def no_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))


@every
def test_the_kept_figure_is_of_the_kept_rows(figure):
    table = figure.table()
    if table.empty:
        assert not figure.drawn_from()
    else:
        assert figure.drawn_from() == digest(table), "python -m mp_lib documents draws it anew"


@every
def test_its_tasks_are_in_their_order(figure):
    tasks = list(dict.fromkeys(figure.table()["task"]))
    assert tasks == [task for task in figure.tasks if task in tasks]


def test_one_is_drawn_anew_where_numbers_are_others_and_else_left(tmp_path):
    figure, table = FIGURES[0], FIGURES[0].table()
    other = table.assign(ours=table["ours"] / 2)
    assert len(table) and figure.keep(table) is None
    assert figure.keep(other) == tmp_path / "data/results/success.png"
    assert figure.drawn_from() == digest(other) != digest(table)
    assert figure.keep(other) is None and figure.keep(other[:0]) is None


def test_all_that_is_kept_is_drawn():
    assert kept_success.keep_all() == []
