"""Output of the command line: data to stdout, the rest to stderr, control characters escaped."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TypeVar

import attrs
import click

from kando.schema.visible import clean, truncate, visible

if TYPE_CHECKING:
    from kando.app.status import RunStatus
    from kando.ledger.claims import Claim

__all__ = [
    "DATA_STREAM",
    "ReaderGone",
    "clean",
    "columns",
    "event_dict",
    "json_option",
    "moment",
    "print_json",
    "print_line",
    "print_list",
    "status_dict",
    "to_json",
    "truncate",
    "warn",
]

_Function = TypeVar("_Function", bound=Callable[..., Any])

#: Key of the context's ``meta``: the stream for data, while kits print to stderr.
DATA_STREAM = "kando.data"


class ReaderGone(Exception):
    """The reader of stdout closed it. (click handles a BrokenPipeError in its own way.)"""


def json_option(function: _Function) -> _Function:
    """Give a command the option ``--json``."""
    return click.option("--json", "as_json", is_flag=True, help="Write JSON.")(function)


def columns(rows: Sequence[Sequence[str]], head: Sequence[str] = ()) -> None:
    """Write rows in aligned columns, without truncating a cell."""
    table = [list(head), *map(list, rows)] if head else [list(row) for row in rows]
    if not table:
        return
    widths = [max(len(row[i]) for row in table) for i in range(len(table[0]))]
    for row in table:
        print_line("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip())


def print_line(text: str = "") -> None:
    """Write one line of data to stdout, with control characters escaped.

    Raises:
        ReaderGone: the reader closed it.
    """
    context = click.get_current_context(silent=True)
    # Ids, too, may come from a stranger's ledger.
    line = text if text.isprintable() else "".join(map(visible, text))
    try:
        click.echo(line, file=context.meta.get(DATA_STREAM) if context is not None else None)
    except BrokenPipeError as error:
        raise ReaderGone from error


def print_json(value: Any) -> None:
    """Write one JSON value on one line to stdout."""
    print_line(to_json(value))


def to_json(value: Any) -> str:
    """Return a value as readable JSON on one line, with control characters escaped."""
    text = json.dumps(value, ensure_ascii=False, default=_json_default)
    # JSON itself escapes only control characters below the space.
    is_plain = text.isascii() and "\x7f" not in text
    return text if is_plain else "".join(map(visible, text))


def print_list(items: Sequence[Any], next_cursor: str | None = None) -> None:
    """Write a list as JSON: one object with ``items`` and ``next_cursor``."""
    print_json({"items": items, "next_cursor": next_cursor})


def _json_default(value: Any) -> Any:
    if isinstance(value, datetime):
        return moment(value)
    msg = f"{type(value).__name__} has no JSON form"
    raise TypeError(msg)


def moment(at: datetime | None) -> str | None:
    """Return a time as RFC 3339 in UTC."""
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z") if at is not None else None


def event_dict(event: Any) -> dict[str, Any]:
    """Return an event in its JSON form: its seven fields and ``position``."""
    return {
        "id": event.id,
        "type": event.type,
        "source": event.source,
        "actor": event.actor,
        "cause": event.cause,
        "timestamp": moment(event.timestamp),
        "data": event.data,
        "position": event.position,
    }


def warn(text: str) -> None:
    """Write a line that is not data to stderr."""
    click.echo(f"kando: {clean(text)}", err=True)


def status_dict(status: RunStatus) -> dict[str, Any]:
    """Return a status in its JSON form."""
    return attrs.asdict(status) | {
        "created_at": moment(status.created_at),
        "updated_at": moment(status.updated_at),
        "claim": _claim_dict(status.claim) if status.claim is not None else None,
    }


def _claim_dict(claim: Claim) -> dict[str, Any]:
    worker = claim.worker
    return {
        "host": worker.host,
        "pid": worker.pid,
        "group": worker.group or None,
        "epoch": claim.epoch,
        "since": moment(claim.since),
    }
