"""A benchmark that takes no time: sheets "measured" by made-up numbers."""

import pytest
import torch

from mp_lib.timing import table
from mp_lib.timing.table import COLUMNS, DEFAULTS, KEY, fill_table


@pytest.fixture
def measured(monkeypatch):
    """The sheets that were "measured", with the subjects that were used; it grows."""
    done = []

    def measure(sheet, device, precision, subjects):
        done.append((sheet, subjects))
        numbers = {"median_seconds": 1.0, "spread": 0.0, "ratio_to_dp3_eager": 0.5, "ratio_to_official": 0.2}
        row = dict.fromkeys(COLUMNS) | DEFAULTS | numbers | {"ratio_to_dp3_same": 0.25}
        for key in sheet.keys(device, table.device_name(torch.device(device)), precision):
            yield row | dict(zip(KEY, key, strict=True))

    monkeypatch.setattr(table, "measure_sheet", measure)
    return done


def fill(path, **given):
    """All rows that ``fill_table`` gives."""
    return list(fill_table(path, **given))
