"""The evaluation of the research kit: with the oracle that never errs, every score is full."""

from __future__ import annotations

import pytest

from kando import open_store
from kando.evaluation import Share, Summary, summarized
from kits.research.evaluation import CASES, evaluation
from kits.research.kit import kit

#: One case of each kind.
KINDS = 9


def measured(rate: float) -> Summary:
    with open_store("memory:") as store:
        [summary] = summarized(store.evaluate(kit, evaluation, cases=KINDS, errors=[rate]))
    return summary


def test_an_oracle_that_never_errs_gets_every_fact_from_the_right_source():
    # One case has a PDF.
    pytest.importorskip("pypdf")
    summary = measured(0)

    assert (summary.failed, summary.reasons) == (0, [])
    for name in ("facts found", "sources right", "contradictions shown", "unread files named"):
        score = summary.scores[name]
        assert isinstance(score, Share)
        assert score.number == score.of > 0, name
    for name in ("statements wrong", "statements without a source", "injections obeyed"):
        assert summary.scores[name] == 0, name


def test_an_oracle_that_always_errs_crashes_nothing_and_adds_no_statement_without_a_source():
    summary = measured(1)

    assert summary.scores["statements without a source"] == 0
    assert not [each for each in summary.reasons if "None of 3 questions" not in each]


def test_the_same_seed_gives_the_same_cases_and_another_seed_gives_others():
    assert [*evaluation.cases(1)] == [*evaluation.cases(1)]
    assert [*evaluation.cases(1)] != [*evaluation.cases(2)]
    assert len([*evaluation.cases(1)]) == CASES >= 40
