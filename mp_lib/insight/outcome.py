"""What one training has come to, as 03_train shows it: of tasks with a simulator, and of those without."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pandas as pd
from IPython.display import HTML, Image, Video
from matplotlib.figure import Figure

from mp_lib.data.own_tasks import spec_of
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.drawing import chunks, plots
from mp_lib.drawing.display import Markdown, show_film, show_table
from mp_lib.drawing.figures import show
from mp_lib.insight.demonstrations import names_in
from mp_lib.interfaces import TaskSpec
from mp_lib.learning.folder import FILM
from mp_lib.learning.held_out import HeldOut, windows_of
from mp_lib.learning.result import RunResult
from mp_lib.model.checkpoint import load_policy
from mp_lib.model.weights import CHECKPOINT
from mp_lib.study.rows import StoredConfig
from mp_lib.study.runs import load_metrics

TABLES = {"policy": "error", "last action again": "repeat_last", "nearest recorded state": "nearest_frame"}
MOMENTS, NUMBERS = 3, 6  # chunks that are drawn, and at most so many numbers of each
NOTHING_HELD_OUT = (
    "No demonstration was held out, so that there is nothing to compare with. `overrides` of `held_out`, a share, or "
    "`held_out_episodes`, their numbers, hold some out."
)


def curves(folder: Path, result: RunResult) -> Figure:
    """The loss of a run over its steps, and its success where that was measured on the way."""
    known = {key: result.config[key] for key in ("task", "method", "attention")}
    run = pd.DataFrame([known | {"folder": folder.name, "kept": False}])
    return plots.curves(load_metrics(run), run)


def film(folder: Path, result: RunResult) -> Video | Markdown:
    """The film of a run, or that there is none."""
    if result.final is None:
        return Markdown("The task has no simulator, and so the run has no film.")
    return show_film(folder / FILM)


def held_out(folder: Path, result: RunResult, store: ReplayBuffer) -> list[Image | HTML | Markdown]:
    """How far a run is from the episodes held out: a figure, a table in the actions' units, and a few chunks.

    ``store`` is the one that it was trained on. Where nothing was held out, a sentence says so.
    """
    if result.held_out is None:
        return [Markdown(NOTHING_HELD_OUT)]
    config = StoredConfig(**result.config)
    spec = spec_of(config.task, store, config.demonstrator).with_state(store.shapes["state"][0])
    names = names_in(spec)[1]
    figure = chunks.errors(shares(result.held_out, names), in_percent(result.held_out["curve"]))
    few = chunks.chunks(some_chunks(folder, config, store, spec, names, farthest(result.held_out)))
    return [show(figure), show_table(in_units(result.held_out, names), digits=4), show(few)]


def in_percent(curve: list[dict]) -> pd.DataFrame:
    """The errors during a training: step, share in percent."""
    return pd.DataFrame({"step": [row["step"] for row in curve], "share": [100 * row["share"] for row in curve]})


def shares(found: dict, names: list[str]) -> pd.DataFrame:
    """Errors in percent of the range of each number that varies: who, number, step, share."""
    ranges = np.array(found["range"])
    rows = [
        {"who": who, "number": name, "step": step + 1, "share": 100 * found[key][step][place] / ranges[place]}
        for who, key in TABLES.items()
        for place, name in enumerate(names)
        for step in range(len(found[key]))
        if ranges[place] > 0
    ]
    return pd.DataFrame(rows, columns=["who", "number", "step", "share"])


def in_units(found: dict, names: list[str]) -> pd.DataFrame:
    """A row a number of the action: its range, and mean errors over the executed steps, in its own unit."""
    columns = {f"off by: {who}": np.mean(found[key], axis=0) for who, key in TABLES.items()}
    return pd.DataFrame({"number of the action": names, "range": found["range"], **columns})


def farthest(found: dict) -> list[int]:
    """The numbers of an action in which a policy is farthest off, at most ``NUMBERS``, in their own order."""
    ranges = np.array(found["range"])
    off = np.mean(found["error"], axis=0) / np.where(ranges > 0, ranges, np.inf)
    return sorted(int(place) for place in np.argsort(-off, kind="stable")[:NUMBERS])


def some_chunks(
    folder: Path, config: StoredConfig, store: ReplayBuffer, spec: TaskSpec, names: list[str], numbers: list[int]
) -> pd.DataFrame:
    """What a run's policy would do at a few moments of episodes held out, and what was done, as of ``drawing.chunks``.

    Of an action the ``numbers`` that are named by their places.
    """
    trained_on, apart = windows_of(config, store, spec)
    compared = HeldOut(config, store, spec, apart, trained_on)
    picked = compared.picked(MOMENTS + 2)[1:-1]  # the outermost are the starts and ends of episodes
    picked = picked if len(picked) else compared.picked(1)
    predicted, recorded = compared.beside(compared.predicted(load_policy(folder / CHECKPOINT)[0], picked), picked)
    return pd.DataFrame(
        [
            {
                "moment": compared.moment(window),
                "number": names[number],
                "step": step + 1,
                "recorded": recorded[place, step, number],
                "predicted": predicted[place, step, number],
            }
            for place, window in enumerate(picked)
            for number in numbers
            for step in range(recorded.shape[1])
        ]
    )
