"""In a simulator an actor gives the ordinary rollout's episodes."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mp_lib.acting.actor import Actor
from mp_lib.acting.engine import TorchEngine, load_engine
from mp_lib.acting.facts import facts_of
from mp_lib.config import EXPLORING_SEEDS
from mp_lib.insight.playing import Play
from mp_lib.insight.prediction import denoise_from
from mp_lib.interfaces import TaskSpec
from mp_lib.learning.evaluation import load
from mp_lib.learning.rollout import rollout
from mp_lib.model.checkpoint import save_policy
from mp_lib.model.weights import shipped
from tests.conftest import TOY, ToyEnv, positions
from tests.insight.toy_policy import long_toy, toy_policy

FREE = {"limits": None, "no_observation_s": None, "same_cloud_s": None}


def play(actor: Actor, spec: TaskSpec, seed: int):
    """(success, steps, actions) of an episode in which every step is looked at."""
    env, flags, told = spec.make_env(num_points=actor.facts.num_points), [], []
    env.reset(seed)
    actor.reset(seed)
    while len(flags) < spec.max_steps and not (spec.success_rule.stops and any(flags)):
        told.append(actor.select_action(vars(env.observe())))
        flags.append(env.step(told[-1]))
    env.close()
    return bool(spec.success_rule.judge(flags)), len(flags), np.array(told)


def engines(tmp_path, policy, task):
    """The same weights by torch and by an export, if what that needs is installed."""
    yield TorchEngine(policy, facts_of(policy.config, {}, ""))
    pytest.importorskip("onnxscript")
    checkpoint = tmp_path / "policy.safetensors"
    save_policy(checkpoint, policy.policy, task=task)
    yield load_engine(checkpoint, "onnx")


@pytest.mark.parametrize("spec", [TOY, long_toy(30)], ids=["stops", "goes on"])
def test_of_the_toy_task(spec, tmp_path):
    policy, seeds = toy_policy(spec=spec).policy, range(3)
    for engine in engines(tmp_path, policy, "toy"):
        actor = Actor(engine, **FREE)
        for seed in seeds:
            (expected,) = rollout(policy, spec, [seed], films=1)
            success, steps, told = play(actor, spec, seed)
            assert (success, steps) == (expected.success, expected.steps)
            moved = np.cumsum([0, *told[:, 0].astype(float)])
            tolerance = 0 if isinstance(engine, TorchEngine) else 1e-4
            np.testing.assert_allclose(moved, positions(expected.film), atol=tolerance, rtol=0)


def test_films_and_plays_have_the_chunks_of_before_to_the_bit():
    policy = toy_policy(spec=long_toy(20))
    with Play(policy, 5) as stage:
        for moment in stage.moments():
            expected = denoise_from(policy.policy, moment.history, moment.noise[None])[-1, 0]
            np.testing.assert_array_equal(moment.chunk, expected)
    (rolled,) = rollout(policy.policy, policy.spec, [5])
    assert (stage.ended.success, stage.ended.steps) == (rolled.success, rolled.steps)


def test_only_what_a_rollout_looks_at_is_looked_at(monkeypatch):
    looked, observe = [], ToyEnv.observe
    monkeypatch.setattr(ToyEnv, "observe", lambda env: (looked.append(env.steps), observe(env))[1])
    with Play(toy_policy(spec=long_toy(20)), 5) as stage:
        list(stage.moments())
    played = looked.copy()
    looked.clear()
    rollout(toy_policy(spec=long_toy(20)).policy, long_toy(20), [5])
    assert played == looked


@pytest.mark.slow
@pytest.mark.parametrize("checkpoint", shipped(), ids=lambda path: path.parent.name)
def test_what_comes_with_the_project_does_again_what_is_kept_of_it(checkpoint):
    """On the same environment seeds; an episode that hangs by a hair may end otherwise where numbers round so."""
    policy, spec = load(checkpoint, device="cpu")
    kept = json.loads(checkpoint.with_name("result.json").read_text())["final"]
    seeds, expected = kept["seeds"][:20], kept["successes"][:20]
    found = [each.success for each in rollout(policy, spec, seeds)]
    assert sum(one != other for one, other in zip(found, expected, strict=True)) <= 2


@pytest.mark.slow
def test_of_a_real_task(tmp_path):
    checkpoint = shipped()[0]
    policy, spec = load(checkpoint, device="cpu")
    seeds = range(EXPLORING_SEEDS, EXPLORING_SEEDS + 10)
    spec = replace(spec, max_steps=min(spec.max_steps, 200))
    expected = [(each.success, each.steps) for each in rollout(policy, spec, seeds)]
    for engine in engines(tmp_path, policy, spec.name):
        found = [play(Actor(engine, **FREE), spec, seed)[:2] for seed in seeds]
        # A batch, and ONNX Runtime, round otherwise, which may decide a step at which the goal is met.
        assert [success for success, _ in found] == [success for success, _ in expected]
    assert torch.is_grad_enabled()
