"""Evaluations of kits: generated cases with known answers, an oracle, and scores.

A kit names its evaluation in its `kando.plugins.KitSpec`, so that it is imported only when the kit
is measured::

    KitSpec("weather", "kando_weather.kit:kit", evaluation="kando_weather.evaluation:evaluation")

`kando.Store.evaluate` and ``kando eval KIT`` run the cases, one run each, and yield the scores; `summarized` adds them up.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from random import Random
from typing import Any, TypeAlias

import attrs

from kando.errors import InvalidData
from kando.schema.content import text_of_content
from kando.views.approvals import Approval
from kando.views.metrics import RunMetrics
from kando.views.questions import Question
from kando.world.graph import World

__all__ = [
    "Case",
    "CaseResult",
    "EndedRun",
    "Evaluation",
    "Mistakes",
    "Score",
    "Share",
    "Summary",
    "asked_in",
    "summarized",
]

_MAX_REASONS = 5


@attrs.frozen
class Share:
    """A score that counts some of many: ``Share(3, 4)`` is 3 of 4.

    The shares of several cases are added up, so that a large case counts more than a small one.

    Attributes:
        number: how many of them.
        of: how many there are.
    """

    number: int
    of: int

    def __add__(self, other: Share) -> Share:
        return Share(self.number + other.number, self.of + other.of)


#: A number is added up over the cases; so is a `Share`.
Score: TypeAlias = float | Share


@attrs.frozen
class Case:
    """A goal with input documents whose right answers are known.

    Attributes:
        name: unique in the evaluation, and a valid name of a folder.
        goal: of the run.
        documents: contents of the input files by their paths, separated by ``/``.
        truth: what the oracle and the scores know; the run does not see it.
        settings: of the kit.
    """

    name: str
    goal: str
    documents: Mapping[str, str | bytes] = attrs.field(factory=dict)
    truth: Any = None
    settings: Mapping[str, Any] = attrs.field(factory=dict)


@attrs.frozen
class Mistakes:
    """Decides where an oracle is wrong.

    It is made anew for each request from the seed, the name of the case and the request. So equal
    requests get equal answers, in any order.

    Attributes:
        rate: probability of a mistake, from 0 to 1.
        random: for choices that an oracle makes.
    """

    rate: float
    random: Random

    def happens(self) -> bool:
        """Whether to make a mistake now. A mistake at one rate also happens at every higher rate."""
        return self.random.random() < self.rate


@attrs.frozen
class EndedRun:
    """The run of a case after it has ended.

    Attributes:
        run_id: of the run.
        state: as in `kando.app.status.RunStatus`.
        world: its objects and relations.
        artifacts: the texts of its artifacts by their names.
        metrics: what it has done and used.
    """

    run_id: str
    state: str
    world: World
    artifacts: Mapping[str, str]
    metrics: RunMetrics


def _denied(case: Case, question: Approval | Question) -> Any:
    return False if isinstance(question, Approval) else None


@attrs.frozen
class Evaluation:
    """The evaluation of a kit.

    Attributes:
        cases: ``cases(seed)`` yields the cases; the same seed gives the same cases.
        oracle: ``oracle(case, request, mistakes)`` answers an ``llm.request`` from the truth of the
            case: it returns a text, or the data of an ``llm.response`` such as ``{"data": {...}}``.
            As with any provider, an answer that does not match the ``output_schema`` of the request
            is sent back once.
        score: ``score(case, run)`` returns the scores of a run by name.
        decide: ``decide(case, question)`` decides as a person, as
            `kando.testing.kits.KitContract.decide`: approvals are denied, and questions stay
            unanswered, if it is omitted.
    """

    cases: Callable[[int], Iterable[Case]]
    oracle: Callable[[Case, Mapping[str, Any], Mistakes], str | Mapping[str, Any]]
    score: Callable[[Case, EndedRun], Mapping[str, Score]]
    decide: Callable[[Case, Approval | Question], Any] = _denied


@attrs.frozen
class CaseResult:
    """The result of a case.

    Attributes:
        case: name of the case.
        errors: rate at which the oracle erred; None if a provider answered.
        run_id: of the run, in the store of the evaluation; empty if it could not be started.
        scores: by name; empty if the run could not be started.
        error: why the run did not finish or has no scores; None if it did.
        requests: number of requests to models.
        cost_usd: in US dollars.
        taken_over: whether the run, or a part of it, is that of an earlier evaluation.
    """

    case: str
    errors: float | None
    run_id: str
    scores: Mapping[str, Score]
    error: str | None
    requests: int = 0
    cost_usd: float = 0.0
    taken_over: bool = False


@attrs.define
class Summary:
    """The results of all cases with one answerer, added up.

    Attributes:
        errors: as in `CaseResult`.
        cases: how many were run.
        failed: how many ended in an error.
        requests: number of requests to models.
        cost_usd: in US dollars.
        scores: totals by name.
        scored: how many cases have the score, by name.
        reasons: why cases ended in an error: the first ones, with the names of the cases.
        taken_over: how many were taken over from an earlier evaluation.
    """

    errors: float | None
    cases: int = 0
    failed: int = 0
    requests: int = 0
    cost_usd: float = 0.0
    scores: dict[str, Score] = attrs.field(factory=dict)
    scored: dict[str, int] = attrs.field(factory=dict)
    reasons: list[str] = attrs.field(factory=list)
    taken_over: int = 0

    def add(self, result: CaseResult) -> None:
        """Add the result of a further case.

        Raises:
            InvalidData: a score is a share in one case and a number in another.
        """
        self.cases += 1
        self.requests += result.requests
        self.cost_usd += result.cost_usd
        self.taken_over += result.taken_over
        if result.error is not None:
            self.failed += 1
            if len(self.reasons) < _MAX_REASONS:
                self.reasons.append(f"{result.case}: {result.error}")
        for name, score in result.scores.items():
            self.scores[name] = _sum(name, self.scores.get(name), score)
            self.scored[name] = self.scored.get(name, 0) + 1

    def mean(self, name: str) -> float | None:
        """Return a score on average: of a share its part of the whole; None if there is none."""
        score = self.scores[name]
        if isinstance(score, Share):
            return score.number / score.of if score.of else None
        return score / self.scored[name]


def summarized(results: Iterable[CaseResult]) -> list[Summary]:
    """Return the results of cases added up: one summary for each rate of errors."""
    found: dict[float | None, Summary] = {}
    for result in results:
        found.setdefault(result.errors, Summary(result.errors)).add(result)
    return list(found.values())


def asked_in(request: Mapping[str, Any]) -> str:
    """Return the text of all messages of a request."""
    return "\n".join(text_of_content(each.get("content")) for each in request.get("messages", ()))


def _sum(name: str, one: Score | None, other: Score) -> Score:
    if one is None:
        return other
    if isinstance(one, Share) and isinstance(other, Share):
        return one + other
    if isinstance(one, Share) or isinstance(other, Share):
        msg = f"The score {name!r} is a share of one case and a number of another."
        raise InvalidData(msg, hint="Return kando.evaluation.Share for every case.")
    return one + other
