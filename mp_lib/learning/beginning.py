"""The weights that a training goes on from."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from mp_lib.config import UNNAMED, TrainConfig
from mp_lib.data.replay_buffer import ReplayBuffer
from mp_lib.learning.folder import stored_result
from mp_lib.model.checkpoint import load_policy
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.system.errors import InputError
from mp_lib.system.provenance import file_hash

DIGITS = 12  # of a file's digest, in a configuration and in a run's name


def digest_of(path: Path) -> str:
    """What ``TrainConfig.init`` says of a file of weights."""
    return file_hash(path)[:DIGITS]


def beginning(config: TrainConfig, init: Path | None) -> tuple[DiffusionPolicy | None, dict]:
    """The policy that a training begins with, None for fresh weights, and what its result says of where it comes from.

    An InputError if the file is not the one that the configuration names.
    """
    if config.init == UNNAMED and init is None:
        return None, {}
    if init is None or digest_of(init) != config.init:
        given = f"{init}, whose digest is {digest_of(init)}" if init else "no file"
        raise InputError(f"init {config.init} is the digest of the weights to begin with; {given} was given")
    policy, facts = load_policy(init, config.method)
    name = init.parent.name if stored_result(init) else facts.get("run", init.name)
    told = {"init": name, "digest": config.init, "normalizer": config.normalizer}
    return policy, told | {key: facts[key] for key in ("step", "task") if facts.get(key) is not None}


def may_have_seen(init: Path, store: ReplayBuffer, held_out: Sequence[int]) -> list[int]:
    """Which of the episodes held out the weights of a file may have been trained on.

    These are all, but for those that their own run held out of the same demonstrations, and began without.
    """
    known = stored_result(init)
    if known.get("demonstrations", {}).get("content_hash") != store.content_hash():
        return list(held_out)
    spared, before = (known.get("held_out") or {}).get("episodes", []), known.get("origin") or {}
    seen_before = before.get("may_have_seen", spared if before else [])
    return [episode for episode in held_out if episode not in spared or episode in seen_before]


def words_of(origin: Mapping) -> str:
    """Where a training comes from, in words, what of its data its normaliser does not reach, and what is not new."""
    shares = ", ".join(f"{100 * share:.1f} % of {key}" for key, share in origin.get("beyond", {}).items())
    weights = f"goes on from {origin['init']} (digest {origin['digest']}), normalizer {origin['normalizer']}"
    told = f"{weights}; beyond what that takes for -1 to 1 lies {shares}"
    if seen := origin.get("may_have_seen"):
        told += f"; these weights may have been trained on episodes that are held out here, {', '.join(map(str, seen))}"
    return told
