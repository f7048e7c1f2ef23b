"""Evaluations in Python: decisions, documents, answers that do not match, and sums of scores."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

import attrs
import pytest

from kando import Kit, create, make_event, open_store
from kando.emit import call_tool
from kando.errors import ConfigurationError, InvalidData
from kando.evaluation import Case, CaseResult, EndedRun, Evaluation, Mistakes, Share, summarized
from kando.responders.policies import Ask


def reader() -> Kit:
    """Return a kit that has a model read a word in each document, and pays for it."""
    kit = Kit("reader", prompts={"read": "Which word? $path: $text"})

    @kit.object
    @attrs.frozen
    class Word:
        text: str

    @kit.seeds
    def seeds(goal: str, run_id: str) -> list[Any]:
        return [make_event("go", f"run:{run_id}", "cli", [], {"text": goal})]

    @kit.tool("pay", effect="write")
    def pay(amount: int) -> str:
        return "paid"

    @kit.policy
    def ask_first(intent: Any) -> Ask:
        return Ask("money")

    @kit.llm_responder("object.created", type="Document", prompt="read", output=Word)
    def read(event: Any, world: Any) -> dict[str, Any]:
        return dict(event.data["data"])

    @kit.responder("object.created", type=Word)
    def on_word(event: Any, world: Any) -> Iterator[Any]:
        yield call_tool("pay", {"amount": 3})

    @kit.responder("tool.returned")
    def on_paid(event: Any, world: Any) -> Iterator[Any]:
        yield create(
            "Paid", {"result": event.data.get("result"), "error": str(event.data.get("error"))}
        )

    return kit


def cases(seed: int) -> Iterator[Case]:
    yield Case("one", "Read", {"folder/a.txt": f"word{seed}", "b.txt": b""}, truth=f"word{seed}")


def score(case: Case, run: EndedRun) -> Mapping[str, float | Share]:
    words = [each.data["text"] for each in run.world.objects_of("Word")]
    paid = [each.data["result"] for each in run.world.objects_of("Paid")]
    return {"words": Share(words.count(case.truth), 1), "paid": paid.count("paid")}


def told(case: Case, request: Mapping[str, Any], mistakes: Mistakes) -> Mapping[str, Any]:
    return {"data": {"text": case.truth}}


def results_of(evaluation: Evaluation, **options: Any) -> list[CaseResult]:
    with open_store("memory:") as store:
        return list(store.evaluate(reader(), evaluation, **options))


def test_a_case_is_a_run_whose_documents_have_the_paths_of_the_case() -> None:
    with open_store("memory:") as store:
        [result] = store.evaluate(reader(), Evaluation(cases, told, score), errors=[0])
        world = store.run(result.run_id).world()

    assert [each.data["path"] for each in world.objects_of("Document")] == ["folder/a.txt"]
    assert [each.data["path"] for each in world.objects_of("SkippedDocument")] == ["b.txt"]
    assert result.scores["words"] == Share(1, 1)
    assert result.requests == 1


def test_approvals_are_denied_unless_the_evaluation_decides_otherwise() -> None:
    denied = results_of(Evaluation(cases, told, score), errors=[0])
    granted = results_of(Evaluation(cases, told, score, lambda case, asked: True), errors=[0])

    assert [(each.error, each.scores["paid"]) for each in denied] == [(None, 0)]
    assert [(each.error, each.scores["paid"]) for each in granted] == [(None, 1)]


def test_a_case_that_waits_for_a_decision_counts_as_an_error() -> None:
    undecided = Evaluation(cases, told, score, lambda case, asked: None)

    [result] = results_of(undecided, errors=[0])

    assert result.error is not None
    assert result.error.startswith("waiting: ")


def test_an_answer_that_does_not_match_is_sent_back_to_the_oracle_once() -> None:
    def careless(case: Case, request: Mapping[str, Any], mistakes: Mistakes) -> Any:
        is_second = len(request["messages"]) > 1
        return {"data": {"text": case.truth}} if is_second else "not JSON"

    [result] = results_of(Evaluation(cases, careless, score), errors=[0])

    assert result.scores["words"] == Share(1, 1)


def test_an_oracle_that_raises_and_a_score_of_another_type_are_errors_of_the_case() -> None:
    def broken(case: Case, request: Mapping[str, Any], mistakes: Mistakes) -> str:
        raise LookupError("nothing known")

    def wordy(case: Case, run: EndedRun) -> Any:
        return {"words": "many"}

    [raised] = results_of(Evaluation(cases, broken, score), errors=[0])
    [unscored] = results_of(Evaluation(cases, told, wordy), errors=[0])

    assert "nothing known" in str(raised.error)
    assert unscored.error == "no scores: The score 'words' is a str."


@pytest.mark.parametrize("path", ["../a.txt", "/a.txt", ""])
def test_a_document_outside_the_folder_of_its_case_is_refused(path: str) -> None:
    def outside(seed: int) -> Iterator[Case]:
        yield Case("one", "Read", {path: "x"})

    with pytest.raises(InvalidData, match="outside its folder"):
        results_of(Evaluation(outside, told, score))


@pytest.mark.parametrize("options", [{"errors": [1.5]}, {"errors": [-0.1]}, {"cases": 0}])
def test_impossible_numbers_are_refused(options: dict[str, Any]) -> None:
    with pytest.raises(ConfigurationError):
        results_of(Evaluation(cases, told, score), **options)


def test_shares_and_numbers_are_added_up_over_the_cases() -> None:
    [summary] = summarized(
        [
            CaseResult("a", 0.1, "r1", {"found": Share(1, 4), "wrong": 2}, None, 3, 0.5),
            CaseResult("b", 0.1, "r2", {"found": Share(2, 2), "wrong": 1}, "why", 1, 0.25),
            CaseResult("c", 0.1, "", {}, "never started"),
        ]
    )

    assert (summary.cases, summary.failed, summary.requests, summary.cost_usd) == (3, 2, 4, 0.75)
    assert summary.scores == {"found": Share(3, 6), "wrong": 3}
    assert (summary.mean("found"), summary.mean("wrong")) == (0.5, 1.5)
    assert summary.reasons == ["b: why", "c: never started"]


def test_a_score_that_is_a_share_and_a_number_is_refused() -> None:
    results = [CaseResult(n, 0, "r", {"found": s}, None) for n, s in (("a", Share(1, 1)), ("b", 1))]

    with pytest.raises(InvalidData, match="found"):
        summarized(results)
