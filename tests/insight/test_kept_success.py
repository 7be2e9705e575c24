"""README's figure shows the kept rows, the paper's tasks in its order, and says from which numbers it was drawn."""

import pytest

from mp_lib.insight import kept_success
from mp_lib.sim.tasks import PAPER_TASKS


@pytest.fixture(autouse=True)
def no_runs(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))


def test_the_kept_figure_is_of_the_kept_rows():
    assert kept_success.drawn_from() == kept_success.digest(kept_success.kept_table()), (
        "python -m mp_lib documents draws it anew"
    )


def test_its_tasks_are_the_papers_in_their_order():
    tasks = list(dict.fromkeys(kept_success.kept_table()["task"]))
    assert tasks and tasks == [task for task in PAPER_TASKS if task in tasks]


def test_it_is_drawn_anew_where_numbers_are_others_and_else_left(monkeypatch, tmp_path):
    table = kept_success.kept_table()
    other = table.assign(ours=table["ours"] / 2)
    monkeypatch.setattr(kept_success, "kept_table", lambda: other)
    assert kept_success.keep() == tmp_path / "data/results/success.png"
    assert kept_success.drawn_from() == kept_success.digest(other) != kept_success.digest(table)
    assert kept_success.keep() is None
