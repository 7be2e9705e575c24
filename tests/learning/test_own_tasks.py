"""A run of a task without a simulator: trained, resumed, found and told of like others, and never played or counted."""

import json
import os
import shutil
from dataclasses import asdict, replace

import numpy as np
import pytest

import mp_lib
from mp_lib.data.recording import rate_of
from mp_lib.exchange.conversion import Wishes, convert
from mp_lib.insight.inspection import inspect
from mp_lib.learning.evaluation import evaluate
from mp_lib.learning.folder import is_finished
from mp_lib.learning.run import train
from mp_lib.model.checkpoint import load_policy
from mp_lib.study.rows import count_unreadable, load_runs
from mp_lib.study.sentences import of_success
from mp_lib.study.tables import result_table
from mp_lib.system.errors import InputError
from mp_lib.system.paths import run_path
from tests.conftest import TOY
from tests.exchange.layouts import write_npz
from tests.learning.own_run import KINDS, OWN, OWN_FILES, episodes_of, own_store, train_own
from tests.learning.toy_run import CONFIG, rows, stop_at
from tests.study.finished import comparable


def weights_of(folder):
    return load_policy(folder / "policy.safetensors")[0].state_dict()


def same_weights(first, second):
    ours, theirs = weights_of(first), weights_of(second)
    return ours.keys() == theirs.keys() and all(ours[name].equal(theirs[name]) for name in ours)


def test_a_finished_run_says_how_far_it_is_from_what_was_held_out(own, own_demos):
    folder, result = own
    assert sorted(os.listdir(folder)) == OWN_FILES and is_finished(folder)
    assert json.loads((folder / "result.json").read_text()) == json.loads(json.dumps(asdict(result), allow_nan=False))
    assert result.final is None and result.curve == [] and result.origin == {}
    assert result.demonstrations["episodes"] == 2 and len(result.held_out["episodes"]) == 1
    moments = [row["step"] for row in result.held_out["curve"]]
    assert len(moments) == 10 and moments == sorted({*moments}) and moments[-1] == 25
    assert [row["step"] + 1 for row in rows(folder) if "held_out_error" in row] == moments
    facts = load_policy(folder / "policy.safetensors")[1]
    assert facts["simulated"] is False and "fps" not in facts
    assert train_own(own_demos, folder) == result
    assert result_table(result).set_index("fact").loc["demonstrations", "value"] == "2, by whom is not said"
    for told in (of_success(result), result_table(result).to_string()):
        assert "1 demonstration held out" in told and "this is no success rate" in told


@pytest.mark.parametrize("stop", [1, 10, 24])
@pytest.mark.parametrize("save_every", [None, 5])
def test_a_run_that_was_stopped_ends_the_same(own, own_demos, tmp_path, monkeypatch, eager_saves, stop, save_every):
    stop_at(monkeypatch, stop)
    with pytest.raises(KeyboardInterrupt):
        train_own(own_demos, tmp_path, save_every=save_every)
    monkeypatch.undo()
    again = train_own(own_demos, tmp_path)
    assert comparable(asdict(again)) == comparable(asdict(own[1])) and rows(tmp_path) == rows(own[0])
    assert (tmp_path / "policy.safetensors").read_bytes() == (own[0] / "policy.safetensors").read_bytes()


def test_policies_are_kept_on_the_way_and_load(own, own_demos, tmp_path):
    result = train_own(own_demos, tmp_path, save_every=10)
    assert comparable(asdict(result)) == comparable(asdict(own[1]))  # it is in no name and no result
    kept = sorted((tmp_path / "checkpoints").glob("*.safetensors"))
    assert [path.name for path in kept] == ["step_000010.safetensors", "step_000020.safetensors"]
    for path, step in zip(kept, (10, 20), strict=True):
        policy = mp_lib.load(str(path), device="cpu")
        assert (policy.task, policy.name) == ("my_arm", path.stem) and load_policy(path)[1]["step"] == step
    assert not all(
        value.equal(load_policy(kept[1])[0].state_dict()[name])
        for name, value in load_policy(kept[0])[0].state_dict().items()
    )


def test_policies_that_a_finished_run_cannot_keep_any_more_are_one_line_of_the_log(own, own_demos, tmp_path, caplog):
    shutil.copytree(own[0], tmp_path / "run")
    assert train_own(own_demos, tmp_path / "run", save_every=10) == own[1]
    (line,) = [record.getMessage() for record in caplog.records]
    assert line.startswith(f"{tmp_path / 'run'} is finished, so that save_every=10 keeps no policy of it any more")
    assert not (tmp_path / "run" / "checkpoints").exists()
    caplog.clear()
    for _ in range(2):  # whoever asks again for what is there is told nothing
        train_own(own_demos, tmp_path / "kept", save_every=10)
    train_own(own_demos, tmp_path / "run")
    assert not caplog.records


def test_a_short_training_is_looked_at_behind_its_first_step_at_the_earliest(own_demos, tmp_path):
    result = train_own(own_demos, tmp_path, replace(OWN, num_steps=3))
    assert [row["step"] for row in result.held_out["curve"]] == [1, 2, 3]
    assert min(row["step"] for row in rows(tmp_path)) == 0


