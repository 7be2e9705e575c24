"""Two trained policies on the same environment seeds."""

from __future__ import annotations

import html
import inspect
from dataclasses import dataclass, field

import numpy as np

from mp_lib.config import EXPLORING_SEEDS
from mp_lib.insight.playing import Played, play, remark_on
from mp_lib.insight.trained import Trained, told_apart
from mp_lib.interfaces import look_up
from mp_lib.learning.evaluation import evaluate
from mp_lib.statistics import Estimate, contrast
from mp_lib.study.sentences import of_rate, with_interval
from mp_lib.system.errors import InputError

AS_LOADED = {"jobs", "device", "task", "method"}  # arguments of ``evaluate`` by which no policy acts otherwise


@dataclass(frozen=True)
class Compared:
    """Successes of two policies, episode by episode, on seeds from ``first_seed`` on.

    ``difference`` is the first's success rate less the second's, with its interval for paired episodes. ``films`` are
    of the first seed on which they ended differently, or of the first of all.
    """

    policies: tuple[Trained, Trained]
    first_seed: int
    successes: tuple[list[int], list[int]]
    difference: Estimate
    films: tuple[Played, ...] = field(default=(), repr=False)

    def lines(self) -> list[str]:
        """What was found, in sentences."""
        found = zip(self.policies, self.successes, strict=True)
        said = [f"{policy.name}: {of_rate(sum(each), len(each))}" for policy, each in found]
        value, low, high = (100 * each for each in (self.difference.value, self.difference.low, self.difference.high))
        told = with_interval(value, low, high, "+.0f", " points")
        said.append(f"difference on the same seeds: {told}; it speaks of these two trainings alone")
        return said + [remark] if (remark := remark_on(self.first_seed, len(self.successes[0]))) else said

    def __repr__(self) -> str:
        return "\n".join(self.lines())

    def _repr_html_(self) -> str:
        said = "".join(f"<div>{html.escape(line)}</div>" for line in self.lines())
        films = "".join(f'<div style="display: inline-block">{film._repr_html_()}</div>' for film in self.films)
        return said + films


def compare(
    first: Trained, second: Trained, episodes: int = 10, first_seed: int = EXPLORING_SEEDS, films: bool = True, **how
) -> Compared:
    """Roll both out on the same environment seeds and noise, and film the first seed on which they differ.

    Both evaluations are kept as ``mp_lib.learning.evaluation.evaluate`` keeps them, and read again where they were
    made before; ``how`` are arguments of it, such as ``jobs``; films are of the policies as they were loaded, so there
    are none where ``how`` has them act otherwise. Raises an InputError for policies of two tasks.
    """
    allowed = dict.fromkeys([*inspect.signature(evaluate).parameters][3:])  # behind checkpoint, episodes and first_seed
    for name in how:
        look_up(allowed, name, "argument")
    if first.task != second.task:
        raise InputError(f"{first.name} acts in {first.task}, {second.name} in {second.task}; give two of one task")
    pair = tuple(told_apart((first, second)))
    found = [evaluate(each.checkpoint, episodes, first_seed, **as_loaded(each) | how) for each in pair]
    ours, theirs = (np.array([each["successes"]]) for each in found)
    apart = np.flatnonzero(ours[0] != theirs[0])
    seed = int(found[0]["seeds"][apart[0] if len(apart) else 0])
    return Compared(
        pair,
        found[0]["seeds"][0],
        (found[0]["successes"], found[1]["successes"]),
        contrast([[ours], [theirs]], (1, -1)),
        tuple(play(each, seed) for each in pair) if films and how.keys() <= AS_LOADED else (),
    )


def as_loaded(policy: Trained) -> dict:
    """The arguments by which ``evaluate`` loads a policy as it was loaded."""
    steps, run = policy.config.num_inference_steps, policy.facts.get("config", {})
    return {
        "device": str(policy.policy.device),
        "backend": policy.policy.backend,
        "num_inference_steps": None if run.get("num_inference_steps") == steps else steps,
        "task": "" if run else policy.task,  # that of a run stands in its file
    }
