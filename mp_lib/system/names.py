"""Names that are close to one that was typed."""

from __future__ import annotations

from collections.abc import Iterable
from difflib import SequenceMatcher


def nearest(name: str, choices: Iterable[str], count: int = 5, least: float = 0.5) -> list[str]:
    """At most ``count`` of the choices, the closest first; similarity from 0 to 1 has to be ``least``.

    A choice is as close as its closest ending after an underscore: of ``metaworld_door-open`` people type the last
    part, and of ``dp3_mamba_hydra``, too.
    """
    close = {choice: similarity(name.lower(), choice.lower()) for choice in choices}
    found = sorted((choice for choice in close if close[choice] >= least), key=lambda choice: -close[choice])
    return found[:count]


def similarity(name: str, choice: str) -> float:
    """How alike they are, from 0 to 1; an ending counts a little less than the whole."""
    parts = choice.split("_")
    endings = ["_".join(parts[start:]) for start in range(len(parts))]
    return max((1 if start == 0 else 0.99) * ratio(name, ending) for start, ending in enumerate(endings))


def ratio(first: str, second: str) -> float:
    """The share of letters in matching blocks."""
    return SequenceMatcher(None, first, second).ratio()
