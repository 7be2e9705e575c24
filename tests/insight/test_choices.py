"""Policies that can stand beside each other are offered, and an episode is played once."""

from dataclasses import replace

import pytest

from mp_lib.insight import choices
from mp_lib.insight.choices import Demonstrations, Episodes, Policies, Scenes
from mp_lib.insight.trained import shipped
from mp_lib.system.errors import InputError
from tests.conftest import TOY
from tests.insight.toy_policy import toy_policy
from tests.insight.trained import write_trained

POLICY = toy_policy()


@pytest.fixture(autouse=True)
def own_root(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))


def test_runs_of_the_same_task_are_offered_without_its_name_and_loaded_when_they_are_chosen():
    names = [write_trained(seed=seed) for seed in (0, 1)]
    write_trained(task="metaworld_reach")
    policies = Policies(choices.load(names[1]))
    assert [*policies.loaded] == names[1:]
    found = policies.names()
    (coming,) = shipped()
    assert found == {
        "smoke simple_dp3-seed1": names[1],
        "smoke simple_dp3-seed0": names[0],
        "quick2 dp3_mamba-seed0": str(coming),
    }
    assert policies.named(str(coming)).name == coming.parent.name
    assert policies.named(names[0]).name == names[0] and policies.named(names[0]) is policies.named(names[0])


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"name": "other"}, "toy acts in toy, b acts in other"),
        ({"state_dim": 4}, "toy takes states of size 3, b takes"),
    ],
)
def test_what_cannot_be_asked_about_the_same_observations_is_refused(changes, told):
    with pytest.raises(InputError, match=f"{told}.*; give two that agree"):
        Policies(POLICY, toy_policy("b", spec=replace(TOY, **changes)))


def test_an_episode_is_played_when_it_is_first_asked_for():
    scenes = Scenes(Episodes())
    assert scenes.source.numbers(POLICY) == () and not scenes.is_kept(POLICY, 80_000)
    scene = scenes.first(POLICY, 80_000)
    assert scenes.is_kept(POLICY, 80_000) and scenes.scene(POLICY, 80_000) is scene
    assert "environment seed 80000" in scene.browsed.title


def test_demonstrations_are_listed_and_the_first_one_comes_first(toy_demos):
    scenes = Scenes(Demonstrations(str(toy_demos.path)))
    assert scenes.source.numbers(POLICY) == (0, 1, 2)
    assert scenes.first(POLICY, 80_000) is scenes.scene(POLICY, 0)
