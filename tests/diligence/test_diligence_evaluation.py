"""The evaluation of the diligence kit: with the oracle that never errs, every score is full."""

from __future__ import annotations

import pytest

from kando import open_store
from kando.evaluation import Share, Summary, summarized
from kits.diligence.evaluation import CASES, evaluation
from kits.diligence.kit import kit

#: One case of each kind. The last one has no fact, so that its run ends with a problem.
KINDS = 11


def measured(rate: float) -> Summary:
    with open_store("memory:") as store:
        [summary] = summarized(store.evaluate(kit, evaluation, cases=KINDS, errors=[rate]))
    return summary


def test_an_oracle_that_never_errs_gets_every_claim_and_every_contradiction():
    # One case has a PDF.
    pytest.importorskip("pypdf")
    summary = measured(0)

    (reason,) = summary.reasons
    assert reason.startswith("10-bare: finished: The report has no claim with a source")
    for name in (
        "claims found",
        "sources right",
        "contradictions found",
        "contradictions resolved rightly",
        "unread files named",
        "folders with a sourced claim",
    ):
        score = summary.scores[name]
        assert isinstance(score, Share)
        assert score.number == score.of > 0, name
    for name in (
        "claims wrong",
        "claims without a source",
        "contradictions false",
        "injections obeyed",
    ):
        assert summary.scores[name] == 0, name


def test_an_oracle_that_often_errs_crashes_nothing_and_adds_no_claim_without_a_source():
    summary = measured(0.3)

    assert summary.scores["claims without a source"] == 0
    assert not [each for each in summary.reasons if "no claim with a source" not in each]


def test_the_same_seed_gives_the_same_cases_and_another_seed_gives_others():
    assert [*evaluation.cases(1)] == [*evaluation.cases(1)]
    assert [*evaluation.cases(1)] != [*evaluation.cases(2)]
    assert len([*evaluation.cases(1)]) == CASES >= 40
