"""What is said of an episode names its seed as what it is, and shows a name as text."""

import numpy as np
import pytest

from mp_lib.config import EARLIER_FINAL_SEEDS, EXPLORING_SEEDS, FINAL_SEEDS
from mp_lib.insight.duel import Compared
from mp_lib.insight.playing import Play, Played, film_html, of_episode, remark_on
from mp_lib.insight.prediction import denoise
from mp_lib.interfaces import Obs
from mp_lib.statistics import contrast
from mp_lib.system.errors import InputError
from tests.insight.toy_policy import toy_policy

MARKUP = '<img src=x onerror="alert(1)">'
POLICY, STRANGE = toy_policy(), toy_policy(MARKUP.replace("/", ""))
FILM = [np.zeros((32, 32, 3), np.uint8)] * 2
SAME = np.array([[1]])


@pytest.mark.parametrize("film", [[], FILM], ids=["without a film", "with a film"])
def test_a_name_is_no_part_of_a_page(film):
    played = Played(STRANGE, EXPLORING_SEEDS, True, 1, [], film)
    compared = Compared((STRANGE, STRANGE), EXPLORING_SEEDS, ([1], [1]), contrast([[SAME], [SAME]], (1, -1)), (played,))
    for shown in (played._repr_html_(), compared._repr_html_()):
        assert "<img" not in shown and "&lt;img" in shown
    assert '"alert' not in film_html(FILM, MARKUP)


@pytest.mark.parametrize("last", [EARLIER_FINAL_SEEDS, FINAL_SEEDS])
def test_seeds_that_tables_rest_on_are_told_one_by_one_and_in_a_row(last):
    tables = "the final tables of an earlier recipe" if last < FINAL_SEEDS else "the final tables"
    assert remark_on(last).startswith(f"a seed of {tables}; ")
    assert remark_on(last - 5, 6).startswith(f"seeds of {tables}; ")
    assert remark_on(EARLIER_FINAL_SEEDS - 1) == remark_on(FINAL_SEEDS - 1) == remark_on(EXPLORING_SEEDS, 50) == ""
    assert remark_on(EXPLORING_SEEDS - 1)


def test_an_episode_is_told_in_one_way():
    played = Played(POLICY, FINAL_SEEDS, False, 7, [], [])
    assert repr(played) == of_episode(POLICY, played)
    assert repr(played).startswith(f"toy, environment seed {FINAL_SEEDS}: fails after 7 steps (a seed of")


def test_a_seed_is_called_as_it_was_given():
    with pytest.raises(InputError, match="^seed -1 given"):
        Play(POLICY, -1)
    with pytest.raises(InputError, match="^noise_seed -1 given"):
        denoise(POLICY.policy, Obs(np.ones((8, 3), "f4"), np.zeros(3, "f4")), noise_seed=-1)


@pytest.mark.parametrize("given", [None, 5, {"state": 1}, []])
def test_what_is_no_observation_is_refused(given):
    with pytest.raises(InputError, match="obs is no observation; give an Obs"):
        denoise(POLICY.policy, given)
