"""The paper's claims, each judged by what was measured.

A claim about success holds, or does not, only where several trainings were made: its interval then speaks of further
trainings on the same demonstrations. All intervals are those of ``mp_lib.study.evidence.compare``. What was run here
and what is kept answer side by side, and a verdict rests on whichever has more trainings.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import pandas as pd

from mp_lib.presets import METHODS
from mp_lib.sim.tasks import PAPER_TASKS
from mp_lib.statistics import Estimate
from mp_lib.study import efficiency
from mp_lib.study.designs import DESIGNS, MAMBA, MARGIN, SHORT_TASKS
from mp_lib.study.evidence import basis_of, compare, place_of
from mp_lib.study.runs import both_ways, choose_runs, runs_of_design
from mp_lib.study.sentences import count, join, with_interval
from mp_lib.system.paths import published_path, supplied
from mp_lib.timing import table

HOLDS, FAILS, UNDECIDED = "holds", "does not hold", "undecided at this number of runs"
ALIKE = f"no difference of {100 * MARGIN:.0f} points"
NOTHING = "not run yet"
MEASURED_COSTS = (  # column of the kept benchmark, what it is, and which rows
    ("peak_megabytes", "memory of an action chunk", efficiency.CHUNK | {"backend": "torch"}),
    ("peak_megabytes", "memory of a training step", efficiency.STEP | {"backend": "torch"}),
    ("median_seconds", "time of an action chunk", efficiency.CHUNK | {"backend": "official"}),
    ("median_seconds", "time of a training step", efficiency.STEP | {"backend": "official"}),
)
PAPER, RIVAL, SAME_WIDTH = "dp3_mamba", "dp3", "dp3_narrow"


@dataclass(frozen=True)
class Finding:
    """One line of evidence on a claim; ``value``, ``low`` and ``high`` are in points or percent.

    ``shown``, of one that is undecided, is the smallest difference, in points, that would have been told from none;
    ``trainings`` is the smallest number of them that a method and task in it has, ``place`` on how many tasks, and by
    an earlier recipe if so.
    """

    compared: str
    found: str
    verdict: str
    basis: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    shown: float | None = None
    trainings: int = 0
    place: str = ""


@dataclass(frozen=True)
class Claim:
    """What the paper says, the function of a scale that judges it, and the command that measures it anew at that scale.

    ``judge`` takes ``which`` of the scale's runs, as of ``choose_runs``, and gives a list a line of evidence, whichever
    these are: what was found, and remarks behind it.
    """

    letter: str
    says: str
    judge: Callable[..., Iterable[list[Finding]]]
    measured_by: str

    def command(self, scale: str) -> str:
        """What is typed to measure it anew."""
        return self.measured_by.format(scale=scale)


def judge_success(scale: str, **which) -> Iterable[list[Finding]]:
    """(a): Mamba Policy against DP3 on all tasks that both were trained on."""
    runs = choose_runs(scale, attention="paper", **which)
    yield findings("Mamba-1 less DP3", [of(runs, PAPER), of(runs, RIVAL)], (1, -1))


def judge_parameters(scale: str, **which) -> Iterable[list[Finding]]:
    """(b): exact counts at the paper's widths."""
    costs = efficiency.cost_table().drop_duplicates("method").set_index("method")
    saved = {method: 100 * (1 - costs.loc[method, "parameters_share"]) for method in (PAPER, SAME_WIDTH)}
    sizes = costs["parameters"] / 1e6
    words = {
        method: f"{share:.1f} % fewer at the paper's widths, {sizes[method]:.1f} M of {sizes[RIVAL]:.1f} M"
        for method, share in saved.items()
    }
    basis = "counted: denoisers at the paper's widths, 26 actions"
    yield [Finding("Mamba-1 against DP3", words[PAPER], HOLDS if saved[PAPER] > 80 else FAILS, basis, saved[PAPER])]
    verdict = "a remark: the widths save, not the blocks"
    yield [Finding("DP3 of the same widths against DP3", words[SAME_WIDTH], verdict, basis, saved[SAME_WIDTH])]


def judge_horizon(scale: str, **which) -> Iterable[list[Finding]]:
    """(c): Mamba Policy against DP3 at the longest horizon, and what both lose on the way there from DP3's own.

    The second alone would favour whoever has less to lose.
    """
    design = DESIGNS["horizon"]
    runs, (usual, longest) = runs_of_design(design, scale, **which), (design.arms[1].label, design.arms[-1].label)
    far, near = ([of(runs, method, arm) for method in (PAPER, RIVAL)] for arm in (longest, usual))
    yield findings(f"Mamba-1 less DP3 at T = {longest}", far, (1, -1), lines=2)
    compared = f"Mamba-1's change from T = {usual} to {longest} less DP3's"
    yield findings(compared, [*far, *near], (1, -1, -1, 1), lines=2)


