"""What is said and shown of demonstrations follows from what was recorded."""

from types import SimpleNamespace

import pytest

from mp_lib.data.recording import collect
from mp_lib.insight import demonstrations
from tests.conftest import TOY


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
