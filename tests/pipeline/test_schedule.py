"""Times of steps side by side keep between their bounds, and what is left of them shrinks."""

from types import SimpleNamespace

import pytest

from mp_lib.pipeline.estimates import ALIKE, FOREIGN, Estimate
from mp_lib.pipeline.runner import Bars, Lines, Runner
from mp_lib.pipeline.schedule import TimeLeft, due_steps, makespan, shortest, spell
from mp_lib.pipeline.steps import Step

# Graham's example: three places take longer than two if each step starts where there is one (SIAM J. Appl. Math. 1969).
ANOMALY = {"a": (4, ()), "b": (2, ()), "c": (2, ()), "d": (5, ("b", "c")), "e": (5, ("b", "c")), "f": (10, ("a",))}


def step(name, kind="training", **facts):
    return Step(name, name, "n", SimpleNamespace(exists=lambda: False), kind=kind, **facts)


def graph(table):
    return [step(name, needs=needs) for name, (_, needs) in table.items()], {
        name: seconds for name, (seconds, _) in table.items()
    }


def matrix():
    """Ten recordings, thirty trainings of them, and a page behind all."""
    steps = [step(f"r{index}", "recording", cores=2) for index in range(10)]
    steps += [step(f"t{index}", needs=(f"r{index % 10}",)) for index in range(30)]
    steps.append(step("page", "page", after=tuple(each.name for each in steps)))
    return steps, {each.name: 1.0 + 7 * index % 11 for index, each in enumerate(steps)}


@pytest.mark.parametrize("graph", [graph(ANOMALY), matrix()], ids=["anomaly", "matrix"])
def test_more_places_never_take_longer_nor_less_than_the_longest_chain(graph):
    steps, seconds = graph
    found = [shortest(steps, seconds, workers) for workers in range(1, 20)]
    ends = {}
    for each in steps:
        ends[each.name] = seconds[each.name] + max((ends[name] for name in (*each.needs, *each.after)), default=0)
    assert found[0] == pytest.approx(sum(seconds.values()))
    assert found == sorted(found, reverse=True)
    assert found[-1] >= max(ends.values())


def test_a_step_that_uses_all_cores_runs_alone():
    steps = [step("wide", cores=8), step("a"), step("b")]
    assert makespan(steps, {"wide": 5, "a": 3, "b": 3}, 2) == 8


def test_what_waits_for_something_due_is_due(tmp_path):
    for name in ("first", "second", "page"):
        (tmp_path / name).touch()
    done = [Step(name, name, "n", tmp_path / name) for name in ("first", "second")]
    done.append(Step("page", "page", "n", tmp_path / "page", after=("first", "second")))
    for each in done:
        each.stamp.parent.mkdir(parents=True, exist_ok=True)
        each.finish(each.key(), 1)
    assert due_steps(done) == []
    done[0].stamp.unlink()
    assert [each.name for each in due_steps(done)] == ["first", "page"]


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("MP_ROOT", str(tmp_path / "root"))


class Run:
    """A step that is running, as ``Execution`` tells of it."""

    def __init__(self, step, seconds=0.0, done=None, total=100, description="train it"):
        self.step, self.seconds = step, seconds
        self.progress = lambda: None if done is None else {"description": description, "done": done, "total": total}


def test_time_left_is_that_of_what_waits_and_runs():
    steps = [step(name) for name in "abcd"]
    clock = TimeLeft({name: Estimate(100, ALIKE, 80) for name in "abc"}, jobs=1)  # d is there already
    assert clock.left(steps, []) == 300
    assert clock.left(steps[1:], [Run(steps[0], seconds=40)]) == 260
    assert clock.left(steps[3:], []) is None
    assert TimeLeft(clock.estimates, jobs=3).left(steps, []) == 100


def test_time_left_follows_what_ended_steps_have_taken():
    steps = [step(name) for name in "abc"]
    clock = TimeLeft({name: Estimate(100, ALIKE) for name in "abc"}, jobs=1)
    clock.end(steps[0], 300)
    assert clock.left(steps[1:], []) == 600
    clock.end(step("other", "page"), 1)
    assert clock.left(steps[1:], []) == 600


