"""The search's table tells each lever by its own trainings, and differences from like trainings alone."""

import pandas as pd

from mp_lib.study import search


def rows(*given):
    return pd.DataFrame(given, columns=["lever", "task", "method", "seed", "outcomes"])


def test_differences_are_to_the_training_of_the_same_task_method_and_seed(monkeypatch):
    found = rows(
        ("start", "reach", "dp3", 100, "1100"),
        ("start", "reach", "dp3", 101, "0000"),
        ("steps800", "reach", "dp3", 100, "1111"),
        ("steps800", "reach", "dp3_mamba", 100, "1111"),  # nothing to compare it with
    )
    monkeypatch.setattr(search, "trainings", lambda: found)
    table = search.search_table().set_index("lever")["`reach`"]
    assert table[search.LEVERS["start"]] == "25 (2 trainings)"
    assert table[search.LEVERS["steps800"]] == "100 (+50, 2 trainings)"
    assert table[search.LEVERS["line"]] == ""


def test_every_kept_training_is_of_a_lever_and_of_none_of_the_papers_tasks():
    kept = search.trainings()
    assert {*kept["lever"]} == {*search.LEVERS} and len(kept) <= 150
    assert {*kept["task"]} == {"metaworld_door-lock", "metaworld_coffee-pull", "adroit_relocate"}
    assert (kept["seed"] >= 100).all() and (kept["outcomes"].str.len() == 50).all()
    assert not kept.duplicated(["lever", *search.KEY]).any()
