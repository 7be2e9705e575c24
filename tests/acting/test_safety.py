"""What keeps an arm safe: two clocks, bounds, the longest step, nearest forms, snapped grippers, holding."""

from datetime import datetime
from types import SimpleNamespace

import numpy as np
import pytest

from mp_lib.acting.holding import REASONS
from mp_lib.acting.limits import limits_of
from mp_lib.geometry.kinds import KINDS, Layout
from mp_lib.geometry.relative import Relative
from tests.acting.fake import ACTION, HORIZON, POINTS, STEPS, Clock, FakeEngine, actor_of, cloud, delayed, seen

LAYOUT = Layout.parse("position:3 quaternion:4 gripper:1", 8)
RANGE = SimpleNamespace(action_low=np.zeros(2, "f4"), action_high=np.array([10, 100], "f4"), open_closed=None)


def ticking(**options):
    """An actor whose clock is wound by ``tell(seconds, observation)``."""
    clock = Clock()
    actor = actor_of(clock=clock, **options)

    def tell(now, observation):
        clock.now = now
        return actor.select_action(observation)

    return actor, tell


def test_without_observations_it_goes_on_for_a_while_and_then_holds_until_there_is_one(caplog):
    actor, tell = ticking(n_action_steps=7)
    assert [tell(0.1 * k, None if k else seen(0))[0] for k in range(3)] == [0, 1, 2]
    assert [tell(0.21 + 0.1 * k, None)[0] for k in range(3)] == [2, 2, 2]
    assert tell(0.6, seen(5))[0] == 50 and actor.engine.given[-1][1][:, 0].tolist() == [5, 5]
    assert actor.report().held == {"no observation": 3} and "no observation for 0.41 s" in actor.report().said
    assert [each.message[:8] for each in caplog.records if each.name.endswith("holding")] == ["hold: no", "go on af"]


def test_an_observation_with_the_same_stamp_is_none():
    actor, tell = ticking(n_action_steps=7)
    told = [tell(0.1 * k, seen(k) | {"stamp": 3})[0] for k in range(5)]
    assert told == [0, 1, 2, 2, 2]
    assert tell(0.5, seen(5) | {"stamp": 4})[0] == 50


STAMPS = {
    "floats": float,
    "texts": str,
    "seconds and nanoseconds": lambda k: (7, k),
    "arrays": lambda k: np.array([7, k]),
    "arrays of no axis": np.int64,
    "times": lambda k: datetime(2026, 1, 1, second=k),
    "maps": lambda k: {"sec": 7, "nsec": k},
}


@pytest.mark.parametrize("kind", STAMPS)
def test_stamps_of_any_kind_tell_observations_apart(kind):
    actor, tell = ticking(n_action_steps=7)
    told = [tell(0.1 * k, seen(k) | {"stamp": STAMPS[kind](3)})[0] for k in range(5)]
    assert told == [0, 1, 2, 2, 2]
    assert tell(0.5, seen(5) | {"stamp": STAMPS[kind](4)})[0] == 50


def test_a_driver_may_use_its_stamps_again():
    actor, tell = ticking(n_action_steps=7)
    stamp = np.array([7, 0])
    for stamp[1] in range(7):
        tell(0.1 * stamp[1], seen(stamp[1]) | {"stamp": stamp})
    assert not actor.report().held


@pytest.mark.parametrize("stamped", [False, True])
def test_a_camera_that_has_stopped_is_held_for(stamped):
    actor, tell = ticking(n_action_steps=7)
    same = [seen(k) | {"point_cloud": cloud(1)} | ({"stamp": k} if stamped else {}) for k in range(8)]
    told = [tell(0.1 * k, each)[0] for k, each in enumerate(same)]
    assert told == [0, 1, 2, 3, 4, 5, 5, 5]
    assert actor.report().held == {"same cloud": 2}
    assert tell(0.8, seen(9))[0] == 90


