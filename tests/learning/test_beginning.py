"""A training that goes on from other weights has them at its start, says so, and refuses what does not fit."""

import json
import logging
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import pytest
import torch

import mp_lib
from mp_lib.config import PolicyConfig, TrainConfig
from mp_lib.learning import trainings
from mp_lib.learning.beginning import beginning, digest_of
from mp_lib.learning.held_out import windows_of
from mp_lib.learning.start import SIZES, beyond, go_on_from
from mp_lib.learning.trainer import Trainer
from mp_lib.learning.training import policy_config
from mp_lib.model.checkpoint import load_policy
from mp_lib.model.policy import build_policy
from mp_lib.model.weights import KEPT
from mp_lib.system.errors import InputError
from mp_lib.system.paths import run_path
from tests.conftest import TOY
from tests.exchange.layouts import write_store
from tests.learning.own_run import OWN, episodes_of, train_own
from tests.learning.toy_run import stop_at
from tests.model.test_official import save_as_released
from tests.study.finished import comparable

HOW = {"device": "cpu", "jobs": 1, "save_every": None}


def named(checkpoint, normalizer="kept", **changes):
    """A run that goes on from a file of weights."""
    return replace(OWN, init=digest_of(checkpoint), normalizer=normalizer, **changes)


def trainer(config, store, init):
    windows, _ = windows_of(config, store, TOY)
    with torch.random.fork_rng():
        return Trainer(
            config, policy_config(config, TOY), windows, torch.device("cpu"), init=beginning(config, init)[0]
        )


@pytest.fixture
def larger(tmp_path, own_demos):
    """The same demonstrations, whose actions and states reach twice as far."""
    episodes = [{key: 2 * values for key, values in episode.items()} for episode in episodes_of(own_demos)]
    return write_store(tmp_path / "larger.zarr", episodes)


@pytest.mark.parametrize("normalizer", ["kept", "fit"])
def test_it_begins_with_the_weights_and_the_normaliser_that_is_asked_for(own, larger, normalizer):
    checkpoint = own[0] / "policy.safetensors"
    begun, before = trainer(named(checkpoint, normalizer), larger, checkpoint), load_policy(checkpoint)[0].state_dict()
    for weights in (begun.policy.state_dict(), begun.average.state_dict()):
        kept = {name for name, value in weights.items() if value.equal(before[name])}
        others = {*before} - kept
        assert not others if normalizer == "kept" else others and all(each.startswith("normalizer.") for each in others)
    shares = beyond(begun.policy, begun.windows)
    assert all((share > 0.1) == (normalizer == "kept") for share in shares.values()), shares


def test_it_draws_otherwise_than_what_it_goes_on_from(own, own_demos):
    checkpoint = own[0] / "policy.safetensors"
    first, second = trainer(OWN, own_demos, None), trainer(named(checkpoint), own_demos, checkpoint)
    assert first.streams.origin != second.streams.origin
    assert first.streams.origin == trainer(OWN, own_demos, None).streams.origin


def test_an_action_that_never_varied_lies_beyond_where_it_does():
    policy = build_policy(policy_config(OWN, TOY))
    data = {"point_cloud": torch.rand(9, 3), "state": torch.rand(9, 3), "action": torch.rand(9, 2)}
    data["action"][:, 1] = 0.25
    policy.normalizer.fit(data)
    assert not any(policy.normalizer.beyond(key, values).any() for key, values in data.items())
    data["action"][3, 1] = 0.26
    assert policy.normalizer.beyond("action", data["action"]).nonzero().tolist() == [[3, 1]]


DIFFERENT = {
    "attention": "released",
    "blocks_per_level": 2,
    "n_obs_steps": 1,
    "step_embed_dim": 64,
    "actions": "relative",
}


@pytest.mark.parametrize("key", [key for key in SIZES if key != "method"])
def test_sizes_that_differ_are_named(key):
    ours = policy_config(OWN, TOY)
    other = DIFFERENT.get(key, (16, 32, 64) if key == "down_dims" else 50 if key == "num_train_steps" else 7)
    theirs = replace(ours, **{key: other})
    with pytest.raises(
        InputError, match=rf"the weights given as init do not fit: {key} .* there, .* here; give others"
    ):
        go_on_from(build_policy(ours), build_policy(theirs), "kept")


