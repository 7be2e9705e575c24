"""The paper's claims, each judged by what was measured.

A claim about success holds, or does not, only where several trainings were made: its interval then speaks of trainings
at large. All intervals are those of paired differences on the same environment seeds (``mp_lib.evidence``).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import pandas as pd

from mp_lib import benchmark_table, efficiency
from mp_lib.config import METHODS
from mp_lib.designs import DESIGNS, MAMBA
from mp_lib.evidence import difference, difference_of_changes
from mp_lib.interfaces import look_up
from mp_lib.runs import choose_runs, runs_of_design
from mp_lib.sentences import count
from mp_lib.statistics import Estimate

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided at this number of runs"
NOTHING = "not run yet"
CHUNK, STEP = {"what": "chunk", "batch": 1, "threads": 1}, {"what": "train_step", "batch": 128, "threads": 2}
MEASURED_COSTS = (  # column of the kept benchmark, what it is, and which rows
    ("peak_megabytes", "memory of an action chunk", CHUNK | {"backend": "torch"}),
    ("peak_megabytes", "memory of a training step", STEP | {"backend": "torch"}),
    ("median_seconds", "time of an action chunk", CHUNK | {"backend": "official"}),
    ("median_seconds", "time of a training step", STEP | {"backend": "official"}),
)
PAPER, RIVAL, SAME_WIDTH = "dp3_mamba", "dp3", "dp3_narrow"


@dataclass(frozen=True)
class Finding:
    """One line of evidence on a claim."""

    compared: str
    found: str
    verdict: str
    basis: str
    value: float | None = None
    low: float | None = None
    high: float | None = None


@dataclass(frozen=True)
class Claim:
    """What the paper says, and the function that judges it at a scale."""

    letter: str
    says: str
    judge: Callable[[str], Iterable[Finding]]


def judge_success(scale: str) -> Iterable[Finding]:
    """(a): Mamba Policy against DP3 on all tasks that both were trained on."""
    runs = choose_runs(scale, attention="paper")
    yield finding("Mamba-1 less DP3", difference(of(runs, PAPER), of(runs, RIVAL)), tasks_of(runs, (PAPER, RIVAL)))


def judge_parameters(scale: str) -> Iterable[Finding]:
    """(b): exact counts at the paper's widths."""
    costs = efficiency.cost_table().drop_duplicates("method").set_index("method")
    for method, least in ((PAPER, 0.8), (SAME_WIDTH, None)):
        saved = 1 - costs.loc[method, "parameters_share"]
        verdict = "" if least is None else HOLDS if saved > least else FAILS
        text = f"{saved:.1%} fewer: {costs.loc[method, 'parameters'] / 1e6:.1f} M".replace("%", " %")
        yield Finding(
            f"{METHODS[method].label} against DP3" + ("" if least else ", no state-space block at all"),
            text,
            verdict or "the widths save, not the blocks",
            "counted, denoisers at the paper's widths",
            100 * saved,
        )


def judge_horizon(scale: str) -> Iterable[Finding]:
    """(c): what Mamba Policy loses from DP3's horizon to the longest, against what DP3 loses."""
    design = DESIGNS["horizon"]
    runs, (usual, longest) = runs_of_design(design, scale), (design.arms[1].label, design.arms[-1].label)
    pairs = [[of(runs, method, arm) for arm in (usual, longest)] for method in (PAPER, RIVAL)]
    compared = f"Mamba-1's change from T = {usual} to {longest} less DP3's"
    yield finding(compared, difference_of_changes(*pairs), tasks_of(runs, (PAPER, RIVAL)))


def judge_hybrid(scale: str) -> Iterable[Finding]:
    """(d): attention executed against not, all variants; and the blocks against convolutions of the same width."""
    runs = runs_of_design(DESIGNS["attention"], scale)
    by = ("task", "method")
    found = difference(runs[runs["attention"] == "paper"], runs[runs["attention"] == "released"], by)
    yield finding("with attention less without, mean of the variants", found, tasks_of(runs, MAMBA))
    runs = choose_runs(scale, attention="paper")
    found = difference(of(runs, PAPER), of(runs, SAME_WIDTH))
    yield finding("Mamba-1 less DP3 of the same widths", found, tasks_of(runs, (PAPER, SAME_WIDTH)))


def judge_variants(scale: str) -> Iterable[Finding]:
    """(e): each variant against DP3.

    That all are better needs every single interval above zero; that some are not is said at a confidence that all
    four together keep (Bonferroni).
    """
    runs, confidence = choose_runs(scale, attention="paper"), 1 - 0.05 / len(MAMBA)
    for method in MAMBA:
        found = difference(of(runs, method), of(runs, RIVAL))
        strict = difference(of(runs, method), of(runs, RIVAL), confidence=confidence)
        compared = f"{METHODS[method].label} less DP3"
        yield finding(compared, found, tasks_of(runs, (method, RIVAL)), against=strict)


