"""Windows equal a plain loop over frames; splits part the episodes."""

import numpy as np
import pytest
import torch

from mp_lib.config import SPLITS
from mp_lib.data.windows import ActionWindows, split_episodes
from mp_lib.system.errors import InputError

LENGTHS = (20, 1, 3, 16, 7)
SETTINGS = [(2, 4, 3), (2, 4, 4), (2, 16, 8), (16, 32, 16), (1, 1, 1), (3, 8, 6), (1, 16, 16)]  # (To, T, Ta)


def make_arrays(lengths=LENGTHS):
    total = sum(lengths)
    arrays = {
        "point_cloud": np.arange(total * 6, dtype=np.float32).reshape(total, 2, 3),
        "state": np.arange(total, dtype=np.float32)[:, None] + 0.25,
        "action": np.arange(total, dtype=np.float32)[:, None] + 0.5,
    }
    return arrays, np.cumsum(lengths)


def make_windows(settings, lengths=LENGTHS, **options):
    (n_obs, horizon, n_action), (arrays, ends) = settings, make_arrays(lengths)
    return ActionWindows(arrays, ends, horizon=horizon, n_obs_steps=n_obs, n_action_steps=n_action, **options)


def looped_windows(settings, lengths=LENGTHS):
    """Pad each episode by its first and last frame and slide over it, frame by frame."""
    n_obs, horizon, n_action = settings
    arrays, ends = make_arrays(lengths)
    for end, length in zip(ends, lengths, strict=True):
        frames = list(range(end - length, end))
        padded = [frames[0]] * (n_obs - 1) + frames + [frames[-1]] * (n_action - 1)
        for start in range(len(padded) - horizon + 1):
            window = padded[start : start + horizon]
            yield {
                "point_cloud": np.stack([arrays["point_cloud"][frame] for frame in window[:n_obs]]),
                "state": np.stack([arrays["state"][frame] for frame in window[:n_obs]]),
                "actions": np.stack([arrays["action"][frame] for frame in window]),
            }


@pytest.mark.parametrize("settings", SETTINGS)
def test_windows_equal_a_plain_loop(settings):
    windows, expected = make_windows(settings), list(looped_windows(settings))
    assert len(windows) == len(expected)
    together = windows.batch(torch.arange(len(windows)))
    for index, wanted in enumerate(expected):
        item = windows[index]
        assert item.keys() == wanted.keys() == together.keys()
        for key, values in wanted.items():
            assert item[key].dtype == torch.float32
            np.testing.assert_array_equal(item[key], values)
            np.testing.assert_array_equal(together[key][index], values)


@pytest.mark.parametrize("settings", SETTINGS)
def test_no_window_crosses_episodes_and_every_frame_is_acted_on(settings):
    windows = make_windows(settings)
    episode = np.searchsorted(np.cumsum(LENGTHS), windows.frames, side="right")
    assert (episode == episode[:, :1]).all()
    long_enough = [number for number, length in enumerate(LENGTHS) if length >= settings[1]]
    frames = [
        frame for frame in range(sum(LENGTHS)) if np.searchsorted(np.cumsum(LENGTHS), frame, "right") in long_enough
    ]
    assert {*frames} <= {*windows.frames.flatten().tolist()}


def test_only_the_chosen_episodes_are_drawn_from():
    windows = make_windows((2, 4, 3), demo_episodes=[4, 0])
    assert {*windows.frames.flatten().tolist()} == {*range(20), *range(40, 47)}


def test_a_data_loader_and_a_batch_agree():
    windows = make_windows((2, 4, 3))
    loaded = next(iter(torch.utils.data.DataLoader(windows, batch_size=5)))
    for key, values in windows.batch(range(5)).items():
        torch.testing.assert_close(loaded[key], values, rtol=0, atol=0)


def test_the_frames_are_kept_once():
    arrays, ends = make_arrays()
    windows = ActionWindows(arrays, ends, horizon=4, n_obs_steps=2, n_action_steps=3)
    assert windows.point_cloud.data_ptr() == arrays["point_cloud"].ctypes.data


@pytest.mark.parametrize("settings", [(0, 4, 3), (5, 4, 3), (2, 4, 0), (2, 4, 5)])
def test_sizes_that_do_not_fit_the_horizon_are_refused(settings):
    with pytest.raises(ValueError, match="does not fit horizon=4; give 1 to 4"):
        make_windows(settings)


def test_no_window_at_all_is_refused():
    with pytest.raises(ValueError, match="no window of 16 frames in 2 episodes"):
        make_windows((2, 16, 8), lengths=(3, 5))


