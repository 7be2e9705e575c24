"""How much of the encoder's features tells where the object is before any training, beside what came of it."""

from __future__ import annotations

from collections.abc import Iterator

import pandas as pd
import torch

from mp_lib.config import TrainConfig
from mp_lib.data.recording import store_path
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.drawing.display import Markdown
from mp_lib.drawing.figures import publish
from mp_lib.drawing.success import by_signal
from mp_lib.learning.held_out import windows_of
from mp_lib.learning.trainer import Trainer
from mp_lib.learning.training import policy_config
from mp_lib.sim.tasks import find_task
from mp_lib.study.designs import DESIGNS
from mp_lib.study.rows import CONFIG
from mp_lib.study.runs import result_files, runs_of_design

CPU = torch.device("cpu")


def show(scale: str, figures: bool = True, **which) -> Iterator:
    """What a notebook displays of the experiment ``start``; ``which`` of its runs, as of ``choose_runs``."""
    runs = runs_of_design(DESIGNS["start"], scale, **which)
    table = signals(runs)
    if table.empty:
        yield Markdown(
            "Nothing to show: no run of the experiment `start`, or its demonstrations are not recorded here."
        )
        return
    given = {"scale": scale, **which}
    yield publish(by_signal(table), f"07_signal_{scale}", table, result_files(runs), given, save=figures)


def signals(runs: pd.DataFrame) -> pd.DataFrame:
    """One row a run whose demonstrations lie here: task, method, start, seed, signal, success (percent)."""
    rows = []
    for run in runs.to_dict("records"):
        config = TrainConfig(**{key: run[key] for key in CONFIG})
        if store_path(config).exists():
            named = {key: run[key] for key in ("task", "method", "start", "seed")}
            rows.append(named | {"signal": object_signal(config), "success": 100 * run["success_rate"]})
    return pd.DataFrame(rows, columns=["task", "method", "start", "seed", "signal", "success"])


@torch.no_grad()
def object_signal(config: TrainConfig) -> float:
    """The deviation between demonstrations of what the PointNet makes of their first frames before the first step.

    The mean over its features; at the first frame the hand is where it always is, so it is the object that differs.
    """
    store = ReplayBuffer.open(store_path(config)).choose(config.num_demos)
    spec = find_task(config.task).with_state(store.shapes["state"][0])
    with torch.random.fork_rng():
        policy = Trainer(config, policy_config(config, spec), windows_of(config, store, spec)[0], CPU).policy.eval()
    starts = [0, *store.episode_ends[:-1]]
    frames, keys = [starts[episode] for episode in store.demo_episodes], ("point_cloud", "state")
    read = store.read(config.num_points, keys)
    first = [policy.normalizer.normalize(key, torch.from_numpy(read[key][frames])) for key in keys]
    features = policy.obs_encoder.extractor(policy.obs_encoder.views(*first))
    return float(features.std(0).mean())
