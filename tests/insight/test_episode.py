"""An episode to look at: watching changes nothing, its parts fit together, and what is kept reads as it was."""

import numpy as np
import pandas as pd
import pytest
import torch

from mp_lib.__main__ import main
from mp_lib.config import PolicyConfig
from mp_lib.insight import episode
from mp_lib.insight.playing import Moment, Played
from mp_lib.insight.prediction import denoise_from
from mp_lib.interfaces import Obs
from mp_lib.model.checkpoint import save_policy
from mp_lib.model.policy import build_policy
from mp_lib.system.paths import run_path
from tests.study.finished import write_run

TASK = "metaworld_drawer-open"


@pytest.fixture(autouse=True)
def own_root(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))


@pytest.fixture
def policy():
    torch.manual_seed(0)
    return build_policy(PolicyConfig("simple_dp3", 9, 4, down_dims=(16, 24), num_points=32)).eval()


def play(policy, seed):
    """An episode of three chunks without a simulator."""
    generator = np.random.default_rng(seed)
    moments = []
    for call in range(3):
        draw = {"point_cloud": (32, 3), "state": (9,)}
        obs = Obs(**{name: generator.normal(size=shape).astype(np.float32) for name, shape in draw.items()})
        noise = generator.normal(size=(16, 4)).astype(np.float32)
        moments.append(Moment(8 * call, [obs, obs], denoise_from(policy.policy, [obs, obs], noise[None])[-1, 0], noise))
    return Played(policy, seed, True, 20, moments, [np.full((4, 5, 3), step, np.uint8) for step in range(21)])


def test_an_episode_is_watched_kept_and_read_as_it_was(policy, monkeypatch, tmp_path):
    monkeypatch.setattr(episode, "play", play)
    config = write_run(TASK, "simple_dp3", [1], seed=3)
    path = run_path(config.name) / "policy.safetensors"
    save_policy(path, policy, task=TASK)
    watched = episode.watch(path, seed=5, count=9, device="cpu")
    assert watched.steps.tolist() == [0, 8, 16] and watched.pictures[:, 0, 0, 0].tolist() == [0, 8, 16]
    assert watched.clouds.shape == (3, 32, 3) and watched.chunks.shape == (3, 16, 4) and watched.executed == (1, 9)
    assert np.array_equal(watched.noisy[-1], watched.chunks[watched.middle])
    assert (np.diff(watched.levels) < 0).all() and watched.levels[-1] == 0 and len(watched.levels) == len(watched.noisy)
    assert main(["keep-episode", str(path), "--seed", "5"]) == 0
    again, kept = episode.watch(path, seed=5, device="cpu"), episode.load_kept()
    for name, value in vars(again).items():
        assert np.array_equal(getattr(kept, name), value), name
    assert episode.caption(kept).startswith(
        f"**simple_dp3** on **{TASK}**, seed 3, scale `smoke` (run `{config.name}`)"
    )
    assert "On environment seed 5 the episode succeeds" in episode.caption(kept)


def test_tables_hold_every_action(policy, monkeypatch, tmp_path):
    monkeypatch.setattr(episode, "play", play)
    path = tmp_path / "policy.safetensors"
    save_policy(path, policy, task=TASK)
    watched = episode.watch(path, seed=5, device="cpu")
    chunks, denoising = episode.chunks_table(watched), episode.denoising_table(watched)
    assert chunks.columns.tolist() == ["step", "chunk_step", *watched.names] and len(chunks) == 3 * 16
    np.testing.assert_allclose(chunks[chunks["step"] == 8][watched.names], watched.chunks[1], atol=1e-5)
    last = denoising[denoising["noise"] == 0]
    np.testing.assert_allclose(last[watched.names], watched.noisy[-1], atol=1e-5)
    assert isinstance(denoising, pd.DataFrame) and len(denoising) == 11 * 16


def test_a_checkpoint_that_is_not_there_ends_in_one_line(capsys, tmp_path):
    assert main(["keep-episode", str(tmp_path / "nothing.safetensors")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1 and not episode.kept_path().exists()
