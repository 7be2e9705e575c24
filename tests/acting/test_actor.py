"""An actor: what a policy is given and when, whatever form observations have, and what is refused."""

import subprocess
import sys
import warnings

import numpy as np
import pytest

from mp_lib.acting.actor import Actor
from mp_lib.acting.history import NAMES
from mp_lib.model.noise import chunk_noise
from mp_lib.point_cloud import sample_farthest
from mp_lib.system.errors import InputError
from tests import ROOT
from tests.acting.fake import ACTION, FRAMES, HORIZON, POINTS, STEPS, FakeEngine, actor_of, cloud, seen


def test_a_step_at_a_time_gives_the_actions_from_now_on_and_sees_the_last_frames():
    engine = FakeEngine()
    actor = actor_of(engine)
    told = [actor.select_action(seen(step)) for step in range(3 * STEPS)]
    assert [tuple(each) for each in told] == [
        (10 * STEPS * call + step, call) for call in range(3) for step in range(STEPS)
    ]
    assert all(each.dtype == np.float32 and each.shape == (ACTION,) for each in told)
    for call, (clouds, states, noise) in enumerate(engine.given):
        now = call * STEPS
        assert states[:, 0].tolist() == [max(0, now - 1), now]
        np.testing.assert_array_equal(clouds, [cloud(max(0, now - 1)), cloud(now)])
        np.testing.assert_array_equal(noise, chunk_noise(0, call, (HORIZON, ACTION)))


@pytest.mark.parametrize("steps", [1, 3, HORIZON - FRAMES + 1])
def test_as_many_actions_are_executed_as_are_chosen(steps):
    engine = FakeEngine()
    actor = actor_of(engine, n_action_steps=steps)
    for step in range(2 * steps + 1):
        actor.select_action(seen(step))
    assert len(engine.given) == 3


def test_a_chunk_at_a_time_is_the_same_as_a_step_at_a_time():
    single, whole = actor_of(seed=5), actor_of(seed=5)
    steps = [single.select_action(seen(step)) for step in range(2 * STEPS)]
    first = whole.predict_action_chunk(seen(0))
    for step in range(1, STEPS):
        whole.observe(seen(step))
    np.testing.assert_array_equal(np.concatenate([first, whole.predict_action_chunk(seen(STEPS))]), steps)
    for (a, b, c), (d, e, f) in zip(single.engine.given, whole.engine.given, strict=True):
        assert all(np.array_equal(one, other) for one, other in ((a, d), (b, e), (c, f)))


def test_a_plan_is_the_whole_chunk():
    chunk = actor_of().plan(seen(3))
    assert chunk.shape == (HORIZON, ACTION)
    np.testing.assert_array_equal(chunk[:, 0], 30 + np.arange(HORIZON) - FRAMES + 1)


def test_an_episode_begins_anew_with_reset_and_its_noise_comes_from_its_seed():
    engine = FakeEngine()
    actor = actor_of(engine, seed=3)
    for seed in (None, None, 7, None):
        actor.reset(seed)
        actor.select_action(seen(1))
        actor.select_action(seen(2))
    assert [given[1][:, 0].tolist() for given in engine.given] == [[1, 1]] * 4
    expected = [chunk_noise(seed, 0, (HORIZON, ACTION)) for seed in (3, 3, 7, 7)]
    np.testing.assert_array_equal([given[2] for given in engine.given], expected)
    assert actor.report().steps == 2


@pytest.mark.parametrize("names", [(a, b) for a in NAMES["point_cloud"] for b in NAMES["state"]])
@pytest.mark.parametrize("kind", ["f4", "f8", ">f4", "f2"])
def test_names_of_others_and_all_kinds_of_numbers_are_read(names, kind):
    actor, given = actor_of(), seen(2)
    observation = dict(zip(names, (given["point_cloud"].astype(kind), given["state"].astype(kind)), strict=True))
    actor.select_action(observation | {"observation.images.front": np.zeros((2, 2, 3))})
    clouds, states, _ = actor.engine.given[0]
    assert clouds.dtype == states.dtype == np.float32 and states[0, 0] == 2
    np.testing.assert_array_equal(clouds[0], given["point_cloud"].astype(kind).astype("f4"))


def test_a_driver_may_use_its_buffers_again():
    actor, given = actor_of(n_action_steps=2), seen(1)
    actor.select_action(given)
    given["point_cloud"][:], given["state"][:] = 9, 9
    actor.select_action(seen(2))
    actor.select_action(seen(3))
    assert actor.engine.given[0][1][:, 0].tolist() == [1, 1]
    assert actor.engine.given[1][1][:, 0].tolist() == [2, 3]


def test_points_are_chosen_as_in_training_and_those_that_are_not_finite_left_out():
    many = cloud(0, 5 * POINTS)
    spoilt = np.concatenate([many, np.full((3, 3), np.nan, np.float32), np.zeros((4, 3), np.float32)])
    actor = actor_of()
    for given in (many, spoilt):
        actor.reset()
        actor.select_action({"point_cloud": given, "state": np.zeros(3)})
    for clouds, _, _ in actor.engine.given:
        np.testing.assert_array_equal(clouds, [sample_farthest(many, POINTS)] * 2)