@pytest.mark.parametrize("rate", [12.5, 30])
def test_a_policy_says_how_many_frames_a_second_it_learned_from(toy_demos, tmp_path, rate):
    train_own(own_store(tmp_path / "demos.zarr", toy_demos, fps=rate), tmp_path / "run", save_every=10)
    for path in (tmp_path / "run" / "policy.safetensors", *(tmp_path / "run" / "checkpoints").glob("*.safetensors")):
        assert load_policy(path)[1]["fps"] == rate


@pytest.mark.parametrize("attributes", [{}, {"fps": None}, {"fps": "20"}, {"fps": True}, {"fps": 0}, {"fps": -5}])
def test_a_store_may_not_say_its_rate(attributes):
    assert rate_of(attributes) is None


def test_weights_that_are_no_numbers_are_kept_nowhere(own_demos, tmp_path, monkeypatch):
    monkeypatch.setattr("mp_lib.learning.trainer.Trainer.learning_rate", lambda self, step: float("nan"))
    with pytest.raises(RuntimeError, match="not finite|loss is nan"):
        train_own(own_demos, tmp_path, save_every=1)
    assert not [*tmp_path.rglob("*.safetensors")]


@pytest.mark.parametrize("changes", [{"held_out": 0}, {"held_out_episodes": (0,)}])
def test_the_same_frames_give_the_same_weights_whatever_the_task_is_called(toy_demos, tmp_path, changes):
    """As somebody imports them: one file an episode, and no word of where they come from."""
    source = write_npz(tmp_path / "recorded", episodes_of(toy_demos))
    store = convert(source, tmp_path / "their_arm.zarr", Wishes(points=8)).store
    theirs, ours = replace(OWN, task="their_arm", **changes), replace(CONFIG, **changes)
    train_own(store, tmp_path / "theirs", theirs)
    result = train(ours, TOY, toy_demos, tmp_path / "ours", device="cpu")
    assert same_weights(tmp_path / "theirs", tmp_path / "ours")
    assert (result.held_out is None) == ("held_out" in changes) and result.final["seeds"]


def test_a_task_that_is_simulated_has_its_errors_beside_its_success(toy_demos, tmp_path):
    result = train(replace(CONFIG, split="released"), TOY, toy_demos, tmp_path, device="cpu")
    assert result.final["successes"] == [1, 1] and np.isfinite(result.held_out["loss"])
    assert result.demonstrations["episodes"] == 2
    said = of_success(result)
    assert "2 of 2" in said and "1 demonstration held out" in said


def test_one_demonstration_can_be_trained_on_and_nothing_is_known_then(own_demos, tmp_path):
    result = train_own(own_demos.choose(1), tmp_path)
    assert result.held_out is None and result.final is None
    assert "nothing was held out and nothing can be simulated" in of_success(result)


def test_relative_actions_are_trained_and_executed_in_the_robots_units(own_demos, tmp_path):
    result = train_own(own_demos, tmp_path, replace(OWN, actions="relative"))
    policy, _ = load_policy(tmp_path / "policy.safetensors")
    config = policy.config
    assert (config.actions, config.state_kinds, config.action_kinds) == ("relative", *KINDS.values())
    assert np.shape(result.held_out["error"]) == (3, 2)
    low, high = (np.load(tmp_path / "seen.npz")[f"action_{end}"] for end in ("low", "high"))
    assert low.shape == (2,) and (np.abs([low, high]) <= 1).all()  # of sines and cosines, not of differences


def test_relative_actions_without_kinds_are_refused_and_nothing_is_left(toy_demos, tmp_path):
    store = own_store(tmp_path / "plain.zarr", toy_demos)
    with pytest.raises(InputError, match="do not say what their numbers are; import them with kinds"):
        train_own(store, tmp_path / "run", replace(OWN, actions="relative"))
    assert not (tmp_path / "run").exists() or not os.listdir(tmp_path / "run")


@pytest.fixture
def here(own, monkeypatch, tmp_path):
    """The finished run where runs are looked for."""
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    return shutil.copytree(own[0], run_path(own[0].name))


def test_a_run_is_found_and_told_of(here):
    policy = mp_lib.load(here.name, device="cpu")
    assert policy.task == "my_arm" and not policy.spec.simulated and "no success rate" in repr(policy)
    assert "2, by whom is not said" in repr(policy)
    row = mp_lib.runs().iloc[0]
    assert row["run"] == here.name and row["state"].startswith("finished, off by ")
    facts = inspect(here)
    assert "my_arm" in facts["fits"] and "no success rate" in facts["result"]
    assert mp_lib.load(str(here / "policy.safetensors"), device="cpu").name == here.name


def test_tables_leave_it_out_and_do_not_call_it_damaged(here):
    assert load_runs().empty and count_unreadable() == 0


def test_what_needs_a_simulator_is_one_line(here):
    policy = mp_lib.load(here.name, device="cpu")
    for call in (
        lambda: mp_lib.play(policy),
        lambda: mp_lib.compare(policy, policy, 1),
        lambda: mp_lib.view(policy, still=True),
        lambda: evaluate(policy.checkpoint, 1, device="cpu"),
        policy.environment,
    ):
        with pytest.raises(InputError, match="my_arm exists in recordings alone, so nothing can be played") as found:
            call()
        assert "\n" not in str(found.value)
    assert not [*here.rglob("*evaluations*")]
