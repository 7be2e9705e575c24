"""The benchmark's kept table: every cell once, resumed where it stopped, whole rows only."""

import pandas as pd
import pytest

from mp_lib import benchmark_table
from mp_lib.benchmark_table import KEY, Cell, Sheet, cells, fill_table, read_table
from mp_lib.config import METHODS
from mp_lib.workloads import MAKERS


@pytest.fixture
def measured(monkeypatch):
    """Cells "measured" in no time; the list of them grows."""
    done = []

    def measure(cell, device, turns):
        done.append(cell)
        for key in cell.keys(device, "cpu"):
            row = dict(zip(KEY, key, strict=True))
            yield row | {"median_seconds": 1.0, "spread": 0.0, "ratio_to_dp3_eager": 1.0, "ratio_to_official": 1.0}

    monkeypatch.setattr(benchmark_table, "measure_cell", measure)
    return done


def test_every_row_belongs_to_one_cell():
    keys = [key for cell in cells() for key in cell.keys("cpu", "cpu")]
    assert len(keys) == len({*keys})
    assert {key[KEY.index("method")] for key in keys} == {*METHODS}
    for cell in cells():
        assert {*cell.sheet.backends} <= {*MAKERS[cell.sheet.what]}


def test_a_stopped_table_goes_on_and_a_finished_one_rests(measured, tmp_path):
    path, everything = tmp_path / "results" / "benchmark.csv", list(cells())
    filling = fill_table(path)
    for _ in range(4):
        next(filling)
    filling.close()  # three cells are whole, the fourth was not begun
    assert measured == everything[:3]
    assert list(fill_table(path)) == everything[3:]
    assert measured == everything
    assert not list(fill_table(path))
    table = read_table(path)
    assert not table.duplicated(KEY).any()
    assert len(table) == sum(len(cell.keys("cpu", "cpu")) for cell in everything)


def test_a_cell_that_fails_leaves_the_others(measured, monkeypatch, tmp_path):
    path = tmp_path / "benchmark.csv"
    filling = fill_table(path)
    next(filling)
    next(filling)
    before = path.read_bytes()
    monkeypatch.setattr(benchmark_table, "measure_cell", lambda *arguments: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        next(filling)
    assert path.read_bytes() == before


def test_a_cell_is_measured_with_the_memory_that_it_takes():
    sheet = Sheet("encoder_step", 2, 1, ("torch",), memory=True)
    [row] = benchmark_table.measure_cell(Cell(sheet, 4, "simple_dp3", ""), "cpu", 3)
    assert row["backend"] == "torch"
    assert row["median_seconds"] > 0
    assert row["peak_megabytes"] is None or 1 < row["peak_megabytes"] < 1e5


def test_a_table_without_rows_is_read(tmp_path):
    pd.DataFrame(columns=benchmark_table.COLUMNS).to_csv(tmp_path / "empty.csv", index=False)
    assert read_table(tmp_path / "empty.csv").empty
    assert read_table(tmp_path / "missing.csv").empty