def judge_hybrid(scale: str, **which) -> Iterable[list[Finding]]:
    """(d): attention executed against not, mean of the variants; and the blocks against convolutions of their width."""
    runs = runs_of_design(DESIGNS["attention"], scale, **which)
    pairs = {name: [of(runs, name, arm) for arm in ("paper", "released")] for name in MAMBA}
    both = [name for name, pair in pairs.items() if all(map(len, pair))]
    groups = [group for name in both for group in pairs[name]]
    compared = f"with attention less without, mean of {join([METHODS[name].label for name in both])}"
    weights = [sign / len(both) for _ in both for sign in (1, -1)]
    yield findings(compared if both else "with attention less without", groups, weights, lines=2)
    runs = choose_runs(scale, attention="paper", **which)
    yield findings("Mamba-1 less DP3 of the same widths", [of(runs, PAPER), of(runs, SAME_WIDTH)], (1, -1), 2)


def judge_variants(scale: str, **which) -> Iterable[list[Finding]]:
    """(e): each variant against DP3."""
    runs = choose_runs(scale, attention="paper", **which)
    for method in MAMBA:
        pair = [of(runs, method), of(runs, RIVAL)]
        yield findings(f"{METHODS[method].label} less DP3", pair, (1, -1), len(MAMBA))


def judge_cost(scale: str, **which) -> Iterable[list[Finding]]:
    """(f): counted multiply-adds, and kept measurements of memory and time, at DP3's horizon, in both structures."""
    costs = efficiency.cost_table().set_index(["method", "attention"])["multiply_adds"]
    yield [shares("multiply-adds of a denoiser call", costs, "counted, T = 16")]
    for column, told, where in MEASURED_COSTS:
        batch, threads = f"batch {where['batch']}", count(where["threads"], "thread")
        devices = efficiency.measured_rows(column, **where)["device"].unique()
        how = [efficiency.BACKEND_LABELS[where["backend"]], batch, threads, *devices]
        yield [shares(told, efficiency.measured(column, **where), ", ".join(how))]


CLAIMS = (
    Claim("a", "succeeds up to 5 % more often than DP3", judge_success, "./run_all.sh {scale} --experiment main"),
    Claim("b", "has over 80 % fewer parameters", judge_parameters, "./run_all.sh report"),
    Claim("c", "is more robust at long horizons", judge_horizon, "./run_all.sh {scale} --experiment horizon"),
    Claim(
        "d", "owes it to the hybrid of Mamba and attention", judge_hybrid, "./run_all.sh {scale} --experiment attention"
    ),
    Claim(
        "e", "does so with any of four state-space variants", judge_variants, "./run_all.sh {scale} --experiment main"
    ),
    Claim("f", "needs less memory and computation", judge_cost, "python -m mp_lib benchmark --table"),
)


def other_files() -> list[Path]:
    """What claims are judged from beside runs."""
    return [path for path in map(supplied, (table.kept_path(), published_path())) if path.exists()]


def of(runs: pd.DataFrame, method: str, arm: str | None = None) -> pd.DataFrame:
    """The runs of a method, in one condition if that is given."""
    chosen = runs["method"] == method
    return runs[chosen if arm is None else chosen & (runs["arm"] == arm)]


def findings(compared: str, groups: Sequence[pd.DataFrame], weights: Sequence[float], lines: int = 1) -> list[Finding]:
    """``finding`` on those of the paper's tasks that run in its own simulators, and behind it a remark on all ten.

    On whatever tasks there are where nothing can be compared on those, or single trainings alone while others have
    several.
    """
    own, ten = ([group[group["task"].isin(tasks)] for group in groups] for tasks in (SHORT_TASKS, PAPER_TASKS))
    found, whole = (compare(each, weights) if each and all(map(len, each)) else None for each in (own, groups))
    if found is None or (whole.estimate.over_runs and not found.estimate.over_runs):
        return [finding(compared, groups, weights, lines)]
    first = finding(compared, own, weights, lines)
    beside = finding(f"{compared}, re-created tasks with them", ten, weights, lines)
    return [first] if beside.found == first.found else [first, as_remark(beside)]


def as_remark(line: Finding) -> Finding:
    """A finding on which no verdict rests."""
    return replace(line, verdict=f"a remark: {line.verdict}", shown=None)


