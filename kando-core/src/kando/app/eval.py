"""Evaluate a kit: run generated cases with known answers, and score the runs."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from hashlib import sha256
from itertools import islice
from pathlib import Path, PurePosixPath
from random import Random
from tempfile import TemporaryDirectory
from typing import Any

import attrs

from kando.app.artifacts import artifacts_in
from kando.app.context import Context
from kando.app.providers import Provider
from kando.app.resume import opened_provider
from kando.app.run import Run
from kando.app.start import start_run
from kando.app.status import CANCELLED, EXHAUSTED, FINISHED, RunStatus
from kando.errors import (
    ConfigurationError,
    InvalidData,
    KandoError,
    LedgerNotFound,
    NotFoundError,
    StoreDamaged,
    StoreError,
)
from kando.evaluation import Case, CaseResult, EndedRun, Evaluation, Mistakes, Score, Share
from kando.kit import Kit
from kando.responders.budget import Budget
from kando.responders.llm_executor import provider_executor
from kando.schema.events import CASE, KIT_LOADED
from kando.schema.exact_json import sorted_encode
from kando.schema.typed import to_json
from kando.text.documents import Document, Skipped, read_documents
from kando.views.approvals import Approval
from kando.views.metrics import RunMetrics
from kando.views.questions import Question

__all__ = ["ERRORS", "ORACLE", "evaluate", "evaluation_of"]

#: Rates at which the oracle errs if none are given.
ERRORS = (0.0, 0.1, 0.3)

#: States of a run on which no work is left. One that failed is resumed, and may fail again.
_ENDED = (FINISHED, EXHAUSTED, CANCELLED)

#: Name of the provider that answers from the truth of a case.
ORACLE = "oracle"


def evaluation_of(context: Context, kit: str) -> Evaluation:
    """Return the evaluation of an installed kit.

    Raises:
        UnknownPlugin: no installed plugin offers the kit.
        PluginBroken: its evaluation cannot be imported.
        NotFoundError: it has none.
        ConfigurationError: its record names something else.
    """
    offered = context.plugins.kit(kit)
    found = context.plugins.evaluation(offered)
    if found is None:
        msg = f"Kit {offered.spec.name!r} has no evaluation."
        raise NotFoundError(msg, hint="Name one in its KitSpec: evaluation='module:attribute'.")
    if not isinstance(found, Evaluation):
        msg = f"The evaluation of kit {offered.spec.name!r} is a {type(found).__name__}."
        raise ConfigurationError(msg, hint="Let its KitSpec name a kando.evaluation.Evaluation.")
    return found


def evaluate(
    context: Context,
    kit: str | Kit,
    evaluation: Evaluation | None = None,
    *,
    cases: int | None = None,
    seed: int = 0,
    errors: Sequence[float] = ERRORS,
    llm: str | Provider | None = None,
    budget: Budget | None = None,
) -> Iterator[CaseResult]:
    """Run the cases of a kit's evaluation one after the other, and yield the result of each.

    The run of a case that is in the substrate already, with the same version of the kit, documents,
    seed, provider, options and limits, is taken over: it is resumed unless it has ended.

    Args:
        context: whose substrate gets the runs.
        kit: the kit, or the name of an installed one.
        evaluation: of the kit; the one that its record names if None.
        cases: how many cases to run; all if None.
        seed: of the cases and of the mistakes of the oracle.
        errors: rates at which the oracle errs; each case is run once with each.
        llm: a provider that answers instead of the oracle: each case is run once then.
        budget: limits of each run.

    Raises:
        UnknownPlugin: no such kit or provider is installed.
        NotFoundError: the kit has no evaluation.
        ConfigurationError: a rate is not between 0 and 1, or there are no cases.
        StoreError: the substrate cannot be used.
    """
    for rate in errors:
        if not 0 <= rate <= 1:
            msg = f"The rate of errors {rate} is not between 0 and 1."
            raise ConfigurationError(msg, hint="Write rates such as 0,0.1,0.3.")
    if cases is not None and cases < 1:
        msg = f"The number of cases is {cases}."
        raise ConfigurationError(msg, hint="Ask for at least 1 case.")
    if evaluation is None:
        evaluation = evaluation_of(context, kit if isinstance(kit, str) else kit.name)
    loaded = kit if isinstance(kit, Kit) else context.kit(kit)
    context.remember(loaded)
    with ExitStack() as stack:
        chosen = None
        if llm is not None:
            chosen = stack.enter_context(opened_provider(context, loaded, llm, False))
        trial = _Trial(context, loaded, evaluation, seed, budget, chosen, _known(context, loaded))
        step = stack.enter_context(context.activities.step("evaluate", unit="cases"))
        for case in step.over(islice(evaluation.cases(seed), cases)):
            documents = _documents(case)
            rates: Sequence[float | None] = errors if chosen is None else [None]
            for answerer in rates:
                yield trial.result(case, documents, answerer)


def _known(context: Context, kit: Kit) -> dict[bytes, str]:
    """Return the runs of a version of a kit that earlier evaluations have left, by their cases."""
    found: dict[bytes, str] = {}
    substrate = context.substrate()
    for info in substrate.ledgers():
        first = None
        # Neither a damaged run nor one that was just deleted ends the evaluation of others.
        with suppress(LedgerNotFound, StoreDamaged):
            first = substrate.open(info.id).at(0) if info.parent_id is None else None
        data = first.data if first is not None and first.type == KIT_LOADED else {}
        if CASE in data and (data.get("name"), data.get("version")) == (kit.name, kit.version):
            # The newest comes first.
            found.setdefault(sorted_encode(data[CASE]), info.id)
    return found


def _documents(case: Case) -> list[Document | Skipped]:
    """Read the documents of a case; their paths do not depend on the folder that they are written to."""
    with TemporaryDirectory(prefix="kando-eval-", ignore_cleanup_errors=True) as folder:
        for name, content in case.documents.items():
            path = PurePosixPath(name)
            if path.is_absolute() or ".." in path.parts or not path.parts:
                msg = f"Case {case.name!r} has a document at {name!r}, outside its folder."
                raise InvalidData(msg, hint="Write a relative path.")
            target = Path(folder, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content.encode() if isinstance(content, str) else content)
        top = len(Path(folder).as_posix()) + 1
        return [attrs.evolve(each, path=each.path[top:]) for each in read_documents([folder])]


@attrs.frozen
class _Trial:
    """The runs of one evaluation.

    Attributes:
        context: whose substrate gets the runs.
        kit: that is evaluated.
        evaluation: of the kit.
        seed: of the mistakes of the oracle.
        budget: limits of each run.
        provider: that answers; the oracle if None.
        known: ids of the runs of earlier evaluations, by the case that they record.
    """

    context: Context
    kit: Kit
    evaluation: Evaluation
    seed: int
    budget: Budget | None
    provider: Provider | None
    known: Mapping[bytes, str]

    def result(
        self, case: Case, documents: Sequence[Document | Skipped], errors: float | None
    ) -> CaseResult:
        """Run a case and score the run."""
        provider = self.provider or self._oracle(case, errors or 0.0)
        recorded = self._recorded(case, documents, errors)
        known = self.known.get(sorted_encode(recorded))
        started: list[str] = [] if known is None else [known]
        try:
            if known is None:
                status = self._started(case, documents, provider, recorded, started.append)
            else:
                status = self._again(known, provider)
            problem = self._work(case, provider, status)
        except StoreError:
            raise
        except (Exception, SystemExit) as error:
            problem = _described(error)
        if not started:
            return CaseResult(case.name, errors, "", {}, problem)
        is_old = known is not None
        run = Run(started[0], context=self.context)
        metrics = run.metrics()
        scores: Mapping[str, Score] = {}
        try:
            scores = _checked(self.evaluation.score(case, _ended(run, metrics)))
        except (Exception, SystemExit) as error:
            problem = problem or f"no scores: {_described(error)}"
        spent = metrics.llm
        return CaseResult(
            case.name, errors, run.id, scores, problem, spent.requests, spent.cost_usd, is_old
        )

    def _recorded(
        self, case: Case, documents: Sequence[Document | Skipped], errors: float | None
    ) -> dict[str, Any]:
        """Return what the run of a case records, so that another evaluation can take it over."""
        asked, budget = self.provider, self.budget
        rest = [
            case.goal,
            to_json(dict(case.settings)),
            [attrs.asdict(each) for each in documents],
            budget.limits() if budget is not None else {},
            [dict(asked.options), dict(asked.model_options)] if asked is not None else [],
        ]
        return {
            "name": case.name,
            "seed": self.seed,
            "errors": errors,
            "provider": asked.identity if asked is not None else ORACLE,
            "sha256": sha256(sorted_encode(rest)).hexdigest(),
        }

    def _oracle(self, case: Case, errors: float) -> Provider:
        """Return the provider that answers from the truth of a case."""

        def complete(request: dict[str, Any]) -> dict[str, Any]:
            # The place of a request in its run does not change what is asked.
            asked = {name: request.get(name) for name in ("messages", "output_schema")}
            known = json.dumps([self.seed, case.name, asked], sort_keys=True, default=str)
            drawn = Random(sha256(known.encode("utf-8", "surrogatepass")).digest())
            answer = self.evaluation.oracle(case, request, Mistakes(errors, drawn))
            data = {"text": answer} if isinstance(answer, str) else answer
            return {"model": ORACLE, "cost_usd": 0.0, **data}

        return Provider(ORACLE, f"{case.name}@{errors}", provider_executor(complete))

    def _started(
        self,
        case: Case,
        documents: Sequence[Document | Skipped],
        provider: Provider,
        recorded: Mapping[str, Any],
        on_started: Callable[[str], None],
    ) -> RunStatus:
        return start_run(
            self.context,
            self.kit,
            case.goal,
            llm=provider,
            budget=self.budget,
            settings=case.settings or None,
            documents=documents,
            case=recorded,
            on_started=on_started,
        ).status

    def _again(self, run_id: str, provider: Provider) -> RunStatus:
        """Resume the run of an earlier evaluation unless it has ended."""
        run = Run(run_id, context=self.context)
        status = run.status()
        return status if status.state in _ENDED else run.resume(llm=provider).status

    def _work(self, case: Case, provider: Provider, status: RunStatus) -> str | None:
        """Decide what a run waits for, and return why the run did not finish; None if it did."""
        run = Run(status.run_id, context=self.context)
        decided: set[str] = set()
        while self._decide(case, run, status, decided):
            status = run.resume(llm=provider).status
        if status.state == FINISHED and not status.got_no_answer:
            return None
        return f"{status.state}: {status.problem or 'the run has not ended'}"

    def _decide(self, case: Case, run: Run, status: RunStatus, decided: set[str]) -> bool:
        """Decide as a person what a run waits for, and return whether anything was decided."""
        if not status.approvals and not status.questions:
            return False
        questions: list[Approval | Question] = [*run.approvals(), *run.questions()]
        any_decided = False
        for question in questions:
            if question.event_id in decided:
                continue
            decided.add(question.event_id)
            decision = self.evaluation.decide(case, question)
            if decision is not None:
                _answer(run, question, decision)
                any_decided = True
        return any_decided


def _ended(run: Run, metrics: RunMetrics) -> EndedRun:
    world = run.world()
    artifacts = {each.name: each.text for each in artifacts_in(world)}
    return EndedRun(run.id, run.status().state, world, artifacts, metrics)


def _answer(run: Run, question: Approval | Question, decision: Any) -> None:
    by = "evaluation"
    if isinstance(question, Question):
        run.reply(question.event_id, decision, by=by)
    elif decision is True or isinstance(decision, Mapping):
        arguments = dict(decision) if isinstance(decision, Mapping) else None
        run.approve(question.event_id, arguments, by=by)
    else:
        reason = decision if isinstance(decision, str) else None
        run.deny(question.event_id, reason=reason, by=by)


def _checked(scores: Mapping[str, Score]) -> Mapping[str, Score]:
    for name, score in scores.items():
        if not isinstance(score, int | float | Share):
            msg = f"The score {name!r} is a {type(score).__name__}."
            raise InvalidData(msg, hint="Return a number or a kando.evaluation.Share.")
    return dict(scores)


def _described(error: BaseException) -> str:
    if isinstance(error, KandoError):
        return error.message
    return f"{type(error).__name__}: {error}"
