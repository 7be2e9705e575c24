"""What ``import mp_lib`` offers to whoever plays with policies by hand."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from mp_lib.config import EXPLORING_SEEDS
from mp_lib.insight import choices, duel, playing, prediction, still_views, trained_runs
from mp_lib.insight import predicted_path as paths
from mp_lib.insight.trained import Trained, load
from mp_lib.interfaces import Environment, Obs
from mp_lib.learning import following, trainings
from mp_lib.presets import METHODS
from mp_lib.study import overview
from mp_lib.system.errors import InputError
from mp_lib.system.notebook import in_page, stopped_in_one_line

if TYPE_CHECKING:  # where an extra is missing, a room says which one
    import numpy as np
    import pandas as pd

Named = Trained | str  # a policy, or what ``load`` finds it by
stoppable = stopped_in_one_line(lambda: "Stopped; run this cell again.")  # where no bar says how far it came


def runs() -> pd.DataFrame:
    """What is trained here: a row a run, newest first, with its success, also those that have not ended."""
    return trained_runs.table()


def methods() -> pd.DataFrame:
    """The methods: a row each, with its structure, and whether it is of the paper's comparison or beyond it."""
    return overview.methods_table()


def tasks(suite: str = "") -> pd.DataFrame:
    """The tasks, of one suite if it is named: a row each, with sizes, steps and demonstrations."""
    return overview.task_rows(suite)


@stoppable
def play(policy: Named = "", seed: int = EXPLORING_SEEDS, film: bool = True) -> playing.Played:
    """Play one episode of an environment seed; it shows itself as a film. ``film`` False spares rendering."""
    return playing.play(known(policy), seed, film)


@stoppable
def predict(
    policy: Named,
    obs: Obs | Sequence[Obs],
    samples: int = 16,
    num_inference_steps: int | None = 10,
    noise_seed: int = 0,
) -> np.ndarray:
    """Action chunks (samples, T, A), in the actions' units, for one observation, or for the last To of them."""
    return prediction.denoise(known(policy).policy, obs, samples, num_inference_steps, noise_seed)[-1]


@stoppable
def predicted_path(
    policy: Named,
    env: Environment,
    obs: Obs | Sequence[Obs] | None = None,
    samples: int = 16,
    num_inference_steps: int | None = None,
    noise_seed: int = 0,
) -> np.ndarray:
    """Where the hand would go (samples, T - To + 1, 3), in metres in the world, beside ``env.to_world(cloud)``.

    ``env`` is an environment in an episode, such as ``policy.environment(seed)``, and stays as it is.
    """
    return paths.predicted_path(known(policy).policy, env, obs, samples, num_inference_steps, noise_seed)


@stoppable
def compare(a: Named, b: Named, episodes: int = 10, first_seed: int = EXPLORING_SEEDS, **how) -> duel.Compared:
    """Roll two policies out on the same environment seeds: the paired difference, and films where they differ."""
    return duel.compare(known(a), known(b), episodes, first_seed, **how)


@stoppable
def view(
    policy: Named = "",
    seed: int | None = None,
    other: Named | None = None,
    demos: str | Path = "",
    still: bool | None = None,
):
    """A page to look around in: the cloud, a fan of predicted paths in it, the picture, and controls of all that.

    It shows the episode that ``policy`` plays on an environment seed, or demonstrations: those of the store at
    ``demos``, or "own", those that it was trained on; then ``seed`` is the number of the one that is shown first.
    ``other`` is a second policy, asked about the same observations. ``still`` True gives figures instead; None gives
    them where no page is there that could show controls.
    """
    policies = choices.Policies(*(known(each) for each in (policy, other) if each is not None))
    scenes = choices.Scenes(choices.Demonstrations(str(demos)) if str(demos) else choices.Episodes())
    if not in_page() if still is None else still:
        return still_views.stills(scenes.first(policies.first, seed), policies.given)
    from mp_lib.viewing.window import Window

    return Window(policies, scenes, seed)


@stoppable
def train(
    task: str = "metaworld_drawer-open",
    method: str = "dp3_mamba",
    scale: str = "",
    seed: int = 0,
    *,
    device: str = "auto",
    jobs: int | None = None,
    demos: str | Path = "",
    init: str | Path = "",
    normalizer: str = "",
    save_every: int | None = None,
    **numbers,
) -> Trained:
    """Train a policy, or go on where it was stopped, and return it; ``numbers`` are those of TrainConfig.

    Such as ``num_steps``, ``num_demos``, ``final_episodes``; the others are the scale's, which is the method's own,
    quick or pocket, unless one is given. Demonstrations are recorded if they are not there, or read from the store at
    ``demos``; of a task of your own, a name that none here has, they have to be given. ``init`` is a run, a folder or a
    file of weights to go on from; their normaliser stays, unless ``normalizer`` is "fit". ``save_every`` so many steps
    the policy is kept, too. To stop it loses nothing.
    """
    if task in METHODS and method not in METHODS:
        raise InputError(f"train({task!r}, {method!r}) given; the task comes first: train({method!r}, {task!r})")
    how = {"device": device, "jobs": jobs, "save_every": save_every}
    return load(str(trainings.train(task, method, scale, seed, demos, init, normalizer, how, numbers)), device=device)


@stoppable
def extend(
    policy: Named,
    num_steps: int,
    *,
    demos: str | Path = "",
    device: str = "auto",
    jobs: int | None = None,
    save_every: int | None = None,
) -> Trained:
    """Train a finished run further, for ``num_steps`` with a warm-up and a cosine of their own; a run of its own.

    It goes on from the run's last weights, which are an average, with its normaliser and a new optimiser, on the same
    demonstrations: those of a store that was given have to be given again as ``demos``.
    """
    how = {"device": device, "jobs": jobs, "save_every": save_every}
    return load(str(trainings.extend(known(policy).checkpoint, num_steps, demos, how)), device=device)


def live(folder: str | Path = "") -> None:
    """Watch a run that another process trains, until it ends or this is stopped; the newest one if none is named."""
    following.watch(folder)


def known(policy: Named) -> Trained:
    """A policy as it is, or the one that is called so."""
    return policy if isinstance(policy, Trained) else load(policy)
