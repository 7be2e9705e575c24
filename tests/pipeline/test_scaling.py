"""Computed wall times lie between what the steps allow."""

import pytest

from mp_lib.pipeline.scaling import MEASURED, matrix, table_of, wall_times
from mp_lib.pipeline.schedule import makespan
from mp_lib.pipeline.steps import Step


def make(tmp_path, **needs):
    return [Step(name, name, "n", tmp_path, needs=needed) for name, needed in needs.items()]


def test_one_worker_takes_the_sum_and_many_take_the_longest_chain(tmp_path):
    steps = make(tmp_path, a=(), b=("a",), c=("a",), d=())
    seconds = {"a": 2, "b": 3, "c": 4, "d": 5}
    assert [makespan(steps, seconds, workers) for workers in (1, 2, 3, 9)] == [14, 9, 6, 6]


@pytest.mark.parametrize("workers", [1, 2, 3, 5, 8, 64])
def test_more_workers_are_never_faster_than_work_and_chains_allow(workers):
    steps = matrix()
    assert sum(step.kind == "training" for step in steps) == 12
    seconds = {step.name: 1 + number % 7 for number, step in enumerate(steps)}
    found = makespan(steps, seconds, workers)
    longest = max(sum(seconds[name] for name in (step.name, *step.needs)) for step in steps)
    bound = max(sum(seconds.values()) / workers, longest)
    assert bound <= found <= sum(seconds.values()) / workers + longest


def test_the_table_says_what_was_measured_and_what_computed():
    seconds = {step.name: 2.0 for step in matrix()}
    table = table_of({workers: (30 / workers, seconds) for workers in MEASURED})
    assert table["how"].tolist() == ["measured", "measured", "computed", "computed"]
    assert table["seconds"].tolist() == [30, 15, 6, 4]  # two waves of trainings on 8 workers
    texts = [text.get_text() for text in wall_times(table).axes[0].get_legend().get_texts()]
    assert texts[0] == "measured" and texts[1].startswith("computed")
