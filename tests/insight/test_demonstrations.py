"""What is said and shown of demonstrations follows from what was recorded."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest

from mp_lib.data.recording import collect
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.drawing import pictures
from mp_lib.insight import demonstrations
from tests.conftest import TOY
from tests.data.test_strange_stores import write


@pytest.fixture
def demos(tmp_path):
    return collect(TOY, 2, tmp_path / "toy.zarr", jobs=1)


def test_the_expert_is_judged_by_the_rule_that_judges_policies(demos):
    said = demonstrations.expert_sentence(demos)
    assert "succeeded in 2 of 2 episodes" in said and "None was left out" in said
    rows = [
        {"seed": 0, "failed_seeds": [], "solved_seeds": []},
        {"seed": 3, "failed_seeds": [1, 2], "solved_seeds": [3]},
    ]
    said = demonstrations.expert_sentence(SimpleNamespace(attributes=demos.attributes | {"episodes": rows}))
    assert "succeeded in 1 of 4 episodes" in said and ": 2 of 4. Seeds left out: 1 and 2." in said


def test_a_film_belongs_to_what_was_recorded(demos, tmp_path):
    film = demonstrations.film_of(demos, TOY)
    assert film.exists() and demonstrations.film_of(demos, TOY) == film
    other = collect(TOY, 2, tmp_path / "other" / "toy.zarr", jobs=1, first_seed=5)
    assert demonstrations.film_of(other, TOY).name != film.name


def test_a_store_of_others_is_shown_without_a_simulator(tmp_path):
    expected = write(tmp_path / "mine.zarr", {"task": "pour water", "settings": 3})
    store = ReplayBuffer.open(tmp_path / "mine.zarr")
    assert demonstrations.simulated_task(store) is None and demonstrations.film_of(store, None) is None
    look = demonstrations.first_look(store, None)
    assert [*look] == ["frame 0", "frame 19", "frame 39", "frame 59"]
    assert np.array_equal(look["frame 59"], expected["data/point_cloud"][59])
    assert len(demonstrations.points_table(look)) == 4 * 32 and len(pictures.first_look(look).axes) == 4
    traces = demonstrations.traces(store, None)
    assert traces.columns[-1] == "action 4" and len(traces) == 150 and traces["episode"].max() == 1
    facts = demonstrations.facts(store).set_index("fact")["value"]
    assert facts["demonstrations"] == "2" and facts["steps an episode"] == "60 to 90" and "task" not in facts
    assert demonstrations.facts(store.choose(1)).set_index("fact")["value"]["demonstrations"] == "1 of 2"
    assert "does not say who demonstrated" in demonstrations.expert_sentence(store)


@pytest.mark.parametrize(("suite", "sizes"), [("metaworld", (9, 4)), ("dexart", (33, 22)), ("", (3, 2))])
def test_every_number_has_a_name_of_its_own(suite, sizes):
    names = demonstrations.names_of(suite, *sizes)
    assert [len({*each}) for each in names] == [*sizes]


def test_facts_of_a_known_task_say_what_the_numbers_of_an_action_are(demos, monkeypatch):
    assert "numbers of an action" not in {*demonstrations.facts(demos)["fact"]}
    monkeypatch.setitem(demonstrations.TASKS, "toy", replace(TOY, action_meaning="first a shift, 1 is 1 m"))
    facts = demonstrations.facts(demos).set_index("fact")["value"]
    assert facts["numbers of an action"] == "first a shift, 1 is 1 m"
