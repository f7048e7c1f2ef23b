"""`kando metrics`: what a run has done and used, according to its ledger."""

from __future__ import annotations

import click

from kando.app.shapes import metrics_dict
from kando.cli.arguments import ANY_RUN
from kando.cli.output import clean, columns, print_json, print_line
from kando.cli.shared import open_command_store, shared_options
from kando.views.metrics import ResponderMetrics, RunMetrics, Usage

__all__ = ["metrics"]

#: Columns for the usage of requests.
_USED = ("CACHED", "ERRORS", "USD", "TOKENS IN", "TOKENS OUT")


@click.command()
@click.argument("run", type=ANY_RUN, metavar="[RUN]", default="@last")
@shared_options
def metrics(run: str, as_json: bool) -> None:
    """Show what a run has done and used.

    Without RUN it is the newest one. RUN@N counts the first N events.
    """
    with open_command_store(shows_progress=True) as store:
        named, at = store.run_at(run)
        found = named.metrics(at=at)
        if as_json:
            print_json(metrics_dict(named.id, found))
        else:
            _print(named.id, found)


def _print(name: str, found: RunMetrics) -> None:
    llm = found.llm
    for label, text in (
        ("run", name),
        ("events", str(found.events)),
        ("elapsed", f"{found.elapsed_seconds:.3f} seconds"),
        ("llm", f"{llm.requests} requests, {llm.answers} answered, {llm.errors} errors"),
        ("cache", f"{llm.cached} hits"),
        ("cost", f"{llm.cost_usd:.4f} USD"),
        ("tokens", f"{llm.input_tokens} in, {llm.output_tokens} out{_of_cache(llm)}"),
        ("tools", f"{found.tool_calls} calls, {found.tool_errors} errors"),
    ):
        print_line(f"{label:<10}{text}")
    _table(("TYPE", "EVENTS"), [[clean(type), str(n)] for type, n in found.types.items()])
    _table(
        ("MODEL", "ANSWERS", *_USED),
        [[clean(model), str(use.answers), *_used(use)] for model, use in found.models.items()],
    )
    _table(
        ("RESPONDER", "FIRINGS", "EVENTS", "FAILURES", "REQUESTS", *_USED),
        [[clean(name), *_counts(each)] for name, each in found.responders.items()],
    )


def _of_cache(use: Usage) -> str:
    """Return how many tokens were read from and written to the cache of the server, if any."""
    if not use.cache_read_tokens and not use.cache_write_tokens:
        return ""
    return f" ({use.cache_read_tokens} read from and {use.cache_write_tokens} written to its cache)"


def _counts(each: ResponderMetrics) -> list[str]:
    counts = (each.firings, each.events, each.failures, each.llm.requests)
    return [*map(str, counts), *_used(each.llm)]


def _used(use: Usage) -> list[str]:
    return [
        str(use.cached),
        str(use.errors),
        f"{use.cost_usd:.4f}",
        str(use.input_tokens),
        str(use.output_tokens),
    ]


def _table(head: tuple[str, ...], rows: list[list[str]]) -> None:
    if rows:
        print_line()
        columns(rows, head)
