"""Policies that can stand beside each other are offered, and an episode is played once."""

from dataclasses import replace

import pytest

from mp_lib.insight import choices
from mp_lib.insight.choices import Demonstrations, Episodes, Policies, Scenes
from mp_lib.insight.robustness import names_of
from mp_lib.insight.trained import told_apart
from mp_lib.model.weights import CHECKPOINT, shipped
from mp_lib.system.errors import InputError
from mp_lib.system.paths import run_path
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
    coming = shipped()[0]
    assert found == {
        "smoke simple_dp3-seed1": names[1],
        "smoke simple_dp3-seed0": str(run_path(names[0]) / CHECKPOINT),
        "pocket pocket_mamba-seed0": str(coming),
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


def test_policies_of_one_name_are_told_apart():
    few = toy_policy(num_inference_steps=2)
    both = Policies(POLICY, few)
    assert [each.name for each in both.given] == [*both.loaded] == ["toy, 10 steps", "toy, 2 steps"]
    assert [each.policy for each in both.given] == [POLICY.policy, few.policy] and both.first is both.given[0]
    assert [*Policies(POLICY, toy_policy(seed=1)).loaded] == ["toy, 10 steps", "toy, 10 steps (2)"]
    assert [each["policy"] for each in names_of([POLICY, POLICY])] == ["toy, 10 steps", "toy, 10 steps (2)"]
    assert [each.name for each in told_apart([POLICY, toy_policy("b")])] == ["toy", "b"] and POLICY.name == "toy"


def test_a_run_of_the_name_of_one_that_comes_with_the_project_stands_beside_it():
    coming = shipped()[0]
    policies = Policies(choices.load(coming.parent.name))
    assert policies.first.checkpoint == coming
    run = run_path(write_trained("pocket_mamba"))
    run.rename(run.with_name(coming.parent.name))
    found = policies.names()
    assert [*found] == ["pocket pocket_mamba-seed0", "pocket pocket_mamba-seed0 (2)"]
    own = policies.named(found["pocket pocket_mamba-seed0 (2)"])
    assert own.checkpoint.is_relative_to(run_path()) and own.name == f"{coming.parent.name} (2)"
    assert choices.load(coming.parent.name).checkpoint == own.checkpoint


def test_an_episode_is_played_when_it_is_first_asked_for():
    scenes = Scenes(Episodes())
    assert scenes.source.numbers(POLICY) == () and not scenes.is_kept(POLICY, 80_000)
    scene = scenes.first(POLICY, 80_000)
    assert scenes.is_kept(POLICY, 80_000) and scenes.scene(POLICY, 80_000) is scene
    assert "environment seed 80000" in scene.browsed.title


def test_demonstrations_are_listed_and_the_first_one_comes_first(toy_demos):
    scenes = Scenes(Demonstrations(str(toy_demos.path)))
    assert scenes.source.numbers(POLICY) == (0, 1, 2)
    assert scenes.first(POLICY) is scenes.scene(POLICY, 0)
    assert scenes.first(POLICY, 2) is scenes.scene(POLICY, 2)
    with pytest.raises(InputError, match=r"has no demonstration 80000; choose of \[0, 1, 2\]"):
        scenes.first(POLICY, 80_000)
