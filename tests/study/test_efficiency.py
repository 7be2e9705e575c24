"""What readers see of the kept benchmark: rows of one device, ratios that are ratios, words that hold."""

from dataclasses import replace

import pandas as pd
import pytest

from mp_lib.drawing import plots
from mp_lib.drawing.display import show_grouped
from mp_lib.presets import PAPER_METHODS
from mp_lib.study import cost_reading, efficiency
from mp_lib.study.efficiency import read_table
from mp_lib.timing.benchmark import Measurement
from mp_lib.timing.table import kept_path, read_rows, write_rows
from tests.timing.made_up import fill, measured

__all__ = ["measured"]  # a fixture


@pytest.fixture
def made_up(measured, tmp_path):
    fill(tmp_path / "benchmark.csv")
    return read_table(tmp_path / "benchmark.csv")


def test_numbers_of_one_device_and_precision_stand_side_by_side(made_up):
    for column in ("device", "precision"):
        both = pd.concat([made_up.assign(**{column: "another"}), made_up])
        assert {*efficiency.newest_device(both)[column]} == {*made_up[column]}
        assert [len(rows) for rows in efficiency.devices_in(both)] == [len(made_up)] * 2
    assert efficiency.newest_device(made_up.iloc[:0]).empty


def test_a_device_with_some_methods_hides_none_that_has_all(made_up):
    begun = made_up[made_up["method"].isin(["dp3", "dp3_mamba_v2"])].assign(device="another")
    pd.testing.assert_frame_equal(efficiency.newest_device(pd.concat([made_up, begun])), made_up)


def test_what_another_device_has_not_measured_is_taken_from_one_that_has(monkeypatch, tmp_path):
    """A GPU's rows, which come last, have no ONNX Runtime and no training step on two threads."""
    kept = read_rows(kept_path())
    own = [row | {"device": "GPU"} for row in kept if (row["what"], row["backend"]) == ("chunk", "torch")]
    write_rows(tmp_path / "benchmark.csv", [*kept, *own])
    monkeypatch.setattr(efficiency, "kept_path", lambda: tmp_path / "benchmark.csv")
    for where, device in (
        (efficiency.CHUNK | {"backend": "onnx"}, kept[0]["device"]),
        (efficiency.STEP | {"backend": "torch"}, kept[0]["device"]),
        (efficiency.CHUNK | {"backend": "torch"}, "GPU"),
    ):
        rows = efficiency.measured_rows("median_seconds", **where)
        assert {*rows["device"]} == {device} and len(rows) >= len(efficiency.kinds(PAPER_METHODS))


def test_ratios_that_were_not_noted_are_quotients_of_rows_of_one_sheet(made_up):
    old = made_up.assign(ratio_to_dp3_same=float("nan"), torch="", commit="")
    old.loc[old["method"] == "dp3", "median_seconds"] = 4.0
    found = old["ratio_to_dp3_same"].fillna(efficiency.quotients(old))
    timed = old["what"] != "train_step"
    alone = ~old["what"].isin(["chunk", "denoiser", "train_step"])
    others = timed & (old["method"] != "dp3")
    assert (found[others & ~alone] == 0.25).all() and (found[timed & (old["method"] == "dp3")] == 1).all()
    assert found[~timed].isna().all()
    another = old.assign(commit=["" if method == "dp3" else "later" for method in old["method"]])
    assert efficiency.quotients(another)[others].isna().all()


def test_what_is_measured_anew_stands_beside_what_is_kept(made_up):
    row = Measurement("dp3_mamba_hydra", "released", 16, "onnx", 1, 1, "chunk", 0.1, 0, 0.05, 0.25)
    row = replace(row, ratio_to_dp3_same=0.12)
    assert efficiency.anew_text([row], made_up) == (
        "Hydra, no attention, ONNX Runtime: 100 ms, 12.0 % of the time of DP3 by the same means "
        "(25.0 % in the kept table), 5.0 % of that in eager PyTorch."
    )
    assert efficiency.anew_text([], made_up) == "Nothing was measured anew."
    assert "kept" not in efficiency.anew_text([replace(row, horizon=8)], made_up)


@pytest.mark.parametrize("table", [*efficiency.devices_in(efficiency.every_timing()), None])
def test_readers_show_what_is_there(table, tmp_path):
    missing = table is None
    table = read_table(tmp_path / "missing.csv") if missing else table
    for horizon in sorted({*table["horizon"]} or {4, 16}):
        shown = cost_reading.benchmark_reading(table, horizon)
        timed = table[table["horizon"] == horizon][["method", "attention"]].drop_duplicates()
        assert len(shown.columns) == 2 + (len(timed) or len(efficiency.kinds()))
        parts = cost_reading.benchmark_readings(table, horizon)
        known = {*timed["method"]} - {*PAPER_METHODS}
        assert len(parts) == 1 + bool(known) and (missing or sum(len(each.columns) - 2 for each in parts) == len(timed))
        assert "multiply-adds of a call" in shown[f"horizon {horizon}"].tolist()
        page = show_grouped(shown).data
        assert [page.count(f"<em>{unit}</em>") for unit in shown["unit"].unique()] == [1] * shown["unit"].nunique()
    said = efficiency.benchmark_text(table)
    assert ("has not been made" in said) == missing
    costs = efficiency.relative_costs({16: efficiency.cost_table(16)}, table, efficiency.forms_in(table))
    calls = efficiency.pick(table, **efficiency.CALL)
    for figure in (plots.costs(costs), plots.latency_by_length(calls, {"torch": "", "onnx": ""})):
        figure.savefig(tmp_path / "figure.png")  # some errors come only when it is drawn


def test_readers_take_ratios_and_milliseconds_from_their_rows(made_up):
    shown = cost_reading.benchmark_reading(made_up, 16).set_index(["unit", "horizon 16"])
    for name, value in {
        ("milliseconds", "call, ONNX Runtime"): 1000,
        ("milliseconds", "chunk of two steps, ONNX Runtime"): 1000,
        ("times as fast", "chunk, ONNX Runtime, as official"): 5,
        ("times as fast", "chunk, ONNX Runtime, as DP3 eager"): 2,
        ("times as fast", "chunk, ONNX Runtime, as DP3 by ONNX Runtime"): 4,
        ("a second", "calls of batch 64, PyTorch"): 64,
    }.items():
        assert (shown.loc[name] == value).all(), name
    assert "25.0 to 25.0 % ONNX Runtime (50.0 to 50.0 %)" in efficiency.benchmark_text(made_up)
    costs = efficiency.relative_costs({16: efficiency.cost_table(16)}, made_up, ["onnx"])
    timed = costs[costs["quantity"] == "chunk, ONNX Runtime"]
    assert (timed["share"] == 0.25).all() and (timed["share_eager"] == 0.5).all()


def test_a_device_is_named_with_its_bandwidth(made_up):
    device = made_up["device"].iloc[0]
    assert efficiency.device_text(made_up) == f"{device}, float32"
    assert efficiency.device_text(made_up.iloc[:0]) == "not measured yet"
    read = made_up.assign(bandwidth=made_up["threads"] * 10.0)
    assert efficiency.device_text(read).endswith("it reads 10 GB/s with 1 thread and 20 GB/s with 2 threads")