def test_takes_too_short_for_a_window_are_counted_and_named(caplog):
    windows = make_windows((2, 16, 8), lengths=(30, 5, 20, 7))
    assert {*windows.frames.flatten().tolist()} == {*range(30), *range(35, 55)}
    assert "2 of 4 episodes are too short for a window: 1 (5 frames), 3 (7 frames)" in caplog.text


@pytest.mark.parametrize("split", SPLITS)
@pytest.mark.parametrize("num_episodes", [1, 2, 10, 100])
@pytest.mark.parametrize("seed", [0, 42])
def test_a_split_parts_the_episodes_the_same_way_every_time(split, num_episodes, seed):
    train, held_out = split_episodes(num_episodes, split, seed)
    assert sorted([*train, *held_out]) == list(range(num_episodes))
    assert len(train) >= 1
    for first, second in zip((train, held_out), split_episodes(num_episodes, split, seed), strict=True):
        np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize(("num_episodes", "held_out"), [(1, 0), (2, 1), (10, 1), (100, 2), (1000, 20)])
def test_the_released_split_holds_out_two_percent_and_at_least_one(num_episodes, held_out):
    assert len(split_episodes(num_episodes, "released")[1]) == held_out
    assert len(split_episodes(num_episodes, "all")[1]) == 0


def test_the_released_split_depends_on_the_seed():
    assert len({int(split_episodes(100, "released", seed)[1][0]) for seed in range(20)}) > 5


def test_an_unknown_split_lists_the_known_ones():
    with pytest.raises(ValueError, match="unknown split 'half'; choose one of: all, released"):
        split_episodes(10, "half")
    with pytest.raises(ValueError, match="give at least 1"):
        split_episodes(0)


FRAMES_HERE = make_arrays((20,))[0]
UNFIT = {
    "ends that fall": (FRAMES_HERE, [15, 10], {}, r"episode_ends \[15, 10\] given; give one past each"),
    "unsigned ends that fall": (FRAMES_HERE, np.array([15, 10], np.uint8), {}, "episode_ends .* given"),
    "an end below 0": (FRAMES_HERE, [-5, 10], {}, "episode_ends .* given"),
    "half an end": (FRAMES_HERE, [10.5, 20], {}, "episode_ends .* given"),
    "an end that is no number": (FRAMES_HERE, [10, np.nan], {}, "episode_ends .* given"),
    "words": (FRAMES_HERE, ["a"], {}, "episode_ends .* given"),
    "one number": (FRAMES_HERE, 20, {}, "episode_ends 20 given"),
    "a column": (FRAMES_HERE, [[10], [20]], {}, "episode_ends .* given"),
    "ends behind the frames": (FRAMES_HERE, [10, 30], {}, r"\(20, 2, 3\); give numbers .* of the 30 frames"),
    "a state that is short": (FRAMES_HERE | {"state": np.zeros((9, 1))}, [20], {}, r"state is float64 \(9, 1\); give"),
    "a flat state": (FRAMES_HERE | {"state": np.zeros(20)}, [20], {}, r"state .*give numbers \(F, S\)"),
    "colours": (FRAMES_HERE | {"point_cloud": np.zeros((20, 2, 6))}, [20], {}, r"cloud .*give numbers \(F, N, 3\)"),
    "actions of words": (FRAMES_HERE | {"action": np.full((20, 1), "a")}, [20], {}, "action is <U1"),
    "no action": ({"state": np.zeros((20, 1)), "point_cloud": np.zeros((20, 2, 3))}, [20], {}, "action is missing"),
    "an episode that is not there": (FRAMES_HERE, [10, 20], {"demo_episodes": [0, 5]}, r"\[5\] given.*from 0 to 1"),
    "an episode below 0": (FRAMES_HERE, [10, 20], {"demo_episodes": [-1]}, r"\[-1\] given.*from 0 to 1"),
    "half an episode": (FRAMES_HERE, [10, 20], {"demo_episodes": [0.5]}, r"\[0.5\] given.*from 0 to 1"),
    "half a step": (FRAMES_HERE, [20], {"horizon": 4.5}, "does not fit horizon=4.5"),
}


@pytest.mark.parametrize("name", UNFIT)
def test_what_is_no_demonstration_is_refused_in_one_line(name):
    arrays, ends, changed, said = UNFIT[name]
    with pytest.raises(InputError, match=said) as error:
        ActionWindows(arrays, ends, **{"horizon": 4, "n_obs_steps": 2, "n_action_steps": 3} | changed)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("ends", [[10, 20], np.array([10.0, 20.0]), np.array([10, 20], ">u2"), (10, 20)])
def test_ends_are_whole_numbers_of_any_kind(ends):
    windows = ActionWindows(FRAMES_HERE, ends, horizon=4, n_obs_steps=2, n_action_steps=3)
    np.testing.assert_array_equal(windows.frames, make_windows((2, 4, 3), (10, 10)).frames)
