"""What there is to see of one policy call: the cloud, what the encoder takes of it, and where policies would go.

Paths are computed in blocks, and what was computed is kept, so that a page can show a few of them at once and all of
them a moment later.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mp_lib.insight.browsing import Browsed
from mp_lib.insight.critical_points import features_won
from mp_lib.insight.predicted_path import hand_path
from mp_lib.insight.prediction import denoise_from, noise_of
from mp_lib.insight.trained import Trained
from mp_lib.interfaces import Obs
from mp_lib.system.memo import Memo

BLOCK = 8  # paths that are computed together, and shown while a control moves
FEW_STEPS = 2  # of denoising, while a control moves
MOST_KEPT = 2000  # blocks; one takes some kB, of a hundred denoising steps some 100 kB


@dataclass(frozen=True)
class Look:
    """What somebody wants to see: which call, and what a policy is asked there.

    ``denoised`` is the share of the denoising steps that are done, 0 is noise. ``hidden`` is the share of the points
    that are taken away, ``shaken`` the deviation in metres of the noise on the others.
    """

    call: int = 0
    samples: int = 16
    noise_seed: int = 0
    num_inference_steps: int = 10
    denoised: float = 1.0
    hidden: float = 0.0
    shaken: float = 0.0

    @property
    def level(self) -> int:
        """How many denoising steps are done."""
        return round(self.denoised * self.num_inference_steps)

    @property
    def blocks(self) -> range:
        """Which blocks hold the samples."""
        return range(-(-self.samples // BLOCK))


@dataclass(frozen=True)
class Fan:
    """Where chunks of actions would take the hand: ``paths`` (S, n + 1, 3) in the world, in metres, from the hand on.

    ``chunks`` (S, n, A) are their actions, of which the first ``executed`` are executed before the policy looks again.
    Where nothing is simulated there are no paths: (S, 0, 3).
    """

    name: str
    chunks: np.ndarray
    paths: np.ndarray
    executed: int

    def ends(self) -> np.ndarray:
        """Where the hand is (S, 3) when the policy looks again, or when the paths end; (0, 3) without paths."""
        return self.paths[:, min(self.executed, self.paths.shape[1] - 1)] if self.paths.shape[1] else np.zeros((0, 3))

    def off(self, other: Fan) -> float:
        """How far the mean of these ends lies from that of another fan in metres; NaN without paths."""
        means = [fan.ends().mean(0) if len(fan.ends()) else np.full(3, np.nan) for fan in (self, other)]
        return float(np.linalg.norm(means[0] - means[1]))

    def spread(self) -> float:
        """How far these ends lie from their mean, the root of the mean square in metres; NaN without paths."""
        apart = self.ends() - self.ends().mean(0) if len(self.ends()) else np.full((1, 3), np.nan)
        return float(np.sqrt((apart**2).sum(-1).mean()))


@dataclass(frozen=True)
class Seen:
    """What there is to see: ``points`` (M, 3) of the cloud in the world, in metres, and the ``hidden`` ones (H, 3).

    ``won`` (M,) is of how many of the encoder's features a point is the maximum, for the first policy. ``fans`` has one
    a policy, ``done`` the one path that was taken or recorded.
    """

    look: Look
    points: np.ndarray
    hidden: np.ndarray
    won: np.ndarray
    fans: tuple[Fan, ...]
    done: Fan


class Scene:
    """A browsed episode, to be looked at by policies for its task."""

    def __init__(self, browsed: Browsed):
        self.browsed = browsed
        self.memo = Memo(MOST_KEPT)

    def seen(self, look: Look, policies: Sequence[Trained]) -> Seen:
        """All that is asked for; what is not kept is computed."""
        call, first = self.browsed.calls[look.call], policies[0]
        fans = tuple(self.fan(look, policy) for policy in policies)
        n, executed = fans[0].chunks.shape[1], first.config.n_action_steps
        path = self.memo.get(("done", look.call), lambda: self.paths_of(look.call, call.done[None]))
        cloud, hidden = self.cloud_and_hidden(look)
        state = call.history[-1].state
        won = self.memo.get(("won", first, seen_by(look)), lambda: features_won(first.policy, cloud, state))
        real = np.any(cloud != 0, axis=1)
        return Seen(
            look=look,
            points=self.browsed.to_world(cloud[real]),
            hidden=self.browsed.to_world(hidden),
            won=won[real],
            fans=fans,
            done=Fan(self.browsed.doer, call.done[None, :n], path, executed),
        )

    def work(self, look: Look, policies: Sequence[Trained]) -> Iterator[None]:
        """Compute what ``seen`` needs piece by piece, so that one can stop between two of them."""
        for policy in policies:
            for block in look.blocks:
                self.chunks(look, policy, block)
                yield
                self.paths(look, policy, block)
                yield

    def is_kept(self, look: Look, policies: Sequence[Trained]) -> bool:
        """Whether nothing slow has to be computed for it."""
        return all(path_key(look, policy, block) in self.memo for policy in policies for block in look.blocks)

    def sketch(self, look: Look, policies: Sequence[Trained]) -> Look:
        """The same with as few paths and denoising steps as can be had while a control moves.

        With all steps where chunks of these are kept: then only the paths have to be simulated.
        """
        few = replace(look, samples=min(look.samples, BLOCK))
        if all(chunk_key(few, policy, 0) in self.memo for policy in policies):
            return few
        return replace(few, num_inference_steps=min(look.num_inference_steps, FEW_STEPS))

    def fan(self, look: Look, policy: Trained) -> Fan:
        """Where a policy would go."""
        first = policy.config.n_obs_steps - 1
        chunks = np.concatenate([self.chunks(look, policy, block)[look.level, :, first:] for block in look.blocks])
        paths = np.concatenate([self.paths(look, policy, block) for block in look.blocks])
        return Fan(policy.name, chunks[: look.samples], paths[: look.samples], policy.config.n_action_steps)

    def chunks(self, look: Look, policy: Trained, block: int) -> np.ndarray:
        """A block of chunks on their way from noise (K + 1, BLOCK, T, A)."""

        def make() -> np.ndarray:
            numbers = range(BLOCK * block, BLOCK * (block + 1))
            noise = noise_of(policy.policy, look.noise_seed, numbers)
            history = self.history(look)[-policy.config.n_obs_steps :]
            return denoise_from(policy.policy, history, noise, look.num_inference_steps)

        return self.memo.get(chunk_key(look, policy, block), make)

    def paths(self, look: Look, policy: Trained, block: int) -> np.ndarray:
        """Where the hand would go (BLOCK, n + 1, 3) with the chunks of a block, as far as they are denoised."""

        def make() -> np.ndarray:
            chunks = self.chunks(look, policy, block)[look.level]
            return self.paths_of(look.call, chunks[:, policy.config.n_obs_steps - 1 :])

        return self.memo.get(path_key(look, policy, block), make)

    def paths_of(self, call: int, actions: np.ndarray) -> np.ndarray:
        """Where ``actions`` (S, n, A) take the hand (S, n + 1, 3) from a call on; (S, 0, 3) without a simulation."""
        place = self.browsed.calls[call]
        if place.branch is None:
            return np.zeros((len(actions), 0, 3))
        return np.stack([np.vstack([place.hand, hand_path(place.branch.branch(), each)]) for each in actions])

    def history(self, look: Look) -> list[Obs]:
        """What the policy is shown: in each cloud copies of a point that is left stand for those that are hidden.

        The encoder takes maxima over the points, so that this is a cloud without them, whatever the policy's size.
        Padding would be a point of its own, which wins a third of the features.
        """
        shown = []
        for obs in self.browsed.calls[look.call].history:
            left, gone = self.divide(look, obs.point_cloud)
            stand = np.repeat(left[:1], len(gone), axis=0)
            shown.append(replace(obs, point_cloud=np.concatenate([left, stand])))
        return shown

    def cloud_and_hidden(self, look: Look) -> tuple[np.ndarray, np.ndarray]:
        """The last cloud as it is shown, with padding but without what is hidden, and that; (M, 3) and (H, 3)."""
        return self.divide(look, self.browsed.calls[look.call].history[-1].point_cloud)

    def divide(self, look: Look, cloud: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """What is left of a cloud (N, 3) when some of its points are hidden and the others shaken, and the hidden ones.

        Of a larger share the points of a smaller one are part, and noise is the same but for its size.
        """
        real = np.flatnonzero(np.any(cloud != 0, axis=1))
        order = np.random.default_rng(0).permutation(real)
        gone = order[: min(int(look.hidden * len(real)), max(len(real) - 1, 0))]
        noise = np.random.default_rng(1).standard_normal(cloud.shape).astype(np.float32)
        shaken = cloud.copy()
        shaken[real] += look.shaken * noise[real]
        return np.delete(shaken, gone, axis=0), cloud[gone]


def seen_by(look: Look) -> tuple:
    """What the policy's condition depends on."""
    return look.call, look.hidden, look.shaken


def chunk_key(look: Look, policy: Trained, block: int) -> tuple:
    """What a block of chunks depends on."""
    return "chunks", policy, seen_by(look), look.noise_seed, look.num_inference_steps, block


def path_key(look: Look, policy: Trained, block: int) -> tuple:
    """What a block of paths depends on."""
    return "paths", *chunk_key(look, policy, block)[1:], look.level
