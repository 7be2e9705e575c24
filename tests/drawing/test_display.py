"""What notebooks show: numbers with the digits that count, and names that are text."""

import pandas as pd
import pytest

from mp_lib.drawing.display import show_grouped, three_digits


@pytest.mark.parametrize(
    ("value", "said"),
    [
        (0, "0"),
        (0.012345, "0.0123"),
        (0.9996, "1.00"),
        (9.996, "10.0"),
        (99.5, "99.5"),
        (1234.5, "1,230"),
        (-2.5, "-2.50"),
        (float("nan"), ""),
        (float("inf"), ""),
    ],
)
def test_a_number_has_three_digits(value, said):
    assert three_digits(value) == said


def test_a_grouped_table_names_each_group_once_and_quotes_names_as_text():
    table = pd.DataFrame({"unit": ["s", "s", "MB"], "what": ["<b>a", "b", "c"], "DP3": [1.0, 2.0, float("nan")]})
    page = show_grouped(table).data
    assert page.count("<em>s</em>") == page.count("<em>MB</em>") == 1
    assert "&lt;b&gt;a" in page and "<b>" not in page
    assert page.count("sticky") == 1 + 2 + 3  # the corner, each heading, each row
    assert page.count("<td></td>") == 2 + 1  # headings, and what is unknown
