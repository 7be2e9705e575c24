"""The random numbers of one training: functions of what is trained on what, its seed, and the step.

Methods and tasks do not share them, so trainings are independent of each other as intervals over runs take them to be,
also those of one seed. Two trainings that differ only in how one and the same policy is trained, or in what a task is
called, draw alike.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict

import numpy as np

from mp_lib.config import UNNAMED, PolicyConfig
from mp_lib.data.windows import ActionWindows

WEIGHTS, BATCHES, NOISE = range(3)
VERSION = 2  # of what the numbers come from; in 1, which files do not name, it was the seed alone


class Streams:
    """Seeds for torch's generators, by stream and item."""

    def __init__(self, policy: PolicyConfig, windows: ActionWindows, seed: int, init: str = UNNAMED):
        known = asdict(policy)
        # The first says nothing of the training, the others nothing that the windows do not hold.
        for name in ("num_inference_steps", "actions", "state_kinds", "action_kinds"):
            del known[name]
        digest = hashlib.blake2b(json.dumps([VERSION, known, seed]).encode(), digest_size=16)
        digest.update(windows.digest())
        if init != UNNAMED:  # else an extended run would draw for each window what it has drawn before
            digest.update(init.encode())
        self.origin = [*np.frombuffer(digest.digest(), "<u4").tolist()]

    def seed(self, stream: int, index: int) -> int:
        """A 32-bit seed for item ``index`` of a stream, WEIGHTS, BATCHES or NOISE."""
        return int(np.random.SeedSequence([*self.origin, index, stream]).generate_state(1)[0])
