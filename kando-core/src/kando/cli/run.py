"""`kando run` and `kando resume`."""

from __future__ import annotations

from collections.abc import Callable
from functools import wraps
from typing import Any

import click

from kando.app.providers import KEY_ORDER, keys_without_provider
from kando.app.resume import RunResult
from kando.app.status import EXHAUSTED, FAILED, RunStatus, read_status
from kando.app.store import Store
from kando.cli.exit_codes import RunFailed, RunInterrupted
from kando.cli.output import ReaderGone, print_json, print_line, status_dict, warn, with_place
from kando.cli.shared import go_on, open_command_store, shared_options, stream_option
from kando.errors import KandoError, StoreError
from kando.responders.budget import Budget

__all__ = ["resume", "run", "work_on"]

_EXHAUSTED_CODE = 7


#: Options of limits: what follows ``--budget-``, the limit, its type and help.
_LIMITS = (
    ("events", "max_events", click.IntRange(0), "Events in the ledger."),
    ("usd", "max_llm_cost_usd", click.FloatRange(0), "Cost of LLM calls."),
    ("seconds", "max_wall_seconds", click.FloatRange(0), "Seconds of work."),
    ("depth", "max_recursion_depth", click.IntRange(0), "Longest chain of causes."),
    ("llm-calls", "max_llm_calls", click.IntRange(0), "LLM calls."),
    ("llm-tokens", "max_llm_tokens", click.IntRange(0), "Tokens of LLM calls."),
    ("tool-calls", "max_tool_calls", click.IntRange(0), "Calls of tools."),
    (
        "fallback-usd",
        "fallback_usd_per_call",
        click.FloatRange(0),
        "What an LLM call of unknown price counts for.  [default: 0.01]",
    ),
)


def _limits(function: Callable[..., Any]) -> Callable[..., Any]:
    """Give a command ``--llm``, and the options of `_LIMITS` as its argument ``budget``."""

    @wraps(function)
    def limited(*arguments: Any, **named: Any) -> Any:
        limits = {limit: named.pop(limit) for _, limit, _, _ in _LIMITS}
        return function(*arguments, budget=Budget(**limits), **named)

    command: Callable[..., Any] = limited
    for name, limit, kind, help in reversed(_LIMITS):
        command = click.option(f"--budget-{name}", limit, type=kind, help=help)(command)
    return click.option(
        "--llm", metavar="PROVIDER[:ARG]", help="Who answers requests. [env: KANDO_LLM]"
    )(command)


@click.command()
@click.argument("kit")
@click.option("--goal", help="What the run is for.")
@click.option("--demo", is_flag=True, help="Work offline from documents that come with the kit.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    type=click.Path(),
    metavar="PATH",
    help="A file or folder to work from; may be repeated.",
)
@click.option("--group", help="Leave the work to the workers of a group (see `kando worker`).")
@click.argument("more_inputs", nargs=-1, type=click.Path(), metavar="[PATH]...")
@_limits
@stream_option
@shared_options
def run(
    kit: str,
    goal: str | None,
    demo: bool,
    inputs: tuple[str, ...],
    group: str | None,
    more_inputs: tuple[str, ...],
    llm: str | None,
    budget: Budget,
    as_json: bool,
) -> int:
    """Start a run of KIT and print its id.

    KIT is the name of an installed kit (see `kando plugins`). Paths after --input belong to it.
    """
    if more_inputs and not inputs:
        msg = f"Unexpected argument {more_inputs[0]!r}."
        raise click.UsageError(msg + " Files and folders to work from follow --input.")
    if goal is None and not demo:
        raise click.UsageError("Missing option '--goal'.")
    _refuse_beside_group(group, llm)

    def work(store: Store, on_started: Callable[[str], None]) -> RunResult:
        started = store.start(
            kit,
            goal,
            inputs=[*inputs, *more_inputs],
            demo=demo,
            llm=llm,
            budget=budget,
            group=group,
            on_started=on_started,
        )
        return started.result or RunResult(started.status(), None)

    return work_on(work, as_json)


