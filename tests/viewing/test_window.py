"""The page shows what its controls ask for: a sketch while they move, the whole at rest, and mistakes in one line."""

from unittest.mock import Mock

import numpy as np
import pytest

pytest.importorskip("anywidget", reason="the extra [view] is not installed")

import mp_lib
from mp_lib.config import EXPLORING_SEEDS, FINAL_SEEDS
from mp_lib.insight.scene import Look
from mp_lib.sim.tasks import TASKS
from mp_lib.system.errors import InputError
from mp_lib.viewing.controls import NOBODY, SLIDERS
from tests.conftest import TOY
from tests.insight.toy_policy import long_toy, toy_policy

SPEC = long_toy(24)
POLICY, OTHER = toy_policy("first", 0, SPEC), toy_policy("second", 1, SPEC)
LOOK = Look()


@pytest.fixture
def window():
    return mp_lib.view(POLICY, other=OTHER, still=False)


def after(window, change):
    """The scenes that the canvas shows after a change of controls, in order."""
    shown = []
    window.canvas.observe(lambda change: shown.append(change["new"]), "scene")
    change(window.controls)
    if thread := window.pace.thread:
        thread.join(60)
    window.canvas.unobserve_all("scene")
    return shown


def paths(scene, fan=0):
    found = scene["fans"][fan]
    return np.frombuffer(found["paths"], "<f4").reshape(found["count"], found["length"], 3)


def test_it_opens_with_all_there_is(window):
    scene = window.canvas.scene
    assert scene["whole"] and not window.canvas.busy and "first, environment seed 80000" in repr(window)
    assert [fan["label"].split(",")[0] for fan in scene["fans"]] == [
        "16 × first",
        "16 × second",
        "done in this episode",
    ]
    assert len({fan["color"] for fan in scene["fans"]}) == 3 and [fan["dashed"] for fan in scene["fans"]] == [0, 0, 1]
    assert len(scene["points"]) == 12 * 8 and len(scene["won"]) == 4 * 8 and scene["hidden"] == b""
    assert window.picture.value[:4] == b"\x89PNG" and "<svg" in window.chart.value
    assert window.controls.place.value == "step 0, call 1 of 6"
    assert "application/vnd.jupyter.widget-view+json" in window._repr_mimebundle_()


CHANGES = {"samples": 20, "noise_seed": 5, "num_inference_steps": 7, "denoised": 40, "hidden": 30, "shaken": 20}


@pytest.mark.parametrize("field", SLIDERS)
def test_every_slider_is_answered_by_a_sketch_and_then_by_the_whole(window, field):
    before = window.canvas.scene
    sketch, whole = after(window, lambda controls: setattr(controls.sliders[field], "value", CHANGES[field]))
    assert not sketch["whole"] and len(paths(sketch)) == 8
    assert whole["whole"] and len(paths(whole)) == (20 if field == "samples" else 16)
    assert whole["number"] > sketch["number"] > before["number"] and not window.canvas.busy
    assert np.array_equal(paths(whole)[:16], paths(before)) == (field == "samples")
    assert (whole["hidden"] != b"") == (field == "hidden")


def test_time_goes_over_all_calls_and_what_was_seen_is_there_at_once(window):
    assert window.controls.time.max == window.controls.play.max == 5
    _, third = after(window, lambda controls: setattr(controls.time, "value", 2))
    assert third["whole"] and window.controls.place.value == "step 8, call 3 of 6"
    (again,) = after(window, lambda controls: setattr(controls.time, "value", 0))
    assert again["whole"]
    (third_again,) = after(window, lambda controls: setattr(controls.time, "value", 2))
    assert third_again["fans"] == third["fans"] and third_again["points"] == third["points"]


def test_a_second_policy_comes_and_goes(window):
    (alone,) = after(window, lambda controls: setattr(controls.other, "value", NOBODY))
    assert len(alone["fans"]) == 2
    (both,) = after(window, lambda controls: setattr(controls.other, "value", "second"))
    assert len(both["fans"]) == 3


