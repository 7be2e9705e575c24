"""What is seen of a call is what the policy predicts there; what was computed is kept, and a sketch of it is quick."""

from dataclasses import replace

import numpy as np
import pytest

from mp_lib.config import EXPLORING_SEEDS
from mp_lib.insight import scene as scenes
from mp_lib.insight.browsing import played
from mp_lib.insight.predicted_path import predicted_path
from mp_lib.insight.prediction import denoise
from mp_lib.insight.recorded import Recorded
from mp_lib.insight.scene import BLOCK, Look, Scene
from mp_lib.interfaces import Obs
from tests.insight.toy_policy import long_toy, toy_policy

POLICY, OTHER = (toy_policy(name, seed, long_toy(12)) for name, seed in (("first", 0), ("second", 1)))
LOOK = Look(call=1, samples=11, noise_seed=3, num_inference_steps=4)


@pytest.fixture(scope="module")
def browsed():
    return played(POLICY, EXPLORING_SEEDS)


@pytest.fixture
def scene(browsed):
    return Scene(browsed)


@pytest.fixture
def counted(monkeypatch):
    """The arguments of every call of the denoiser and of the simulation."""
    found = []
    for name in ("denoise_from", "hand_path"):
        real = getattr(scenes, name)

        def call(*arguments, name=name, real=real):
            found.append(name)
            return real(*arguments)

        monkeypatch.setattr(scenes, name, call)
    return found


def test_paths_are_those_that_are_predicted(scene):
    call = scene.browsed.calls[1]
    expected = predicted_path(POLICY.policy, call.branch, call.history, 11, 4, 3)
    (fan,) = scene.seen(LOOK, [POLICY]).fans
    assert fan.paths.shape == (11, 8, 3) and fan.chunks.shape == (11, 7, 2) and fan.executed == 4
    np.testing.assert_allclose(fan.paths[:, 1:], expected, atol=1e-5)
    np.testing.assert_array_equal(fan.paths[:, 0], np.tile(call.hand, (11, 1)))


@pytest.mark.parametrize("level", range(5))
def test_a_fan_on_its_way_from_noise_is_that_of_its_denoising_step(scene, level):
    noisy = denoise(POLICY.policy, scene.browsed.calls[1].history, 11, 4, 3)
    (fan,) = scene.seen(replace(LOOK, denoised=level / 4), [POLICY]).fans
    np.testing.assert_allclose(fan.chunks, noisy[level][:, 1:], atol=1e-5)


def test_what_was_done_lies_on_the_path_that_was_taken(scene):
    done, (_, _, last) = scene.seen(LOOK, [POLICY]).done, scene.browsed.calls
    np.testing.assert_array_equal(done.paths[0, done.executed], last.hand)
    assert done.name == "done in this episode"


def test_two_policies_see_the_same_and_answer_for_themselves(scene):
    both = scene.seen(LOOK, [POLICY, OTHER])
    assert [fan.name for fan in both.fans] == ["first", "second"]
    for policy, fan in zip((POLICY, OTHER), both.fans, strict=True):
        np.testing.assert_array_equal(fan.paths, scene.seen(LOOK, [policy]).fans[0].paths)
    assert not np.allclose(both.fans[0].chunks, both.fans[1].chunks)


def test_policies_of_other_sizes_can_be_asked_too(scene):
    other = toy_policy("long", 2, long_toy(12), horizon=16, n_obs_steps=3, n_action_steps=8, num_points=6)
    fan = scene.seen(LOOK, [POLICY, other]).fans[1]
    assert fan.paths.shape == (11, 15, 3) and fan.executed == 8


def test_what_was_computed_for_a_call_is_kept(scene, counted):
    looks = [LOOK, replace(LOOK, call=0), replace(LOOK, denoised=0.5), replace(LOOK, hidden=0.3)]
    first = [scene.seen(look, [POLICY, OTHER]) for look in looks]
    assert all(scene.is_kept(look, [POLICY, OTHER]) for look in looks)
    counted.clear()
    again = [scene.seen(look, [POLICY, OTHER]) for look in looks]
    assert not counted
    for one, other in zip(first, again, strict=True):
        np.testing.assert_array_equal(one.fans[1].paths, other.fans[1].paths)


def test_of_more_samples_only_the_further_ones_are_computed(scene, counted):
    scene.seen(replace(LOOK, samples=BLOCK), [POLICY])
    counted.clear()
    scene.seen(replace(LOOK, samples=2 * BLOCK), [POLICY])
    assert counted == ["denoise_from"] + ["hand_path"] * BLOCK


