"""The benchmark's kept table: every row once, resumed where it stopped, whole sheets only."""

import csv
import logging
import time

import pytest
import torch

from mp_lib.presets import METHODS
from mp_lib.study.efficiency import read_table
from mp_lib.timing import table, workloads
from mp_lib.timing.sheets import Sheet, chosen_sheets
from mp_lib.timing.subjects import Subject
from mp_lib.timing.table import (
    COLUMNS,
    DEFAULTS,
    KEY,
    TRAINING,
    fill_table,
    kept_path,
    key_of,
    measure_sheet,
    read_rows,
)
from mp_lib.timing.workloads import MAKERS
from tests.timing.made_up import fill, measured

__all__ = ["measured"]  # a fixture
DEVICES = ["cpu", "cuda"]


@pytest.mark.parametrize("device", DEVICES)
def test_every_row_belongs_to_one_sheet(device):
    sheets = chosen_sheets(device)
    keys = [key for sheet in sheets for key in sheet.keys(device, device, "float32")]
    assert len(keys) == len({*keys})
    assert {key[KEY.index("method")] for key in keys} == {*METHODS}
    for sheet in sheets:
        assert {*sheet.backends} <= {*MAKERS[sheet.what]}


def test_a_gpu_tells_first_what_is_asked_first():
    rows = [dict(zip(KEY, key, strict=True)) for sheet in chosen_sheets("cuda") for key in sheet.keys("cuda", "", "")]
    order = list(dict.fromkeys((row["what"], row["attention"], row["num_inference_steps"]) for row in rows))
    assert [each for each in order if each[1]][:3] == [
        ("chunk", "released", 10),
        ("chunk", "released", 2),
        ("training", "paper", 10),
    ]
    steps = list(dict.fromkeys(row["method"] for row in rows if row["what"] == "training"))
    assert steps[:2] == ["dp3_mamba_v2", "dp3"] and {*steps} == {*METHODS}
    assert next(row for row in rows if row["what"] == "training")["backend"] == "cuda"
    late = [index for index, row in enumerate(rows) if row["backend"] == "compiled" or row["what"] == "decision"]
    assert late == list(range(len(rows) - len(late), len(rows))) and rows[-1]["what"] == "decision"


@pytest.mark.parametrize("device", DEVICES)
@pytest.mark.parametrize("only", [["chunk"], ["dp3"], ["torch"], ["chunk", "training", "dp3_mamba", "torch"]])
def test_only_picks_by_kind_of_row_method_and_form(device, only):
    everything = [key for sheet in chosen_sheets(device) for key in sheet.keys(device, "", "")]
    picked = [key for sheet in chosen_sheets(device, only) for key in sheet.keys(device, "", "")]
    asked = {name: {*only} & {key[KEY.index(name)] for key in everything} for name in ("what", "method", "backend")}
    fits = [key for key in everything if all(key[KEY.index(name)] in words for name, words in asked.items() if words)]
    assert sorted(picked) == sorted(fits) and picked


def test_a_stopped_table_goes_on_and_a_finished_one_rests(measured, tmp_path):
    path = tmp_path / "results" / "benchmark.csv"
    everything = [sheet for sheet in chosen_sheets("cpu") if sheet.usable_backends("cpu")]  # one needs a compiler
    filling = fill_table(path)
    while len(measured) < 4:
        next(filling)
    filling.close()  # the rows of four sheets are there, whether or not they were looked at
    assert [sheet for sheet, _ in measured] == everything[:4]
    fill(path)
    assert [sheet for sheet, _ in measured] == everything
    assert not fill(path)
    rows = [key_of(row) for row in read_rows(path)]
    assert len(rows) == len({*rows}) == sum(len(sheet.keys("cpu", "cpu", "")) for sheet in everything)


def test_a_table_stops_when_its_time_is_over_and_names_what_is_left(measured, monkeypatch, tmp_path, caplog):
    path, clock = tmp_path / "benchmark.csv", iter(range(0, 1000, 25))
    monkeypatch.setattr(time, "monotonic", lambda: next(clock))
    assert fill(path, only=["chunk", "simple_dp3", "torch"], minutes=1)
    sheets = chosen_sheets("cpu", ["chunk", "simple_dp3", "torch"])
    assert [sheet for sheet, _ in measured] == sheets[:2]
    assert (
        caplog.messages[-1].startswith("the time of 1 minutes is over") and len(caplog.messages[-1].splitlines()) == 1
    )
    assert all((sheet.title in caplog.messages[-1]) == (sheet in sheets[2:]) for sheet in sheets)


def test_rows_with_a_simulator_are_left_out_by_one_line_where_it_is_missing(measured, monkeypatch, tmp_path, caplog):
    monkeypatch.setattr(table, "missing_modules", lambda extra: ["mujoco"])
    rows = fill(tmp_path / "benchmark.csv", only=["decision", "encoder_step"])
    assert {row["what"] for row in rows} == {"encoder_step"}
    [said] = [message for message in caplog.messages if message.startswith("left out: decision")]
    assert said.endswith("mujoco is not installed; in the project's folder: python -m pip install -e '.[sim]'")


def test_sheets_of_one_horizon_share_what_was_exported_and_training_has_the_memory(measured, tmp_path):
    fill(tmp_path / "benchmark.csv")
    (first, subjects), (second, others), *rest = measured
    assert first.horizon == second.horizon and subjects == others and len(subjects) > len(METHODS)
    steps = [subject for sheet, used in rest if sheet.what in TRAINING for subject in used]
    assert not {*steps} & {subject for sheet, used in measured if sheet.what not in TRAINING for subject in used}
    assert not {*subjects} & {each for sheet, used in rest if sheet.horizon != first.horizon for each in used}


