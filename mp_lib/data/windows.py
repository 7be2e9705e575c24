"""Training windows: T frames of one episode, padded at its ends as the release pads them."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Mapping, Sequence
from numbers import Integral

import numpy as np
import torch

from mp_lib.config import SPLITS
from mp_lib.geometry.relative import Relative
from mp_lib.interfaces import look_up
from mp_lib.system.errors import InputError, is_count
from mp_lib.system.values import shown

log = logging.getLogger(__name__)

SHAPES = {"point_cloud": "(F, N, 3)", "state": "(F, S)", "action": "(F, A)"}


class ActionWindows(torch.utils.data.Dataset):
    """All windows of the given episodes over frames in RAM; ``hand`` is the task's ``hand_in_cloud``, if it has one.

    ``arrays``: point_cloud (F, N, 3), state (F, S), action (F, A); ``episode_ends`` (E,); the rest as of
    ``window_frames``. A window begins To-1 steps before "now": its first To frames are observed, the actions of all T
    frames are to be predicted, by ``relative`` as they differ from the state at "now" if that is given. Raises an
    InputError if arrays, ends and sizes do not fit, or no window does.
    """

    def __init__(
        self,
        arrays: dict[str, np.ndarray],
        episode_ends: np.ndarray,
        *,
        n_obs_steps: int,
        relative: Relative | None = None,
        hand: Sequence[Sequence[float]] = (),
        **lengths,
    ):
        self.n_obs_steps = n_obs_steps
        self.hand = torch.tensor(hand) if len(hand) else None
        frames = window_frames(episode_ends, n_obs_steps=n_obs_steps, **lengths)
        found = {key: frames_of(arrays, key, shape, int(np.max(episode_ends))) for key, shape in SHAPES.items()}
        self.recorded = found["action"]  # (F, A), as they are executed
        places = frames  # of each window's actions among the rows of ``action``
        if relative:
            now = found["state"][frames[:, n_obs_steps - 1]]
            rows = relative.encode(found["action"][frames], now)
            places = np.arange(frames.size).reshape(frames.shape)
            found["action"] = np.ascontiguousarray(rows.reshape(frames.size, -1), np.float32)
        self.frames, self.places = torch.from_numpy(frames), torch.from_numpy(places)  # (windows, T)
        self.point_cloud, self.state, self.action = map(torch.from_numpy, found.values())

    def __len__(self) -> int:
        return len(self.frames)

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {key: values[0] for key, values in self.batch([index]).items()}

    def values(self) -> dict[str, torch.Tensor]:
        """Every frame that a window touches, by key: what a normaliser is fitted to."""
        frames, rows = self.frames.unique(), self.places.unique()
        return {key: getattr(self, key)[rows if key == "action" else frames] for key in SHAPES}

    def digest(self) -> bytes:
        """16 bytes that tell these windows from others: which frames they take, and what those hold.

        Where the frames lie, and what lies between them, makes no difference.
        """
        _, places = self.frames.unique(return_inverse=True)
        found = hashlib.blake2b(places.numpy(), digest_size=16)
        for key, values in self.values().items():
            found.update(f"{key} {tuple(values.shape)}".encode())
            found.update(values.contiguous().numpy())
        return found.digest()

    def to(self, device: torch.device | str) -> ActionWindows:
        """Move all frames to a device, so that a batch is gathered there; returns itself."""
        for name in ("frames", "places", *SHAPES):
            setattr(self, name, getattr(self, name).to(device))
        return self

    def batch(self, indices: Sequence[int] | torch.Tensor) -> dict[str, torch.Tensor]:
        """Return windows (B,): point_cloud (B, To, N, 3), state (B, To, S), actions (B, T, A), float32."""
        indices = torch.as_tensor(indices, device=self.frames.device)
        seen = self.frames[indices, : self.n_obs_steps]
        actions = self.action[self.places[indices]]
        return {"point_cloud": self.point_cloud[seen], "state": self.state[seen], "actions": actions}


def frames_of(arrays: Mapping[str, np.ndarray], key: str, shape: str, num_frames: int) -> np.ndarray:
    """The frames of a key, float32; an InputError unless they are numbers of this shape, of ``num_frames`` or more."""
    values = np.asarray(arrays[key]) if key in arrays else np.zeros(0)
    fits = values.ndim == shape.count(",") + 1 and (values.ndim == 2 or values.shape[-1] == 3)
    if not fits or values.dtype.kind not in "fiub" or len(values) < num_frames:
        found = f"is {values.dtype} {values.shape}" if key in arrays else "is missing"
        raise InputError(f"{key} {found}; give numbers {shape} of the {num_frames} frames that episode_ends name")
    return np.ascontiguousarray(values, dtype=np.float32)


def window_frames(
    episode_ends: np.ndarray,
    *,
    horizon: int,
    n_obs_steps: int,
    n_action_steps: int,
    demo_episodes: Sequence[int] | None = None,
) -> np.ndarray:
    """Return the frame numbers (windows, T) of every window, int64.

    Windows start n_obs_steps-1 frames before an episode and end n_action_steps-1 frames behind it;
    a frame beyond an end is the first or last one again. An episode too short for that has none, which the log counts
    and names. ``demo_episodes`` names those to draw from, all by default. Raises an InputError for ends that are no
    whole numbers or fall, for episodes that are not there, and if no window fits.
    """
    for name, steps in (("n_obs_steps", n_obs_steps), ("n_action_steps", n_action_steps)):
        if not (is_count(steps) and is_count(horizon) and steps <= horizon):
            raise InputError(f"{name}={steps} does not fit horizon={horizon}; give 1 to {horizon}")
    ends = np.asarray(episode_ends)
    with np.errstate(invalid="ignore"):
        numbers = ends.astype(np.int64) if ends.ndim == 1 and ends.dtype.kind in "fiu" else None
    if numbers is None or np.any(numbers != ends) or np.any(np.diff(numbers, prepend=0) < 0):
        raise InputError(f"episode_ends {shown(episode_ends)} given; give one past each episode's last frame, (E,)")
    starts = np.concatenate([[0], numbers[:-1]])
    chosen = range(len(numbers)) if demo_episodes is None else list(demo_episodes)
    if lost := [each for each in chosen if not (isinstance(each, Integral) and 0 <= each < len(numbers))]:
        raise InputError(f"demo_episodes {shown(lost)} given, which are not there; choose from 0 to {len(numbers) - 1}")
    rows, short = [], []
    for episode in chosen:
        length = numbers[episode] - starts[episode]
        first = np.arange(1 - n_obs_steps, length - horizon + n_action_steps)
        rows.append(starts[episode] + np.clip(first[:, None] + np.arange(horizon), 0, length - 1))
        short += [f"{episode} ({length} frames)"] if not len(first) else []
    if short:
        log.warning("%d of %d episodes are too short for a window: %s", len(short), len(rows), ", ".join(short))
    frames = np.concatenate(rows) if rows else np.zeros((0, horizon), np.int64)
    if not len(frames):
        raise InputError(
            f"no window of {horizon} frames in {len(rows)} episodes; give more or longer ones, or a smaller horizon"
        )
    return frames


def split_episodes(
    num_demos: int, split: str = "all", seed: int = 42, share: float | None = None
) -> tuple[np.ndarray, np.ndarray]:
    """Return the episodes to train on and those held out, both sorted int64.

    "all" holds none out; "released" holds out what the release does: "10 demonstrations" are 9 there. A ``share``
    takes the split's place. Raises ValueError if the split is unknown or there is no episode.
    """
    if num_demos < 1:
        raise ValueError(f"num_demos={num_demos}; give at least 1")
    share = look_up(SPLITS, split, "split") if share is None else share
    count = min(max(int(share > 0), round(num_demos * share)), num_demos - 1)
    held_out = np.sort(np.random.default_rng(seed).choice(num_demos, size=count, replace=False))
    return np.setdiff1d(np.arange(num_demos), held_out), held_out
