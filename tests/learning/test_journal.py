"""Episodes that are written down are not played again, and those of another origin are not believed."""

import json

import numpy as np
import pytest

from mp_lib.learning import rollout as module
from mp_lib.learning.journal import Journal
from mp_lib.learning.rollout import rollout
from tests.conftest import TOY
from tests.learning.test_rollout import GROUP, NEVER, Script, trajectories

SEEDS = list(range(50, 50 + 2 * GROUP + 3))
ORIGIN = {"weights": "abc", "steps": (1, 2)}


@pytest.fixture
def stopped(tmp_path, monkeypatch):
    """The folder of a rollout that was stopped in its third group."""
    calls, play_group = [], module.play_group

    def stopping(*arguments):
        calls.append(arguments)
        if len(calls) == 3:
            raise KeyboardInterrupt
        yield from play_group(*arguments)

    monkeypatch.setattr(module, "play_group", stopping)
    with pytest.raises(KeyboardInterrupt):
        rollout(Script(), TOY, SEEDS, films=1, journal=make_journal(tmp_path))
    monkeypatch.undo()
    return tmp_path


def make_journal(folder, origin=ORIGIN):
    return Journal(folder / "episodes.json", origin, folder / "film.mp4")


def played(folder, monkeypatch, **changes):
    """The seeds that are played by a rollout with the journal in a folder, and the episodes that it returns."""
    seeds, play_group = [], module.play_group

    def watched(policy, tables, group):
        seeds.extend(seed for seed, _ in group)
        return play_group(policy, tables, group)

    monkeypatch.setattr(module, "play_group", watched)
    return seeds, rollout(Script(), TOY, SEEDS, films=1, journal=make_journal(folder, **changes))


def test_a_stopped_rollout_goes_on_behind_the_last_group(stopped, monkeypatch):
    seeds, episodes = played(stopped, monkeypatch)
    assert seeds == SEEDS[2 * GROUP :]
    whole = rollout(Script(), TOY, SEEDS)
    assert [(each.seed, each.success, each.steps) for each in episodes] == [
        (each.seed, each.success, each.steps) for each in whole
    ]
    assert played(stopped, monkeypatch)[0] == []


@pytest.mark.parametrize(
    "spoil",
    [
        lambda folder: (folder / "film.mp4").unlink(),
        lambda folder: (folder / "episodes.json").write_text("{"),
        lambda folder: (folder / "episodes.json").write_text("[]"),
        lambda folder: (folder / "episodes.json").write_bytes(b"\xff\xfe"),
        lambda folder: (folder / "episodes.json").write_text('{"origin": {}, "rows": 3}'),
    ],
)
def test_a_journal_that_is_damaged_or_lacks_its_film_is_played_again(stopped, monkeypatch, spoil):
    spoil(stopped)
    assert played(stopped, monkeypatch)[0] == SEEDS
    assert (stopped / "film.mp4").exists()


def test_a_journal_of_another_origin_is_played_again(stopped, monkeypatch):
    assert played(stopped, monkeypatch, origin={"weights": "abd"})[0] == SEEDS


def test_a_journal_of_other_noise_is_played_again(stopped, monkeypatch):
    monkeypatch.setattr("mp_lib.learning.journal.SCHEME", "of before")
    assert played(stopped, monkeypatch)[0] == SEEDS


def test_other_seeds_replace_the_rows_from_their_place_on(stopped):
    journal = make_journal(stopped)
    assert journal.recall(0, [1, 2]) is None and journal.recall(0, SEEDS[:GROUP])
    journal.add(GROUP, [{"seed": 1}], [])
    assert journal.recall(0, SEEDS[:GROUP]) and journal.recall(GROUP, [1]) == [{"seed": 1}]
    assert len(json.loads(journal.path.read_text())["rows"]) == GROUP + 1


def test_a_journal_changes_nothing(tmp_path):
    journal = Journal(tmp_path / "episodes.json", {})
    without = rollout(Script(), NEVER, SEEDS, films=2)
    assert trajectories(rollout(Script(), NEVER, SEEDS, films=2, journal=journal)) == trajectories(without)
    journal.forget()
    assert not journal.path.exists()
    assert np.isfinite(without[0].film[0]).all()
