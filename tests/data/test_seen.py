"""What a policy has seen: ranges of all that its windows hold, in the robot's units, as whoever acts reads them."""

from dataclasses import fields

import numpy as np
import pytest

from mp_lib.acting.seen import Seen
from mp_lib.data import seen
from mp_lib.data.seen import seen_in
from mp_lib.data.windows import ActionWindows
from mp_lib.geometry.kinds import Layout
from mp_lib.geometry.relative import Relative
from tests.learning.own_run import KINDS

LENGTHS = {"horizon": 4, "n_obs_steps": 2, "n_action_steps": 3}
LAYOUTS = [Layout.parse(KINDS[key]) for key in ("state", "action")]


def make_arrays(frames=30):
    generator = np.random.default_rng(0)
    shapes = {"point_cloud": (frames, 8, 3), "state": (frames, 3), "action": (frames, 2)}
    arrays = {key: generator.normal(3, 1, shape).astype(np.float32) for key, shape in shapes.items()}
    arrays["point_cloud"][:, 6:] = 0  # padding
    arrays["action"][:, 1] = generator.integers(0, 2, frames)
    return arrays


@pytest.mark.parametrize("relative", [None, Relative(*LAYOUTS)])
def test_ranges_hold_the_frames_of_the_windows_alone_and_of_actions_as_they_are_executed(relative):
    arrays = make_arrays()
    windows = ActionWindows(arrays, np.array([15, 30]), demo_episodes=[1], relative=relative, **LENGTHS)
    found, there = seen_in(windows), {key: values[15:] for key, values in arrays.items()}
    for key in ("state", "action"):
        assert np.array_equal(found[f"{key}_low"], there[key].min(0))
        assert np.array_equal(found[f"{key}_high"], there[key].max(0))
    points = there["point_cloud"][:, :6]
    assert np.array_equal(found["cloud"], there["point_cloud"][0])
    assert np.array_equal(found["cloud_low"], points.min((0, 1))) and found["cloud_low"].min() > 0
    assert np.array_equal(found["cloud_high"], points.max((0, 1)))
    extents = np.ptp(points, axis=1)
    np.testing.assert_allclose(found["extent_low"], extents.min(0), rtol=1e-6)
    np.testing.assert_allclose(found["extent_high"], extents.max(0), rtol=1e-6)
    assert (found["cloud_low"] <= found["centre_low"]).all() and (found["centre_high"] <= found["cloud_high"]).all()
    assert np.array_equal(found["open_closed"], [[np.nan, 0], [np.nan, 1]], equal_nan=True)
    assert {values.dtype for values in found.values()} == {np.dtype(np.float32)}


def test_who_acts_reads_all_that_is_written():
    windows = ActionWindows(make_arrays(), np.array([15, 30]), **LENGTHS)
    found = seen_in(windows)
    assert {*found} == {field.name for field in fields(Seen)}
    assert found["open_closed"][:, 1].tolist() == [0, 1]


def test_a_cloud_without_any_point_counts_for_nothing():
    arrays = make_arrays()
    arrays["point_cloud"][0] = 0
    found = seen_in(ActionWindows(arrays, np.array([30]), **LENGTHS))
    assert np.array_equal(found["cloud"], arrays["point_cloud"][1])
    assert all(np.isfinite(values).all() for name, values in found.items() if name != "open_closed")


def test_where_no_cloud_has_any_point_the_rest_is_known():
    arrays = make_arrays() | {"point_cloud": np.zeros((30, 8, 3), np.float32)}
    found = seen_in(ActionWindows(arrays, np.array([30]), **LENGTHS))
    assert {*found} == {"state_low", "state_high", "action_low", "action_high", "open_closed"}
    assert np.array_equal(found["state_low"], arrays["state"].min(0))


@pytest.mark.parametrize("clouds", [0, 1, 7, 29, 30])
def test_in_how_many_slabs_clouds_are_looked_at_makes_no_difference(clouds, monkeypatch):
    arrays = make_arrays()
    arrays["point_cloud"][[0, 5]] = 0
    windows = ActionWindows(arrays, np.array([15, 30]), **LENGTHS)
    whole = seen_in(windows)
    monkeypatch.setattr(seen, "SLAB_BYTES", clouds * arrays["point_cloud"][0].nbytes)
    parts = seen_in(windows)
    assert [*parts] == [*whole] and all(np.array_equal(parts[name], whole[name], equal_nan=True) for name in whole)
