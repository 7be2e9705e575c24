"""Tables of acting policies for the documents: missed deadlines, what late chunks cost, an actor beside rollouts."""

from __future__ import annotations

from collections.abc import Sequence

import pandas as pd

from mp_lib.presets import kind_name
from mp_lib.statistics import wilson_interval
from mp_lib.study.acting_rows import AHEAD, IN_TURN, ROLLOUT, Deadlines, Delays, Kept, read_rows
from mp_lib.study.sentences import join, with_interval
from mp_lib.study.tables import markdown


def deadlines() -> str:
    """How an actor keeps up, and a server: a row a network and schedule."""
    rows = read_rows(Deadlines)
    heads = ["network", "denoising steps", "schedule", "missed", "held steps", "late chunks"]
    heads += ["a command: median (longest)", "a chunk: median (longest)"]
    shown = [
        [
            f"`{row.method}`, {row.scale}",
            row.num_inference_steps,
            row.schedule,
            f"{row.missed} of {row.steps}",
            row.held,
            row.late,
            f"{row.answer_median:g} ms ({row.answer_longest:.0f} ms)",
            f"{row.chunk_median:.0f} ms ({row.chunk_longest:.0f} ms)",
        ]
        for row in rows
    ]
    cores = join(sorted({f"{row.cores} cores, {row.threads} of them for a chunk" for row in rows}))
    return markdown(pd.DataFrame(shown, columns=heads)) + origin(rows, cores)


def delays() -> str:
    """Success where chunks come late: a row a policy, its episodes and schedule, a column a delay."""
    rows = [row for row in read_rows(Delays) if row.schedule != ROLLOUT]
    late = sorted({row.delay for row in rows} | {0})
    cells = {(played(row), row.schedule, row.delay): rate(row) for row in rows}
    # Without delay an actor's schedules are the same.
    cells |= {(played(row), AHEAD, 0): rate(row) for row in rows if not row.delay}
    shown = []
    each = first_of_each(rows)
    for row in each:
        for schedule in (IN_TURN, AHEAD):
            found = [cells.get((played(row), schedule, delay), "") for delay in late]
            shown.append([told_apart(row, each), kind_name(row.method), schedule, *found])
    steps = [f"{delay} {'step' if delay == 1 else 'steps'} late" for delay in late]
    return markdown(pd.DataFrame(shown, columns=["task", "method", "schedule", *steps])) + origin(rows, seeds(rows))


def actor_and_rollouts() -> str:
    """An actor under ONNX Runtime, without delay, beside the ordinary rollouts of the same policy."""
    rows = read_rows(Delays)
    usual = {played(row): row for row in rows if row.schedule == ROLLOUT}
    without_delay = [row for row in rows if not row.delay and row.schedule == IN_TURN]
    pairs = [(row, usual[played(row)]) for row in without_delay if played(row) in usual]
    shown = [
        [
            told_apart(ours, without_delay),
            kind_name(ours.method),
            f"{ours.successes} of {ours.episodes}",
            f"{theirs.successes} of {theirs.episodes}",
            f"{alike(ours.outcomes, theirs.outcomes)} of {ours.episodes}",
            f"{alike(ours.lengths.split(), theirs.lengths.split())} of {ours.episodes}",
        ]
        for ours, theirs in pairs
    ]
    heads = ["task", "method", "actor", "rollouts", "ended alike", "after as many steps"]
    every = [row for pair in pairs for row in pair]
    return markdown(pd.DataFrame(shown, columns=heads)) + origin(every, seeds(every))


def rate(row: Delays) -> str:
    """E.g. "84 (71 to 93)", in percent."""
    low, high = wilson_interval(row.successes, row.episodes)
    return with_interval(100 * row.successes / row.episodes, 100 * low, 100 * high)


def alike(ours: Sequence, theirs: Sequence) -> int:
    """How many of each other's values are the same."""
    return sum(one == other for one, other in zip(ours, theirs, strict=True))


def first_of_each(rows: Sequence[Delays]) -> list[Delays]:
    """The first row of each policy and its episodes."""
    return list({played(row): row for row in reversed(rows)}.values())[::-1]


def played(row: Delays) -> tuple:
    """Which weights played which episodes: rows of one such can be compared episode by episode."""
    return row.task, row.policy, row.checkpoint, row.first_seed, row.episodes


def told_apart(row: Delays, among: Sequence[Delays]) -> str:
    """The task of a row; what it was played with, too, where ``among`` has other episodes or weights of its policy."""
    if {played(each) for each in among if (each.task, each.policy) == (row.task, row.policy)} == {played(row)}:
        return f"`{row.task}`"
    return f"`{row.task}`, {row.episodes} episodes from seed {row.first_seed} on, weights `{row.checkpoint[:8]}`"


def seeds(rows: Sequence[Delays]) -> str:
    """How many episodes on which environment seeds."""
    return join(
        sorted({f"{row.episodes} episodes each, on environment seeds from {row.first_seed} on" for row in rows})
    )


def origin(rows: Sequence[Kept], how: str) -> str:
    """A line below a table: where its rows come from; that there are none, and what measures them."""
    if not rows:
        return "\nNot measured yet.\n"
    devices, commits = (sorted({getattr(row, name) for row in rows}) for name in ("device", "commit"))
    noun = "commit" if len(commits) == 1 else "commits"
    return f"\nMeasured on {join(devices)}, {how}, {noun} {join(commits)}.\n"
