"""The answer that a terminal and a report begin and end with: a sentence, rates, six verdicts."""

import re

import pytest

from mp_lib.presets import METHODS, PAPER_METHODS
from mp_lib.study.answer import KINDS, MARKS, answer
from mp_lib.study.claims import ALIKE, CLAIMS, FAILS, HOLDS, NOTHING, UNDECIDED

VERDICTS = (HOLDS, FAILS, ALIKE, UNDECIDED, NOTHING)


@pytest.fixture(scope="module")
def kept():
    """Of what is kept with the project."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MP_ROOT", "/nowhere")
        yield answer("quick", kept=True)


def test_every_claim_has_one_verdict_with_a_mark_and_a_word_of_its_own(kept):
    assert [each.letter for each in kept.verdicts] == [claim.letter for claim in CLAIMS]
    assert all(each.verdict in VERDICTS for each in kept.verdicts)
    assert len({*MARKS.values()}) == len({*KINDS.values()}) == len(VERDICTS) == len(MARKS) == len(KINDS)


def test_it_is_one_sentence_that_counts_the_verdicts(kept):
    assert kept.sentence.endswith(".") and not re.search(r"\. [A-Z]", kept.sentence)
    claimed = kept.sentence.partition("claims ")[2]
    assert sum(map(int, re.findall(r"\d+", claimed.replace(ALIKE, "")))) == len(CLAIMS)


def test_a_terminal_says_a_rate_with_its_interval_a_method_and_a_verdict_a_claim(kept):
    lines = kept.lines()
    rates = [line for line in lines if re.search(rf"  (\d+ \(\d+ to \d+\)|{NOTHING})$", line)]
    assert [line.split("  ")[1] for line in rates] == [*kept.rates]
    assert {*kept.rates} >= {METHODS[name].label for name in PAPER_METHODS}
    assert any(rate != NOTHING for rate in kept.rates.values())
    for claim, line in zip(CLAIMS, lines[-len(CLAIMS) :], strict=True):
        assert f"({claim.letter}) {claim.says}: " in line and line.endswith(VERDICTS)


def test_where_nothing_was_run_it_says_so(empty_root):
    found = answer("smoke")
    assert found.rates == {} and "Nothing was run" in found.sentence and len(found.verdicts) == len(CLAIMS)
    assert found.sentence in found.lines()


def test_rates_are_those_of_a_selection_while_verdicts_are_by_all_runs(kept, monkeypatch):
    monkeypatch.setenv("MP_ROOT", "/nowhere")
    one = next(name for name, method in METHODS.items() if kept.rates.get(method.label, NOTHING) != NOTHING)
    (missing, *_) = [name for name in METHODS if kept.rates.get(METHODS[name].label) == NOTHING] or [""]
    found = answer("quick", {"methods": [one, missing] if missing else [one]}, kept=True)
    assert {*found.rates} == {METHODS[name].label for name in (one, missing) if name}
    assert found.verdicts == kept.verdicts and "by all runs of this scale" in found.sentence
    none = answer("quick", {"methods": [one], "seeds": [4711]}, kept=True)
    assert none.rates == {} and none.verdicts == kept.verdicts


def test_what_others_have_written_to_figures_changes_no_verdict(kept, empty_root):
    before = answer("smoke")
    (empty_root / "figures").mkdir()
    (empty_root / "figures" / "05_claims_smoke.csv").write_text("claim,verdict\n")
    assert answer("smoke") == before


@pytest.mark.parametrize("scale", ["smoke", "paper"])
def test_a_claim_names_the_command_of_its_own_scale(empty_root, scale):
    commands = [each.command for each in answer(scale).verdicts]
    assert any(f"./run_all.sh {scale} --experiment" in command for command in commands)
    assert not any("run_all.sh quick" in command for command in commands)
