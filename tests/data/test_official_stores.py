"""DP3's own data sets load; what is no whole set of demonstrations is refused in one line."""

from dataclasses import replace
from pathlib import Path

import numcodecs
import numpy as np
import pytest
import zarr

from mp_lib.config import scale_config
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.learning.run import train
from mp_lib.model.checkpoint import load_policy
from mp_lib.sim.tasks import TASKS


def make_official_store(path: Path, *, colours: int = 3, dtype: str = "f4", leave_out=(), **changed) -> dict:
    """Write what DP3's own scripts write, arrays that nobody reads included; 2 episodes of 60 and 90 frames."""
    rng = np.random.default_rng(0)
    arrays = {
        "data/point_cloud": rng.normal(size=(150, 1024, 3 + colours)).astype(dtype),
        "data/state": rng.normal(size=(150, 9)).astype(dtype),
        "data/action": rng.normal(size=(150, 4)).astype(dtype),
        "data/img": np.zeros((150, 8, 8, 3), np.uint8),
        "data/depth": np.full((150, 8, 8), np.nan, np.float32),
        "meta/episode_ends": np.array([60, 150]),
    } | {name.replace("__", "/"): values for name, values in changed.items()}
    group = zarr.create_group(path, zarr_format=2)
    codec = numcodecs.Blosc(cname="zstd", clevel=3, shuffle=1)
    for name, values in arrays.items():
        if name not in leave_out:
            group.create_array(name, data=values, chunks=(100, *values.shape[1:]), compressors=codec)
    return arrays


@pytest.mark.parametrize("colours", [0, 3])
@pytest.mark.parametrize("dtype", ["f4", "f8"])
def test_the_official_layout_loads_and_is_sampled_down(tmp_path, colours, dtype):
    arrays = make_official_store(tmp_path / "a.zarr", colours=colours, dtype=dtype)
    buffer = ReplayBuffer.open(tmp_path / "a.zarr")
    assert (buffer.num_episodes, buffer.num_frames, buffer.attributes) == (2, 150, {})
    frames = buffer.read(num_points=512)
    np.testing.assert_array_equal(frames["state"], arrays["data/state"].astype(np.float32))
    np.testing.assert_array_equal(frames["action"], arrays["data/action"].astype(np.float32))
    clouds = arrays["data/point_cloud"][..., :3].astype(np.float32)
    assert frames["point_cloud"].shape == (150, 512, 3)
    for sampled, whole in zip(frames["point_cloud"][::50], clouds[::50], strict=True):
        assert {*map(tuple, sampled)} <= {*map(tuple, whole)}
        assert len({*map(tuple, sampled)}) == 512
        # Farthest points leave no stored point as far from a sampled one as the first 512 points do.
        assert largest_gap(whole, sampled) < 0.6 * largest_gap(whole, whole[:512])
    np.testing.assert_array_equal(buffer.read()["point_cloud"], clouds)


def largest_gap(whole: np.ndarray, sampled: np.ndarray) -> float:
    return np.linalg.norm(whole[:, None] - sampled[None], axis=-1).min(1).max()


def test_an_official_store_is_cut_to_its_whole_episodes_and_never_edited(tmp_path, caplog):
    make_official_store(tmp_path / "a.zarr", meta__episode_ends=np.array([60, 120, 170]))
    buffer = ReplayBuffer.open(tmp_path / "a.zarr")
    assert list(buffer.episode_ends) == [60, 120]
    assert "dropped 30 frames" in caplog.text
    with pytest.raises(ValueError, match="not edited"):
        buffer.append({}, {})


