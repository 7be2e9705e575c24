"""How far trained policies carry: their success where something is otherwise than where they were trained."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pandas as pd

from mp_lib.config import EXPLORING_SEEDS
from mp_lib.insight.duel import as_loaded
from mp_lib.insight.playing import remark_on
from mp_lib.insight.trained import Trained, load, told_apart
from mp_lib.interfaces import look_up
from mp_lib.learning.evaluation import evaluate
from mp_lib.presets import kind_name
from mp_lib.sim.changes import CHANGES, Disturbance
from mp_lib.sim.tasks import find_task
from mp_lib.statistics import Estimate, contrast, wilson_interval
from mp_lib.study.sentences import with_interval
from mp_lib.study.tables import success_cell
from mp_lib.system.errors import InputError, shown
from mp_lib.system.progress import track

BESIDE = ("dp3", "dp3_mamba")  # methods that stand beside each other where nobody is named


def policies(task: str, names: Sequence[str] = (), device: str = "auto") -> tuple[list[Trained], list[str]]:
    """The policies that are called so, or those of BESIDE on a task; and a line for each of these that is missing.

    ``names`` are as of ``mp_lib.insight.trained.load``. An InputError where nobody is there, and for policies of
    another task.
    """
    found, missing = [], {}
    for name in names or BESIDE:
        try:
            found.append(load(name, task, device=device))
        except InputError as error:
            missing[name] = error
    if missing and (names or not found):
        raise next(reversed(missing.values()))
    for policy in found:
        if policy.task != task:
            raise InputError(f"{policy.name} acts in {policy.task}; give policies of {task}, or that task")
    return found, [f"{name} is left out: {error}." for name, error in missing.items()]


def possible(task: str, changes: Sequence[str]) -> tuple[list[str], list[str]]:
    """Those of ``changes`` that a task has, and what is to be said of the others."""
    spec = find_task(task)
    reasons = {name: look_up(CHANGES, name, "change").lacks(spec) for name in changes}
    told = [f"{name} is left out on {spec.name}: {reason}." for name, reason in reasons.items() if reason]
    had = [name for name, reason in reasons.items() if not reason]
    if not had:
        given = " ".join(told) or f"give one or more of: {', '.join(CHANGES)}"
        raise InputError(f"changes {shown(list(changes))} given; {given}")
    return had, told


def changes_table(changes: Sequence[str]) -> pd.DataFrame:
    """What is done, and how strongly: a row a change."""
    rows = [CHANGES[name] for name in changes]
    strengths = [f"{', '.join(f'{each:g}' for each in row.strengths)} {row.unit}" for row in rows]
    return pd.DataFrame({"change": changes, "what is done": [row.done for row in rows], "strengths": strengths})


def of_seeds(first_seed: int, episodes: int) -> str:
    """On which environment seeds, and whether final tables rest on them."""
    told = f"{episodes} episodes each, on environment seeds from {first_seed} on"
    return f"{told}: {remark}." if (remark := remark_on(first_seed, episodes)) else f"{told}."


def what_if(
    policies: Sequence[Trained],
    changes: Sequence[str],
    episodes: int = 30,
    first_seed: int = EXPLORING_SEEDS,
    jobs: int | None = None,
) -> pd.DataFrame:
    """Play each policy undisturbed and under each of ``changes`` at its three strengths, on the same seeds and noise.

    A row each: policy (how it is called), run, method, attention, change, title, unit, strength (0: undisturbed),
    outcomes (a digit an episode), successes, episodes, and in percent ``ours`` with Wilson's ``low`` and ``high``; in
    points ``difference``, ``difference_low`` and ``difference_high`` to strength 0, paired, which speak of this
    training alone. Evaluations are kept and read again as ``mp_lib.learning.evaluation.evaluate`` does.
    """
    strong = [Disturbance(name, strength) for name in changes for strength in CHANGES[name].strengths]
    rows = []
    with track(len(policies) * (1 + len(strong)), "what if") as progress:
        for policy, named in zip(policies, names_of(policies), strict=True):
            outcomes = {}
            for disturbance in (None, *strong):
                given = as_loaded(policy) | {"jobs": jobs, "disturbance": disturbance}
                found = evaluate(policy.checkpoint, episodes, first_seed, **given)
                outcomes[disturbance] = np.array([found["successes"]])
                progress.advance()
            usual = outcomes.pop(None)
            undisturbed = {Disturbance(name, 0): usual for name in changes}
            rows += [named | row_of(each, found, usual) for each, found in (undisturbed | outcomes).items()]
    order = {"key": lambda column: column.map(list(changes).index), "kind": "stable", "ignore_index": True}
    return pd.DataFrame(rows).sort_values("change", **order)


def names_of(policies: Sequence[Trained]) -> list[dict[str, str]]:
    """How policies are called: by their methods where these tell them apart, else by their weights."""
    names = [kind_name(each.method, each.config.attention) for each in policies]
    if len({*names}) < len(names):
        names = [each.name for each in told_apart(policies)]
    return [
        {"policy": name, "run": each.name, "method": each.method, "attention": each.config.attention}
        for name, each in zip(names, policies, strict=True)
    ]


def row_of(disturbance: Disturbance, found: np.ndarray, usual: np.ndarray) -> dict:
    """What outcomes (1, E) say, beside the undisturbed ones."""
    change, strength = CHANGES[disturbance.change], disturbance.strength
    successes, episodes = int(found.sum()), found.size
    low, high = wilson_interval(successes, episodes)
    apart = contrast([[found], [usual]], (1, -1), same_runs=True) if strength else None
    row = {"change": disturbance.change, "title": change.title, "unit": change.unit, "strength": strength}
    row |= {"outcomes": "".join(map(str, found[0])), "successes": successes, "episodes": episodes}
    row |= {"ours": 100 * successes / episodes, "low": 100 * low, "high": 100 * high}
    return row | dict(zip(DIFFERENCE, in_points(apart), strict=True))


DIFFERENCE = ("difference", "difference_low", "difference_high")


def in_points(found: Estimate | None) -> tuple[float, float, float]:
    """A difference and its interval in points; NaN where there is none."""
    return (np.nan,) * 3 if found is None else found.percents


def reading_table(table: pd.DataFrame) -> pd.DataFrame:
    """``what_if`` as a reader wants it: a row a change and strength, for each policy its success and difference."""
    shown: dict[tuple, dict] = {}
    for row in table.itertuples():
        cells = shown.setdefault((row.change, row.strength), {"change": row.title})
        cells["strength"] = f"{row.strength:g} {row.unit}"
        cells[f"{row.policy}, % (95 % interval)"] = success_cell(row)
        cells[f"{row.policy}, less undisturbed, points"] = difference_cell(row)
    return pd.DataFrame(shown.values())


def difference_cell(row) -> str:
    """E.g. "-23 (-40 to -6)"."""
    return with_interval(row.difference, row.difference_low, row.difference_high, "+z.0f")  # z: no "-0"


def sentences(table: pd.DataFrame) -> list[str]:
    """What was found, a line a change; ``table`` as of ``what_if``."""
    lines = []
    for title, rows in table.groupby("title", sort=False):
        told = [of_policy(each) for _, each in rows.groupby("policy", sort=False)]
        lines.append(f"**{title}**: {'; '.join([*told, *beside(rows)])}.")
    return lines


def of_policy(rows: pd.DataFrame) -> str:
    """The least strength at which a policy's success is told from the undisturbed one, or that there is none."""
    changed = rows[rows["strength"] > 0]
    low, high = changed["difference_low"].round(), changed["difference_high"].round()  # as they are shown
    told = changed[(low > 0) | (high < 0)]
    row = next((told if len(told) else changed.iloc[::-1]).itertuples())
    found = f"{row.strength:g} {row.unit}: {difference_cell(row)} points"
    if len(told):
        return f"{row.policy} is told from undisturbed from {found}"
    return f"{row.policy} is not told from undisturbed up to {found}"


def beside(rows: pd.DataFrame) -> list[str]:
    """The difference of the second of two policies at the strongest strength, less the first's, on the same seeds."""
    first, *others = rows["policy"].unique()
    if len(others) != 1:
        return []
    strongest = rows["strength"].max()
    places = [(others[0], strongest), (others[0], 0), (first, strongest), (first, 0)]
    digits = rows.set_index(["policy", "strength"])["outcomes"]
    found = contrast([[np.array([[*map(int, digits[place])]])] for place in places], (1, -1, -1, 1))
    points = with_interval(*in_points(found), "+z.0f", " points")
    at = f"{strongest:g} {rows['unit'].iloc[0]}"
    return [f"at {at} the difference of {others[0]} less that of {first} is {points}"]