def test_time_left_follows_a_running_steps_bar_from_where_it_was_first_seen():
    a, b = step("a"), step("b")
    clock = TimeLeft({name: Estimate(100, ALIKE, 80) for name in "ab"}, jobs=2)
    assert clock.left([], [Run(a, 5, done=50)]) == 95  # a resumed training: its speed is not known yet
    assert clock.left([], [Run(a, 25, done=60)]) == pytest.approx(2 * 40 + 20)
    # Twenty seconds for a fifth of what was estimated as 80 s.
    assert clock.left([b], [Run(a, 25, done=60)]) == pytest.approx(100 * 20 / 16)
    assert clock.left([], [Run(a, 30, done=3, total=20, description="roll out it")]) == pytest.approx(95)


@pytest.mark.parametrize("estimate", [None, Estimate(1000, ALIKE)])
def test_a_bar_tells_of_its_own_step_also_where_nobody_knows_what_it_counts(estimate):
    a, b = step("a"), step("b")
    clock = TimeLeft({"a": estimate, "b": Estimate(100, ALIKE)}, jobs=2)
    clock.left([], [Run(a, 5, done=0)])
    assert clock.left([b], [Run(a, 45, done=20)]) == pytest.approx(160)


def test_of_other_devices_nothing_is_said_until_a_step_has_shown_its_worth():
    steps = [step(name) for name in "abc"]
    for estimate in (Estimate(100, FOREIGN, 100), None):
        clock = TimeLeft(dict.fromkeys("abc", estimate), jobs=1)
        assert clock.words(steps, []) == ""
        clock.end(steps[0], 50)
        assert clock.left(steps[1:], []) == 100


def test_the_words_shrink_as_steps_and_bars_go_on(monkeypatch):
    monkeypatch.setattr("mp_lib.pipeline.schedule.THINK_SECONDS", 0)
    steps = [step(name) for name in "abc"]
    clock = TimeLeft({name: Estimate(6000, ALIKE, 5000) for name in "abc"}, jobs=1)
    left, said = [], []
    for place, each in enumerate(steps):
        for second in range(0, 6000, 500):
            runs = [Run(each, second, done=min(100, second // 50))]
            said.append(clock.words(steps[place + 1 :], runs))
            left.append(clock.left(steps[place + 1 :], runs))
        clock.end(each, 6000)
    assert left == sorted(left, reverse=True) and left[0] == pytest.approx(18000, rel=0.01)
    assert said[0] == "about 5 h 00 min left" and said[-1] == "about 8 min left"


@pytest.mark.parametrize("screen", [Lines, Bars])
def test_whoever_watches_reads_the_time_left(screen, capsys, monkeypatch):
    monkeypatch.setattr("mp_lib.pipeline.runner.LINE_SECONDS", 0)
    shown = screen()
    shown.show([Run(step("a"), 10, done=5)], "about 1 h 20 min left")
    shown.close()
    printed = capsys.readouterr()
    assert "all steps: about 1 h 20 min left" in printed.out + printed.err


def test_no_estimate_stops_a_run(monkeypatch, caplog, tmp_path):
    def fail(*_):
        raise ZeroDivisionError("a bad number")

    monkeypatch.setattr("mp_lib.pipeline.schedule.due_steps", fail)
    clock = TimeLeft.of([step("a")], {}, 1, "cpu", 1)
    monkeypatch.setattr(TimeLeft, "left", fail)
    ready = Step("a", "a", "n", tmp_path / "a.ipynb")
    ready.executed.touch()
    ready.stamp.parent.mkdir(parents=True)
    ready.finish(ready.key(), 1)
    assert Runner([ready], 1, clock=clock).run() == []
    assert [record.message for record in caplog.records] == 2 * [
        "the time left is not known: ZeroDivisionError: a bad number"
    ]


def test_spans_are_spelt_as_people_say_them():
    spans = {45: "45 s", 100: "2 min", 4800: "1 h 20 min", 3600 * 47.5: "47 h 30 min", 3600 * 1234: "1,234 h"}
    assert {spell(seconds) for seconds in spans} == {*spans.values()}
