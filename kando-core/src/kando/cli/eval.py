"""`kando eval`: measure a kit on cases with known answers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import quote

import click

from kando.app.eval import ERRORS, ORACLE
from kando.app.store import Store, open_store
from kando.cli.arguments import KIT_NAME, PROVIDER
from kando.cli.budget import budget_options
from kando.cli.output import clean, columns, print_json, warn
from kando.cli.shared import answer_options, open_command_store, shared_options
from kando.evaluation import CaseResult, Score, Share, Summary, summarized
from kando.responders.budget import Budget

__all__ = ["eval_"]

#: Exit code if the run of a case ended in an error.
_FAILED_CODE = 6


def _rates(context: click.Context, parameter: click.Parameter, given: str | None) -> Any:
    if given is None:
        return None
    try:
        rates = [float(each) for each in given.split(",")]
    except ValueError:
        rates = []
    if not rates or not all(0 <= rate <= 1 for rate in rates):
        msg = f"{given!r} is not a list of numbers between 0 and 1, such as 0,0.1,0.3."
        raise click.BadParameter(msg, context, parameter)
    return list(dict.fromkeys(rates))


@click.command("eval")
@click.argument("kit", type=KIT_NAME)
@click.option(
    "--cases", type=click.IntRange(min=1), metavar="N", help="Run only the first N cases."
)
@click.option("--seed", type=int, default=0, metavar="N", help="Seed of the cases.  [default: 0]")
@click.option(
    "--errors",
    metavar="RATES",
    callback=_rates,
    help="Rates at which the oracle errs.  [default: 0,0.1,0.3]",
)
@click.option(
    "--db",
    type=click.Path(dir_okay=False),
    metavar="FILE",
    help="Keep the runs in this SQLite file.  [default: a temporary file]",
)
@click.option(
    "--llm",
    type=PROVIDER,
    metavar="PROVIDER[:ARG]",
    help="Provider that answers instead of the oracle.",
)
@budget_options
@answer_options
@shared_options
def eval_(
    kit: str,
    cases: int | None,
    seed: int,
    errors: list[float] | None,
    db: str | None,
    llm: str | None,
    budget: Budget,
    as_json: bool,
) -> int:
    """Measure a kit on cases with known answers.

    Each case is a run with documents that the kit's evaluation generates. An oracle answers, which
    knows the truth and errs at a given rate; with --llm a provider answers instead. Limits hold for
    each run. With --db, cases whose run is in the file already are not run again: an interrupted
    evaluation is resumed.
    """
    if llm is not None and errors is not None:
        raise click.UsageError("--errors excludes --llm: a provider errs by itself.")
    with ExitStack() as stack:
        asked = stack.enter_context(open_command_store(shows_progress=True))
        if db is None:
            made = TemporaryDirectory(prefix="kando-eval-", ignore_cleanup_errors=True)
            db = str(Path(stack.enter_context(made), "runs.sqlite"))
        store = stack.enter_context(_store_in(db, asked))
        results = store.evaluate(
            kit, cases=cases, seed=seed, errors=errors or ERRORS, llm=llm, budget=budget
        )
        found = summarized(_warned(results, llm))
    if as_json:
        print_json({"kit": kit, "seed": seed, "answerers": [_as_dict(each, llm) for each in found]})
    else:
        _print(found, llm)
    return _FAILED_CODE if any(each.failed for each in found) else 0


def _store_in(file: str, asked: Store) -> Store:
    """Return a store in a file, with the plugins, settings and activities of the command's."""
    context = asked.context
    store = open_store(
        f"sqlite:{quote(str(Path(file).absolute()))}",
        environ=context.environ,
        plugins=context.plugins,
        llm_options=context.llm_options,
    )
    store.context.activities = context.activities
    return store


def _warned(results: Iterable[CaseResult], llm: str | None) -> Iterable[CaseResult]:
    for result in results:
        if result.error is not None:
            warn(f"{result.case} with {_answerer(result.errors, llm)}: {result.error}")
        yield result


def _answerer(errors: float | None, llm: str | None) -> str:
    return f"{ORACLE} {errors:g}" if errors is not None else str(llm)


def _as_dict(found: Summary, llm: str | None) -> dict[str, Any]:
    return {
        "provider": ORACLE if found.errors is not None else llm,
        "errors": found.errors,
        "cases": found.cases,
        "failed": found.failed,
        "taken_over": found.taken_over,
        "requests": found.requests,
        "cost_usd": found.cost_usd,
        "scores": {name: _score_dict(found, name) for name in found.scores},
        "reasons": found.reasons,
    }


def _score_dict(found: Summary, name: str) -> dict[str, Any]:
    score = found.scores[name]
    total, of = (score.number, score.of) if isinstance(score, Share) else (score, None)
    return {"total": total, "of": of, "mean": found.mean(name)}


def _print(summaries: list[Summary], llm: str | None) -> None:
    names = dict.fromkeys(name for each in summaries for name in each.scores)
    any_old = any(each.taken_over for each in summaries)
    rows = [
        ["cases", *(str(each.cases) for each in summaries)],
        *([["taken over", *(str(each.taken_over) for each in summaries)]] if any_old else []),
        ["ended in an error", *(str(each.failed) for each in summaries)],
        *([clean(name), *(_cell(each, name) for each in summaries)] for name in names),
        ["requests", *(str(each.requests) for each in summaries)],
        ["USD", *(f"{each.cost_usd:.4f}" for each in summaries)],
    ]
    columns(rows, ["SCORE", *(clean(_answerer(each.errors, llm)).upper() for each in summaries)])


def _cell(summary: Summary, name: str) -> str:
    score: Score | None = summary.scores.get(name)
    if score is None:
        return "-"
    if not isinstance(score, Share):
        return f"{score:g}"
    mean = summary.mean(name)
    return f"{score.number} of {score.of}" + (f" ({mean:.0%})" if mean is not None else "")
