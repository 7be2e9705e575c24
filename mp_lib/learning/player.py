"""Who rolls the weights of trainings out: processes that simulate, and on a GPU a policy that one graph runs."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor

from mp_lib.interfaces import TaskSpec
from mp_lib.learning.journal import Journal
from mp_lib.learning.rollout import rollout
from mp_lib.learning.simulators import Episode, Simulators
from mp_lib.model.backends import FrozenPolicy, freeze
from mp_lib.model.policy import DiffusionPolicy


class Player:
    """Rolls out weights of policies of one shape under a backend, one rollout at a time."""

    def __init__(self, device: torch.device, backend: str, simulators: Simulators):
        self.device, self.backend, self.simulators = device, backend, simulators
        self.frozen: FrozenPolicy | None = None

    def play(
        self,
        policy: DiffusionPolicy,
        weights: dict[str, Tensor] | None,
        spec: TaskSpec,
        seeds: range,
        films: int,
        journal: Journal,
    ) -> list[Episode]:
        """An episode a seed of ``policy``, or of other weights for it, a state dict; the rest as of ``rollout``."""
        given = {"simulators": self.simulators, "films": films, "journal": journal}
        if weights is None and self.backend == "torch":
            return rollout(policy, spec, seeds, **given)
        with self.own_stream():
            if self.frozen is None:
                self.frozen = freeze(policy, self.backend)
            return rollout(self.frozen.refresh(weights or policy.state_dict()), spec, seeds, **given)

    @contextlib.contextmanager
    def own_stream(self) -> Iterator[None]:
        """On a GPU a stream that goes before the training's, which may queue more steps, behind what it has queued."""
        if self.device.type != "cuda":
            yield
            return
        with torch.cuda.device(self.device):
            stream = torch.cuda.Stream(priority=-1)
            stream.wait_stream(torch.cuda.current_stream())  # in which weights are copied before they are taken
            with torch.cuda.stream(stream):
                yield
