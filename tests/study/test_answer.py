"""The answer that a terminal and a report begin and end with: a sentence, rates, six verdicts."""

import re

import pytest

from mp_lib.config import METHODS
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
    rates = [line for line in lines if re.search(r"\d+ \(\d+ to \d+\)$", line)]
    assert len(rates) == len(kept.rates) > 0
    assert {line.split("  ")[1] for line in rates} <= {method.label for method in METHODS.values()}
    for claim, line in zip(CLAIMS, lines[-len(CLAIMS) :], strict=True):
        assert f"({claim.letter}) {claim.says}: " in line and line.endswith(VERDICTS)


def test_where_nothing_was_run_it_says_so(empty_root):
    found = answer("smoke")
    assert found.rates == {} and "Nothing was run" in found.sentence and len(found.verdicts) == len(CLAIMS)
    assert found.sentence in found.lines()


def test_a_table_that_was_written_gives_the_same_verdicts(kept, tmp_path, monkeypatch):
    from mp_lib.study.claims import claims_table

    monkeypatch.setenv("MP_ROOT", "/nowhere")
    claims_table("quick", kept=True).to_csv(tmp_path / "claims.csv", index=False)
    assert answer("quick", tmp_path / "claims.csv", kept=True) == kept
