"""Engines: a policy that turns what was seen into a chunk of actions, by ONNX Runtime or by torch."""

from __future__ import annotations

import logging
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import numpy as np

from mp_lib.acting.exports import Exported, is_exported, read_export
from mp_lib.acting.facts import PolicyFacts
from mp_lib.acting.own_export import current_export, lacking
from mp_lib.acting.seen import Seen
from mp_lib.interfaces import look_up
from mp_lib.model.onnx_session import start_session
from mp_lib.model.weights import find_checkpoint
from mp_lib.system.errors import InputError, at_least_one, one_line, shown
from mp_lib.system.extras import require
from mp_lib.system.paths import given_path

if TYPE_CHECKING:
    from mp_lib.model.backends import FrozenPolicy
    from mp_lib.model.policy import DiffusionPolicy

log = logging.getLogger(__name__)


class Engine(Protocol):
    """A policy that can be asked for chunks; it keeps nothing between two calls, and threads may share it."""

    facts: PolicyFacts
    seen: Seen | None

    def predict(self, point_cloud: np.ndarray, state: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """The whole chunk (T, A) float32, in the robot's own units, denoised from ``noise`` (T, A').

        ``point_cloud`` (To, N, 3) and ``state`` (To, S), float32, are the observed steps, the last of them now. An
        InputError for other shapes.
        """


def check_shapes(facts: PolicyFacts, **given: np.ndarray) -> None:
    """Raise an InputError unless arrays have the shapes that the policy takes, and are float32."""
    wanted = {
        "point_cloud": (facts.n_obs_steps, facts.num_points, 3),
        "state": (facts.n_obs_steps, facts.state_dim),
        "noise": (facts.horizon, facts.action_dim),
    }
    for name, values in given.items():
        if values.shape != wanted[name] or values.dtype != np.float32:
            raise InputError(f"{name} {values.shape} {values.dtype} given; the policy takes {wanted[name]} float32")


class OnnxEngine:
    """An exported policy under ONNX Runtime, on the CPU; torch is not imported.

    Raises an InputError where ONNX Runtime does not take the networks, and a MissingExtraError where it is missing.
    """

    def __init__(self, exported: Exported, threads: int = 1):
        require("deploy", "onnxruntime")
        self.facts, self.seen = exported.facts, exported.seen
        scale, self.offset = exported.arrays["action_scale"], exported.arrays["action_offset"]
        self.constant, self.divisor = scale == 0, np.where(scale == 0, np.float32(1), scale)
        self.steps = [*exported.steps()]
        try:
            self.condition, self.denoise = (start_session(each, threads) for each in exported.networks)
        except Exception as error:  # its errors share no class but this one
            raise InputError(f"{exported.folder}: ONNX Runtime says {one_line(error)[:200]}; export anew") from error

    @classmethod
    def load(cls, folder: str | Path, threads: int = 1, num_inference_steps: int | None = None) -> OnnxEngine:
        """The policy of an exported folder; with another number of denoising steps if one is given.

        Raises an InputError if a file is missing or damaged, and a MissingExtraError without ONNX Runtime.
        """
        return cls(read_export(Path(folder)).with_steps(num_inference_steps), threads)

    def predict(self, point_cloud: np.ndarray, state: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """As of ``Engine``."""
        check_shapes(self.facts, point_cloud=point_cloud, state=state, noise=noise)
        (given,) = self.condition.run(None, {"point_cloud": point_cloud[None], "state": state[None]})
        actions = noise[None]
        for (keep, drop, add), row in self.steps:
            (found,) = self.denoise.run(None, {"actions": actions, "modulation": row + given})
            actions = keep * actions - drop * found + add * np.clip(found, -1, 1)
        chunk = np.where(self.constant, self.offset, (actions[0] - self.offset) / self.divisor)
        return self.facts.relative.decode(chunk, state[-1]) if self.facts.relative else chunk


class TorchEngine:
    """A policy under one of torch's backends, wherever its weights are."""

    def __init__(self, policy: DiffusionPolicy | FrozenPolicy, facts: PolicyFacts, seen: Seen | None = None):
        self.policy, self.facts, self.seen = policy, facts, seen

    def predict(self, point_cloud: np.ndarray, state: np.ndarray, noise: np.ndarray) -> np.ndarray:
        """As of ``Engine``."""
        import torch

        check_shapes(self.facts, point_cloud=point_cloud, state=state, noise=noise)
        cloud, seen, drawn = (
            torch.from_numpy(each)[None].to(self.policy.device) for each in (point_cloud, state, noise)
        )
        with torch.inference_mode():
            chunk = self.policy.predict({"point_cloud": cloud, "state": seen}, drawn)
        return chunk[0].cpu().numpy()  # relative actions are undone already


def load_engine(
    path: str | Path, backend: str = "auto", *, threads: int = 1, num_inference_steps: int | None = None
) -> OnnxEngine | TorchEngine:
    """The policy of an exported folder, a run's name or folder, a folder for model hubs, or a file of weights.

    ``backend`` auto is onnx where that is installed, and torch where it is not or the export cannot be written; of the
    others see ``mp_lib.model.backends.BACKENDS``. Under onnx weights are exported once, beside them
    (``exports.current_export``). ``threads`` is for ONNX Runtime; torch has its own number for the process.
    Raises an InputError if there is no such policy, what is there is damaged, or the backend is unknown or lacks
    something.
    """
    at_least_one(threads=threads, num_inference_steps=num_inference_steps)
    place = given_path(path)
    if is_exported(place):
        if backend not in ("auto", "onnx"):
            raise InputError(
                f"backend {shown(backend)} given; {place} is an export for onnx: give the run it came from"
            )
        return OnnxEngine.load(place, threads, num_inference_steps)
    checkpoint = find_checkpoint(str(path))
    if checkpoint is None:
        raise InputError(f"policy {shown(str(path))} given; give a run's name, its folder, or a file of weights")
    if backend == "onnx" or (backend == "auto" and not lacking(checkpoint)):
        try:
            return OnnxEngine(current_export(checkpoint).with_steps(num_inference_steps), threads)
        except OSError as error:
            if backend == "onnx":
                raise
            log.warning("%s; the policy acts by torch", one_line(error))
    return torch_engine(checkpoint, "torch" if backend == "auto" else backend, num_inference_steps)


def torch_engine(checkpoint: Path, backend: str, num_inference_steps: int | None = None) -> TorchEngine:
    """A file of weights under one of torch's backends, for backend cuda on the GPU."""
    from mp_lib.acting.loading import load_weights
    from mp_lib.model.backends import BACKENDS, freeze
    from mp_lib.system.device import choose_device

    look_up(BACKENDS, backend, "backend")
    policy, facts, seen = load_weights(checkpoint)
    if num_inference_steps is not None:
        policy = policy.with_steps(num_inference_steps)
        facts = replace(facts, num_inference_steps=num_inference_steps)
    policy.to(choose_device("cuda" if backend == "cuda" else "cpu"))
    return TorchEngine(freeze(policy, backend), facts, seen)
