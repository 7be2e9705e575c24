"""Who is filmed for a report, and what the films are."""

import numpy as np
import pytest

from mp_lib.insight import reel
from mp_lib.insight.reel import STARS, cast
from mp_lib.pipeline.experiment import Experiment
from mp_lib.presets import METHODS
from mp_lib.study.designs import MAMBA


def runs(*methods, task="a", seed=0):
    return [{"method": method, "task": task, "seed": seed} for method in methods]


def chosen(rows):
    return [(row["method"], row["task"], row["seed"]) for row in cast(rows)]


def test_hydra_is_filmed_beside_dp3_in_whatever_order_runs_ended():
    for rows in (runs(*METHODS), runs(*METHODS)[::-1]):
        assert chosen(rows) == [("dp3_mamba_hydra", "a", 0), ("dp3", "a", 0)]
    assert {*STARS} == {*MAMBA}


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        (runs("dp3_mamba", "dp3"), ["dp3_mamba", "dp3"]),
        (runs("dp3_narrow", "dp3_mamba_bi"), ["dp3_mamba_bi", "dp3_narrow"]),
        (runs("dp3_mamba_hydra"), ["dp3_mamba_hydra"]),
        (runs("simple_dp3", "dp3"), ["dp3"]),
        (runs("dp3_mamba_v3", "dp3"), ["dp3"]),
        (runs("dp3_mamba_v3"), ["dp3_mamba_v3"]),
        ([], []),
    ],
)
def test_where_one_is_missing_the_next_takes_its_place(rows, expected):
    assert [method for method, *_ in chosen(rows)] == expected


def test_both_are_of_one_task_and_if_there_is_one_of_one_seed():
    rows = runs("dp3_mamba_hydra", task="b") + runs("dp3_mamba_hydra", "dp3", task="a", seed=2)
    rows += runs("dp3", task="a", seed=1)
    assert chosen(rows) == [("dp3_mamba_hydra", "a", 2), ("dp3", "a", 2)]


def test_a_turning_cloud_and_a_chunk_are_frames_of_the_size_of_the_other_films():
    from mp_lib.drawing.pictures import turning

    cloud = np.random.default_rng(0).normal(size=(50, 3))
    frames = [*turning(cloud, 640, 480, frames=3)]
    assert [frame.shape for frame in frames] == [(480, 640, 3)] * 3 and frames[0].dtype == np.uint8
    assert (frames[0] != frames[1]).any() and (frames[0] < 250).any()


def test_an_earlier_list_is_gone_before_any_film_is_written_over(tmp_path, monkeypatch):
    def stop(*_, **__):
        assert not (tmp_path / reel.LIST).exists()
        raise KeyboardInterrupt

    (tmp_path / reel.LIST).write_text('{"films": []}')
    monkeypatch.setattr(reel, "load", stop)
    with pytest.raises(KeyboardInterrupt):
        reel.shoot(["a"], tmp_path)
    assert reel.films_in(tmp_path) == []


def test_films_that_are_always_made_are_the_step_s_products(empty_root):
    (step,) = (step for step in Experiment("smoke").steps(2) if step.name.endswith("-films"))
    names = {path.name for path in step.products}
    assert names == {reel.LIST, *reel.EPISODES, reel.CLOUD, reel.DENOISING}
