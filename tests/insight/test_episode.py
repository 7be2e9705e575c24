"""An episode to look at: watching changes nothing, its parts fit together, and what is kept reads as it was."""

import numpy as np
import pandas as pd
import pytest
import torch

from mp_lib.__main__ import main
from mp_lib.config import PolicyConfig
from mp_lib.insight import episode
from mp_lib.learning.rollout import Episode
from mp_lib.model.backends import freeze
from mp_lib.model.checkpoint import save_policy
from mp_lib.model.policy import build_policy

TASK = "metaworld_drawer-open"


@pytest.fixture(autouse=True)
def own_root(monkeypatch, tmp_path):
    monkeypatch.setenv("MP_ROOT", str(tmp_path))


@pytest.fixture
def policy():
    torch.manual_seed(0)
    return build_policy(PolicyConfig("simple_dp3", 9, 4, down_dims=(16, 24), num_points=32)).eval()


def history_of(seed):
    generator = torch.Generator().manual_seed(seed)
    draw = {"point_cloud": (1, 2, 32, 3), "state": (1, 2, 9), "noise": (1, 16, 4)}
    drawn = {name: torch.randn(shape, generator=generator) for name, shape in draw.items()}
    return drawn, drawn.pop("noise")


def test_what_a_policy_sees_and_does_is_kept_and_changes_nothing(policy):
    frozen = freeze(policy, "torch")
    expected = [frozen.act(*history_of(seed)) for seed in (0, 1)]
    calls = episode.keep_calls(frozen)
    for seed, wanted in enumerate(expected):
        torch.testing.assert_close(frozen.act(*history_of(seed)), wanted, rtol=0, atol=0)
    assert len(calls) == 2
    for seed, (cloud, noisy) in enumerate(calls):
        history, noise = history_of(seed)
        assert np.array_equal(cloud, history["point_cloud"][0, -1].numpy())
        assert noisy.shape == (11, 16, 4)  # ten denoising steps and where they end
        np.testing.assert_allclose(noisy[-1], policy.predict(history, noise)[0].numpy(), atol=1e-6)
        np.testing.assert_allclose(noisy[0], policy.normalizer.unnormalize("action", noise)[0].numpy(), atol=1e-6)


def play(policy, spec, seeds, films):
    """An episode of three chunks without a simulator."""
    for seed in range(3):
        policy.act(*history_of(seed))
    return [Episode(seeds[0], True, 20, [np.full((4, 5, 3), step, np.uint8) for step in range(21)])]


def test_an_episode_is_watched_kept_and_read_as_it_was(policy, monkeypatch, tmp_path):
    monkeypatch.setattr(episode, "rollout", play)
    path = tmp_path / "policy.safetensors"
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
    assert "seed 5: the episode succeeds" in episode.caption(kept)


def test_tables_hold_every_action(policy, monkeypatch, tmp_path):
    monkeypatch.setattr(episode, "rollout", play)
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