def finding(compared: str, groups: Sequence[pd.DataFrame], weights: Sequence[float], lines: int = 1) -> Finding:
    """A comparison of success rates as evidence, one of ``lines`` on its claim.

    That a claim holds takes all of its lines; that it does not is said by a single one, at a confidence that all of
    them together keep. That there is no difference of MARGIN is said by the 90 % interval: two one-sided tests at 5 %.
    """
    found = compare(groups, weights) if groups and all(map(len, groups)) else None
    if found is None:
        return Finding(compared, "", NOTHING, "no such runs on the same environment seeds")
    strict, both = (compare(groups, weights, confidence).estimate for confidence in (1 - 0.05 / lines, 0.90))
    value, low, high = found.estimate.percents
    text, verdict = with_interval(value, low, high, "+.1f", " points"), verdict_of(found.estimate, strict, both)
    shown = 100 * max(strict.value - strict.low, strict.high - strict.value) if verdict == UNDECIDED else None
    basis = basis_of(found, groups)
    if verdict == UNDECIDED and found.estimate.over_runs and not low <= 0 <= high:
        basis += f"; zero is within the interval at the confidence that all {lines} lines of the claim keep together"
    trainings, place = found.estimate.runs, place_of(found, groups)
    return Finding(compared, text, verdict, basis, value, low, high, shown, trainings, place)


def verdict_of(found: Estimate, strict: Estimate, both: Estimate) -> str:
    """Whether a difference is above zero, below it by ``strict``, near it by ``both``, or none of these."""
    if not found.over_runs:
        return UNDECIDED
    if found.low > 0:
        return HOLDS
    if strict.high < 0:
        return FAILS
    return ALIKE if both.low > -MARGIN and both.high < MARGIN else UNDECIDED


def shares(what: str, costs: pd.Series, basis: str) -> Finding:
    """A cost by (method, attention), as a share of DP3's: as released and with attention."""
    keys = {"as released": (PAPER, "released"), "with attention": (PAPER, "paper")}
    found = {
        words: costs[key] / costs[RIVAL, ""] for words, key in keys.items() if {key, (RIVAL, "")} <= {*costs.index}
    }
    if not found:
        return Finding(f"{what}, as a share of DP3's", "", NOTHING, "python -m mp_lib benchmark --table measures it")
    text = ", ".join(f"{100 * share:.0f} % {words}" for words, share in found.items())
    highest = max(found.values())
    return Finding(f"{what}, as a share of DP3's", text, HOLDS if highest < 1 else FAILS, basis, 100 * highest)


def claims_table(scale: str, claims: Sequence[Claim] = CLAIMS, **which) -> pd.DataFrame:
    """One row a finding: claim, compared, found, verdict, basis, value, low, high, shown, trainings.

    ``claims`` are the paper's if none are given. ``which``: ``expert``, ``kept`` and ``own`` as of ``choose_runs``.
    """
    rows = []
    for claim in claims:
        for told in zip(*(claim.judge(scale, **way) for way in both_ways(which)), strict=True):
            rows += [{"claim": f"({claim.letter}) {claim.says}", **vars(line)} for line in side_by_side(told)]
    return pd.DataFrame(rows)


def side_by_side(told: Sequence[list[Finding]]) -> list[Finding]:
    """One line of evidence from several choices of runs: that of most trainings, and the others as remarks behind it.

    Of equally many the first counts. Where one choice can compare something, those that cannot are left out.
    """
    telling = [lines for lines in told if lines[0].verdict != NOTHING] or told[:1]
    unlike = [lines for place, lines in enumerate(telling) if lines not in telling[:place]]
    chosen = max(unlike, key=lambda lines: lines[0].trainings)
    return [*chosen, *(as_remark(lines[0]) for lines in unlike if lines is not chosen)]


def reading_table(table: pd.DataFrame, head: str = "Mamba Policy …") -> pd.DataFrame:
    """``claims_table`` as a reader wants it: each claim said once, below ``head``."""
    shown = table[["claim", "compared", "found", "verdict", "basis"]]
    names = {"claim": head, "found": "found (95 % interval)"}
    verdicts = [with_reach(*pair) for pair in zip(table["verdict"], table["shown"], strict=True)]
    first = shown["claim"].mask(shown["claim"].duplicated(), "")
    return shown.assign(claim=first, verdict=verdicts).rename(columns=names)


def with_reach(verdict: str, shown: float | None) -> str:
    """A verdict and, where it is undecided, how large a difference would have had to be."""
    return verdict if pd.isna(shown) else f"{verdict}: a difference would show from {shown:.0f} points on"


def verdict_lines(table: pd.DataFrame) -> str:
    """One line a claim in Markdown: its verdict, which is that of all its evidence."""
    verdicts = table.groupby("claim", sort=False)["verdict"].agg(list)
    return "\n".join(f"- {says}: **{together(found)}**." for says, found in verdicts.items())


def together(verdicts: list[str]) -> str:
    """The verdict of several lines of evidence: the first of these that one of them has. Remarks do not count.

    So a claim holds if all of its lines do, and fails by a single one.
    """
    for verdict in (FAILS, NOTHING, UNDECIDED, ALIKE):
        if verdict in verdicts:
            return verdict
    return HOLDS