def test_how_far_it_is_denoised_needs_no_denoising(scene, counted):
    scene.seen(LOOK, [POLICY])
    counted.clear()
    scene.seen(replace(LOOK, denoised=0.25), [POLICY])
    assert {*counted} == {"hand_path"}


def test_a_sketch_is_eight_paths_of_two_steps_or_of_all_where_they_are_there(scene, counted):
    few = scene.sketch(LOOK, [POLICY])
    assert (few.samples, few.num_inference_steps) == (8, 2)
    scene.seen(few, [POLICY])
    assert counted.count("denoise_from") == 1 and counted.count("hand_path") == 8 + 1  # and what was done
    scene.seen(LOOK, [POLICY])
    few = scene.sketch(replace(LOOK, denoised=0.5), [POLICY])
    assert (few.samples, few.num_inference_steps, few.level) == (8, 4, 2)
    assert scene.sketch(replace(LOOK, samples=3, num_inference_steps=1), [POLICY]).samples == 3


def test_the_whole_can_be_stopped_between_two_pieces_and_gone_on_with(scene, counted):
    work = scene.work(LOOK, [POLICY])
    next(work)
    work.close()
    assert counted == ["denoise_from"] and not scene.is_kept(LOOK, [POLICY])
    counted.clear()
    assert len([*scene.work(LOOK, [POLICY])]) == 4 and counted.count("denoise_from") == 1
    assert scene.is_kept(LOOK, [POLICY])


def shown(scene, **changes):
    return scene.history(replace(LOOK, **changes))[-1].point_cloud


def test_hidden_points_are_nested_by_share_and_the_encoder_does_not_see_them(scene):
    cloud = scene.browsed.calls[1].history[-1].point_cloud
    before = {tuple(point) for point in cloud}
    for share, left in ((0.0, 8), (0.25, 6), (0.5, 4), (0.95, 1), (1.0, 1)):
        seen = {tuple(point) for point in shown(scene, hidden=share)}
        assert seen <= before and len(seen) == left and shown(scene, hidden=share).shape == cloud.shape
        before = seen
    found = scene.seen(replace(LOOK, hidden=0.5), [POLICY])
    assert len(found.points) == len(found.hidden) == 4
    assert {tuple(point) for point in np.float32(np.concatenate([found.points, found.hidden]))} == {*map(tuple, cloud)}


def test_noise_moves_points_in_proportion_and_leaves_padding_alone(browsed):
    call = browsed.calls[1]
    padded = [Obs(np.vstack([obs.point_cloud[:5], np.zeros((3, 3), np.float32)]), obs.state) for obs in call.history]
    scene = Scene(replace(browsed, calls=[call, replace(call, history=padded)]))
    one, two = (shown(scene, shaken=metres) - shown(scene) for metres in (0.01, 0.02))
    np.testing.assert_allclose(two, 2 * one, atol=1e-6)
    assert np.all(one[5:] == 0) and 0.003 < one[:5].std() < 0.03
    assert len(scene.seen(LOOK, [POLICY]).points) == 5


def test_won_features_are_those_of_the_points_that_are_seen(scene):
    found = scene.seen(replace(LOOK, hidden=0.25), [POLICY])
    assert len(found.won) == len(found.points) == 6 and found.won.sum() == 256


def test_where_nothing_is_simulated_there_are_chunks_without_paths(toy_demos):
    policy = toy_policy()
    scene = Scene(Recorded(policy, str(toy_demos.path)).browsed(0))
    found = scene.seen(LOOK, [policy])
    assert found.fans[0].paths.shape == (11, 0, 3) and found.fans[0].chunks.shape == (11, 7, 2)
    assert np.isnan(found.fans[0].spread()) and np.isnan(found.fans[0].off(found.done))


def test_spread_and_distance_are_of_the_ends_of_what_is_executed():
    paths = np.zeros((2, 5, 3))
    paths[:, 2] = [[0.01, 0, 0], [-0.01, 0, 0]]
    fan = scenes.Fan("a", np.zeros((2, 4, 1)), paths, 2)
    done = replace(fan, paths=np.full((1, 5, 3), [0, 0, 0.03]))
    assert fan.spread() == pytest.approx(0.01) and fan.off(done) == pytest.approx(0.03)
    short = replace(fan, paths=paths[:, :2])  # a demonstration that ends before
    assert short.spread() == 0
