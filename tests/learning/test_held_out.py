"""Episodes are held out as is asked, no training sees them, and errors on them are what a plain loop finds."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch

from mp_lib.data.own_tasks import own_task
from mp_lib.learning import held_out as module
from mp_lib.learning.held_out import HeldOut, split_of, windows_of
from mp_lib.learning.training import policy_config
from mp_lib.model.policy import build_policy
from mp_lib.system.errors import InputError
from tests.conftest import TOY
from tests.exchange.layouts import made_up, write_store
from tests.learning.own_run import OWN

SPEC = own_task("my_arm", 4, 2)
KINDS = {"state_kinds": "quaternion:4", "action_kinds": "angle:1 gripper:1"}
CONFIG = replace(OWN, num_points=6)


@pytest.mark.parametrize(
    ("changes", "spec", "held"),
    [
        ({}, SPEC, 1),  # a tenth, where nothing else can be measured
        ({}, TOY, 0),
        ({"split": "released"}, TOY, 1),
        ({"split": "released"}, SPEC, 1),
        ({"held_out": 0}, SPEC, 0),
        ({"held_out": 0.0, "split": "released"}, TOY, 0),
        ({"held_out": 0.001}, TOY, 1),
        ({"held_out": 0.25}, SPEC, 3),
        ({"held_out": 0.999}, SPEC, 11),
        ({"held_out_episodes": ()}, SPEC, 0),
        ({"held_out_episodes": (3, 1)}, TOY, 2),
    ],
)
def test_episodes_are_parted_as_is_asked_and_alike_every_time(changes, spec, held):
    config, there = replace(CONFIG, **changes), [*range(1, 13)]
    trained_on, out = split_of(config, there, spec)
    assert sorted(trained_on + out) == there and len(out) == held and trained_on
    assert split_of(config, there, spec) == (trained_on, out)
    assert out == sorted(changes.get("held_out_episodes", out))


def test_one_demonstration_alone_is_trained_on():
    assert split_of(CONFIG, [4], SPEC) == ([4], [])
    assert split_of(replace(CONFIG, held_out=0.9), [4], SPEC) == ([4], [])


@pytest.mark.parametrize(("named", "why"), [((9,), "not there"), ((0, 1, 2), "all there are"), ((0, 7), "not there")])
def test_what_cannot_be_held_out_is_one_line(named, why):
    with pytest.raises(InputError, match=rf"held_out_episodes \[.*\] given, which .*{why}; choose some of \[0, 1, 2\]"):
        split_of(replace(CONFIG, held_out_episodes=named), [0, 1, 2], SPEC)
    with pytest.raises(InputError, match="held_out and held_out_episodes given; give one of them"):
        replace(CONFIG, held_out=0.5, held_out_episodes=named)


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    return write_store(tmp_path_factory.mktemp("demos") / "own.zarr", made_up((9, 12, 7, 11)))


def compared(store, spec=SPEC, **changes):
    config = replace(CONFIG, held_out_episodes=(1, 3), **changes)
    trained_on, apart = windows_of(config, store, spec)
    return HeldOut(config, store, spec, apart, trained_on)


class Recorded:
    """A policy that knows what was done, and is off by ``off``."""

    device = torch.device("cpu")

    def __init__(self, found, off=0.0):
        self.found, self.off, self.config = found, off, policy_config(found.config, SPEC)

    def act(self, history, noise):
        (window,) = np.flatnonzero((self.found.windows.state[self.found.now] == history["state"][0, -1]).all(1))
        done = self.found.windows.recorded[self.found.executed[window]]
        return torch.from_numpy(done[None] + np.float32(self.off))


def test_no_frame_of_an_episode_held_out_is_trained_on(store):
    trained_on, apart = windows_of(replace(CONFIG, held_out_episodes=(1, 3)), store, SPEC)
    assert {*apart.frames.flatten().tolist()} == {*range(9, 21), *range(28, 39)}
    assert {*trained_on.frames.flatten().tolist()} == {*range(9), *range(21, 28)}


def test_who_does_what_was_done_has_no_error_and_who_is_off_has_just_that(store, monkeypatch):
    monkeypatch.setattr(module, "BATCH", 1)
    found = compared(store)
    picked = found.picked(500)
    assert len(picked) == 11 + 10 and not found.error(found.predicted(Recorded(found), picked), picked).any()
    off = found.error(found.predicted(Recorded(found, 0.5), picked), picked)
    assert off.shape == (CONFIG.n_action_steps, 2)
    np.testing.assert_allclose(off, 0.5, rtol=1e-5)
    np.testing.assert_allclose(found.share(off), (0.5 / found.range).mean(), rtol=1e-5)


def test_what_learns_nothing_is_measured_as_a_plain_loop_does(store):
    found, arrays, ends = compared(store), store.read(6), store.episode_ends
    policy = build_policy(policy_config(CONFIG, SPEC)).eval()
    measured = found.measure(policy)
    seen = [*range(9), *range(21, 28)]
    deviation, steps = arrays["state"][seen].std(0), CONFIG.n_action_steps
    last, near, count = np.zeros((steps, 2)), np.zeros((steps, 2)), np.zeros(steps)
    for start, end in ((9, 21), (28, 39)):
        for now in range(start + 1, end):
            distances = [np.linalg.norm((arrays["state"][each] - arrays["state"][now]) / deviation) for each in seen]
            nearest = seen[int(np.argmin(distances))]
            until = ends[np.searchsorted(ends, nearest, side="right")]
            for step in range(min(steps, end - now)):
                done = arrays["action"][now + step]
                last[step] += abs(arrays["action"][now - 1] - done)
                near[step] += abs(arrays["action"][min(nearest + step, until - 1)] - done)
                count[step] += 1
    np.testing.assert_allclose(measured["repeat_last"], last / count[:, None], rtol=1e-4)
    np.testing.assert_allclose(measured["nearest_frame"], near / count[:, None], rtol=1e-4)
    assert measured["episodes"] == [1, 3] and measured["windows"] == 21 and "no success rate" in measured["says"]
    np.testing.assert_allclose(measured["range"], np.ptp(arrays["action"][seen], axis=0))
    assert measured == found.measure(policy) == json.loads(json.dumps(measured, allow_nan=False))


def test_of_many_windows_a_few_are_looked_at_evenly(store):
    found = compared(store)
    assert found.picked(3).tolist() == [1, 11, 22] and (np.diff(found.picked(7)) > 1).all()
    assert found.moment(1) == "demonstration 1, frame 1" and found.moment(22) == "demonstration 3, frame 10"


def test_forms_of_the_same_angle_are_no_error(store):
    found = compared(store, replace(SPEC, **KINDS))
    picked = found.picked(500)
    turned = found.windows.recorded[found.executed[picked]] + np.float32([2 * np.pi, 0])
    assert found.error(turned, picked).max() < 1e-5


def test_what_is_measured_does_not_depend_on_the_forms_that_were_recorded(tmp_path):
    plain, generator = made_up((9, 12, 7, 11)), np.random.default_rng(0)
    written = [{**episode, "action": episode["action"].copy()} for episode in plain]
    for episode in written:
        count = len(episode["state"])
        episode["state"] = episode["state"] * generator.choice(np.float32([-1, 1]), (count, 1))
        episode["action"][:, 0] += np.float32(2 * np.pi) * generator.integers(-1, 2, count)
    found = []
    for name, episodes in {"plain": plain, "written": written}.items():
        each = compared(write_store(tmp_path / name, episodes), replace(SPEC, **KINDS))
        picked = each.picked(500)
        followed = each.neighbours.following(each.now[picked], CONFIG.n_action_steps)
        error = each.error(each.windows.recorded[followed], picked)
        found.append((each.range, followed, error, each.share(error)))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-5, atol=1e-5)


def test_numbers_that_never_vary_have_no_share(tmp_path):
    episodes = made_up((9, 12, 7, 11))
    for episode in episodes:
        episode["action"][:] = [0.5, -1]
    found = compared(write_store(tmp_path / "still", episodes))
    measured = found.measure(build_policy(policy_config(CONFIG, SPEC)).eval())
    assert {*measured["share"].values()} == {0.0} and json.dumps(measured, allow_nan=False)


@pytest.mark.parametrize("horizon", [4, 8])  # by the latter no window fits into a frame
def test_episodes_that_are_too_short_are_named_before_anything_is_trained(tmp_path, horizon):
    store = write_store(tmp_path / "short", made_up((9, 1, 7, 1)))
    told = r"episodes \[1, 3\] are held out, which are too short to compare; choose others by held_out_episodes"
    with pytest.raises(InputError, match=told):
        compared(store, horizon=horizon)
