"""The evaluation of the planning kit: its cases can be solved, and mistakes do no harm."""

from __future__ import annotations

from kando import open_store
from kando.evaluation import Share, summarized
from kits.planning.evaluation import evaluation
from kits.planning.kit import kit


def test_there_are_many_cases_and_the_same_seed_gives_the_same():
    first, again, other = ([*evaluation.cases(seed)] for seed in (1, 1, 2))

    assert len(first) >= 40
    assert len({case.name for case in first}) == len(first)
    assert first == again
    assert [case.truth for case in first] != [case.truth for case in other]


def test_an_oracle_without_mistakes_reaches_all_and_mistakes_do_no_harm():
    with open_store("memory:", kits=[kit]) as store:
        results = [*store.evaluate("planning", cases=14, errors=(0.0, 0.3))]
    right, wrong = summarized(results)

    assert right.failed == 0, right.reasons
    assert right.scores["impossible tasks done"] == wrong.scores["impossible tasks done"] == 0
    for name in ("tasks done", "right results", "failures reported", "reports"):
        share = right.scores[name]
        assert isinstance(share, Share)
        assert share.number == share.of, name
    # Mistakes leave tasks undone. They give no wrong result, and no run ends without a report.
    for name in ("right results", "failures reported", "reports"):
        share = wrong.scores[name]
        assert isinstance(share, Share)
        assert share.number == share.of, name
    done = wrong.scores["tasks done"]
    assert isinstance(done, Share)
    assert done.of / 2 < done.number < done.of
