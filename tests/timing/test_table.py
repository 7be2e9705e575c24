"""The benchmark's kept table: every row once, resumed where it stopped, whole sheets only; what readers see of it."""

from dataclasses import replace

import pandas as pd
import pytest
import torch

from mp_lib.config import METHODS
from mp_lib.drawing import plots
from mp_lib.study import efficiency
from mp_lib.system.device import device_name
from mp_lib.timing import table, workloads
from mp_lib.timing.benchmark import Measurement
from mp_lib.timing.table import KEY, Sheet, fill_table, kept_path, measure_sheet, read_table, sheets
from mp_lib.timing.workloads import MAKERS, Subject


@pytest.fixture
def measured(monkeypatch):
    """Sheets "measured" in no time; the list of them grows, with the subjects that were used."""
    done = []

    def measure(sheet, device, subjects):
        done.append((sheet, subjects))
        for key in sheet.keys(device, device_name(torch.device(device))):
            row = dict(zip(KEY, key, strict=True))
            yield row | {"median_seconds": 1.0, "spread": 0.0, "ratio_to_dp3_eager": 1.0, "ratio_to_official": 1.0}

    monkeypatch.setattr(table, "measure_sheet", measure)
    return done


def test_every_row_belongs_to_one_sheet():
    keys = [key for sheet in sheets() for key in sheet.keys("cpu", "cpu")]
    assert len(keys) == len({*keys})
    assert {key[KEY.index("method")] for key in keys} == {*METHODS}
    for sheet in sheets():
        assert {*sheet.backends} <= {*MAKERS[sheet.what]}


def test_a_stopped_table_goes_on_and_a_finished_one_rests(measured, tmp_path):
    path = tmp_path / "results" / "benchmark.csv"
    everything = [sheet for sheet in sheets() if sheet.usable_backends("cpu")]  # without a compiler one is not
    filling = fill_table(path)
    for _ in range(4):
        next(filling)
    filling.close()  # three sheets are whole, the fourth was not begun
    assert [sheet for sheet, _ in measured] == everything[:3]
    assert list(fill_table(path)) == everything[3:]
    assert [sheet for sheet, _ in measured] == everything
    assert not list(fill_table(path))
    table = read_table(path)
    assert not table.duplicated(KEY).any()
    assert len(table) == sum(len(sheet.keys("cpu", "cpu")) for sheet in everything)


def test_sheets_of_one_horizon_share_what_was_exported_and_training_has_the_memory(measured, tmp_path):
    for _ in fill_table(tmp_path / "benchmark.csv"):
        pass
    (first, subjects), (second, others), *rest = measured
    assert first.horizon == second.horizon and subjects == others and len(subjects) > len(METHODS)
    assert all(not used for sheet, used in rest if sheet.what == "train_step")
    assert not {*subjects} & {each for sheet, used in rest if sheet.horizon != first.horizon for each in used}


def test_a_sheet_that_fails_leaves_the_others(measured, monkeypatch, tmp_path):
    path = tmp_path / "benchmark.csv"
    filling = fill_table(path)
    next(filling)
    next(filling)
    before = path.read_bytes()
    monkeypatch.setattr(table, "measure_sheet", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(filling)
    assert path.read_bytes() == before


def test_a_sheet_is_measured_with_the_memory_that_it_takes(monkeypatch):
    monkeypatch.setattr("mp_lib.timing.benchmark.TURN_SECONDS", 0.0)
    sheet = Sheet("encoder_step", 2, 1, ("torch",), 4, turns=3, memory=("torch",), methods=("simple_dp3",))
    [row] = measure_sheet(sheet, "cpu", [Subject("simple_dp3", "", 4)])
    assert row["backend"] == "torch" and row["ratio_to_official"] is None
    assert row["median_seconds"] > 0
    assert row["peak_megabytes"] is None or 1 < row["peak_megabytes"] < 1e5


def test_a_backend_that_comes_later_replaces_the_rows_of_its_sheet(measured, monkeypatch, tmp_path):
    path, usable = tmp_path / "benchmark.csv", workloads.usable
    monkeypatch.setattr(workloads, "usable", lambda name, device: name != "onnx" and usable(name, device))
    for _ in fill_table(path):
        pass
    assert "onnx" not in {*read_table(path)["backend"]}
    monkeypatch.setattr(workloads, "usable", usable)
    for _ in fill_table(path):
        pass
    table = read_table(path)
    assert "onnx" in {*table["backend"]} and not table.duplicated(KEY).any()
    assert not table[table["backend"] == "official"].empty


def test_numbers_of_one_device_stand_side_by_side(measured, tmp_path):
    path = tmp_path / "benchmark.csv"
    for _ in fill_table(path):
        pass
    table = read_table(path)
    both = pd.concat([table.assign(device="another"), table])
    assert {*efficiency.newest_device(both)["device"]} == {*table["device"]}
    assert efficiency.newest_device(table.iloc[:0]).empty


def test_what_is_measured_anew_stands_beside_what_is_kept(measured, tmp_path):
    path = tmp_path / "benchmark.csv"
    for _ in fill_table(path):
        pass
    row = Measurement("dp3_mamba_hydra", "released", 16, "onnx", 1, 1, "chunk", 0.1, 0, 0.05, 0.25)
    said = efficiency.anew_text([row], read_table(path))
    assert said == (
        "Hydra, no attention, ONNX Runtime: 100 ms, 5.0 % of the time of DP3 in eager PyTorch "
        "(100.0 % in the kept table)."
    )
    assert efficiency.anew_text([], read_table(path)) == "Nothing was measured anew."
    assert "kept" not in efficiency.anew_text([replace(row, horizon=8)], read_table(path))


def test_a_table_without_rows_is_read(tmp_path):
    pd.DataFrame(columns=table.COLUMNS).to_csv(tmp_path / "empty.csv", index=False)
    assert read_table(tmp_path / "empty.csv").empty
    assert read_table(tmp_path / "missing.csv").empty


@pytest.mark.parametrize("path", ["kept", "missing"])
def test_readers_show_what_is_there(path, tmp_path):
    table = read_table(kept_path() if path == "kept" else tmp_path / "missing.csv")
    for horizon in (4, 16):
        shown = efficiency.benchmark_reading(table, horizon)
        assert len(shown.columns) == 1 + len(efficiency.kinds())
        assert "multiply-adds (M)" in shown[f"horizon {horizon}"].tolist()
    said = efficiency.benchmark_text(table)
    assert ("has not been made" in said) == (path == "missing")
    costs = efficiency.relative_costs({16: efficiency.cost_table(16)}, table, ["torch", "onnx"])
    calls = efficiency.pick(table, what="denoiser", batch=1, threads=1)
    for figure in (plots.costs(costs), plots.latency_by_length(calls, {"torch": "", "onnx": ""})):
        figure.savefig(tmp_path / "figure.png")  # some errors come only when it is drawn


def test_readers_take_ratios_and_milliseconds_from_their_rows(measured, tmp_path):
    path = tmp_path / "benchmark.csv"
    for _ in fill_table(path):
        pass
    table = read_table(path)
    shown = efficiency.benchmark_reading(table, 16).set_index("horizon 16")
    assert (shown.loc["call, ONNX Runtime (ms)"] == 1000).all() and (
        shown.loc["chunk, ONNX Runtime: times as fast as official"] == 1
    ).all()
    assert (shown.loc["calls a second, batch 64, PyTorch"] == 64).all()
    assert "100.0 to 100.0 % ONNX Runtime" in efficiency.benchmark_text(table)