def test_kinds_that_differ_are_named_where_both_are_known():
    ours = replace(policy_config(OWN, TOY), action_kinds="position:2")
    policy = build_policy(ours)
    with pytest.raises(InputError, match="do not fit: action_kinds joint:2 there, position:2 here"):
        go_on_from(policy, build_policy(replace(ours, action_kinds="joint:2")), "kept")
    go_on_from(policy, build_policy(replace(ours, action_kinds="")), "kept")


def test_layers_over_the_steps_of_a_chunk_fit_their_horizon_alone():
    made = {horizon: build_policy(PolicyConfig("diffusion_mixer", 3, 2, horizon=horizon)) for horizon in (12, 16)}
    told = r"take_in.weight \(64, 16\) there, \(64, 12\) here.*; give others"
    with pytest.raises(InputError, match=told):
        go_on_from(made[12], made[16], "kept")


@pytest.mark.parametrize("given", ["none", "another"])
def test_the_file_has_to_be_the_one_that_the_configuration_names(own, own_demos, tmp_path, given):
    config = named(own[0] / "policy.safetensors")
    other = shutil.copy(own[0] / "result.json", tmp_path / "other.safetensors") if given == "another" else None
    said = "whose digest is .* was given" if other else "no file was given"
    with pytest.raises(InputError, match=f"init {config.init} is the digest of the weights to begin with; .*{said}"):
        train_own(own_demos, tmp_path / "run", config, init=other)


def test_a_run_says_what_it_goes_on_from_and_what_is_beyond(own, larger, tmp_path, caplog):
    checkpoint = own[0] / "policy.safetensors"
    with caplog.at_level(logging.INFO):
        result = train_own(larger, tmp_path, named(checkpoint), init=checkpoint)
    origin = result.origin
    assert (origin["init"], origin["digest"]) == (own[0].name, digest_of(checkpoint))
    assert (origin["normalizer"], origin["step"], origin["task"]) == ("kept", 25, "my_arm")
    assert all(0 < share < 1 for share in origin["beyond"].values())
    assert json.loads((tmp_path / "result.json").read_text())["origin"] == origin
    assert f"goes on from {own[0].name} (digest {origin['digest']}), normalizer kept; beyond" in caplog.text
    assert f"{100 * origin['beyond']['action']:.1f} % of action" in caplog.text


def held_out_after(checkpoint, store, folder, **changes):
    """What a training that goes on from a checkpoint holds out, and what of that it may have seen before."""
    result = train_own(store, folder, named(checkpoint, **changes), init=checkpoint)
    return result.held_out["episodes"], result.origin["may_have_seen"]


def test_what_is_held_out_is_new_to_weights_that_never_saw_it_alone(own, own_demos, larger, tmp_path, caplog):
    first, warned = own[0] / "policy.safetensors", "may have been trained on episodes that are held out here"
    (episode,) = own[1].held_out["episodes"]
    others = {*range(3)} - {episode}
    both = tuple(sorted({episode, min(others)}))
    assert held_out_after(first, own_demos, tmp_path / "same") == ([episode], [])
    second = tmp_path / "same" / "policy.safetensors"
    assert held_out_after(second, own_demos, tmp_path / "again") == ([episode], [])
    assert warned not in caplog.text
    for name, store, out, seen in (
        ("others", own_demos, tuple(sorted(others)), sorted(others)),
        ("both", own_demos, both, [min(others)]),
        ("larger", larger, (episode,), [episode]),  # nobody compares frames
    ):
        caplog.clear()
        assert held_out_after(first, store, tmp_path / name, held_out_episodes=out) == ([*out], seen), name
        assert f"{warned}, {', '.join(map(str, seen))}" in caplog.text
    third = tmp_path / "both" / "policy.safetensors"  # what the weights before had seen stays seen
    assert held_out_after(third, own_demos, tmp_path / "last", held_out_episodes=both) == ([*both], [min(others)])
    moved = shutil.copy(first, tmp_path / "mine.safetensors")
    assert held_out_after(moved, own_demos, tmp_path / "moved") == ([episode], [episode])


