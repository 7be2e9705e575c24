"""The page of a trained policy holds its film, its paths and what it is, and asks nobody for anything."""

import re
from dataclasses import replace

import numpy as np
import pytest

from mp_lib.insight import demo, trained
from mp_lib.insight.playing import Moment
from tests.insight.trained import write_trained


@pytest.fixture(autouse=True)
def own_root(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))


def test_the_page_holds_film_picture_and_facts_within_itself():
    policy = trained.load(write_trained())
    policy = replace(policy, spec=replace(policy.spec, max_steps=16))
    played, path = demo.show(policy)
    text = path.read_text()
    assert played.steps == 16 and f"{played!r}" in text
    for mark in (
        "<video",
        "<img alt=",
        "data:video/mp4;base64",
        "data:image/png;base64",
        "simple_dp3",
        "1 of 2 episodes",
    ):
        assert mark in text
    assert not re.search(r"(src|href)=\"(?!data:)", text) and "<script" not in text
    assert "Content-Security-Policy" in text and "default-src 'none'" in text


def test_the_moment_with_the_longest_path_is_shown_and_one_that_diverges_is_none():
    paths = np.zeros((2, 5, 3))
    far, lost = paths.copy(), paths.copy()
    far[1, 4, 0], lost[:, 2:] = 0.2, np.nan
    moment = Moment(0, [], np.zeros((6, 4)), np.zeros((6, 4)))
    looks = [demo.Look(moment, np.zeros((4, 4, 3)), np.zeros((5, 3)), each) for each in (paths, far, lost)]
    assert [look.extent for look in looks] == [0.0, 0.2, 0.0]
