"""What the encoder tells of the object before training is computed from weights that can be made again."""

import numpy as np
import pandas as pd
import pytest

from mp_lib.config import STARTS, scale_config
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.drawing.display import Markdown
from mp_lib.drawing.success import by_signal
from mp_lib.insight import encoder_start
from mp_lib.insight.encoder_start import object_signal, signals
from mp_lib.presets import METHODS
from mp_lib.sim.tasks import find_task
from mp_lib.study.designs import DESIGNS
from mp_lib.study.runs import runs_of_design
from mp_lib.system.paths import demos_path
from tests.study.finished import write_run

TASK, METHOD = "metaworld_drawer-open", "dp3_narrow"
pytestmark = pytest.mark.usefixtures("empty_root")


def record(moved):
    """Two made-up demonstrations whose first clouds differ by ``moved``."""
    spec, config = find_task(TASK), scale_config("smoke", TASK, METHOD)
    shapes = {"point_cloud": (config.num_points, 3), "state": (spec.state_dim,), "action": (spec.action_dim,)}
    store = ReplayBuffer.create(demos_path(TASK, config.num_points, 2), shapes, {"task": TASK})
    random = np.random.default_rng(0)
    cloud = random.uniform(-1, 1, (20, *shapes["point_cloud"]))
    for place in range(2):
        arrays = {key: random.uniform(-1, 1, (20, *shapes[key])) for key in ("state", "action")}
        arrays["point_cloud"] = cloud + moved * place
        store.append({key: values.astype(np.float32) for key, values in arrays.items()}, {})


def make(start, seed=0):
    return scale_config("smoke", TASK, METHOD, seed, start=start)


def test_the_signal_repeats_and_a_standardised_one_is_larger():
    record(moved=0.01)
    released, standardised = (object_signal(make(start)) for start in STARTS)
    assert 0 < released == object_signal(make("released")) < standardised
    assert object_signal(make("released", seed=1)) != released


def test_where_no_object_moves_there_is_no_signal():
    record(moved=0)
    assert object_signal(make("released")) < 1e-6


def test_every_run_of_the_experiment_has_its_signal_and_the_figure_is_published(tmp_path):
    record(moved=0.01)
    for start in STARTS:
        for seed in (0, 1):
            write_run(TASK, METHOD, [1, 0, 1, seed], seed, start=start)
    table = signals(runs_of_design(DESIGNS["start"], "smoke"))
    assert sorted(zip(table["start"], table["seed"], strict=True)) == [
        (start, seed) for start in STARTS for seed in (0, 1)
    ]
    assert (table["signal"] > 0).all() and sorted({*table["success"]}) == [50, 75]
    list(encoder_start.show("smoke"))
    assert (tmp_path / "figures" / "07_signal_smoke.png").exists()


def test_without_runs_or_demonstrations_there_is_a_sentence():
    (said,) = encoder_start.show("smoke")
    assert isinstance(said, Markdown) and "Nothing to show" in said.data
    write_run(TASK, METHOD, [1, 0], start="standardised")
    write_run(TASK, METHOD, [1, 0])
    assert signals(runs_of_design(DESIGNS["start"], "smoke")).empty


def test_a_panel_a_task():
    rows = [
        {"task": task, "method": method, "start": start, "seed": 0, "signal": 0.01 * (1 + place), "success": 50}
        for task in ("a", "b")
        for place, method in enumerate(METHODS)
        for start in STARTS
    ]
    assert len(by_signal(pd.DataFrame(rows)).axes) == 2