REFUSED = {
    "no dict": (3, "has no point_cloud; give a dict"),
    "no state": ({"point_cloud": cloud()}, "has no state; give a dict with state or agent_pos"),
    "colours": ({"point_cloud": np.zeros((POINTS, 6)), "state": [0, 0, 0]}, r"has colours; .*\[\.\.\., :3\]"),
    "a batch": ({"point_cloud": cloud()[None], "state": [0, 0, 0]}, r"batch axis.*give point_cloud\[0\]"),
    "another state": ({"point_cloud": cloud(), "state": [0, 0]}, "with 3 numbers last"),
    "words": ({"point_cloud": cloud(), "state": ["a"] * 3}, "give numbers"),
    "few points": ({"point_cloud": cloud(0, 3), "state": [0, 0, 0]}, "has 3 points, the policy was trained on 16"),
    "a state of NaN": ({"point_cloud": cloud(), "state": [0, np.nan, 0]}, "not finite: .*nan"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_no_observation_is_refused_in_one_line(name):
    given, said = REFUSED[name]
    for call in (actor_of().select_action, actor_of().predict_action_chunk, actor_of().observe):
        with pytest.raises(InputError, match=said) as error:
            call(given)
        assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"n_action_steps": 0}, "n_action_steps 0 given; a chunk has 1 to 7 to execute"),
        ({"n_action_steps": 8}, "n_action_steps 8 given"),
        ({"asynchronous": 5}, "asynchronous 5 given; give False, True, or 1 to 4 steps"),
        ({"asynchronous": "yes"}, "asynchronous 'yes' given"),
        ({"n_action_steps": 1, "asynchronous": 0.5}, "asynchronous 0.5 given"),
        ({"limits": "none"}, "limits 'none' given; give \"demonstrations\", None, or"),
        ({"limits": (1, 0)}, "low must not be above high"),
        ({"limits": ([0, 0, 0], 1)}, "give a number, or 2 of them"),
        ({"max_step": 0}, "max_step 0 given; it must be more than 0"),
        ({"max_step": "a"}, "max_step 'a' given"),
        ({"no_observation_s": 0}, "no_observation_s 0 given; it must be more than 0, or None"),
        ({"same_cloud_s": "long"}, "same_cloud_s 'long' given"),
        ({"seed": -1}, "seed -1 given"),
        ({"temporal_ensemble_coeff": 0.1, "asynchronous": True}, "an average needs a chunk at every step"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(options, said):
    with pytest.raises(InputError, match=said):
        actor_of(**options)


def test_nothing_commanded_yet_cannot_be_held_but_by_what_moves_by_itself():
    with pytest.raises(InputError, match="nothing was commanded yet that could be held"):
        actor_of().select_action(None)
    assert actor_of(FakeEngine("velocity:1 step:1")).select_action(None).tolist() == [0, 0]


def test_averages_are_those_of_all_chunks_that_tell_a_step_and_are_warned_of():
    with pytest.warns(UserWarning, match="averages chunks"):
        actor = actor_of(temporal_ensemble_coeff=0.5)
    told = [actor.select_action(seen(step)) for step in range(3)]
    for step, found in enumerate(told):
        weights = np.exp(-0.5 * np.arange(step + 1))
        expected = sum(w * (10 * call + step - call) for call, w in enumerate(weights)) / weights.sum()
        np.testing.assert_allclose(found[0], expected, rtol=1e-6)
    assert len(actor.engine.given) == 3


def test_averages_of_opposite_quaternions_and_of_angles_across_the_turn_are_no_middle():
    class Turning(FakeEngine):
        def predict(self, *given):
            super().predict(*given)
            sign = (-1) ** len(self.given)
            row = [sign * 0.6, sign * 0.8, 0, 0, sign * (np.pi - 0.1)]
            return np.tile(np.array(row, np.float32), (HORIZON, 1))

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        actor = actor_of(Turning("quaternion:4 angle:1", robot_dim=5), temporal_ensemble_coeff=0.01)
    for step in range(5):
        told = actor.select_action(seen(step))
        np.testing.assert_allclose(np.abs(told[:4]), [0.6, 0.8, 0, 0], atol=1e-6)
        assert abs(np.cos(told[4])) > 0.99


def test_acting_imports_nothing_heavy():
    code = "from mp_lib import Actor; import sys; print(*{name.split('.')[0] for name in sys.modules})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    assert not {*done.stdout.split()} & {"torch", "mujoco", "matplotlib", "wandb", "zarr", "pandas", "onnxruntime"}


def test_the_options_of_load_are_those_of_the_actor(monkeypatch):
    engine, asked = FakeEngine(), []
    fake = lambda *given, **others: (asked.append((given, others)), engine)[1]  # noqa: E731
    monkeypatch.setattr("mp_lib.acting.actor.load_engine", fake)
    actor = Actor.load("my run", limits=None, n_action_steps=2, num_inference_steps=4)
    assert asked == [(("my run", "auto"), {"threads": 1, "num_inference_steps": 4})]
    assert actor.n_action_steps == 2 and actor.engine is engine