@click.command()
@click.argument("run", metavar="RUN")
@click.option("--kit", help="Kit to go on with; the one it was started with if omitted.")
@click.option("--wait", is_flag=True, help="Stay while the run waits for a time or a message.")
@click.option("--no-budget", is_flag=True, help="Forget the limits that the run was given before.")
@click.option("--group", help="Leave the work to the workers of a group (see `kando worker`).")
@_limits
@stream_option
@shared_options
def resume(
    run: str,
    kit: str | None,
    wait: bool,
    no_budget: bool,
    group: str | None,
    llm: str | None,
    budget: Budget,
    as_json: bool,
) -> int:
    """Go on with RUN from wherever it stopped, and print its id.

    Requests that nobody could answer are asked now. The run keeps the limits that it was given
    before, apart from those that are named; they are for all of it, what it has used included.
    """
    _refuse_beside_group(group, llm)
    if group is not None and (budget.limits() or no_budget):
        msg = "Limits are those of the run and of the workers: say them to `kando worker`."
        raise click.UsageError(msg)

    def work(store: Store, on_started: Callable[[str], None]) -> RunResult:
        named = store.run(run)
        if group is not None:
            named.offer(group)
            on_started(named.id)
            return RunResult(named.status(), None)
        return named.resume(
            kit=kit,
            llm=llm,
            budget=budget,
            forgets_limits=no_budget,
            wait=wait,
            on_started=on_started,
        )

    return work_on(work, as_json)


def _refuse_beside_group(group: str | None, llm: str | None) -> None:
    if group is not None and llm is not None:
        msg = "The provider is that of the workers: say it to `kando worker`."
        raise click.UsageError(msg)


def work_on(work: Callable[[Store, Callable[[str], None]], RunResult], as_json: bool) -> int:
    """Do the work, tell what came of it, and return the exit code."""
    started: list[str] = []

    def on_started(run_id: str) -> None:
        started.append(run_id)
        if not as_json:
            print_line(run_id)

    with open_command_store() as store:
        try:
            result = work(store, on_started)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if not started:
                raise
            raise _explained(store, started[0], error) from error
        for skipped in result.skipped:
            warn(f"skipped {skipped.path}: {skipped.reason}")
        if as_json:
            print_json(status_dict(result.status) | {"provider": result.provider})
        else:
            _tell(store, result)
    return _EXHAUSTED_CODE if result.status.state == EXHAUSTED else 0


def _explained(store: Store, run_id: str, error: BaseException) -> BaseException:
    """Return the error to show for what ended the work on a run."""
    if isinstance(error, KeyboardInterrupt):
        hint = f"Everything recorded is kept. Go on with: {go_on(store, run_id)}"
        return RunInterrupted(f"Run {run_id} was interrupted.", hint=hint)
    if isinstance(error, StoreError | ReaderGone):
        return error
    if isinstance(error, KandoError) and read_status(store.context.ledger(run_id)).state != FAILED:
        return error
    if isinstance(error, KandoError):
        what, cure = error.message, f" {error.hint}" if error.hint else ""
    else:
        what, cure = f"{type(error).__name__}: {error}", ""
    msg = with_place(f"Run {run_id} failed: {what}", error) + cure
    return RunFailed(
        msg, hint=f"`kando events {run_id}` shows where; go on with: {go_on(store, run_id)}"
    )


def _tell(store: Store, result: RunResult) -> None:
    status = result.status
    objects = ", ".join(f"{n} {type}" for type, n in status.objects.items()) or "nothing"
    warn(f"{status.state}: {status.events} events; {objects}")
    if status.state == EXHAUSTED:
        warn(
            f"The budget is exhausted ({status.problem}). Go on with more: "
            f"{go_on(store, status.run_id, _more_of(status.problem))}"
        )
        return
    if status.approvals:
        n = status.approvals
        asked = "decision is" if n == 1 else "decisions are"
        warn(f"{n} {asked} a person's: kando approvals {status.run_id}")
    n = status.unanswered - status.approvals
    if n > 0:
        warn(f"{n} {'request is' if n == 1 else 'requests are'} unanswered.")
        if result.provider is None:
            _tell_how_to_answer(store, status)


def _more_of(problem: str | None) -> str:
    """Return the options that raise the limits which were reached."""
    reached = (problem or "").split(", ")
    return "".join(f" --budget-{name} N" for name, limit, _, _ in _LIMITS if limit in reached)


def _tell_how_to_answer(store: Store, status: RunStatus) -> None:
    for key in keys_without_provider(store.context.plugins, store.context.environ):
        warn(f"{key} is set, but no installed provider uses it.")
    keys = ", ".join(KEY_ORDER[:-1]) + f" or {KEY_ORDER[-1]}"
    offers = store.context.plugins.providers()
    named = f"such as --llm {offers[0].spec.name}" if offers else "pip install kando-llm"
    # A key alone is no cure where nobody would use it.
    is_used = any(key in offered.spec.key_env for offered in offers for key in KEY_ORDER)
    needed = "" if is_used else " and install a provider that uses it"
    warn(f"No model is configured: name a provider with --llm ({named}), or set {keys}{needed}.")
    warn(f"Then go on with: {go_on(store, status.run_id)}")
