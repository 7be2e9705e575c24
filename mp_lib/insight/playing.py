"""Episodes of a trained policy, one at a time, that one can look into while they go on."""

from __future__ import annotations

import base64
import html
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mp_lib.acting.actor import Actor
from mp_lib.acting.engine import TorchEngine
from mp_lib.acting.facts import facts_of
from mp_lib.config import BOUNDS, EARLIER_FINAL_SEEDS, EXPLORING_SEEDS, FINAL_SEEDS
from mp_lib.insight.trained import Trained
from mp_lib.interfaces import USUAL, Environment, Obs, Picture
from mp_lib.learning.film import write_film
from mp_lib.learning.simulators import Episode, Seat
from mp_lib.model.noise import chunk_noise
from mp_lib.study.sentences import of_ending
from mp_lib.system.progress import track
from mp_lib.system.values import check_bounds, meaning

FINAL = {  # tables, and the first of the environment seeds that are set aside for them
    "the final tables": FINAL_SEEDS,
    "the final tables of an earlier recipe": EARLIER_FINAL_SEEDS,
}
SET_ASIDE = EXPLORING_SEEDS - FINAL_SEEDS  # of each


@dataclass(frozen=True)
class Moment:
    """A policy call: the ``step`` of the episode, the last To observations, and the chunk (T, A) predicted for them.

    ``noise`` (T, A) is what the chunk was denoised from.
    """

    step: int
    history: list[Obs]
    chunk: np.ndarray
    noise: np.ndarray


@dataclass(frozen=True)
class Played:
    """An episode: which, how it ended after how many ``steps``, its policy calls, and its film of frames (H, W, 3)."""

    policy: Trained
    seed: int
    success: bool
    steps: int
    moments: list[Moment] = field(repr=False)
    film: list[np.ndarray] = field(repr=False)

    def __repr__(self) -> str:
        return of_episode(self.policy, self)

    def picture_at(self, step: int) -> np.ndarray:
        """The frame (H, W, 3) of the film that is nearest to a step."""
        return self.film[round(step / max(1, self.steps) * (len(self.film) - 1))]

    def save(self, path: str | Path) -> Path:
        """Write the film as an mp4."""
        return write_film(Path(path), self.film)

    def _repr_html_(self) -> str:
        said = html.escape(repr(self))
        return f"<div>{film_html(self.film, repr(self))}<br>{said}</div>" if self.film else said


def of_episode(policy: Trained, episode: Episode | Played) -> str:
    """Whose episode it is, how it ends, and what has to be said of its seed."""
    told = f"{policy.name}, environment seed {episode.seed}: {of_ending(episode.success, episode.steps)}"
    return told + (f" ({remark})" if (remark := remark_on(episode.seed)) else "")


def film_html(film: list[np.ndarray], what: str, width: int = 480) -> str:
    """A film as part of a page; ``what`` is said to whoever cannot see it."""
    with tempfile.TemporaryDirectory() as folder:
        content = write_film(Path(folder) / "film.mp4", film).read_bytes()
    source = f"data:video/mp4;base64,{base64.b64encode(content).decode()}"
    return f'<video controls muted loop width="{width}" aria-label="{html.escape(what)}" src="{source}"></video>'


def remark_on(seed: int, episodes: int = 1) -> str:
    """What has to be said of environment seeds from ``seed`` on if final tables rest on any of them."""
    seeds = "a seed" if episodes == 1 else "seeds"
    for tables, first in FINAL.items():
        if seed < first + SET_ASIDE and seed + episodes > first:
            return f"{seeds} of {tables}; those for exploring begin at {EXPLORING_SEEDS}"
    return ""


class Play:
    """The episode of one environment seed, which its ``moments`` play; ``ended`` tells how, once they are through.

    Between two moments ``environment`` may be looked at. Noise comes from (seed, call), as in every rollout.
    """

    def __init__(self, policy: Trained, seed: int, filmed: bool = False, picture: Picture = USUAL):
        seed = meaning("seed", "int", seed)
        check_bounds({"seed": seed}, {"seed": BOUNDS["first_seed"]})
        self.policy, self.seed, self.filmed = policy, seed, filmed
        self.seat = Seat(policy.spec, policy.config.num_points, policy.config.n_obs_steps, picture)
        engine = TorchEngine(policy.policy, facts_of(policy.config, {}, ""))
        # In a simulator nothing may move, and it has bounds of its own.
        self.actor = Actor(engine, limits=None, no_observation_s=None, same_cloud_s=None)
        self.ended: Episode | None = None

    @property
    def environment(self) -> Environment:
        """The simulated task as it is now."""
        return self.seat.env

    def moments(self) -> Iterator[Moment]:
        """Play: each policy call before its actions are executed."""
        config, step = self.policy.config, 0
        start = config.n_obs_steps - 1
        answer = self.seat.start(self.seed, self.filmed)
        self.actor.reset(self.seed)
        while not isinstance(answer, Episode):
            noise = chunk_noise(self.seed, step // config.n_action_steps, (config.horizon, config.action_dim))
            for obs in answer[:-1]:
                self.actor.observe(vars(obs))
            chunk = self.actor.plan(vars(answer[-1]))
            yield Moment(step, list(answer), chunk, noise)
            answer = self.seat.play(chunk[start : start + config.n_action_steps])
            step += config.n_action_steps
        self.ended = answer

    def close(self) -> None:
        """Free the simulator."""
        self.seat.env.close()

    def __enter__(self) -> Play:
        return self

    def __exit__(self, *_) -> None:
        self.close()


def play(policy: Trained, seed: int = EXPLORING_SEEDS, film: bool = True, picture: Picture = USUAL) -> Played:
    """Play the episode of an environment seed to its end; the same seed gives the same episode.

    Without ``film`` nothing is rendered for people, which spares time; ``picture`` is how its frames are taken.
    """
    with Play(policy, seed, film, picture) as stage, track(policy.spec.max_steps, f"play {policy.task}") as progress:
        moments = []
        for moment in stage.moments():
            moments.append(moment)
            progress.advance(policy.config.n_action_steps)
    ended = stage.ended
    return Played(policy, ended.seed, ended.success, ended.steps, moments, ended.film)
