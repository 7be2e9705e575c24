"""What an experiment answers, before all details: a sentence, the methods' rates, the verdicts on the six claims."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from mp_lib.presets import METHODS, PAPER_METHODS
from mp_lib.study import claims
from mp_lib.study.claims import ALIKE, CLAIMS, FAILS, HOLDS, NOTHING, PAPER, RIVAL, UNDECIDED
from mp_lib.study.runs import telling_runs
from mp_lib.study.sentences import count, join, with_interval
from mp_lib.study.tables import common_tasks, method_table

MARKS = {HOLDS: "✔", FAILS: "✘", ALIKE: "=", UNDECIDED: "?", NOTHING: "–"}  # a mark a verdict, by which it is told
KINDS = {HOLDS: "holds", FAILS: "fails", ALIKE: "alike", UNDECIDED: "undecided", NOTHING: "nothing"}  # for a page
WORDS = {
    HOLDS: ("holds", "hold"),
    FAILS: ("does not hold", "do not hold"),
    UNDECIDED: ("is undecided", "are undecided"),
}
WORDS |= {ALIKE: ("shows " + ALIKE, "show " + ALIKE), NOTHING: ("was not run yet", "were not run yet")}


@dataclass(frozen=True)
class Verdict:
    """What the paper ``says``, and whether that holds here; ``found`` is what decides, in few words."""

    letter: str
    says: str
    verdict: str
    found: str
    command: str

    @property
    def mark(self) -> str:
        """One letter for it."""
        return MARKS[self.verdict]

    @property
    def kind(self) -> str:
        """One word for it, whatever stands behind it."""
        return KINDS[self.verdict]


@dataclass(frozen=True)
class Answer:
    """A sentence; rates in percent with their intervals, by method; a verdict a claim, judged by ``evidence``."""

    sentence: str
    where: str
    rates: dict[str, str]
    verdicts: list[Verdict]
    evidence: pd.DataFrame = field(default_factory=pd.DataFrame, compare=False)

    def lines(self) -> list[str]:
        """What a terminal says."""
        said = [f"Success in percent {self.where}, with 95 % intervals:"] if self.rates else [self.sentence]
        width = max(map(len, self.rates), default=0)
        said += [f"  {name:{width}}  {rate}" for name, rate in self.rates.items()]
        judged = [f"  {each.mark} ({each.letter}) {each.says}: {each.verdict}" for each in self.verdicts]
        return [*said, *(["Mamba Policy …"] if judged else []), *judged]


def answer(scale: str, selection: Mapping | None = None, **which) -> Answer:
    """The verdicts by all runs of a scale, and the rates of those of a ``selection``, of all where there is none.

    ``selection``: tasks, methods, seeds and attention as of ``choose_runs``; ``which``: its ``expert`` and ``kept``.
    Rates are of what was run here, or of what is kept where that tells more. Verdicts are judged anew rather than read
    from figures/, where whatever ran last has written.
    """
    chosen = {"attention": "paper"} | dict(selection or {})
    runs = telling_runs(scale, **chosen, **which)
    table, evidence = method_table(runs), claims.claims_table(scale, **which)
    verdicts, where = verdicts_of(evidence, scale), place_of(runs, table)
    said = sentence(table, where, verdicts, len(runs))
    return Answer(said, where, rates_of(table, chosen.get("methods", ())), verdicts, evidence)


def rates_of(table: pd.DataFrame, methods: Sequence[str]) -> dict[str, str]:
    """A rate with its interval by the label of each of these methods; none without a run.

    If none are named, of the paper's and of those that have one.
    """
    if table.empty:
        return {}
    found = {row.method: with_interval(row.ours, row.low, row.high) for row in table.itertuples()}
    shown = {*PAPER_METHODS, *found}
    return {METHODS[name].label: found.get(name, NOTHING) for name in METHODS if name in (methods or shown)}


def verdicts_of(evidence: pd.DataFrame, scale: str) -> list[Verdict]:
    """A verdict a claim; ``evidence`` as of ``claims.claims_table``."""
    found = []
    for claim in CLAIMS:
        lines = evidence[evidence["claim"] == f"({claim.letter}) {claim.says}"]
        verdict = claims.together([*lines["verdict"]])
        decides = lines[lines["verdict"] == verdict].iloc[0]
        told = f"{decides['compared']}: {decides['found']}" if decides["found"] else ""
        found.append(Verdict(claim.letter, claim.says, verdict, told, claim.command(scale)))
    return found


def place_of(runs: pd.DataFrame, table: pd.DataFrame) -> str:
    """On what and by how many trainings the rates of ``method_table`` rest."""
    if table.empty:
        return ""
    tasks, common = sorted(set(runs["task"])), common_tasks(runs)
    if len(common) > 2:
        told = f"{count(len(common), 'task')}{'' if len(common) == len(tasks) else ' that all methods have'}"
    else:
        told = join(common)
    trainings = runs[runs["task"].isin(common)].groupby(["method", "attention", "task"]).size()
    numbers = sorted({int(trainings.min()), int(trainings.max())})
    trainings = " to ".join(map(str, numbers)) if numbers[-1] > 1 else "one"
    origin = ", kept in data/results" if runs["kept"].all() else ""
    return f"on {told}, by {trainings} training{'s' * (numbers[-1] > 1)} each{origin}"


def sentence(table: pd.DataFrame, where: str, verdicts: list[Verdict], trainings: int) -> str:
    """How often Mamba Policy and DP3 succeed by so many trainings, and how many claims hold by all of the scale."""
    numbers = Counter(each.verdict for each in verdicts)
    said = [f"{numbers[verdict]} {WORDS[verdict][numbers[verdict] > 1]}" for verdict in MARKS if numbers[verdict]]
    claimed = f"by all runs of this scale, of the paper's {len(verdicts)} claims {join(said)}"
    if table.empty and trainings:
        return f"There is no task that all methods of {count(trainings, 'training')} have been trained on; {claimed}."
    if table.empty:
        return f"Nothing was run of what was asked for, and nothing is kept of it; {claimed}."
    rows = {row.method: row for row in table.itertuples()}
    chosen = [name for name in (PAPER, RIVAL) if name in rows] if {PAPER, RIVAL} <= {*rows} else [*rows][:2]
    first, *others = [rows[name] for name in chosen]
    interval = f"95 % interval {first.low:.0f} to {first.high:.0f}"
    said = f"{names(first)} succeeds in {first.ours:.0f} % of episodes ({interval})"
    said += "".join(f", {names(row)} in {percent(row)}" for row in others)
    return f"{where[0].upper()}{where[1:]}, {said}; {claimed}."


def names(row) -> str:
    """A method as a reader of the paper knows it."""
    return {PAPER: "Mamba Policy"}.get(row.method, row.label)


def percent(row) -> str:
    """E.g. "84 % (71 to 93)"."""
    return with_interval(row.ours, row.low, row.high, ".0f", " %")