def judge_cost(scale: str) -> Iterable[Finding]:
    """(f): counted multiply-adds, and kept measurements of memory and time, as released, at DP3's horizon."""
    costs = efficiency.cost_table().set_index(["method", "attention"])
    share = costs.loc[(PAPER, "released"), "multiply_adds_share"]
    yield shares("multiply-adds of a denoiser call", share, "counted, T = 16")
    kept = efficiency.pick(benchmark_table.read_table(benchmark_table.kept_path()), horizon=16)
    for column, told, where in MEASURED_COSTS:
        rows = efficiency.pick(kept, **where)
        values = rows.set_index(["method", "attention"])[column]
        if {(PAPER, "released"), (RIVAL, "")} <= {*values.dropna().index}:
            share = values[PAPER, "released"] / values[RIVAL, ""]
            how = f"{efficiency.BACKEND_LABELS[where['backend']]}, batch {where['batch']}"
            yield shares(told, share, f"{how}, {count(where['threads'], 'thread')}, {rows['device'].iloc[0]}")


CLAIMS = (
    Claim("a", "succeeds up to 5 % more often than DP3", judge_success),
    Claim("b", "has over 80 % fewer parameters", judge_parameters),
    Claim("c", "is more robust at long horizons", judge_horizon),
    Claim("d", "owes it to the hybrid of Mamba and attention", judge_hybrid),
    Claim("e", "does so with any of four state-space variants", judge_variants),
    Claim("f", "needs less memory and computation", judge_cost),
)


def of(runs: pd.DataFrame, method: str, arm: str | None = None) -> pd.DataFrame:
    """The runs of a method, in one condition if that is given."""
    look_up(METHODS, method, "method")
    chosen = runs["method"] == method
    return runs[chosen if arm is None else chosen & (runs["arm"] == arm)]


def tasks_of(runs: pd.DataFrame, methods: Iterable[str]) -> str:
    """The tasks that all these methods were trained on."""
    sets = [set(of(runs, method)["task"]) for method in methods]
    return ", ".join(sorted(set.intersection(*sets)))


def finding(compared: str, found: Estimate | None, tasks: str, against: Estimate | None = None) -> Finding:
    """A difference of success rates as evidence; ``against`` is the interval that may contradict, if not the same."""
    if found is None:
        return Finding(compared, "", NOTHING, "no such runs")
    text = f"{100 * found.value:+.1f} points ({100 * found.low:+.1f} to {100 * found.high:+.1f})"
    scope = "" if found.over_runs else "; these trainings alone"
    basis = f"{tasks}; {count(found.runs, 'training seed')}, {found.episodes} pairs of episodes{scope}"
    return Finding(compared, text, verdict_of(found, against), basis, *(100 * x for x in bounds(found)))


def bounds(found: Estimate) -> tuple[float, float, float]:
    return found.value, found.low, found.high


def verdict_of(found: Estimate, against: Estimate | None = None) -> str:
    """Whether a difference is above zero, below, or not told apart from it."""
    if found.over_runs and found.low > 0:
        return HOLDS
    return FAILS if found.over_runs and (against or found).high < 0 else UNDECIDED


def shares(compared: str, share: float, basis: str) -> Finding:
    """A cost as a share of DP3's."""
    return Finding(
        f"{compared}, as a share of DP3's",
        f"{share:.0%}".replace("%", " %"),
        HOLDS if share < 1 else FAILS,
        basis,
        share,
    )


def claims_table(scale: str) -> pd.DataFrame:
    """One row a line of evidence: claim, compared, found, verdict, basis, value, low, high."""
    rows = [
        {"claim": f"({claim.letter}) {claim.says}", **vars(line)} for claim in CLAIMS for line in claim.judge(scale)
    ]
    return pd.DataFrame(rows)


def reading_table(table: pd.DataFrame) -> pd.DataFrame:
    """``claims_table`` as a reader wants it: each claim said once."""
    shown = table[["claim", "compared", "found", "verdict", "basis"]]
    names = {"claim": "Mamba Policy …", "found": "found (95 % interval)"}
    return shown.assign(claim=shown["claim"].mask(shown["claim"].duplicated(), "")).rename(columns=names)


def verdict_lines(table: pd.DataFrame) -> str:
    """One line a claim in Markdown: its verdict, which is that of all its evidence."""
    lines = []
    for says, rows in table.groupby("claim", sort=False):
        lines.append(f"- {says}: **{together(rows['verdict'].tolist())}**.")
    return "\n".join(lines)


def together(verdicts: list[str]) -> str:
    """The verdict of several lines of evidence: all have to hold, one that fails is enough."""
    judged = [each for each in verdicts if each in (HOLDS, FAILS, UNDECIDED, NOTHING)]
    for verdict in (FAILS, NOTHING, UNDECIDED):
        if verdict in judged:
            return verdict
    return HOLDS
