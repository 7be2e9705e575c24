"""Weights as a policy of torch, with what is known of it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

from mp_lib.acting.facts import PolicyFacts, facts_of
from mp_lib.acting.seen import Seen, read_seen, seen_by
from mp_lib.model.checkpoint import load_policy
from mp_lib.model.hub_folder import CONFIG, digest_beside
from mp_lib.model.policy import DiffusionPolicy
from mp_lib.model.weights import HUB_WEIGHTS, SEEN, name_of_weights, seen_path
from mp_lib.system.errors import InputError
from mp_lib.system.provenance import file_hash


def untold(task: str) -> Mapping[str, str]:
    """No facts beyond those of the file."""
    return {}


def load_weights(
    checkpoint: Path, told: Callable[[str], Mapping[str, str]] = untold
) -> tuple[DiffusionPolicy, PolicyFacts, Seen]:
    """The policy of a file of weights, ours or official, its facts, and what it has seen.

    That is told by the file beside the weights, for those of no such file by the normaliser. ``told`` gives facts by
    the name of a task, such as the meaning of its actions, for weights that do not say them. Errors as of
    ``load_policy``, and an InputError if the other file is damaged.
    """
    hub = checkpoint.name == HUB_WEIGHTS
    digest = file_hash(checkpoint) if checkpoint.is_file() else ""
    policy, header = load_policy(checkpoint)
    facts = facts_of(policy.config, header, digest, name_of_weights(checkpoint))
    facts = facts.told(told(facts.task))
    beside, wanted = seen_path(checkpoint), digest_beside(checkpoint, SEEN) if hub else None
    if wanted and not (beside.is_file() and file_hash(beside) == wanted):
        raise InputError(f"{beside} is missing or damaged, as {CONFIG} beside it says; restore a copy")
    seen = read_seen(beside, facts) if beside.exists() else seen_by(normalizer_of(policy), facts)
    return policy, facts, seen


def normalizer_of(policy: DiffusionPolicy) -> dict:
    """The normaliser's arrays by name: a scale and an offset for point_cloud, state and action."""
    return {name: values.detach().cpu().numpy() for name, values in policy.normalizer.state_dict().items()}