def test_who_acts_plays_the_episode_and_seeds_of_the_final_tables_are_told(window):
    shown = after(window, lambda controls: setattr(controls.policy, "value", "second"))
    assert "second, environment seed 80000" in window.title.value and shown[-1]["whole"] and len(shown[-1]["fans"]) == 2
    after(window, lambda controls: setattr(controls.seed, "value", FINAL_SEEDS))
    assert f"a seed of the final tables; those for exploring begin at {EXPLORING_SEEDS}" in window.title.value


def test_a_mistake_is_one_line_and_what_was_shown_stays(window):
    before = window.canvas.scene
    assert after(window, lambda controls: setattr(controls.seed, "value", -1)) == []
    assert window.facts.value.count(">seed -1 given") and window.canvas.scene == before and not window.canvas.busy
    (again,) = after(window, lambda controls: setattr(controls.seed, "value", EXPLORING_SEEDS))
    assert again["whole"] and "win the encoder" in window.facts.value


@pytest.mark.parametrize(("error", "told"), [(InputError("gone"), "gone"), (OSError("torn"), "OSError: torn")])
def test_a_policy_that_cannot_be_had_is_not_chosen_any_more(window, monkeypatch, caplog, error, told):
    with monkeypatch.context() as patched:
        patched.setattr(window.policies, "named", Mock(side_effect=error))
        assert after(window, lambda controls: setattr(controls.other, "value", NOBODY)) == []
    assert f">{told}<" in window.facts.value and window.controls.other.value == "second"
    assert len([each for each in caplog.records if each.exc_info]) == (told != "gone")
    assert after(window, lambda controls: setattr(controls.sliders["noise_seed"], "value", 7))[-1]["whole"]


def test_two_policies_of_one_name_are_two_fans():
    window = mp_lib.view(POLICY, other=toy_policy("first", 0, SPEC, num_inference_steps=4), still=False)
    labels = [fan["label"].split(" × ")[-1] for fan in window.canvas.scene["fans"]]
    assert labels[0].startswith("first, 10 steps") and labels[1].startswith("first, 4 steps") and len(labels) == 3


def test_demonstrations_are_chosen_from_a_list(monkeypatch, toy_demos):
    monkeypatch.setitem(TASKS, "toy", TOY)
    window = mp_lib.view(toy_policy(), demos=toy_demos.path, still=False)
    assert window.controls.listed.options == (0, 1, 2) and "demonstration 0" in window.title.value
    assert window.canvas.scene["fans"][-1]["label"] == "recorded" and "from what was recorded" in window.facts.value
    *_, last = after(window, lambda controls: setattr(controls.listed, "value", 2))
    assert last["whole"] and "demonstration 2" in window.title.value
    second = mp_lib.view(toy_policy(), 1, demos=toy_demos.path, still=False)
    assert second.controls.listed.value == 1 and "demonstration 1" in second.title.value
    assert "demonstration 1" in repr(mp_lib.view(toy_policy(), 1, demos=toy_demos.path, still=True))


def test_demonstrations_of_others_show_cloud_and_chunks_without_paths(toy_demos):
    window = mp_lib.view(toy_policy(), demos=toy_demos.path, still=False)
    fan, done = window.canvas.scene["fans"]
    assert fan["count"] == done["count"] == 0 and "apart" not in fan["label"] and window.canvas.scene["hand"] is None
    assert "mm" not in window.facts.value and window.chart.value.count("<polyline") == 2 * 17


def test_controls_are_as_the_policy_usually_is():
    usual = toy_policy(num_inference_steps=30, num_train_steps=40, spec=SPEC)
    slider = mp_lib.view(usual, still=False).controls.sliders["num_inference_steps"]
    assert (slider.value, slider.max) == (30, 30)
    few = mp_lib.view(toy_policy(num_inference_steps=5, num_train_steps=5, spec=SPEC), still=False)
    assert few.controls.sliders["num_inference_steps"].max == 5 and few.controls.look().samples == LOOK.samples
