"""`kando run` and `kando resume`."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING

import click

from kando.app.providers import KEY_ORDER, keys_without_provider
from kando.app.resume import RunResult
from kando.app.shapes import status_dict
from kando.app.status import EXHAUSTED, FAILED, RunStatus, read_status
from kando.app.store import Store
from kando.app.streams import OutputFailed, ReaderGone
from kando.cli.arguments import GOAL, KIT, PROVIDER, RUN
from kando.cli.budget import budget_options, higher_limits
from kando.cli.exit_codes import RunFailed, RunInterrupted
from kando.cli.label import label_option
from kando.cli.output import print_json, print_line, warn
from kando.cli.shared import (
    answer_options,
    command_for,
    grace_option,
    mcp_option,
    open_command_store,
    resume_hint,
    settings_option,
    shared_options,
    stream_option,
    termination,
)
from kando.errors import KandoError, RunBusy, StoreError
from kando.responders.budget import Budget
from kando.runtime.failure import with_place
from kando.schema.events import LLM_RESPONSE, RESPONDER_FAILED
from kando.schema.firing import firing_of
from kando.views.pending import failed_intent

if TYPE_CHECKING:
    from kando.kit import Kit

__all__ = [
    "code_of",
    "explained",
    "llm_option",
    "report_missing_provider",
    "resume",
    "run",
    "work_on",
]

_FAILED_CODE, _EXHAUSTED_CODE = 6, 7


#: The option ``--llm``.
llm_option = click.option(
    "--llm",
    type=PROVIDER,
    metavar="PROVIDER[:ARG]",
    help="Provider that answers LLM requests. [env: KANDO_LLM]",
)


@click.command()
@click.argument("kit", type=KIT)
@click.option(
    "--goal", type=GOAL, metavar="TEXT", help="Goal of the run; - is stdin, and @FILE a file."
)
@click.option("--demo", is_flag=True, help="Work offline from the kit's demo documents.")
@click.option(
    "--input",
    "inputs",
    multiple=True,
    type=click.Path(),
    metavar="PATH",
    help="File or folder to work from; may be repeated.",
)
@click.option("--group", metavar="GROUP", help="Leave the work to the workers of this group.")
@click.option(
    "--workspace",
    type=click.Path(exists=True, file_okay=False),
    metavar="DIR",
    help="Folder whose files the workspace has first; they are copied.",
)
@settings_option
@label_option("Label of the run, to find it by")
@mcp_option
@click.argument("more_inputs", nargs=-1, type=click.Path(), metavar="[PATH]...")
@llm_option
@budget_options
@answer_options
@stream_option
@grace_option
@shared_options
def run(
    kit: str | Kit,
    goal: str | None,
    demo: bool,
    inputs: tuple[str, ...],
    group: str | None,
    workspace: str | None,
    settings: Mapping[str, str] | None,
    labels: dict[str, str],
    mcp: dict[str, str],
    more_inputs: tuple[str, ...],
    llm: str | None,
    budget: Budget,
    as_json: bool,
) -> int:
    """Start a run of a kit from a goal.

    KIT is the name of an installed kit (`kando kits` lists them), or a Python file that holds one:
    ./my_kit.py. The run's id is printed as soon as
    the run is recorded. Paths after --input are inputs, too.
    """
    if more_inputs and not inputs:
        msg = f"Unexpected argument {more_inputs[0]!r}."
        raise click.UsageError(msg + " Name files and folders to work from after --input.")
    if goal is None and not demo:
        raise click.UsageError("Missing option '--goal'.")
    _refuse_llm_with_group(group, llm)

    def work(store: Store, on_started: Callable[[str], None]) -> RunResult:
        started = store.start(
            kit,
            goal,
            inputs=[*inputs, *more_inputs],
            demo=demo,
            llm=llm,
            budget=budget,
            settings=settings,
            group=group,
            workspace=workspace,
            mcp=mcp,
            labels=labels,
            on_started=on_started,
        )
        return started.result or RunResult(started.status(), None)

    return work_on(work, as_json)


@click.command()
@click.argument("run", type=RUN, metavar="RUN")
@click.option("--kit", type=KIT, help="Kit to resume with.  [default: the run's kit]")
@click.option("--wait", is_flag=True, help="Stay while the run waits for a timer or a message.")
@click.option("--take-over", is_flag=True, help="Take the run over from another process.")
@click.option("--no-budget", is_flag=True, help="Remove the run's current limits.")
@click.option("--group", metavar="GROUP", help="Leave the work to the workers of this group.")
@mcp_option
@llm_option
@budget_options
@answer_options
@stream_option
@grace_option
@shared_options
def resume(
    run: str,
    kit: str | Kit | None,
    wait: bool,
    take_over: bool,
    no_budget: bool,
    group: str | None,
    mcp: dict[str, str],
    llm: str | None,
    budget: Budget,
    as_json: bool,
) -> int:
    """Resume a run from wherever it stopped.

    Sends requests that are still unanswered. RUN keeps its limits, except those that are given
    here. A limit covers the whole run, including its earlier usage.
    """
    _refuse_llm_with_group(group, llm)
    if group is not None and (budget.limits() or no_budget):
        worker = command_for("worker", f"--group {group} --budget-usd USD")
        raise click.UsageError(f"--group excludes limits. Give them to the workers: `{worker}`.")
    if group is not None and take_over:
        raise click.UsageError("--group excludes --take-over: workers take no run over.")

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
            take_over=take_over,
            mcp=mcp,
            on_started=on_started,
        )

    return work_on(work, as_json)


def _refuse_llm_with_group(group: str | None, llm: str | None) -> None:
    if group is not None and llm is not None:
        worker = command_for("worker", f"--group {group} --llm {shlex.quote(llm)}")
        raise click.UsageError(f"--group excludes --llm. Give it to the workers: `{worker}`.")


def work_on(work: Callable[[Store, Callable[[str], None]], RunResult], as_json: bool) -> int:
    """Do the work, report its result, and return the exit code.

    Output that cannot be written is reported when the work is done: it does not end the work.
    """
    started: list[str] = []
    unshown: list[OutputFailed | ReaderGone] = []

    def show(write: Callable[[], None]) -> None:
        try:
            write()
        except (OutputFailed, ReaderGone) as error:
            unshown.append(error)

    def on_started(run_id: str) -> None:
        started.append(run_id)
        if not as_json:
            show(lambda: print_line(run_id))

    with open_command_store(shows_progress=True) as store, termination(store):
        try:
            result = work(store, on_started)
        except (Exception, SystemExit, KeyboardInterrupt) as error:
            if not started:
                raise
            raise explained(store, started[0], error) from error
        for skipped in result.skipped:
            warn(f"skipped {skipped.path}: {skipped.reason}")
        for document in result.noted:
            warn(f"read {document.path}: {'; '.join(document.notes)}")
        if as_json:
            show(lambda: print_json(status_dict(result.status) | {"provider": result.provider}))
        else:
            _report(store, result)
    code = code_of(result.status)
    if unshown and code == 0:
        raise unshown[0]
    if unshown and isinstance(unshown[0], OutputFailed):
        warn(str(unshown[0]))
    return code


def code_of(status: RunStatus) -> int:
    """Return the exit code for the status of a run that was worked on."""
    if status.got_no_answer:
        return _FAILED_CODE
    return _EXHAUSTED_CODE if status.state == EXHAUSTED else 0


def explained(store: Store, run_id: str, error: BaseException) -> BaseException:
    """Return the error to show for an error that ended the work on a run."""
    if isinstance(error, KeyboardInterrupt):
        hint = f"Its recorded events are kept. {resume_hint(store, run_id)}"
        return RunInterrupted(f"Run {run_id} was interrupted.", hint=hint)
    if isinstance(error, StoreError | RunBusy):
        return error
    if isinstance(error, KandoError) and read_status(store.context.ledger(run_id)).state != FAILED:
        return error
    if isinstance(error, KandoError):
        what, cure = error.message, f" {error.hint}" if error.hint else ""
    else:
        what, cure = f"{type(error).__name__}: {error}", ""
    msg = with_place(f"Run {run_id} failed: {what}", error) + cure
    resume = resume_hint(store, run_id)
    if store.url.startswith("memory:"):
        return RunFailed(msg, hint=resume)
    shown = command_for("events", run_id)
    hint = f"`{shown}` shows the failure{_parking_hint(store, run_id)}. {resume}"
    return RunFailed(msg, hint=hint)


def _parking_hint(store: Store, run_id: str) -> str:
    """Return how to step over the firing at which a run has failed, if it has."""
    ledger = store.context.ledger(run_id)
    last = ledger.at(ledger.length() - 1)
    if last is None or last.type != RESPONDER_FAILED:
        return ""
    trigger, responder = firing_of(last)
    event = failed_intent(last.data) or trigger
    park = command_for("park", run_id, shlex.quote(event), shlex.quote(responder))
    return f", `{park}` steps over it"


def _report(store: Store, result: RunResult) -> None:
    status = result.status
    objects = ", ".join(f"{n} {type}" for type, n in status.objects.items()) or "no objects"
    warn(f"{status.state}: {status.events} events; {objects}")
    if status.state == EXHAUSTED:
        more = higher_limits(status.problem)
        hint = resume_hint(store, status.run_id, more, lead="Resume with a higher limit")
        warn(f"The budget is exhausted ({status.problem}). {hint}")
        return
    if status.got_no_answer:
        shown = command_for("events", status.run_id)
        problem = (status.problem or "").removesuffix(".")
        warn(f"{problem}. `{shown}` shows the answers.")
    if result.provider is not None:
        _report_cut_answers(store, status.run_id)
    if status.parked:
        n, reason = status.parked, status.parked_reasons[0]
        warn(f"{n} {'firing is' if n == 1 else 'firings are'} parked: {reason}")
    if status.approvals:
        n = status.approvals
        pending = "1 approval is" if n == 1 else f"{n} approvals are"
        warn(f"{pending} pending: {command_for('approvals', status.run_id)}")
    if status.questions:
        n = status.questions
        wait = "1 question waits for a reply" if n == 1 else f"{n} questions wait for a reply"
        warn(f"{wait}: {command_for('approvals', status.run_id)}")
    children = sum(each.is_open for each in status.children)
    if children:
        have = "1 child run has" if children == 1 else f"{children} child runs have"
        warn(f"{have} not ended. `{command_for('status', status.run_id)}` shows them.")
    n = status.unanswered - status.approvals - status.questions - children
    if n > 0:
        warn(f"{n} {'request is' if n == 1 else 'requests are'} unanswered.")
        if result.provider is None:
            report_missing_provider(store, status)


def _report_cut_answers(store: Store, run_id: str) -> None:
    answers = (each for each in store.context.ledger(run_id).read() if each.type == LLM_RESPONSE)
    n = sum(each.data.get("stop") == "length" for each in answers)
    if n:
        were = "1 answer was" if n == 1 else f"{n} answers were"
        how = (
            "--max-tokens N, or max_tokens in KANDO_LLM_OPTIONS, sets a higher limit for a new run"
        )
        warn(f"{were} cut off at the limit of tokens: {how}, or for a branch.")


def report_missing_provider(store: Store, status: RunStatus) -> None:
    """Report that requests are unanswered because no provider is configured."""
    for key in keys_without_provider(store.context.plugins, store.context.environ):
        warn(f"{key} is set, but no installed provider uses it.")
    keys = ", ".join(KEY_ORDER[:-1]) + f" or {KEY_ORDER[-1]}"
    offers = store.context.plugins.providers()
    listed = f"`{command_for('plugins')}` lists them" if offers else "pip install kando-llm"
    # A key alone does not help if no installed provider uses it.
    is_used = any(key in offered.spec.key_env for offered in offers for key in KEY_ORDER)
    needed = "" if is_used else " and install a provider that uses it"
    warn(f"No provider is configured: name one with --llm ({listed}), or set {keys}{needed}.")
    warn(resume_hint(store, status.run_id, lead="Then resume with"))