def test_a_sheet_that_fails_leaves_the_others_and_is_named(measured, monkeypatch, tmp_path):
    path, measure = tmp_path / "benchmark.csv", table.measure_sheet

    def fail(sheet, *given):
        if sheet.num_inference_steps == 2:
            raise RuntimeError("out of memory\nand more")
        return measure(sheet, *given)

    monkeypatch.setattr(table, "measure_sheet", fail)
    with pytest.raises(RuntimeError, match="not measured, while all others .* steps 2"):
        fill(path, only=["chunk"])
    kept = {row["num_inference_steps"] for row in read_rows(path)}
    assert kept == {10} and len(measured) == len(chosen_sheets("cpu", ["chunk"])) - 1


def test_what_fails_otherwise_ends_it_and_changes_nothing(measured, monkeypatch, tmp_path):
    path = tmp_path / "benchmark.csv"
    filling = fill_table(path)
    next(filling)
    before = path.read_bytes()
    monkeypatch.setattr(table, "measure_sheet", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        list(filling)
    assert path.read_bytes() == before


def test_a_sheet_is_measured_with_the_memory_that_it_takes(monkeypatch):
    monkeypatch.setattr("mp_lib.timing.benchmark.TURN_SECONDS", 0.0)
    sheet = Sheet("encoder_step", 2, 1, ("torch",), 4, turns=3, memory=("torch",), methods=("simple_dp3",))
    [row] = measure_sheet(sheet, "cpu", "float32", [Subject("simple_dp3", "", 4)])
    assert row["backend"] == "torch" and row["ratio_to_official"] is None
    assert row["median_seconds"] > 0 and row["floor_seconds"] > 0 and row["bandwidth"] > 0
    assert row["peak_megabytes"] is None or 1 < row["peak_megabytes"] < 1e5


def test_a_backend_that_comes_later_replaces_the_rows_of_its_sheet(measured, monkeypatch, tmp_path):
    path, usable = tmp_path / "benchmark.csv", workloads.usable
    monkeypatch.setattr(workloads, "usable", lambda name, device: name != "onnx" and usable(name, device))
    fill(path)
    assert "onnx" not in {row["backend"] for row in read_rows(path)}
    monkeypatch.setattr(workloads, "usable", usable)
    fill(path)
    table = read_table(path)
    assert "onnx" in {*table["backend"]} and not table.duplicated(KEY).any()
    assert not table[table["backend"] == "official"].empty


def test_a_gpu_s_table_has_its_own_order_name_and_precision(measured, monkeypatch, tmp_path):
    for name, value in {"choose_device": torch.device("cuda"), "device_name": "GPU", "use_precision": "tf32"}.items():
        monkeypatch.setattr(table, name, lambda *given, value=value: value)
    rows = fill(tmp_path / "benchmark.csv", device="auto")
    assert [sheet for sheet, _ in measured] == chosen_sheets("cuda") and rows == read_rows(tmp_path / "benchmark.csv")
    assert {(row["device"], row["precision"]) for row in rows} == {("GPU", "tf32")}
    assert not fill(tmp_path / "benchmark.csv", device="auto")


def test_rows_of_another_device_stay_and_are_read_as_they_were_written(measured, tmp_path):
    path = tmp_path / "benchmark.csv"
    kept = read_rows(kept_path())
    table.write_rows(path, [row | {"device": "another"} for row in kept])
    added = fill(path, only=["encoder_step"])
    assert read_rows(path) == [row | {"device": "another"} for row in kept] + added


def test_rows_of_older_tables_get_what_they_did_not_note(tmp_path):
    path, [row] = tmp_path / "old.csv", fill_one(tmp_path / "new.csv")
    old = {name: value for name, value in row.items() if name not in DEFAULTS}
    with open(path, "w", newline="") as file:
        writer = csv.DictWriter(file, [*old])
        writer.writeheader()
        writer.writerow(old)
    assert read_rows(path) == [row | DEFAULTS]
    assert {name: DEFAULTS[name] for name in ("precision", "num_inference_steps", "stacked")} == {
        "precision": "float32",
        "num_inference_steps": 10,
        "stacked": 1,
    }
    assert {value for name, value in DEFAULTS.items() if name not in KEY} == {None}


def fill_one(path):
    row = dict.fromkeys(COLUMNS, 1.0) | {name: "x" for name, kind in table.KINDS.items() if kind == "str"}
    row |= {name: 3 for name, kind in table.KINDS.items() if kind == "int"}
    table.write_rows(path, [row])
    return read_rows(path)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "is no table of the benchmark: a, attention"),
        ("", "is no table of the benchmark"),
        (None, "line 2"),
    ],
)
def test_another_file_is_refused_in_one_line_and_stays(text, said, tmp_path):
    path = tmp_path / "other.csv"
    path.write_text(",".join(COLUMNS) + "\n" + ",".join(COLUMNS) + "\n" if text is None else text)
    before = path.read_bytes()
    with pytest.raises(ValueError, match=said) as refused:
        list(fill_table(path, only=["encoder_step"]))
    assert path.read_bytes() == before and "\n" not in str(refused.value) and "other.csv" in str(refused.value)


def test_a_table_without_rows_is_read(tmp_path):
    table.write_rows(tmp_path / "empty.csv", [])
    assert read_rows(tmp_path / "empty.csv") == read_rows(tmp_path / "missing.csv") == []
    assert read_table(tmp_path / "empty.csv").empty and read_table(tmp_path / "missing.csv").empty


@pytest.fixture(autouse=True)
def heard(caplog):
    caplog.set_level(logging.INFO, "mp_lib.timing")