WRONG_STORES = {
    "no state": ({"leave_out": ("data/state",)}, "no array data/state"),
    "no ends": ({"leave_out": ("meta/episode_ends",)}, "no array meta/episode_ends"),
    "words": ({"data__point_cloud": np.full((150, 8, 3), "a")}, "give numbers"),
    "flat clouds": ({"data__point_cloud": np.ones((150, 24))}, r"\(150, 24\)"),
    "no z": ({"data__point_cloud": np.ones((150, 8, 2))}, r"\(150, 8, 2\)"),
    "not a number": ({"data__state": np.full((150, 9), np.nan)}, "state of frame 0 is not finite"),
    "falling ends": ({"meta__episode_ends": np.array([90, 60])}, "fall; give one past"),
    "no episode": ({"meta__episode_ends": np.array([170])}, "no whole episode"),
}


@pytest.mark.parametrize("name", WRONG_STORES)
def test_a_store_that_is_no_set_of_demonstrations_is_refused_in_one_line(tmp_path, name):
    changes, message = WRONG_STORES[name]
    make_official_store(tmp_path / "a.zarr", **changes)
    with pytest.raises(ValueError, match=message) as error:
        ReplayBuffer.open(tmp_path / "a.zarr")
    assert str(tmp_path / "a.zarr") in str(error.value)
    assert "\n" not in str(error.value)


def make_dexart_store(path: Path, state_dim: int, **changed) -> dict:
    """Write what DP3's script for DexArt writes: points on the robot apart, with four labels behind xyz."""
    rng = np.random.default_rng(1)
    sizes = {"state": (state_dim,), "action": (22,), "imagin_robot": (96, 7)}
    arrays = {f"data__{key}": rng.normal(size=(150, *size)).astype("f4") for key, size in sizes.items()}
    return make_official_store(path, **{**arrays, **changed})


def test_imagined_points_follow_those_of_the_cloud(tmp_path):
    arrays = make_dexart_store(tmp_path / "a.zarr", 32)
    buffer = ReplayBuffer.open(tmp_path / "a.zarr").check(TASKS["dexart_laptop"])
    assert buffer.shapes == {"point_cloud": (1120, 3), "state": (32,), "action": (22,)}
    clouds = buffer.read()["point_cloud"]
    np.testing.assert_array_equal(clouds[:, :1024], arrays["data/point_cloud"][..., :3])
    np.testing.assert_array_equal(clouds[:, 1024:], arrays["data/imagin_robot"][..., :3])
    assert buffer.read(num_points=64)["point_cloud"].shape == (150, 64, 3)


@pytest.mark.parametrize("state_dim", [32, 33])
def test_a_policy_trains_on_dexarts_official_store_and_plays_the_re_created_task(tmp_path, state_dim):
    make_dexart_store(tmp_path / "a.zarr", state_dim)
    task, short = "dexart_bucket", {"num_steps": 1, "final_episodes": 1, "width_divisor": 16}
    spec, config = replace(TASKS[task], max_steps=16), scale_config("smoke", task, "simple_dp3", **short)
    result = train(config, spec, ReplayBuffer.open(tmp_path / "a.zarr"), tmp_path / "run", device="cpu")
    assert len(result.final["successes"]) == 1 and np.isfinite(result.loss)
    policy, _ = load_policy(tmp_path / "run" / "policy.safetensors")
    assert policy.config.state_dim == state_dim


WRONG_DEXART_STORES = {
    "another size of state": ({"state_dim": 34}, r"state \(34,\).*state \(32,\) and action \(22,\) is expected"),
    "no z": (
        {"state_dim": 32, "data__imagin_robot": np.ones((150, 96, 2))},
        r"imagin_robot has the shape \(150, 96, 2\)",
    ),
}


@pytest.mark.parametrize("name", WRONG_DEXART_STORES)
def test_a_store_that_is_not_dexarts_is_refused(tmp_path, name):
    changes, message = WRONG_DEXART_STORES[name]
    make_dexart_store(tmp_path / "a.zarr", **changes)
    with pytest.raises(ValueError, match=message):
        ReplayBuffer.open(tmp_path / "a.zarr").check(TASKS["dexart_laptop"])