@pytest.mark.parametrize(
    "how", [{}, {"asynchronous": 2, "start": delayed(0)}, {"asynchronous": 2, "start": delayed(2)}]
)
@pytest.mark.parametrize("nothing", [lambda: None, lambda: seen(1) | {"stamp": 1}], ids=["none", "the last again"])
def test_between_observations_every_action_is_that_of_its_step(how, nothing):
    """Of a chunk that is asked for meanwhile those of the steps since its frame are skipped."""
    actor = actor_of(no_observation_s=None, same_cloud_s=None, **how)
    told = [actor.select_action(seen(0) | {"stamp": 0})[0], actor.select_action(seen(1) | {"stamp": 1})[0]]
    told += [actor.select_action(nothing())[0] for _ in range(2, STEPS)]
    assert told == [*range(STEPS)]
    assert [actor.select_action(nothing())[0] for _ in range(STEPS, HORIZON)] == [10 + k - 1 for k in range(4, 8)]
    # The frame of step 1 has 7 actions; then the arm holds where it is until it sees.
    assert [actor.select_action(nothing())[0] for _ in range(3)] == [16] * 3
    assert actor.report().held == {"no observation": 3} and actor.report().late == 0
    again = [actor.select_action(seen(step) | {"stamp": step})[0] for step in range(20, 23)]
    assert [each for each in again if each != 16][0] == 200