def test_a_run_that_goes_on_is_resumed_to_the_bit(own, own_demos, tmp_path, monkeypatch, eager_saves):
    checkpoint = own[0] / "policy.safetensors"
    whole = train_own(own_demos, tmp_path / "whole", named(checkpoint), init=checkpoint)
    stop_at(monkeypatch, 7)
    with pytest.raises(KeyboardInterrupt):
        train_own(own_demos, tmp_path / "half", named(checkpoint), init=checkpoint)
    monkeypatch.undo()
    with pytest.raises(InputError, match="no file was given"):  # it is needed as long as the run has not ended
        train_own(own_demos, tmp_path / "half", named(checkpoint))
    again = train_own(own_demos, tmp_path / "half", named(checkpoint), init=checkpoint)
    assert comparable(asdict(again)) == comparable(asdict(whole))
    assert train_own(own_demos, tmp_path / "half", named(checkpoint)) == again  # finished, it is read


def test_official_weights_are_gone_on_from_as_the_release_runs_them(own_demos, tmp_path):
    config = replace(OWN, method="dp3_mamba", attention="released")
    torch.manual_seed(0)
    policy = build_policy(policy_config(config, TOY)).eval()
    data = {"point_cloud": torch.rand(5, 3), "state": torch.rand(5, 3), "action": torch.rand(5, 2)}
    policy.normalizer.fit(data)
    save_as_released(checkpoint := tmp_path / "latest.ckpt", policy)
    going = replace(config, init=digest_of(checkpoint), normalizer="fit")
    origin = train_own(own_demos, tmp_path / "run", going, init=checkpoint).origin
    assert (origin["init"], origin["normalizer"]) == ("latest.ckpt", "fit")
    assert json.dumps(origin, allow_nan=False) and not any(origin["beyond"].values())
    with pytest.raises(InputError, match="do not fit: attention released there, paper here"):
        other = replace(going, attention="paper")
        train_own(own_demos, tmp_path / "other", other, init=checkpoint)


@pytest.fixture
def here(own, own_demos, monkeypatch, tmp_path):
    """The finished run where runs are looked for, as it is named there."""
    monkeypatch.setenv("MP_ROOT", str(tmp_path))
    return shutil.copytree(own[0], run_path(own[0].name))


def test_a_finished_run_is_extended_with_a_schedule_of_its_own(here, own_demos):
    longer = mp_lib.extend(here.name, 12, demos=own_demos.path, device="cpu", jobs=1)
    config, origin = (longer.facts[key] for key in ("config", "origin"))
    assert config["num_steps"] == 12 and config["init"] == digest_of(here / "policy.safetensors")
    assert origin["init"] == here.name and origin["normalizer"] == "kept" and origin["step"] == 25
    rates = [json.loads(line).get("learning_rate") for line in longer.checkpoint.with_name("metrics.jsonl").open()]
    assert max(filter(None, rates)) > 0
    again = trainer(TrainConfig(**config), own_demos, here / "policy.safetensors")
    assert again.learning_rate(0) == 0 < again.learning_rate(again.config.warmup_steps) == again.config.learning_rate
    assert again.learning_rate(12) == 0


def test_what_cannot_be_extended_is_one_line(here, own_demos, larger):
    with pytest.raises(
        InputError, match="holds other demonstrations than .* was trained on; give their store as demos"
    ):
        trainings.extend(here / "policy.safetensors", 5, larger.path, HOW)
    with pytest.raises(InputError, match="num_steps 0 given; it must be at least 1"):
        trainings.extend(here / "policy.safetensors", 0, own_demos.path, HOW)
    moved = shutil.copy(here / "policy.safetensors", here / "mine.safetensors")
    with pytest.raises(InputError, match=r"is of no finished run; train\(..., init="):
        trainings.extend(type(here)(moved), 5, own_demos.path, HOW)


@pytest.mark.parametrize("number", trainings.ELSEWHERE)
def test_what_is_an_argument_is_no_number_of_the_scale(number):
    with pytest.raises(InputError, match=f"{number} given among the numbers of the scale; it is an argument"):
        trainings.train("my_arm", "dp3", "smoke", 0, "", "", "", HOW, {number: "x"})


@pytest.mark.parametrize("init", [KEPT, Path(KEPT)])
def test_what_is_no_weights_never_trains_fresh_ones(init):
    with pytest.raises(InputError, match="init .*kept.* given, which holds no weights"):
        trainings.train("my_arm", "dp3", "smoke", 0, "", init, "", HOW, {})


def test_a_normaliser_of_nothing_is_refused():
    with pytest.raises(InputError, match="normalizer 'kept' given without init; give both, or neither"):
        trainings.began("", "kept")
    assert trainings.began("") == {}
