"""In a notebook all bars of a cell are one output that is drawn again, at most every two seconds."""

import re
import sys
from types import SimpleNamespace

import pytest

from mp_lib.system import notebook
from mp_lib.system.progress import track


@pytest.fixture
def drawn(monkeypatch):
    """What was shown, one list an output, as a notebook's kernel would get it."""
    outputs, now = [], [0.0]

    def display(shown, display_id, metadata):
        assert metadata == notebook.MARK
        outputs.append([shown.data])
        return SimpleNamespace(update=lambda again, metadata: outputs[-1].append(again.data))

    shell = SimpleNamespace(kernel=object())
    monkeypatch.setattr(sys.modules.setdefault("IPython", __import__("IPython")), "get_ipython", lambda: shell)
    monkeypatch.setattr("IPython.display.display", display)
    monkeypatch.setattr(notebook.time, "monotonic", lambda: now[0])
    monkeypatch.setattr(notebook.Cell, "drawn", float("-inf"))
    return SimpleNamespace(outputs=outputs, now=now)


def test_nothing_goes_to_the_red_stream_and_the_last_count_stays(drawn, capsys):
    with track(4, "record <toy>") as bar:
        bar.advance(3)
    assert capsys.readouterr() == ("", "")
    (output,) = drawn.outputs
    assert "record &lt;toy&gt;: 3 of 4, 0:00" in output[-1] and 'value="3" max="4"' in output[-1]


def test_a_bar_within_another_stands_below_it_in_the_same_output(drawn):
    with track(2, "outer") as outer:
        with track(5, "inner") as inner:
            drawn.now[0] = 10
            inner.advance()
        outer.advance(2)
    with track(1, "later"):
        pass
    first, second = drawn.outputs
    assert any(text.find("outer") < text.find("inner") for text in first if "inner" in text)
    assert "outer: 2 of 2" in first[-1] and "inner" not in first[-1] and "later" in second[-1]


def test_it_is_drawn_at_most_every_two_seconds_and_says_how_long_it_takes(drawn):
    with track(1000, "steps") as bar:
        for step in range(1, 501):
            drawn.now[0] = step / 100
            bar.advance()
    (output,) = drawn.outputs
    assert len(output) == 4  # at 0, 2 and 4 seconds, and at the end
    assert "about 0:06 left" in output[2]


def test_what_was_there_at_the_start_says_nothing_of_the_speed(drawn):
    with track(1000, "train") as bar:
        bar.advance(900)  # as a training that is resumed
        drawn.now[0] = 10
        bar.advance(50)
        assert "about 0:10 left" in drawn.outputs[0][-1]


def test_of_what_ended_before_its_time_nothing_is_left(drawn):
    with track(200, "play") as bar:  # an episode that succeeds
        bar.advance(8)
        drawn.now[0] = 10
        bar.advance(8)
        assert "left" in drawn.outputs[0][-1]
    assert "play: 16 of 200" in drawn.outputs[0][-1] and "left" not in drawn.outputs[0][-1]


def test_without_an_end_it_counts_alone(drawn):
    with track(None, "train") as bar:
        bar.advance(8)
        drawn.now[0] = 10
        bar.advance(8)
    assert "train: 16, 0:10" in drawn.outputs[0][-1]
    assert not any(word in drawn.outputs[0][-1] for word in (" of ", "left", "max="))


def test_noted_values_are_a_curve(drawn):
    with track(3, "train") as bar:
        for value in (1.0, 0.1, 0.01):
            bar.note(f"loss {value}", value)
            bar.advance()
    text = drawn.outputs[0][-1]
    assert "loss 0.01" in text and 'aria-label="1 to 0.01"' in text
    points = [tuple(map(float, each.split(","))) for each in re.search('points="(.*?)"', text)[1].split()]
    assert points == [(0, 2), (240, 30), (480, 58)]


def test_a_curve_of_many_values_has_few_points():
    assert len(re.search('points="(.*?)"', notebook.curve([1.0] * 10_000))[1].split()) <= 200
    assert notebook.curve([]) == notebook.curve([0.0, 0.0]) == ""