def test_frames_that_are_only_added_are_observations():
    actor = actor_of(no_observation_s=None, same_cloud_s=None)
    for step in range(3 * STEPS):
        actor.observe(seen(step))
        assert actor.select_action(None)[0] == 10 * (step // STEPS * STEPS) + step % STEPS


def test_a_chunk_at_a_time_is_executed_before_what_is_asked_for_without_an_observation():
    actor = actor_of(no_observation_s=None)
    actor.predict_action_chunk(seen(0))
    assert [actor.select_action(None)[0] for _ in range(3)] == [4, 5, 6]


def test_averages_between_observations_are_of_actions_of_their_step():
    with pytest.warns(UserWarning, match="averages"):
        actor = actor_of(temporal_ensemble_coeff=0.1)
    np.testing.assert_allclose([actor.select_action(None if k else seen(0))[0] for k in range(5)], range(5), rtol=1e-6)


def test_clocks_can_be_left_out():
    actor, tell = ticking(no_observation_s=None, same_cloud_s=None)
    still = seen(0)
    assert [tell(10.0 * k, still if k % 2 == 0 else None)[0] for k in range(STEPS)] == list(range(STEPS))
    assert not actor.report().held


def padded(points, zeros):
    return np.concatenate([cloud(0, points), np.zeros((zeros, 3), np.float32)])


SPOILT = [
    {"state": np.array([0, np.nan, 0])},
    {"state": np.array([np.inf, 0, 0])},
    {"point_cloud": cloud(0, 3)},
    {"point_cloud": padded(3, POINTS - 3)},
    {"point_cloud": padded(0, POINTS)},
    {"point_cloud": padded(3, 99)},
    {"point_cloud": np.concatenate([padded(3, POINTS), np.full((POINTS, 3), np.nan, np.float32)])},
]


@pytest.mark.parametrize("spoilt", SPOILT)
def test_a_bad_observation_is_held_for_and_the_plan_forgotten(spoilt):
    actor = actor_of()
    first = [actor.select_action(seen(k)) for k in range(2)]
    for _ in range(3):
        np.testing.assert_array_equal(actor.select_action(seen(2) | spoilt), first[-1])
    assert actor.select_action(seen(4))[0] == 40
    assert actor.report().held == {"bad observation": 3}


@pytest.mark.parametrize("kind", ["quaternion", "quaternion_xyzw"])
@pytest.mark.parametrize("how", [{}, {"asynchronous": 2, "start": delayed(0)}])
def test_a_quaternion_without_a_direction_is_held_for_and_the_arm_goes_on_after_it(kind, how):
    """Also where actions are relative to the state, and so no orientation follows from it."""
    relative = Relative(Layout.parse(f"velocity:1 {kind}"), Layout.parse(kind))

    class Turning(FakeEngine):
        def predict(self, *given):
            super().predict(*given)
            return relative.decode(np.tile(np.float32([1, 0, 0, 0, 1, 0]), (HORIZON, 1)), given[1][-1])

    actor = actor_of(Turning(kind, robot_dim=4, state_dim=5, state_kinds=f"velocity:1 {kind}"), **how)
    turned = [0, 0.6, 0, 0, 0.8]
    for step in range(5 * STEPS):
        state = [1, 1e-8, 0, 0, 0] if step in (3, 4, 9) else turned
        told = actor.select_action({"point_cloud": cloud(step), "state": state})
        np.testing.assert_allclose(told, turned[1:], atol=1e-6)
    assert actor.report().held == {"bad observation": 3} and "a quaternion of length zero" in actor.report().said
    other = actor_of(FakeEngine(state_dim=4, state_kinds="position:3 gripper:1"))
    other.select_action({"point_cloud": cloud(), "state": np.zeros(4)})
    assert not other.report().held


@pytest.mark.parametrize("points", [POINTS // 4, POINTS - 1, POINTS])
def test_a_cloud_with_padding_as_training_data_have_it_is_taken_as_it_is(points):
    actor, given = actor_of(), padded(points, POINTS - points)
    actor.select_action(seen(1) | {"point_cloud": given})
    np.testing.assert_array_equal(actor.engine.given[0][0], [given] * 2)


def test_every_reason_is_one_that_is_explained():
    assert {"late chunk", "no observation", "same cloud", "bad observation", "bad actions", "policy failed"} == {
        *REASONS
    }


@pytest.mark.parametrize("kind", KINDS)
def test_to_hold_is_zero_for_what_moves_and_the_last_command_for_the_rest(kind):
    size = (KINDS[kind].sizes or (2,))[-1]
    engine = FakeEngine(f"{kind}:{size}", action_dim=size, robot_dim=size)
    actor = actor_of(engine)
    last = actor.select_action(seen(1))
    expected = np.zeros(size) if kind in ("velocity", "step") else last
    np.testing.assert_array_equal(actor.select_action(seen(1) | {"state": np.full(3, np.nan)}), expected)


def test_where_kinds_are_not_known_the_last_command_is_held_and_that_said_once(caplog):
    actor = actor_of()
    last = actor.select_action(seen(1))
    for _ in range(3):
        np.testing.assert_array_equal(actor.select_action(seen(1) | {"state": np.full(3, np.nan)}), last)
    assert sum("kinds of the action are not known" in each.message for each in caplog.records) == 1


def test_kinds_that_a_file_does_not_say_are_given_and_others_than_it_says_refused():
    actor = actor_of(action_kinds="velocity:2", limits=None)
    assert actor.still().tolist() == [0, 0]
    actor.select_action(seen(1))
    assert actor.still().tolist() == [0, 0] and actor.facts.action_kinds == "velocity:2"
    with pytest.raises(ValueError, match="action_kinds 'velocity:2' given; the policy's are position:2"):
        actor_of(FakeEngine(action_kinds="position:2"), action_kinds="velocity:2")
    with pytest.raises(ValueError, match="name 3 numbers, but there are 2"):
        actor_of(action_kinds="velocity:3")


def test_nothing_is_still_before_a_first_command():
    with pytest.raises(ValueError, match="nothing was commanded yet"):
        actor_of().still()


def test_by_default_commands_stay_within_the_demonstrations_and_five_percent():
    limits = limits_of("demonstrations", None, RANGE, None, ACTION)
    told = limits.apply(np.array([-3, 300], "f4"), None)
    np.testing.assert_allclose(told, [-0.5, 105])
    inside = np.array([0.123, 99.9], "f4")
    np.testing.assert_array_equal(limits.apply(inside, None), inside)
    actor = actor_of(FakeEngine(seen=RANGE), limits="demonstrations")
    assert actor.select_action(seen(7))[0] == 10.5
    assert actor.predict_action_chunk(seen(7))[:, 0].tolist() == [10.5] * STEPS


def test_where_nothing_is_known_of_the_demonstrations_that_is_said(caplog):
    for nothing in (None, SimpleNamespace(action_low=None, action_high=None)):
        limits = limits_of("demonstrations", None, nothing, None, ACTION)
        assert limits.low is None
    assert caplog.text.count("have no bounds; give limits=(low, high)") == 2


def test_no_limits_change_no_bit():
    actions = np.random.default_rng(0).normal(size=(50, 8)).astype("f4")
    limits, wide = (limits_of(given, step, None, None, 8) for given, step in ((None, None), ((-99, 99), 99)))
    for last, action in zip(actions, actions[1:], strict=False):
        np.testing.assert_array_equal(limits.apply(action, last), action)
        np.testing.assert_array_equal(wide.apply(action, last), action)


@pytest.mark.parametrize("max_step", [0.5, (0.5, 2.0)])
def test_no_number_changes_by_more_than_the_longest_step_from_the_last_command_on(max_step):
    actor = actor_of(max_step=max_step)
    told = np.array([actor.select_action(seen(step)) for step in range(6 * STEPS)])
    assert (np.abs(np.diff(told, axis=0)) <= np.array(max_step) + 1e-6).all()
    assert told[-1, 0] == pytest.approx(0.5 * (6 * STEPS - 1))


def test_where_whole_chunks_are_executed_no_number_changes_by_more_than_the_longest_step():
    actor = actor_of(max_step=0.5)
    told = np.concatenate([actor.predict_action_chunk(seen(step)) for step in range(4)])
    assert (np.abs(np.diff(told, axis=0)) <= 0.5 + 1e-6).all()


def test_bounds_and_steps_of_one_number_leave_the_others_alone():
    limits = limits_of(([-1, -np.inf], [1, np.inf]), (np.inf, 0.5), None, None, 2)
    assert limits.apply(np.array([5, 7]), np.array([-1, 9], "f4")).tolist() == [1, 8.5]


@pytest.mark.parametrize("sign", [1, -1])
def test_orientations_take_the_form_near_the_last_command_and_keep_length_one(sign):
    turn = np.array([0, 0, 0, 0.6, 0.8, 0, 0, 0], "f4")
    after = np.array([0, 0, 0, *(sign * np.array([0.8, 0.6, 0, 0])), 0], "f4")
    free = limits_of(None, None, None, LAYOUT, 8).apply(after, turn)
    np.testing.assert_allclose(free[3:7], [0.8, 0.6, 0, 0])
    slow = limits_of(None, 0.05, None, LAYOUT, 8).apply(after, turn)
    assert np.linalg.norm(slow[3:7]) == pytest.approx(1) and 0.6 < slow[3] < 0.7
    cut = limits_of((-0.5, 0.5), None, None, LAYOUT, 8).apply(after, turn)
    assert np.linalg.norm(cut[3:7]) == pytest.approx(1)


@pytest.mark.parametrize("limits", ["demonstrations", None])
def test_what_is_commanded_does_not_depend_on_the_form_of_an_orientation(limits):
    """Relative decoding gives the form near the state, which is not always that of the recorded actions."""
    layout = Layout.parse("quaternion:4 angle:1", 5)
    half = np.radians([60, 120]) / 2
    recorded = np.stack([np.cos(half), np.sin(half), 0 * half, 0 * half, [3.5, 5.5]], axis=1)
    ranges = SimpleNamespace(action_low=recorded.min(0), action_high=recorded.max(0), open_closed=None)
    found = limits_of(limits, None, ranges, layout, 5)
    wanted = np.array([np.cos(np.radians(55)), np.sin(np.radians(55)), 0, 0, 4.6])
    for other in (wanted, np.append(-wanted[:4], wanted[4] - 2 * np.pi), np.append(2 * wanted[:4], wanted[4])):
        told = found.apply(other, None)
        assert abs(told[:4] @ wanted[:4]) == pytest.approx(1, abs=1e-6)
        assert np.cos(told[4] - wanted[4]) == pytest.approx(1, abs=1e-6)


def test_a_quaternion_that_a_network_predicts_gets_length_one():
    told = limits_of(None, None, None, LAYOUT, 8).apply(np.array([1, 2, 3, 0.56, 0.56, 0, 0, 7]), None)
    np.testing.assert_allclose(told, [1, 2, 3, 0.5**0.5, 0.5**0.5, 0, 0, 7], rtol=1e-6)


def test_angles_go_the_short_way():
    limits = limits_of(None, 0.1, None, Layout.parse("angle:1"), 1)
    told = limits.apply(np.array([-np.pi + 0.02], "f4"), np.array([np.pi - 0.02], "f4"))
    assert told[0] == pytest.approx(np.pi + 0.02, abs=1e-5)


def test_grippers_that_were_only_open_or_closed_are_snapped_whatever_the_longest_step():
    pair = np.full((2, 8), np.nan)
    pair[:, 7] = 0, 0.04
    ranges = SimpleNamespace(action_low=np.full(8, -1.0), action_high=np.full(8, 1.0), open_closed=pair)
    limits = limits_of("demonstrations", 0.001, ranges, LAYOUT, 8)
    last = np.array([0, 0, 0, 1, 0, 0, 0, 0], "f4")
    for given, told in ((0.021, 0.04), (0.019, 0), (0.5, 0.04), (-0.5, 0)):
        assert limits.apply(np.array([0, 0, 0, 1, 0, 0, 0, given]), last)[7] == np.float32(told)
    both = limits_of((-1, 1), None, ranges, LAYOUT, 8)
    assert both.apply(np.array([0, 0, 0, 1, 0, 0, 0, 0.021]), last)[7] == np.float32(0.04)
    assert limits_of(None, None, ranges, LAYOUT, 8).apply(np.array([0, 0, 0, 1, 0, 0, 0, 0.02]), last)[7] == np.float32(
        0.02
    )
