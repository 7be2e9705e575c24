"""Figures stand where no controls can: the calls of an episode, and how a fan is denoised."""

import base64
import re

import pytest

import mp_lib
from mp_lib.config import EXPLORING_SEEDS
from mp_lib.insight.browsing import played
from mp_lib.insight.recorded import Recorded
from mp_lib.insight.scene import Scene
from mp_lib.insight.still_views import stills
from mp_lib.system.notebook import in_page
from tests.insight.toy_policy import long_toy, toy_policy

POLICIES = [toy_policy(name, seed, long_toy(12)) for name, seed in (("first", 0), ("second", 1))]


@pytest.fixture(scope="module")
def found():
    return stills(Scene(played(POLICIES[0], EXPLORING_SEEDS)), POLICIES)


def titles(figure):
    return [axes.get_title(loc="left") for axes in figure.axes if axes.get_title(loc="left")]


def test_there_is_a_column_a_call_and_one_a_denoising_step(found):
    calls, denoised = found.figures
    assert titles(calls) == ["step 0", "step 4", "step 8"]
    assert [title.splitlines()[0] for title in titles(denoised)] == [f"{k} of 10 steps" for k in (0, 2, 4, 6, 8, 10)]
    assert all(re.fullmatch(r"\d+\.\d mm apart", title.splitlines()[1]) for title in titles(denoised))


def test_they_say_which_episode_it_is_and_whose_paths_these_are(found):
    for word in (
        "environment seed 80000: succeeds",
        "blue: 16 of first",
        "orange: 16 of second",
        "dashed: done in this",
    ):
        assert word in repr(found) and word in found._repr_html_()


def test_a_page_holds_them_whole(found):
    images = re.findall(r'src="data:image/png;base64,([^"]+)"', found._repr_html_())
    assert [base64.b64decode(image)[:4] for image in images] == [b"\x89PNG"] * 2


def test_where_nothing_is_simulated_there_is_the_cloud(toy_demos):
    policy = toy_policy()
    found = stills(Scene(Recorded(policy, str(toy_demos.path)).browsed(0)), [policy])
    assert "apart" not in "".join(titles(found.figures[1])) and found._repr_html_()


def test_without_a_page_a_view_is_still(monkeypatch, toy_demos):
    assert not in_page()
    found = mp_lib.view(POLICIES[0], other=POLICIES[1])
    assert "first, environment seed 80000" in repr(found) and len(found.figures) == 2
    assert "demonstration 0 of" in repr(mp_lib.view(toy_policy(), demos=toy_demos.path))
